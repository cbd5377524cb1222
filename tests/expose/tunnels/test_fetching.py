"""Programs fetched from a server on loopback: checked, resumed, or not there at all."""

# ruff: noqa: ASYNC240  # small files of the tests' own, nobody waits

from __future__ import annotations

import asyncio
import hashlib
import http.server
import io
import os
import re
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orchestrator.engine.download.model import Settings
from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.tunnels.fetching import Fetching, pinned
from tests.expose.tunnels.common import here

PROGRAM = b"#!/bin/sh\necho hello\n" + b"# padding\n" * 20_000


class Handler(http.server.BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}
    cut: ClassVar[list[int]] = []  # after so many bytes of a body the connection breaks, once each
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        data = self.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = int(asked[2]) if asked and asked[2] else len(data) - 1
        if asked and body:
            self.asked.append(self.headers["Range"])
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"one"')
        self.end_headers()
        if body:
            piece = data[first : last + 1]
            if len(piece) > 1000 and self.cut:
                self.wfile.write(piece[: self.cut.pop()])
                self.close_connection = True
                return
            self.wfile.write(piece)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.files, Handler.cut, Handler.asked = {}, [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def table(url: str, data: bytes, **more: str) -> dict[str, Any]:
    file = {"url": url, "sha256": hashlib.sha256(data).hexdigest(), **more}
    return {"tool": {"version": "1.2", "files": {"x86_64": file}}}


def fetching(known: dict[str, Any], said: list[str] | None = None) -> Fetching:
    settings = Settings(tries=3, sleep=lambda _seconds: None, env={})
    return Fetching(say=(said if said is not None else []).append, table=known, settings=settings)


def nowhere(tmp_path: Path, **more):
    return here(tmp_path, which=lambda _name: None, **more)


async def test_fetched_once(server: str, tmp_path: Path):
    Handler.files = {"/tool": PROGRAM}
    said: list[str] = []
    source = fetching(table(f"{server}/tool", PROGRAM), said)
    path = Path(await source.provide("tool", nowhere(tmp_path)))
    assert path.read_bytes() == PROGRAM
    assert path.name == "tool-1.2"
    assert path.stat().st_mode & 0o111
    assert [each.name for each in path.parent.iterdir()] == ["tool-1.2"]
    Handler.files = {}
    assert await source.provide("tool", nowhere(tmp_path)) == str(path)
    assert said == ["fetching tool 1.2"]


async def test_two_apps_at_the_same_time_fetch_once(server: str, tmp_path: Path):
    Handler.files = {"/tool": PROGRAM}
    said: list[str] = []
    source = fetching(table(f"{server}/tool", PROGRAM), said)
    one, other = await asyncio.gather(*(source.provide("tool", nowhere(tmp_path)) for _ in range(2)))
    assert one == other
    assert len(said) == 1


async def test_what_is_on_path_is_taken(tmp_path: Path):
    assert await fetching({}).provide("tool", here(tmp_path)) == "/usr/bin/tool"


async def test_a_wrong_checksum(server: str, tmp_path: Path):
    Handler.files = {"/tool": PROGRAM + b"evil"}
    with pytest.raises(PinoctlError, match=r"cannot fetch `tool` 1\.2: the sha256 of .* expected"):
        await fetching(table(f"{server}/tool", PROGRAM)).provide("tool", nowhere(tmp_path))
    assert [path.name for path in (tmp_path / "programs").iterdir()] == []


async def test_a_cut_download_goes_on(server: str, tmp_path: Path):
    Handler.files = {"/tool": PROGRAM}
    Handler.cut = [70_000]
    path = await fetching(table(f"{server}/tool", PROGRAM)).provide("tool", nowhere(tmp_path))
    assert Path(path).read_bytes() == PROGRAM
    assert any(re.fullmatch(r"bytes=[1-9]\d*-\d*", asked) for asked in Handler.asked)


async def test_a_server_without_it(server: str, tmp_path: Path):
    with pytest.raises(PinoctlError, match="404"):
        await fetching(table(f"{server}/tool", PROGRAM)).provide("tool", nowhere(tmp_path))


def archive(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for each, content in (("tool_1.2/LICENSE", b"free"), (name, data)):
            entry = tarfile.TarInfo(each)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


async def test_a_program_in_an_archive(server: str, tmp_path: Path):
    data = archive("tool_1.2/tool", PROGRAM)
    Handler.files = {"/tool.tgz": data}
    path = await fetching(table(f"{server}/tool.tgz", data, member="tool")).provide("tool", nowhere(tmp_path))
    assert Path(path).read_bytes() == PROGRAM
    assert [each.name for each in Path(path).parent.iterdir()] == ["tool-1.2"]


async def test_an_archive_without_it(server: str, tmp_path: Path):
    data = archive("../../etc/passwd", b"x")
    Handler.files = {"/tool.tgz": data}
    with pytest.raises(PinoctlError, match="there is no `tool` in"):
        await fetching(table(f"{server}/tool.tgz", data, member="tool")).provide("tool", nowhere(tmp_path))


async def test_nothing_without_a_checksum(tmp_path: Path):
    known = {"tool": {"version": "1", "files": {"x86_64": {"url": "http://127.0.0.1:1/tool"}}}}
    with pytest.raises(PinoctlError, match="no checked download of it for `x86_64`") as caught:
        await fetching(known).provide("tool", nowhere(tmp_path))
    assert "on PATH" in (caught.value.hint or "")


async def test_a_processor_that_nobody_pinned(tmp_path: Path):
    with pytest.raises(PinoctlError, match="`riscv64`"):
        await Fetching(say=print).provide("cloudflared", nowhere(tmp_path, machine="riscv64"))


async def test_a_fetch_that_is_given_up_leaves_no_thread(server: str, tmp_path: Path):
    Handler.files = {"/tool": PROGRAM}
    job = asyncio.create_task(fetching(table(f"{server}/tool", PROGRAM)).provide("tool", nowhere(tmp_path)))
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "amd64", "arm64"])
@pytest.mark.parametrize("name", ["cloudflared", "ngrok", "frpc"])
def test_the_table(name: str, machine: str):
    known = pinned(name, machine)
    assert known is not None
    assert re.fullmatch(r"[0-9a-f]{64}", known.sha256)
    assert known.url.startswith("https://")
    assert known.version in known.url


@pytest.mark.network
@pytest.mark.slow
async def test_localtunnels_client_from_npm(tmp_path: Path):
    source = Fetching(say=print)
    machine = here(tmp_path, os.environ)
    node, script = (await source.provide("localtunnel", machine)).split("\n")
    assert Path(node).exists()
    assert Path(script).is_relative_to(tmp_path / "programs" / "localtunnel-2.0.2")
    assert [path.name for path in (tmp_path / "programs").iterdir()] == ["localtunnel-2.0.2"]
    before = Path(script).stat().st_mtime_ns
    await source.provide("localtunnel", machine)
    assert Path(script).stat().st_mtime_ns == before
