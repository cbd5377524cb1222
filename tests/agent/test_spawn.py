"""Real agents: started once, found again, killed, replaced; and apps brought up with the real engine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from orchestrator.agent.client import AgentGoneError, Event
from orchestrator.agent.files import AgentFiles
from orchestrator.agent.journal import read_journal
from orchestrator.agent.proc import descendants, process, processes
from orchestrator.agent.sockets import connect, listen
from orchestrator.agent.spawn import command, find, spawn
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from tests.agent.conftest import LONG, alive, processes_of, wait_until, write_app

SERVER = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
print(f"serving at http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
MENU = """
module.exports = {title: "An app", menu: async (kernel, info) => {
  if (!info.exists("installed")) return [{default: true, text: "Install", href: "install.js"}]
  const local = info.local("start.js")
  if (local && local.url) return [{default: true, text: "Open", href: local.url}]
  return [{default: true, text: "Start", href: "start.js"}, {text: "Update", href: "update.js"}]
}}
"""
INSTALL = 'module.exports = {run: [{method: "fs.write", params: {path: "installed", text: "yes"}}]}'
START = """
module.exports = {daemon: true, run: [
  {method: "shell.run", params: {message: "python3 -u srv.py {{port}}",
    on: [{event: "/http:\\\\/\\\\/[0-9.:]+/", done: true}]}},
  {method: "local.set", params: {url: "{{input.event[0]}}"}},
]}
"""


def an_app(home: Home, **files: str) -> None:
    write_app(
        home.app("app"), **{"pinokio_js": MENU, "install_js": INSTALL, "start_js": START, "srv_py": SERVER, **files}
    )


def get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=LONG) as answer:
        return answer.status


def server_pid(home: Home) -> int:
    for pid in processes_of(home.root):
        with contextlib.suppress(OSError):  # it may end between the two looks
            if b"srv.py" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
    raise AssertionError("no server runs")


# the process


def test_an_agent_is_started_once_and_found_again(home):
    with spawn(home, "app") as first, spawn(home, "app") as second:
        assert first.about["pid"] == second.about["pid"]
        assert process(first.about["pid"]).session != os.getsid(0)
        assert os.getpid() != process(first.about["pid"]).parent
        assert Path(f"/proc/{first.about['pid']}/fd/0").readlink() == Path("/dev/null")
        first.down()
    wait_until(lambda: not processes_of(home.root))
    assert find(home, "app") is None


def test_many_at_once_get_the_same_one(home):
    pids: list[int] = []

    def work():
        with spawn(home, "app") as client:
            pids.append(client.about["pid"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 4
    assert len(set(pids)) == 1
    wait_until(lambda: len(processes_of(home.root)) == 1)


def test_a_stale_socket_is_replaced(home):
    with spawn(home, "app") as client:
        pid = client.about["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    assert AgentFiles(home, "app").socket.exists()
    assert find(home, "app") is None
    with spawn(home, "app") as client:
        assert client.about["pid"] != pid


def test_sigterm_is_down(home):
    with spawn(home, "app") as client:
        pid = client.about["pid"]
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid))
    assert list(read_journal(AgentFiles(home, "app").journal))[-1]["reason"] == "SIGTERM"
    assert not AgentFiles(home, "app").socket.exists()


def test_a_second_agent_process_gives_way(home):
    with spawn(home, "app"):
        again = subprocess.run(
            command(home, "app", python=sys.executable, ready=-1)[:-1], check=False, capture_output=True, timeout=LONG
        )
        assert again.returncode == 3
        wait_until(lambda: len(processes_of(home.root)) == 1)


def test_an_agent_that_cannot_start_says_why(tmp_path):
    blocked = Home(tmp_path / "home")
    blocked.root.write_text("a file where the home should be")
    with pytest.raises(PinoctlError, match=r"did not start: .*(Not a directory|cannot be written)"):
        spawn(blocked, "app", patience=LONG)
    with pytest.raises(PinoctlError, match="did not start"):
        spawn(Home(tmp_path / "other"), "app", python="/nonexistent/python", patience=LONG)


def test_a_path_too_long_for_a_socket_works_all_the_same(home):
    deep = Home(home.root / ("d" * 60) / ("e" * 60))
    deep.api.mkdir(parents=True)
    assert len(str(AgentFiles(deep, "app").socket)) > 107
    with spawn(deep, "app") as client:
        assert client.status()["app"] == "app"
        client.down()
    AgentFiles(deep, "app").prepare()
    server = listen(AgentFiles(deep, "x").socket)
    connect(AgentFiles(deep, "x").socket, timeout=LONG).close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        connect(AgentFiles(deep, "x").socket, timeout=LONG)


def test_a_socket_that_is_there_can_be_connected_to(home):
    path = home.root / "at-once.sock"
    refused: list[int] = []

    def look(number):
        while not path.exists():
            pass
        try:
            connect(path, timeout=LONG).close()
        except ConnectionRefusedError:
            refused.append(number)

    for number in range(300):
        looking = threading.Thread(target=look, args=(number,))
        looking.start()
        server = listen(path)
        looking.join()
        server.close()
        path.unlink()
    assert refused == []


def test_blanks_in_the_home_do_no_harm(home):
    blank = Home(home.root / "my home")
    blank.api.mkdir(parents=True)
    with spawn(blank, "app") as client:
        assert client.status()["state"] == "not installed"
        client.down()


def test_an_agent_that_was_only_asked_is_small(home):
    with spawn(home, "app") as client:
        client.status()
        assert process(client.about["pid"]).memory < 45_000_000


def test_a_client_whose_agent_is_killed_is_told(home):
    with spawn(home, "app") as client:
        os.kill(client.about["pid"], signal.SIGKILL)
        wait_until(lambda: not alive(client.about["pid"]))
        with pytest.raises(AgentGoneError):
            client.status()


# with the real engine


@pytest.mark.slow
def test_the_whole_life_of_an_app(home):
    an_app(home)
    with spawn(home, "app") as client:
        heard = []
        result = client.up(listen=heard.append)
        assert result["failed"] is None
        assert result["state"] == "ready"
        assert get(result["url"]) == 200
        assert [message.data["word"] for message in heard if isinstance(message, Event) and message.kind == "state"][
            -1
        ] == "ready"
        status = client.status()
        assert status["running"] == ["app/start.js"]
        assert [port["port"] for port in status["ports"]] == [int(result["url"].rpartition(":")[2].strip("/"))]
        agent = client.about["pid"]
        table = processes()
        whole = [
            table[agent].memory,
            *(one.memory for one in descendants(agent, table) if one.parent == agent and "node" in one.name),
        ]
        assert whole[0] < 60_000_000

        os.kill(server_pid(home), signal.SIGKILL)
        again = wait_until(lambda: (now := client.status())["state"] == "ready" and now["restarts"] == 1 and now)
        assert get(again["url"]) == 200
        words = [entry["word"] for entry in read_journal(AgentFiles(home, "app").journal) if entry["kind"] == "state"]
        assert words[-2:] == ["starting", "ready"]

        os.kill(agent, signal.SIGKILL)
    wait_until(lambda: not processes_of(home.root))
    assert json.loads(AgentFiles(home, "app").state.read_text())["word"] == "ready"

    with spawn(home, "app") as client:
        assert client.status()["state"] == "stopped"
        result = client.up()
        assert result["state"] == "ready"
        assert get(result["url"]) == 200
        assert client.down() == {"app": "app", "state": "stopped"}
    wait_until(lambda: not processes_of(home.root))
    installs = [
        entry
        for entry in read_journal(AgentFiles(home, "app").journal)
        if entry["kind"] == "run.start" and entry["script"] == "app/install.js"
    ]
    assert len(installs) == 1


@pytest.mark.slow
def test_an_install_killed_half_way_goes_on_from_its_last_finished_step(home):
    steps = [{"method": "shell.run", "params": {"message": f"echo {number} >> done.txt"}} for number in range(2)]
    steps.append({"method": "shell.run", "params": {"message": "test -e go || sleep 600; echo yes > installed"}})
    an_app(home, install_js=f"module.exports = {json.dumps({'run': steps})}")
    with spawn(home, "app") as client:
        pid = client.about["pid"]
        started = threading.Event()

        def listen(message):
            if isinstance(message, Event) and message.kind == "step.start" and message.data["index"] == 2:
                started.set()

        def work():
            with contextlib.suppress(AgentGoneError):
                client.up(listen=listen)

        thread = threading.Thread(target=work)
        thread.start()
        assert started.wait(LONG)
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        thread.join(LONG)
    wait_until(lambda: not processes_of(home.root))
    (home.app("app") / "go").touch()
    with spawn(home, "app") as client:
        assert client.status()["state"] == "failed (step 3 of 3, its installation was interrupted)"
        assert client.up()["state"] == "ready"
        assert (home.app("app") / "done.txt").read_text() == "0\n1\n"
        with (home.app("app") / "done.txt").open("a") as file:
            file.write("again\n")
        assert client.up(from_step=2)["state"] == "ready"
        (home.app("app") / "installed").unlink()
        client.stop()
        assert client.up()["state"] == "ready"
    assert (home.app("app") / "done.txt").read_text() == "0\n1\nagain\n1\n0\n1\n"
    assert "resume" in [entry["kind"] for entry in read_journal(AgentFiles(home, "app").journal)]
    assert not AgentFiles(home, "app").position.exists()


@pytest.mark.slow
def test_a_server_that_dies_at_once_fails_with_its_last_lines(home):
    an_app(
        home,
        installed_="yes",
        srv_py="import sys\nprint('http://127.0.0.1:9', flush=True)\nprint('no model here', flush=True)\nsys.exit(7)\n",
    )
    (home.app("app") / "installed").touch()
    with spawn(home, "app") as client:
        result = client.up()
    assert result["state"].startswith("failed (")
    assert "status 7" in result["failed"]["reason"]
    assert any("no model here" in line for line in result["failed"]["lines"])


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 3])
def test_a_server_that_ends_before_it_names_an_address_has_failed(home, status):
    an_app(home, installed_="yes", srv_py=f"import sys\nprint('no model here', flush=True)\nsys.exit({status})\n")
    (home.app("app") / "installed").touch()
    with spawn(home, "app") as client:
        result = client.up()
    assert result["state"].startswith("failed (")
    assert f"status {status} before it printed what the script waited for" in result["failed"]["reason"]
    assert any("no model here" in line for line in result["failed"]["lines"])


@pytest.mark.slow
def test_a_server_in_the_foreground_is_found_by_its_port(home):
    silent = "\n".join(line for line in SERVER.splitlines() if not line.startswith("print"))
    start = 'module.exports = {run: [{method: "shell.run", params: {message: "python3 -u srv.py 0"}}]}'
    an_app(home, start_js=start, srv_py=silent)
    (home.app("app") / "installed").touch()
    with spawn(home, "app") as client:
        result = client.up()
        assert result["state"] == "ready"
        assert get(result["url"]) == 200
        sources = [
            entry["source"] for entry in read_journal(AgentFiles(home, "app").journal) if entry["kind"] == "ready"
        ]
        assert sources == ["port"]
        assert client.stop()["state"] == "stopped"
    with pytest.raises(OSError):
        get(result["url"])


@pytest.mark.slow
def test_a_failed_update_brings_back_what_worked(home):
    broken = [
        {"method": "fs.write", "params": {"path": "srv.py", "text": "broken"}},
        {"method": "shell.run", "params": {"message": "echo Error: conflict"}},
    ]
    an_app(home, update_js=f"module.exports = {json.dumps({'run': broken})}")
    (home.app("app") / "installed").touch()
    with spawn(home, "app") as client:
        assert client.up()["state"] == "ready"
        result = client.update()
        assert result["state"] == "ready"
        assert result["failed"]["step"] == 2
        assert get(result["url"]) == 200
    assert (home.app("app") / "srv.py").read_text() == SERVER
    assert "restored" in [entry["kind"] for entry in read_journal(AgentFiles(home, "app").journal)]


@pytest.mark.slow
def test_required_variables_are_asked_for_stored_and_kept_secret(home):
    start = START.replace("daemon: true,", 'daemon: true, env: [{key: "APP_TOKEN", title: "A token"}],')
    start = start.replace("python3 -u", "echo the token is $APP_TOKEN && python3 -u")
    an_app(home, start_js=start)
    (home.app("app") / "installed").touch()
    with spawn(home, "app") as client:
        failed = client.up()
        assert "`APP_TOKEN` (A token)" in failed["state"]
        assert failed["failed"]["hint"]
        assert client.up(pairs={"APP_TOKEN": "t0p-s3cret"})["state"] == "ready"
    files = AgentFiles(home, "app")
    assert "APP_TOKEN=t0p-s3cret" in (home.app("app") / "ENVIRONMENT").read_text()
    everything = "".join(path.read_text() for path in files.folder.iterdir())
    assert "t0p-s3cret" not in everything
    assert "the token is ••••••" in everything
