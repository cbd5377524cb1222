"""Execs as the agent's client sees them: Docker's framing taken off, over real sockets."""

from __future__ import annotations

import itertools
import select
import socket
import struct
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from orchestrator.agent.client import AgentGoneError, Client
from orchestrator.places.container.streams import ExecStream, status_of


def frame(data, kind=1):
    return struct.pack(">B3xI", kind, len(data)) + data


class Api:
    """Be what of docker-py's client an exec needs; `far` is the daemon's end of the connection."""

    def __init__(self):
        self.near, self.far = socket.socketpair()
        self.asked = None
        self.closed = False

    def exec_create(self, container, command, **how):
        self.asked = (container, command, how)
        return {"Id": "e1"}

    def exec_start(self, exec_id, *, socket):
        assert exec_id == "e1"
        assert socket is True
        return SimpleNamespace(_sock=self.near, close=self.close)  # as SocketIO over a Unix socket

    def close(self):
        self.closed = True


@pytest.fixture
def pair():
    api = Api()
    stream = ExecStream(SimpleNamespace(api=api), "box", ["cat"])
    yield stream, api
    stream.close()
    api.far.close()


def test_asks_for_all_three_streams(pair):
    stream, api = pair
    assert api.asked == ("box", ["cat"], {"stdin": True, "stdout": True, "stderr": True})
    assert stream.id == "e1"
    assert stream.fileno() == api.near.fileno()


def test_what_is_sent_has_no_frames(pair):
    stream, api = pair
    stream.sendall(b"hello\n")
    assert api.far.recv(100) == b"hello\n"


def test_frames_are_taken_off_and_errors_kept_apart(pair):
    stream, api = pair
    api.far.sendall(frame(b"one") + frame(b"oh", 2) + frame(b"two") + frame(b"dear", 2))
    assert stream.recv() == b"onetwo"
    assert stream.errors == b"ohdear"


def test_what_came_with_the_head_of_the_answer_is_heard():
    api = Api()
    api.far.sendall(b"HTTP/1.1 101 UPGRADED\r\n\r\n" + frame(b"soon") + frame(b"torn")[:9])
    reader = api.near.makefile("rb")
    assert (reader.readline(), reader.readline()) == (b"HTTP/1.1 101 UPGRADED\r\n", b"\r\n")
    reader.raw._response = SimpleNamespace(raw=SimpleNamespace(_fp=SimpleNamespace(fp=reader)))
    api.exec_start = lambda *_, **__: reader.raw
    stream = ExecStream(SimpleNamespace(api=api), "box", ["cat"])
    assert stream.recv() == b"soon"
    api.far.sendall(frame(b"torn")[9:])
    assert stream.recv() == b"torn"
    for each in (stream, reader, api.near, api.far):
        each.close()


def test_an_exit_status_may_be_known_only_a_moment_later():
    looks = iter([{"Running": True, "ExitCode": None}, {"Running": False, "ExitCode": 7}])
    assert status_of(SimpleNamespace(api=SimpleNamespace(exec_inspect=lambda _id: next(looks))), "e1") == 7


def test_errors_alone_end_no_waiting(pair):
    stream, api = pair
    stream.settimeout(0.05)
    api.far.sendall(frame(b"warning", 2))
    with pytest.raises(TimeoutError):
        stream.recv()
    api.far.sendall(frame(b"said"))
    assert stream.recv() == b"said"
    assert stream.errors == b"warning"


def test_the_end_is_nothing_even_inside_a_frame(pair):
    stream, api = pair
    api.far.sendall(frame(b"last") + frame(b"torn")[:-2])
    api.far.shutdown(socket.SHUT_WR)
    assert stream.recv() == b"last"
    assert stream.recv() == b""
    assert stream.recv() == b""


def test_empty_frames_are_not_the_end(pair):
    stream, api = pair
    api.far.sendall(frame(b"") + frame(b"x"))
    assert stream.recv() == b"x"


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(1, 30), min_size=1),
)
@hypothesis_settings(max_examples=50)
def test_cuts_may_be_anywhere(frames, sizes):
    api = Api()
    stream = ExecStream(SimpleNamespace(api=api), "box", ["cat"])
    stream.settimeout(60)
    raw = b"".join(frame(data, kind) for kind, data in frames)

    def send():
        rest, lengths = raw, itertools.cycle(sizes)
        while rest:
            length = next(lengths)
            api.far.sendall(rest[:length])
            rest = rest[length:]
        api.far.close()

    sender = threading.Thread(target=send)
    sender.start()
    found = b"".join(iter(stream.recv, b""))
    sender.join()
    stream.close()
    assert found == b"".join(data for kind, data in frames if kind == 1)
    assert stream.errors == b"".join(data for kind, data in frames if kind == 2)


def test_waiting_has_a_limit_for_the_whole_call(pair):
    stream, api = pair
    stream.settimeout(0.05)
    api.far.sendall(frame(b"slow")[:5])
    with pytest.raises(TimeoutError):
        stream.recv()
    api.far.sendall(frame(b"slow")[5:])
    assert stream.recv() == b"slow"  # nothing is lost


def test_select_tells_when_there_is_something(pair):
    stream, api = pair
    assert select.select([stream], [], [], 0)[0] == []
    api.far.sendall(frame(b"x"))
    assert select.select([stream], [], [], 60)[0] == [stream]


def test_closing_ends_the_commands_input(pair):
    stream, api = pair
    stream.close()
    assert api.far.recv(1) == b""
    assert api.closed


def test_the_agents_client_works_over_it(pair):
    stream, api = pair

    def agent():
        asked = b""
        while not asked.endswith(b"\n"):
            asked += api.far.recv(1000)
        api.far.sendall(frame(b"noise", 2) + frame(b'{"id": 1, "ok": true, "result": ') + frame(b'{"app": "demo"}}\n'))

    answering = threading.Thread(target=agent)
    answering.start()
    client = Client.over(stream, timeout=60)
    answering.join()
    assert client.about["app"] == "demo"


def test_the_agents_client_tells_that_a_command_ended(pair):
    stream, api = pair
    api.far.shutdown(socket.SHUT_WR)
    with pytest.raises(AgentGoneError):
        Client.over(stream, timeout=60)
