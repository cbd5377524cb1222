"""Commands and the gate: requests over a real socket, errors that keep their kind, clients that misbehave."""

from __future__ import annotations

import asyncio
import os
import socket
import stat

import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose.asking import ask
from orchestrator.expose.control import Control


async def handle(request):
    match request.get("op"):
        case "echo":
            return {"said": request["text"]}
        case "bad":
            raise BadInputError("no such thing", hint="try another")
        case "fails":
            raise PinoctlError("it failed")
        case _:
            raise RuntimeError("boom")


@pytest.fixture
async def path(tmp_path):
    socket = tmp_path / ("long" * 40) / ".gate.sock"
    socket.parent.mkdir()
    control = Control(handle)
    await control.listen(socket)
    yield socket
    await control.close()


async def asked(path, **request):
    return await asyncio.to_thread(ask, path, request, timeout=60)


async def test_requests_are_answered_also_at_paths_longer_than_the_kernel_takes(path):
    assert await asked(path, op="echo", text="ü" * 100_000) == {"said": "ü" * 100_000}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_errors_keep_their_kind_and_hint(path):
    with pytest.raises(BadInputError, match="no such thing") as bad:
        await asked(path, op="bad")
    assert bad.value.hint == "try another"
    with pytest.raises(PinoctlError, match="it failed"):
        await asked(path, op="fails")
    with pytest.raises(PinoctlError, match=r"the gate failed: RuntimeError\('boom'\)"):
        await asked(path, op="else")


@pytest.mark.parametrize("garbage", [b"\n", b"{\n", b"[1]\n", b"\xff\xfe\n", b"3\n"])
async def test_garbage_costs_one_answer(path, garbage):
    reader, writer = await asyncio.open_unix_connection(sock=_connected(path))
    writer.write(garbage)
    assert b"error" in await reader.readline()
    writer.write(b'{"op": "echo", "text": "still here"}\n')
    assert b"still here" in await reader.readline()
    writer.close()


async def test_nobody_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError):
        ask(tmp_path / "none.sock", {"op": "ping"}, timeout=1)
    with pytest.raises(OSError):
        ask(tmp_path / "no folder" / "none.sock", {"op": "ping"}, timeout=1)


async def test_closing_cuts_off_who_waits(tmp_path):
    waiting = asyncio.Event()

    async def never(_request):
        waiting.set()
        await asyncio.Event().wait()
        return {}

    control = Control(never)
    await control.listen(tmp_path / "s")
    asking = asyncio.create_task(asked(tmp_path / "s", op="any"))
    await waiting.wait()
    await control.close()
    with pytest.raises(OSError):
        await asking


def _connected(path):
    client = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY)
    client.connect(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)
    return client
