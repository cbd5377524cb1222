"""Launchers that go wrong under `pinoctl up`: menus without an end, servers that never answer, two commands at once."""

# ruff: noqa: E501  # tables of scripts and JavaScript read best with one case on a line

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.bad_input.conftest import Done, Program, marked, until

SERVER = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()"
START = {
    "daemon": True,
    "run": [
        {
            "method": "shell.run",
            "params": {
                "message": "echo started >> starts; echo http://127.0.0.1:{{port}}; exec python3 srv.py {{port}}",
                "on": [{"event": "/(http:\\/\\/[0-9.:]+)/", "done": True}],
            },
        },
        {"method": "local.set", "params": {"url": "{{input.event[1]}}"}},
    ],
}
MENU = "module.exports = { version: '4.0', title: 'T', menu: async (kernel, info) => [{ default: true, text: 'Start', href: 'start.json' }] }"


@pytest.fixture
def up(program: Program, tmp_path: Path) -> Iterator[Program]:
    """A home of its own and a good app, which a test makes bad; its agent is stopped at the end."""
    program.home = tmp_path / "home"
    program.app = tmp_path / f"good{os.getpid()}"
    program.app.mkdir()
    program.write("pinokio.js", MENU)
    program.write("start.json", START)
    program.write("srv.py", SERVER)
    yield program
    program.pinoctl("down", "--all", "--home", program.home)
    until(lambda: not marked(program.environ["PINOCTL_TEST"]))


def bring_up(program: Program, *options: str) -> Done:
    return program.pinoctl("up", program.app, "--home", program.home, *options)


def starts(program: Program) -> int:
    return len((program.app / "starts").read_text().splitlines()) if (program.app / "starts").exists() else 0


@pytest.mark.slow
def test_two_at_once_start_one_server(up: Program) -> None:
    both = [up.begin("up", up.app, "--home", up.home) for _ in range(2)]
    done = [up.end(process) for process in both]
    good = [one for one in done if one.status == 0]
    assert good, [one.text[-800:] for one in done]
    assert all(one.status == 0 or one.error() for one in done)
    assert len({one.stdout.split()[-1] for one in good}) == 1
    assert starts(up) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("loops in its menu", "module.exports = { menu: () => { for (;;); } }"),
        ("throws", "throw new Error('mine')"),
        ("is no JavaScript", "module.exports = {"),
        ("exits", "process.exit(0)"),
        ("never answers", "module.exports = { menu: () => new Promise(() => {}) }"),
        ("eats memory", "const a = []; for (;;) a.push(Buffer.alloc(1e7, 1))"),
        ("names a script that is not there", MENU.replace("start.json", "gone.json")),
        ("has no menu", "module.exports = {}"),
        ("leaves the app", MENU.replace("start.json", "../../../etc/start.json")),
    ],
)
def test_a_menu_that(up: Program, what: str, content: str) -> None:
    up.write("pinokio.js", content)
    (up.app / "start.json").unlink()
    done = bring_up(up)
    assert done.status in {1, 2}, what
    assert done.error()


@pytest.mark.slow
def test_a_server_that_never_gets_ready(up: Program) -> None:
    up.write("srv.py", "import time; time.sleep(1000)")
    with socket.socket() as held:  # a port that refuses, and that no server of another test can take meanwhile
        held.bind(("127.0.0.1", 0))
        up.write("start.json", json.loads(json.dumps(START).replace("{{port}}", str(held.getsockname()[1]))))
        done = bring_up(up, "--timeout", "3")
    assert done.status == 1
    assert done.error()


@pytest.mark.slow
def test_a_server_that_dies_at_once(up: Program) -> None:
    up.write("srv.py", "import sys; sys.exit(3)")
    done = bring_up(up, "--timeout", "20")
    assert done.status == 1
    assert done.error()
    state = json.loads(up.pinoctl("status", up.app.name, "--home", up.home, "--json").stdout)
    assert "ready" not in json.dumps(state.get("state"))


@pytest.mark.slow
def test_a_port_that_somebody_else_has(up: Program) -> None:
    """The launcher insists on a port: another's server that answers there must not be taken for the app's."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        taken.settimeout(0.2)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    client, _ = taken.accept()
                except OSError:
                    continue
                with client, contextlib.suppress(OSError):  # whoever asks may be gone already
                    client.recv(1000)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        step: dict[str, Any] = {
            "method": "shell.run",
            "params": {
                "message": f"python3 srv.py {taken.getsockname()[1]}",
                "on": [{"event": "/(http:\\/\\/[0-9.:]+)/", "done": True}],
            },
        }
        up.write("start.json", {"daemon": True, "run": [step]})
        up.write(
            "srv.py",
            f"import sys\ntry:\n    {SERVER}\nexcept OSError:\n    print('the port is taken')\n".replace(
                "import http.server, sys;", "import http.server;"
            ),
        )
        done = bring_up(up, "--timeout", "15")
        stop.set()
        thread.join()
    assert done.status == 1
    assert done.error()


@pytest.mark.slow
def test_interrupted_while_starting(up: Program) -> None:
    up.write("srv.py", "import time; time.sleep(1000)")
    process = up.begin("up", up.app, "--home", up.home)
    until(lambda: starts(up) == 1)
    process.send_signal(signal.SIGINT)
    assert up.end(process).status == 130


@pytest.mark.slow
def test_killed_while_starting_converges(up: Program) -> None:
    process = up.begin("up", up.app, "--home", up.home)
    until(lambda: starts(up) >= 1)
    process.kill()
    process.wait()
    done = bring_up(up)
    assert done.status == 0, done.text[-800:]
    assert starts(up) == 1
    agents = [
        other for other in marked(up.environ["PINOCTL_TEST"]) if "orchestrator.agent" in " ".join(safe_cmdline(other))
    ]
    assert len(agents) >= 1


def safe_cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@pytest.mark.slow
def test_up_twice_changes_nothing(up: Program) -> None:
    first, second = bring_up(up), bring_up(up)
    assert (first.status, second.status) == (0, 0), second.text[-800:]
    assert first.stdout.split()[-1] == second.stdout.split()[-1]
    assert starts(up) == 1
