"""What counts as use, on the bytes that a real WebSocket client writes."""

from __future__ import annotations

import os

import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from orchestrator.expose.guard.use import LONGEST_SIGN, Messages, counts


class Client:
    """A client of the `websockets` library after its handshake; returns what it would send."""

    def __init__(self, *, deflate: bool = False):
        extensions = [ClientPerMessageDeflateFactory()] if deflate else None
        self.protocol = ClientProtocol(parse_uri("ws://127.0.0.1/"), extensions=extensions, state=State.OPEN)
        if deflate:
            self.protocol.extensions = [
                PerMessageDeflate(
                    remote_no_context_takeover=False,
                    local_no_context_takeover=False,
                    remote_max_window_bits=15,
                    local_max_window_bits=15,
                )
            ]

    def sent(self) -> bytes:
        return b"".join(self.protocol.data_to_send())

    def text(self, text: str, *, fin: bool = True) -> bytes:
        self.protocol.send_text(text.encode(), fin)
        return self.sent()

    def binary(self, data: bytes) -> bytes:
        self.protocol.send_binary(data)
        return self.sent()

    def more(self, text: str, *, fin: bool) -> bytes:
        self.protocol.send_continuation(text.encode(), fin)
        return self.sent()

    def ping(self, data: bytes = b"") -> bytes:
        self.protocol.send_ping(data)
        return self.sent()

    def pong(self, data: bytes = b"") -> bytes:
        self.protocol.send_pong(data)
        return self.sent()


@pytest.fixture(params=[False, True], ids=["plain", "deflate"])
def client(request):
    return Client(deflate=request.param)


@pytest.mark.parametrize("text", ["hello", "2probe", "0x", '{"type":"run"}', "x" * 64, "x" * 126, "x" * 70_000, ""])
def test_what_somebody_says_counts(client, text):
    assert Messages().feed(client.text(text))


def test_pings_and_signs_of_life_do_not(client):
    messages = Messages()
    for _ in range(3):
        for sent in (
            *(client.ping(), client.ping(b"12345"), client.pong(b"x" * 125)),
            *(client.text(word) for word in ("2", "3", "2")),
        ):
            assert not messages.feed(sent)
    assert messages.feed(client.text("hello"))
    assert not messages.feed(client.ping())


@pytest.mark.parametrize("word", ["ping", "PONG", '{"type":"ping"}', '{"type": "pong"}'])
def test_signs_of_life_in_words_do_not_either(client, word):
    assert not Messages().feed(client.text(word))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_pieces_of_any_size_are_the_same(client, step):
    messages = Messages()
    quiet = client.ping(b"12") + client.text("2") + client.pong()
    loud = client.binary(os.urandom(300)) + client.text("hello")
    assert not any(messages.feed(quiet[at : at + step]) for at in range(0, len(quiet), step))
    assert max(messages.feed(loud[at : at + step]) for at in range(0, len(loud), step))
    quiet = client.text("3") + client.ping()
    assert not any(messages.feed(quiet[at : at + step]) for at in range(0, len(quiet), step))


def test_every_piece_of_a_long_message_counts():
    messages, sent = Messages(), Client().binary(bytes(100_000))
    assert min(messages.feed(sent[at : at + 10_000]) for at in range(0, len(sent), 10_000))
    assert not messages.feed(Client().ping())


def test_messages_in_parts_count_with_pings_between():
    client, messages = Client(), Messages()
    assert messages.feed(client.text("2", fin=False))
    assert not messages.feed(client.ping())
    assert messages.feed(client.more("probe", fin=True))


def test_frames_without_a_mask_are_read_too():
    sent = Frame(Opcode.TEXT, b"hello").serialize(mask=False)
    assert Messages().feed(sent)
    assert not Messages().feed(Frame(Opcode.TEXT, b"3").serialize(mask=False))


def test_rubbish_is_read_to_its_end():
    messages = Messages()
    for _ in range(50):
        messages.feed(os.urandom(2000))
        assert len(messages._head) < 14
        assert messages._short is None or len(messages._short[2]) < LONGEST_SIGN


def test_compressed_rubbish_counts():
    plain = Frame(Opcode.TEXT, b"\xff\xff\xff").serialize(mask=False)
    assert Messages().feed(bytes([plain[0] | 0x40]) + plain[1:])


@pytest.mark.parametrize(
    ("target", "use"),
    [
        ("/", True),
        ("/queue/join?x=1", True),
        ("/gradio_api/queue/data?session_hash=1", True),
        ("/gradio_api/heartbeat/abc123", False),
        ("/heartbeat/abc123?x=1", False),
        ("/view?file=/heartbeat/1", True),
        ("/.pinoctl/nonce", False),
        ("/.pinoctl/state?a=b", False),
        ("/x/.pinoctl/", True),
    ],
)
def test_what_a_page_asks_by_itself_is_no_use(target, use):
    assert counts(target) == use
