"""Where a body ends, however it comes in pieces, and what is no body at all."""

from __future__ import annotations

import random

import h11
import pytest

from orchestrator.expose.gate.heads import trailers
from orchestrator.expose.gate.passage import LINE_LIMIT, TRAILER_LIMIT, Chunks, Counted, FramingError

AFTER = b"GET /next HTTP/1.1\r\n"
LAST = b"0\r\n\r\n"
# what arrives, and what of it is passed on
GOOD = {
    LAST: LAST,
    b"3\r\nabc\r\n" + LAST: b"3\r\nabc\r\n" + LAST,
    b"1\r\na\r\n2\r\nbc\r\n00A\r\n0123456789\r\n" + LAST: b"1\r\na\r\n2\r\nbc\r\n00A\r\n0123456789\r\n" + LAST,
    b"5\r\n\r\n0\r\n\r\n000\r\n\r\n": b"5\r\n\r\n0\r\n\r\n" + LAST,  # a body that looks like its end
    b'3;x="y z"; q\r\nabc\r\n2 ; a\r\nde\r\n3  \r\nabc\r\n0;end\r\n\r\n': (
        b"3\r\nabc\r\n2\r\nde\r\n3\r\nabc\r\n0\r\n\r\n"  # extensions are for us alone
    ),
    b"1\r\na\r\n0\r\nDigest: x\r\nSet-Cookie: a=b\r\nContent-Length: 3\r\nY:\t\xe4 \r\n\r\n": (
        b"1\r\na\r\n0\r\ndigest: x\r\ny: \xe4\r\n\r\n"
    ),
    b"0\r\nSet-Cookie: a=b\r\n\r\n": LAST,
}
BAD = [
    b"3\nabc\r\n",
    b"3\r\nabc\n",
    b"3\r\nabcd\r\n",
    b"3\r\nab\r\n0\r\n\r\n",
    b"\r\n3\r\nabc\r\n",
    b"3\r\nabc\r\n\r\n",
    b"-3\r\nabc\r\n",
    b"+3\r\nabc\r\n",
    b"0x3\r\nabc\r\n",
    b" 3\r\nabc\r\n",
    b"3_0\r\nabc\r\n",
    b"\xb2\r\nabc\r\n",
    b"g\r\nabc\r\n",
    b";x\r\nabc\r\n",
    b"3 x\r\nabc\r\n",
    b"3;x\ny\r\nabc\r\n",
    b"3;x\ry\r\nabc\r\n",
    b"3;x\0y\r\nabc\r\n",
    b"3\r\r\nabc\r\n",
    b"f" * 16 + b"\r\n",
    b"0" * 17 + b"\r\n\r\n",
    b"3;" + b"x" * LINE_LIMIT + b"\r\nabc\r\n",
    b"3;" + b"x" * LINE_LIMIT,
    b"3" * LINE_LIMIT,
    b"0\r\nT: x\n\r\n\r\n",
    b"0\r\n\n",
    b"0\r\nT : x\r\n\r\n",
    b"0\r\n: x\r\n\r\n",
    b"0\r\nT\r\n\r\n",
    b"0\r\nA: b\r\n folded\r\n\r\n",
    b"0\r\nA: b\0\r\n\r\n",
    b"0\r\nA: b\rc\r\n\r\n",
    b"0\r\nA: " + b"b" * TRAILER_LIMIT,
    b"0\r\n" + b"A: b\r\n" * TRAILER_LIMIT,
]


def through(pieces) -> tuple[bytes, bytes]:
    """Put pieces through; returns what goes on, and what comes after the body."""
    chunks, mine, rest = Chunks(trailers), [], b""
    for piece in pieces:
        if chunks.ended:
            rest += piece
            continue
        one, rest = chunks.take(piece)
        mine.append(one)
    assert chunks.ended
    return b"".join(mine), rest


@pytest.mark.parametrize(("body", "told"), GOOD.items(), ids=repr)
def test_chunks_split_anywhere_end_where_they_end(body, told):
    data = body + AFTER
    assert through([data]) == (told, AFTER)
    assert through(data[at : at + 1] for at in range(len(data))) == (told, AFTER)
    for first in range(len(data)):
        for second in range(first, len(data)):
            assert through([data[:first], data[first:second], data[second:]]) == (told, AFTER)


@pytest.mark.parametrize("body", BAD, ids=lambda body: repr(body[:24]))
def test_what_is_not_framed_as_chunks_are_is_refused(body):
    with pytest.raises(FramingError):
        Chunks(trailers).take(body)
    with pytest.raises(FramingError):
        through(body[at : at + 1] for at in range(len(body)))


@pytest.mark.parametrize("body", GOOD, ids=repr)
def test_a_body_that_is_cut_off_anywhere_has_not_ended(body):
    for length in range(len(body)):
        chunks = Chunks(trailers)
        assert chunks.take(body[:length])[1] == b""
        assert not chunks.ended


def test_what_has_come_of_a_chunk_goes_on_at_once():
    chunks = Chunks(trailers)
    assert chunks.take(b"3\r\nab") == (b"3\r\nab", b"")
    assert chunks.take(b"c") == (b"c", b"")
    assert chunks.take(b"\r\n") == (b"\r\n", b""), "an event is complete before the next one"
    assert chunks.take(b"5") == (b"", b"")
    assert chunks.take(b"\r\nd") == (b"5\r\nd", b"")


def test_a_piece_of_whole_chunks_is_not_copied():
    piece = b"2000\r\n" + bytes(0x2000) + b"\r\n"
    data = piece * 8
    assert Chunks(trailers).take(data)[0] is data


def test_another_reader_sees_the_same_body():
    """What is passed on means the same to h11 as what arrived, and is all that it reads."""
    chance = random.Random(7)
    for _ in range(300):
        bodies = [chance.randbytes(chance.choice((1, 2, 15, 16, 17, 300))) for _ in range(chance.randint(0, 6))]
        ends = [chance.choice((b"", b"", b";a=b", b" ", b';q="1"')) for _ in bodies]
        data = b"".join(b"%x%b\r\n%b\r\n" % (len(body), end, body) for body, end in zip(bodies, ends, strict=True))
        data += LAST + AFTER
        cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randint(0, 9)))
        pieces = [data[one:two] for one, two in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        told, rest = through(pieces)
        assert rest == AFTER
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + told)
        read = b""
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            read += bytes(event.data) if isinstance(event, h11.Data) else b""
        assert read == b"".join(bodies)
        assert reader.trailing_data[0] == b""


def test_a_number_of_bytes_and_everything():
    some = Counted(3)
    assert (some.take(b"ab"), some.ended, some.unbounded) == ((b"ab", b""), False, False)
    assert (some.take(b"cd"), some.ended) == ((b"c", b"d"), True)
    everything = Counted(None)
    assert (everything.take(b"ab"), everything.ended, everything.unbounded) == ((b"ab", b""), False, True)
    assert Counted(0).ended
