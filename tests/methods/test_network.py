"""`net`, `exec`, `process.wait`, `gradio.predict` and `fs.download` as steps, with real servers and commands."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.net import flatten
from orchestrator.engine.values import UNDEFINED
from orchestrator.engine.webclient import proxies_for
from tests.download.servers import Habits, serving
from tests.methods.fakes import Bench

LONG = 60.0  # seconds that anything here may take on a busy machine


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has elsewhere
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        said = {
            "method": self.command,
            "path": self.path,
            "body": body,
            "headers": {k.lower(): v for k, v in self.headers.items()},
        }
        status, data, extra = 200, json.dumps(said).encode(), {}
        if self.path == "/text":
            data = "just é".encode()
        elif self.path == "/empty":
            data = b""
        elif self.path == "/gzip":
            data, extra = gzip.compress(b"[1]"), {"Content-Encoding": "gzip"}
        elif self.path.startswith("/status/"):
            status, data = int(self.path.rpartition("/")[2]), b"because of this"
        elif self.path == "/moved":
            status, extra = 302, {"Location": "/there"}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  # names of the standard library


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


async def test_net_returns_the_parsed_body(bench: Bench, echo: str) -> None:
    got = await bench("net", {"url": f"{echo}/x?a=1", "params": {"b": [1, 2], "c": {"d": None, "e": "é"}}})
    assert (got["method"], got["path"]) == ("GET", "/x?a=1&b%5B%5D=1&b%5B%5D=2&c%5Be%5D=%C3%A9")
    assert got["headers"]["user-agent"].startswith("Mozilla/5.0")
    assert (await bench("net", f"{echo}/y"))["path"] == "/y"
    assert (await bench("net", {"baseURL": f"{echo}/api/", "url": "/z"}))["path"] == "/api/z"
    assert await bench("net", {"url": f"{echo}/text"}) == "just é"
    assert await bench("net", {"url": f"{echo}/empty"}) == ""
    assert await bench("net", {"url": f"{echo}/gzip"}) == [1]
    assert (await bench("net", {"url": f"{echo}/moved"}))["path"] == "/there"
    assert (await bench("net", {"url": f"{echo}/text", "responseType": "arraybuffer"})) == "just é".encode()


@pytest.mark.parametrize(
    ("data", "headers", "body", "kind"),
    [
        ({"a": 1.0, "u": UNDEFINED}, {}, '{"a":1}', "application/json"),
        ("raw", {}, "raw", "application/x-www-form-urlencoded"),
        (
            {"a": [1], "b": "x y"},
            {"content-type": "application/x-www-form-urlencoded"},
            "a%5B%5D=1&b=x+y",
            "application/x-www-form-urlencoded",
        ),
        ([1], {"Content-Type": "text/plain"}, "[1]", "text/plain"),
        (b"bytes", {"Content-Type": "x/y"}, "bytes", "x/y"),
    ],
)
async def test_net_bodies(bench: Bench, echo: str, data: Any, headers: dict[str, str], body: str, kind: str) -> None:  # noqa: PLR0917  # a case of the table
    got = await bench("net", {"url": echo, "method": "post", "data": data, "headers": headers})
    assert (got["method"], got["body"], got["headers"]["content-type"]) == ("POST", body, kind)


async def test_net_multipart_and_auth(bench: Bench, echo: str) -> None:
    got = await bench(
        "net",
        {
            "url": echo,
            "method": "post",
            "data": {"a": "v"},
            "headers": {"Content-Type": "multipart/form-data"},
            "auth": {"username": "u", "password": "p"},
        },
    )
    assert 'name="a"\r\n\r\nv' in got["body"]
    assert got["headers"]["authorization"] == "Basic dTpw"


@pytest.mark.parametrize("status", [400, 404, 500, 304])
async def test_net_statuses_end_the_script(bench: Bench, echo: str, status: int) -> None:
    with pytest.raises(ScriptError, match=f"status {status}"):
        await bench("net", {"url": f"{echo}/status/{status}?token=abc".replace("?token=abc", "")})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "`url`"),
        ({"url": 5}, "`url`"),
        ({"url": "/relative"}, "`url`"),
        ({"url": "file:///etc/passwd"}, "`url`"),
        ({"url": "http://h", "headers": "x"}, "`headers`"),
        ({"url": "http://h", "params": []}, "`params`"),
        ({"url": "http://h", "timeout": "x"}, "`timeout`"),
        ({"url": "http://h", "method": 1}, "`method`"),
        ({"url": "http://127.0.0.1:1"}, "could not reach"),
        (UNDEFINED, "`params`"),
    ],
)
async def test_net_errors(bench: Bench, params: Any, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        await bench("net", params)


async def test_net_timeout(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ScriptError, match="in time"):
        await bench("net", {"url": f"http://127.0.0.1:{silent.getsockname()[1]}", "timeout": 100})


def test_proxies_come_from_the_environment() -> None:
    env = {"HTTPS_PROXY": "proxy:3128", "http_proxy": "http://p2", "NO_PROXY": "internal.host"}
    assert proxies_for("https://x/", env) == {"https": "http://proxy:3128"}
    assert proxies_for("http://x/", env) == {"http": "http://p2"}
    assert proxies_for("https://a.internal.host/", env) == {}
    assert proxies_for("http://127.0.0.1:7860/", {"http_proxy": "http://p2"}) == {}
    assert flatten({"a": {"b": [{"c": 1}]}}) == [("a[b][]", '{"c":1}')]


async def test_net_goes_through_a_proxy(bench: Bench, echo: str) -> None:
    bench.engine.base_env["http_proxy"] = echo
    assert (await bench("net", {"url": "http://elsewhere.invalid/x"}))["path"] == "http://elsewhere.invalid/x"


async def test_exec_returns_streams_and_error(bench: Bench) -> None:
    (bench.app / "sub").mkdir()
    bench.env["FROM_APP"] = "1"
    got = await bench("exec", {"message": "echo $FROM_APP$X; pwd; echo e >&2", "env": {"X": 5}, "path": "sub"})
    assert got == {"stdout": f"15\n{bench.app}/sub\n", "error": None, "stderr": "e\n"}
    bad = await bench("exec", {"message": "echo out; echo err >&2; exit 3"})
    assert (bad["stdout"], bad["stderr"]) == ("out\n", "err\n")
    assert "exit status 3" in bad["error"]
    assert await bench("exec", {}) is UNDEFINED
    assert (await bench("exec", {"message": "cat"}))["stdout"] == ""
    assert (await bench("exec", {"message": "echo $BASH_VERSION", "shell": "/bin/bash"}))["stdout"].strip()
    assert "\nerr\r\n" in bench.text()
    for params, name in (
        ({"message": 5}, "message"),
        ({"message": "true", "env": []}, "env"),
        ({"message": "true", "cwd": 5}, "cwd"),
    ):
        with pytest.raises(ScriptError, match=f"`{name}`"):
            await bench("exec", params)
    with pytest.raises(ScriptError, match="does not exist"):
        await bench("exec", {"message": "true", "cwd": "missing"})


async def test_exec_timeout_and_stop_kill_everything(bench: Bench) -> None:
    got = await bench("exec", {"message": "sleep 1000 & sleep 1000", "timeout": 150})
    assert "out of time" in got["error"]
    task = asyncio.create_task(bench("exec", {"message": "echo $$ > pid; sleep 1000"}))
    while not (bench.app / "pid").exists() or not (bench.app / "pid").read_text():  # noqa: ASYNC110  # waits for another process
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(int((bench.app / "pid").read_text()))


async def test_exec_that_is_stopped_while_it_starts_leaves_nothing(bench: Bench) -> None:
    task = asyncio.create_task(bench("exec", {"message": "sleep 1000 & echo $! > pid; wait"}))
    while not (bench.app / "pid").exists() or not (bench.app / "pid").read_text():
        time.sleep(0.05)  # noqa: ASYNC251  # the command goes on, what follows its start here does so step by step
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, LONG)
    await gone(int((bench.app / "pid").read_text()))


async def gone(pid: int) -> None:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        with contextlib.suppress(OSError):  # it may end between the two looks
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":  # noqa: ASYNC240  # tiny files
                return
        await asyncio.sleep(0.01)
    pytest.fail("still alive")


async def test_exec_leaves_background_processes_until_the_script_stops(bench: Bench) -> None:
    got = await bench("exec", {"message": "sleep 1000 >/dev/null 2>&1 & echo $!"})
    pid = int(got["stdout"])
    os.kill(pid, 0)
    bench.run.stopped.set()
    await gone(pid)


@pytest.mark.parametrize(
    ("params", "seconds"), [({"sec": 3}, 3), ({"sec": "2"}, 2), ({"min": 2}, 120), ({"sec": -1}, 0)]
)
async def test_wait_for_a_time(bench: Bench, params: dict[str, Any], seconds: float) -> None:
    assert await bench("process.wait", params) is UNDEFINED
    assert bench.slept == [seconds]


@pytest.mark.parametrize(
    "params", [UNDEFINED, None, {}, {"title": "x"}, {"url": "http://127.0.0.1:1/"}, {"on": {"resources": ["never"]}}]
)
async def test_wait_until_stopped(bench: Bench, params: Any) -> None:
    task = asyncio.create_task(bench("process.wait", params))
    await asyncio.sleep(0.05)
    assert not task.done()
    bench.run.stopped.set()
    assert await asyncio.wait_for(task, LONG) is UNDEFINED


async def test_wait_for_a_url_ignores_errors_until_it_is_up(bench: Bench) -> None:
    with serving(Habits(content=b"up", statuses=[503, 404])) as server:
        await asyncio.wait_for(bench("process.wait", {"uri": server.url, "interval": 60, "message": "not yet"}), LONG)
        assert [status for _, status in server.habits.gets()] == [503, 404, 200]
    assert bench.slept == [60, 60]
    assert "not yet" in bench.text()


async def test_wait_on_resources(bench: Bench, echo: str, tmp_path: Path) -> None:
    (bench.app / "f").touch()
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        resources = [
            "f",
            "file:f",
            f"tcp:127.0.0.1:{port.getsockname()[1]}",
            f"socket:{tmp_path}/s",
            echo.replace("http:", "http-get:"),
        ]
        await asyncio.wait_for(bench("process.wait", {"on": {"resources": resources}}), LONG)
    await bench("process.wait", {"on": {"resources": ["gone", "tcp:1"], "reverse": True}})
    with pytest.raises(ScriptError, match="in vain for gone"):
        await bench("process.wait", {"on": {"resources": ["gone", "f"], "timeout": 50, "interval": 10}})
    for params, name in (
        ({"on": {}}, "on.resources"),
        ({"on": 5}, "on"),
        ({"sec": "x"}, "sec"),
        ({"url": 5}, "url"),
        ({"on": {"resources": ["f"], "delay": "x"}}, "on.delay"),
    ):
        with pytest.raises(ScriptError, match=f"`{name}`"):
            await bench("process.wait", params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"url": "http://h/x"}, "`dir`"),
        ({"dir": "d"}, "`url`"),
        ({"url": 5, "dir": "d"}, "`url`"),
        ({"url": ["http://h/x"], "path": "p"}, "`dir` for an array"),
        ({"url": [], "dir": "d"}, "`url`"),
        ({"url": "", "dir": "d"}, "`url`"),
        ({"url": "http://h/x", "dir": 5}, "`dir`"),
        ({"url": "http://h/x", "path": ""}, "`path`"),
        ({"url": "http://h/x", "path": "p", "sha256": "zz"}, "hexadecimal"),
        ({"url": "http://h/x", "path": "p", "checksum": "crc:zz"}, "crc"),
        (UNDEFINED, "`params`"),
        ({"url": "ftp://h/x", "path": "p"}, "http"),
    ],
)
async def test_download_checks_its_params_first(bench: Bench, params: Any, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        await bench("fs.download", params)


async def test_download_steps(bench: Bench) -> None:
    with serving(Habits(content=b"content")) as server:
        assert (
            await bench("fs.download", {"uri": [f"{server.url}/a?token=hush", f"{server.url}/b"], "dir": "d"})
            is UNDEFINED
        )
        await bench("fs.download", {"url": f"{server.url}/c", "path": "x/y"})
        await bench("fs.download", {"url": f"{server.url}/c", "path": "x/y"})
    assert {path.name: path.read_text() for path in bench.app.rglob("*") if path.is_file()} == {
        "a": "content",
        "b": "content",
        "y": "content",
    }
    assert [event["status"] for event in bench.events("download")] == ["downloaded"] * 3 + ["skipped"]
    assert "hush" not in bench.text() + str(bench.sink.events)


async def test_stopping_a_download(bench: Bench) -> None:
    with serving(Habits(content=b"x" * 200_000, stall_after=65536, stalls=9)) as server:
        task = asyncio.create_task(bench("fs.download", {"url": f"{server.url}/c", "path": "f"}))
        while not server.habits.active:  # noqa: ASYNC110  # waits for another process
            await asyncio.sleep(0.01)
        bench.run.stopped.set()
        assert await asyncio.wait_for(task, LONG) is UNDEFINED
        assert not (bench.app / "f").exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "`uri`"),
        ({"uri": 5}, "`uri`"),
        ({"uri": "http://h", "params": "x"}, "`params`"),
        ({"uri": "http://127.0.0.1:1"}, "failed at"),
    ],
)
async def test_gradio_errors(bench: Bench, params: Any, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        await bench("gradio.predict", params)
