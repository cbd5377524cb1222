"""Questions at a terminal, Ctrl-C, two commands at once, kills, lost and broken state, readers that go away."""

from __future__ import annotations

import os
import shlex
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands.conftest import agents, served
from tests.commands.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ASKING = """module.exports = {run: [
  {method: "input", params: {title: "Settings", form: [
    {key: "name", title: "Name", required: true},
    {key: "token", title: "Token", type: "password"},
    {key: "size", title: "Size", type: "select", items: ["small", "large"]},
  ]}},
  {method: "fs.write", params: {path: "answers.txt", text: "got {{input.name}} {{input.size}} {{input.token.length}}"}},
  {method: "fs.write", params: {path: "installed.txt", text: "yes"}},
]}"""

WAITING = """module.exports = {run: [
  {method: "shell.run", params: {message: "echo x >> first.txt"}},
  {method: "shell.run", params: {message: "echo $$ > shell.pid; echo waiting; while [ ! -f go ]; do sleep 0.05; done"}},
  {method: "fs.write", params: {path: "installed.txt", text: "yes"}},
]}"""


def until(condition, *, timeout=60):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def waiting_shell(folder):
    """Return the process of the install script's shell, once it waits."""
    file = folder / "shell.pid"
    until(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


def begun(pinoctl, folder, **keywords):
    process = pinoctl.start("up", folder, **keywords)
    return process, waiting_shell(folder)


def joining(pinoctl, app):
    """Start a second `up` and return it once it says that it waits for the first."""
    process = pinoctl.start("up", app)
    assert f"another command is bringing `{app}` up already" in process.stderr.readline()
    return process


def test_questions_are_asked_at_a_terminal(pinoctl, launcher):
    folder = launcher("asking", install_js=ASKING)
    terminal = Terminal(pinoctl.command("up", folder), pinoctl.environment(TERM="xterm"))
    terminal.expect("Settings (`asking/install.js`)")
    terminal.expect("Name (required): ")
    terminal.type("\n")
    terminal.expect("an answer is needed here")
    terminal.expect("Name (required): ")
    terminal.type("me\n")
    terminal.expect("Token: ")
    terminal.type("s3cret-token\n")
    terminal.expect("2) large")
    terminal.expect("number or value [small]: ")
    terminal.type("2\n")
    terminal.expect("start.js step 2 of 2")
    assert terminal.end() == 0
    assert terminal.text.rstrip().splitlines()[-1].startswith("http://127.0.0.1:")
    assert "\x1b[1minstall.js step 1 of 3: input\x1b[0m" in terminal.text, "a terminal gets colours"
    assert (folder / "answers.txt").read_text() == "got me large 12"
    assert "s3cret-token" not in terminal.text
    for file in (pinoctl.home / "logs/asking").iterdir():
        assert "s3cret-token" not in file.read_text()
    pinoctl("down", "asking")


def test_without_a_terminal_answers_come_from_options_or_are_listed(pinoctl, launcher):
    folder = launcher("telling", install_js=ASKING)
    missing = pinoctl("up", folder, text="me\n")
    assert missing.status == 1
    assert "`name` (Name)" in missing.err
    assert "--answer name=VALUE" in missing.err
    given = pinoctl("up", "telling", "--answer", "name=you", "--answers", '{"size": "large", "token": "tokentoken"}')
    assert given.status == 0, given.err
    assert (folder / "answers.txt").read_text() == "got you large 10"
    assert "tokentoken" not in given.err
    pinoctl("down", "telling")


def test_no_colour_where_it_is_not_wanted(pinoctl, launcher):
    folder = launcher("plain")
    terminal = Terminal(pinoctl.command("up", folder), pinoctl.environment(TERM="xterm", NO_COLOR="1"))
    terminal.expect("install.js step 1 of 3: log\r\n")
    assert terminal.end() == 0
    assert "\x1b[1m" not in terminal.text
    assert "\x1b" not in pinoctl("status").out
    pinoctl("down", "plain")


def test_ctrl_c_stops_an_install_which_goes_on_later(pinoctl, launcher):
    folder = launcher("stopping", install_js=WAITING)
    terminal = Terminal(pinoctl.command("up", folder), pinoctl.environment(TERM="xterm"))
    terminal.expect("waiting")
    shell = waiting_shell(folder)
    terminal.type("\x03")
    terminal.expect("`stopping` is stopped; `pinoctl up stopping` goes on from the last finished step")
    assert terminal.end() == 130
    until(lambda: not alive(shell))
    (folder / "go").write_text("")
    again = pinoctl("up", "stopping")
    assert again.status == 0, again.err
    assert (folder / "first.txt").read_text() == "x\n", "the finished step is not done again"

    terminal = Terminal(pinoctl.command("logs", "-f", "stopping"), pinoctl.environment(TERM="xterm"))
    terminal.expect("serving normal")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert pinoctl("open", "stopping").out == again.out, "a ready app is never hurt"
    pinoctl("down", "stopping")


def test_two_commands_at_once_end_alike(pinoctl, launcher):
    folder = launcher("twice", install_js=WAITING)
    first, _ = begun(pinoctl, folder)
    second = joining(pinoctl, "twice")
    installing = pinoctl("status", "twice", "--json").json
    assert installing["state"] == "installing (step 2 of 3)"
    (folder / "go").write_text("")
    outs = [process.communicate(timeout=300) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outs
    assert outs[0][0] == outs[1][0] == pinoctl("open", "twice").out
    assert (folder / "first.txt").read_text() == "x\n"
    pinoctl("down", "twice")


def test_ctrl_c_of_the_second_leaves_the_first_alone(pinoctl, launcher):
    folder = launcher("joined", install_js=WAITING)
    first, _ = begun(pinoctl, folder)
    second = joining(pinoctl, "joined")
    second.send_signal(signal.SIGINT)
    assert second.wait(60) == 130
    assert "the other command goes on" in second.stderr.read()
    second.stdout.close()
    second.stderr.close()
    (folder / "go").write_text("")
    out, err = first.communicate(timeout=300)
    assert first.returncode == 0, err
    assert out.startswith("http://")
    pinoctl("down", "joined")


def test_a_killed_agent_is_taken_over_and_leaves_nothing(pinoctl, launcher):
    folder = launcher("killed", install_js=WAITING)
    first, shell = begun(pinoctl, folder)
    agent = pinoctl("status", "killed", "--json").json["pid"]
    os.kill(agent, signal.SIGKILL)
    _, err = first.communicate(timeout=300)
    assert first.returncode == 1
    assert "the agent of `killed` ended before it was done" in err
    assert "`pinoctl up killed` goes on from the last finished step" in err
    until(lambda: not alive(shell))
    status = pinoctl("status", "killed", "--json").json
    assert status["state"].startswith("failed (step 2 of 3, it was killed")
    assert status["pid"] is None
    (folder / "go").write_text("")
    again = pinoctl("up", "killed")
    assert again.status == 0, again.err
    assert (folder / "first.txt").read_text() == "x\n"

    os.kill(pinoctl("status", "killed", "--json").json["pid"], signal.SIGKILL)
    until(lambda: pinoctl("status", "killed", "--json").json["state"] == "stopped")
    back = pinoctl("up", "killed")
    assert back.status == 0, back.err
    assert "install.js" not in back.err
    pinoctl("down", "killed")


def test_a_killed_command_leaves_the_work_going(pinoctl, launcher):
    folder = launcher("orphan", install_js=WAITING)
    first, _ = begun(pinoctl, folder)
    first.kill()
    first.communicate()
    (folder / "go").write_text("")
    again = pinoctl("up", "orphan")
    assert again.status == 0, again.err
    assert (folder / "first.txt").read_text() == "x\n"
    pinoctl("down", "orphan")


def test_an_agent_that_hangs_can_be_stopped(pinoctl, launcher):
    folder = launcher("hanging")
    up = pinoctl("up", folder, "-q")
    agent = pinoctl("status", "hanging", "--json").json["pid"]
    os.kill(agent, signal.SIGSTOP)
    assert pinoctl("status", "hanging", "--json").json["state"] == "ready"
    stopped = pinoctl("down", "hanging")
    assert stopped.status == 0, stopped.err
    assert not alive(agent)
    until(lambda: not served(folder, up.last))  # who notices that the agent was killed ends its servers
    assert pinoctl("status", "hanging", "--json").json["state"] == "stopped"


def test_the_index_may_be_deleted_or_broken(pinoctl, launcher):
    up = pinoctl("up", launcher("indexed"), "-q")
    library = pinoctl.home / "library.sqlite"
    library.unlink()
    assert pinoctl("open", "indexed").out == up.out
    for path in pinoctl.home.glob("library.sqlite*"):
        path.write_bytes(b"this is no database" * 100)
    status = pinoctl("status", "indexed", "--json")
    assert (status.json["state"], status.json["url"]) == ("ready", up.last)
    assert sqlite3.connect(library).execute("SELECT state FROM apps WHERE name = 'indexed'").fetchone() == ("ready",)
    pinoctl("down", "indexed")


def test_an_app_whose_folder_vanished(pinoctl, launcher):
    folder = launcher("vanished")
    pinoctl("up", folder, "-q")
    folder.rename(folder.with_name("elsewhere"))
    status = pinoctl("status", "vanished", "--json").json
    assert status["state"] == f"failed (its folder `{folder}` is gone)"
    up = pinoctl("up", "vanished")
    assert up.status == 2
    assert f"`vanished` is linked to `{folder}`, which is gone" in up.err
    for command in ("menu", "env", "shell", "update", "restart"):
        assert pinoctl(command, "vanished").status == 2
    assert pinoctl("rm", "vanished", "-y").status == 0
    assert folder.with_name("elsewhere").is_dir()


def test_a_reader_that_goes_away_is_no_error(pinoctl, launcher):
    folder = launcher(
        "piped",
        install_js="""module.exports = {run: [
      {method: "shell.run", params: {message: "for i in $(seq 20000); do echo line $i of many; done"}},
      {method: "fs.write", params: {path: "installed.txt", text: "yes"}},
    ]}""",
    )
    assert pinoctl("up", folder, "-q").status == 0
    command = shlex.join(pinoctl.command("logs", "piped"))
    ran = subprocess.run(["bash", "-c", f'{command} | head -n 1; echo "${{PIPESTATUS[0]}}"'], capture_output=True,
                         text=True, env=pinoctl.environment(), check=False)  # fmt: skip
    assert ran.stdout.splitlines()[-1] == "141"
    assert ran.stderr == ""
    pinoctl("down", "piped")


def test_nothing_is_left_behind(pinoctl, launcher):
    before = set(agents(pinoctl.home))
    for name in ("one", "two"):
        assert pinoctl("up", launcher(name), "-q").status == 0
    assert len(set(agents(pinoctl.home)) - before) == 2
    down = pinoctl("down", "--all", "--json")
    assert {each["app"] for each in down.json if each["stopped"]} >= {"one", "two"}
    assert agents(pinoctl.home) == []


def test_removing_is_asked_at_a_terminal(pinoctl, launcher):
    folder = pinoctl.home / "api/asked"
    folder.mkdir(parents=True)
    terminal = Terminal(pinoctl.command("rm", "asked"), pinoctl.environment())
    terminal.expect(f"Delete `asked` with everything in `{folder}`? [y/N]: ")
    terminal.type("\n")
    assert terminal.end() == 1
    assert folder.is_dir()
    terminal = Terminal(pinoctl.command("rm", "asked"), pinoctl.environment())
    terminal.expect("[y/N]: ")
    terminal.type("y\n")
    assert terminal.end() == 0
    assert not folder.exists()


def test_a_shell_for_a_person(pinoctl):
    folder = pinoctl.home / "api/personal"
    (folder / "env/bin").mkdir(parents=True)
    (folder / "env/pyvenv.cfg").touch()
    (folder / "env/bin/activate").write_text("export VIRTUAL_ENV=active")
    terminal = Terminal(pinoctl.command("shell", "personal"), pinoctl.environment(TERM="dumb"))
    terminal.expect("(personal) ")
    terminal.type("echo $VIRTUAL_ENV-${PINOCTL_SHELL_APP:-none}; exit 3\n")
    terminal.expect("\nactive-none")
    assert terminal.end() == 3
    pinoctl("rm", "personal", "-y")
