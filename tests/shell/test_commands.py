"""When a command is finished, and what comes out, for messages of every kind (spec 8.9)."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import psutil
import pytest

from orchestrator.engine.shell import matching, session
from tests.shell.conftest import LONG, until

LINES = {
    "two lines": ("X=1\necho x=$X", "x=1"),
    "trailing newline": ("echo last\n", "last"),
    "crlf": ("echo a\r\necho b", "b"),
    "empty lines": ("\n\necho x-$((1+1))\n\n", "x-2"),
    "comment": ("# nothing\necho x-$((1+1))", "x-2"),
    "for loop": ("for i in 1 2 3\ndo\n  echo i=$i\ndone\necho end-$((1+1))", "i=3\r\n"),
    "here document": ("cat <<END\nline $((1+1))\nEND\necho end-$((1+1))", "line 2\r\n"),
    "backslash": ("echo one \\\n two-$((1+1))", "one two-2"),
    "open quote": ("echo 'one\ntwo'", "one\r\ntwo"),
    "function": ("f() {\n  echo f-$1\n}\nf 7", "f-7"),
    "syntax error": ("if then\necho x-$((1+1))", "x-2"),
    "xtrace": ("set -x\necho x-$((1+1))\nset +x", "x-2"),
    "nounset": ("set -u\necho x-$((1+1))", "x-2"),
    "unicode": ("echo grün-日本-🙂", "\r\ngrün-日本-🙂"),
    "output away": ("exec >/dev/null\necho hidden\nexec >/dev/tty\necho x-$((1+1))", "x-2"),
    "own prompt": ("PS1='$ '\necho x-$((1+1))", "x-2"),
    "coloured prompt": ("PS1='\\[\\e[32m\\](env) \\w\\[\\e[0m\\]> '\necho x-$((1+1))", "x-2"),
    "two line prompt": ("PS1='a\\nb> '\necho x-$((1+1))", "x-2"),
    "added prompt command": ('PROMPT_COMMAND="${PROMPT_COMMAND:+$PROMPT_COMMAND; }:"\necho x-$((1+1))', "x-2"),
    "trap": ("trap 'echo debug >/dev/null' DEBUG\necho x-$((1+1))", "x-2"),
    "no output": ("sleep 0.05", "sleep"),
}


@pytest.mark.parametrize("name", LINES)
async def test_bash_reports_the_end(world: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message, expected = LINES[name]
    await world.shell("true")
    monkeypatch.setattr(session, "QUIET", 1000)  # so that no quiet prompt ends anything
    result = await asyncio.wait_for(world.shell(message), LONG)
    assert expected in result["stdout"]
    assert "pinoctl" not in world.output
    assert "\x1b_" not in world.output


QUIET = {
    "nested bash": ("bash --norc", "bash"),
    "nested and left": ("bash --norc\necho in-$((1+1))\nexit\necho out-$((1+2))", "out-3"),
    "no prompt command": ("PROMPT_COMMAND=\necho x-$((1+1))", "x-2"),
    "background job": ("sleep 5 & echo x-$((1+1))", "x-2"),
    "lines eaten": ("head -n 1 >/dev/null\nfoo", "head"),
    "read": ("read -r line; echo got-$line\nabc", "got-abc"),
}


@pytest.mark.parametrize("name", QUIET)
async def test_a_quiet_prompt_ends_the_rest(world: Any, name: str) -> None:
    message, expected = QUIET[name]
    result = await asyncio.wait_for(world.shell(message), LONG)
    assert expected in result["stdout"]
    assert not world.shells.ids()


async def test_the_last_status_is_recorded(world: Any) -> None:
    await world.shell(["false", "(exit 42)", "no-such-command-x"])
    assert [end["status"] for end in world.events("shell.end")] == [1, 42, 127]


async def test_a_status_that_comes_long_after_the_terminals_end_is_recorded(world: Any) -> None:
    task = asyncio.ensure_future(world.shell("kill -STOP $PPID; exit 3"))
    await until(lambda: world.events("shell.start"))
    keeper = psutil.Process(psutil.Process(world.events("shell.start")[0]["pid"]).ppid())
    try:
        await until(lambda: keeper.status() == psutil.STATUS_STOPPED)
        await asyncio.sleep(0.5)
        assert not task.done()
    finally:
        keeper.send_signal(signal.SIGCONT)
    await asyncio.wait_for(task, LONG)
    assert [end["status"] for end in world.events("shell.end")] == [3]


async def test_input_is_not_ended_by_the_prompt(world: Any) -> None:
    task = asyncio.ensure_future(world.shell("echo up", id="I", input=True))
    await until(lambda: "\rup\r\n" in world.output)
    await asyncio.sleep(0.8)
    assert not task.done()
    world.shells.send_keys("I", "exit 5\r")
    await asyncio.wait_for(task, LONG)
    assert world.events("shell.end")[0]["status"] == 5


async def test_size_and_resize(world: Any) -> None:
    assert "30 100" in (await world.shell("stty size"))["stdout"]
    assert "20 64" in (await world.shell("stty size", cols=64, rows="20"))["stdout"]
    world.shells.resize(80, 25)
    assert "25 80" in (await world.shell("stty size"))["stdout"]


async def test_much_output_arrives_whole(world: Any) -> None:
    result = await world.shell("seq 1 200000")
    assert result["stdout"].endswith("199999\r\n200000\r\n<<PINOKIO_SHELL>>")
    assert len(result["stdout"].split("\r\n")) == 1030
    assert world.output.count("\n") > 200000


async def test_wrapped_output_has_the_length_of_the_desktop(world: Any) -> None:
    result = await world.shell("seq 1 2000")
    assert len(result["stdout"]) == 6163
    assert result["stdout"].startswith("972\r\n973")
    assert "x" * 250 in (await world.shell("python3 -c \"print('x'*250)\""))["stdout"]


async def test_clear(world: Any) -> None:
    assert (await world.shell("clear; echo after-clear"))["stdout"] == "after-clear\r\n<<PINOKIO_SHELL>>"


async def test_one_endless_line_takes_no_memory(world: Any) -> None:
    world.run_.output = lambda raw: None
    world.sidecar.fed = type("Drop", (list,), {"append": lambda self, item: None})()
    result = await world.shell("head -c 20000000 /dev/zero | tr '\\0' x")
    assert len(result["stdout"]) < 300_000


async def test_binary_output(world: Any) -> None:
    result = await world.shell(
        "head -c 3000000 /dev/urandom | tr -d '\\000-\\037'; printf '\\377\\376ok\\n'; echo x-$((1+1))"
    )
    assert "x-2" in result["stdout"]


async def test_a_character_split_over_writes(world: Any) -> None:
    result = await world.shell("printf '\\342\\226'; sleep 0.1; printf '\\210\\n'")
    assert "\r\n█\r\n" in result["stdout"]


async def test_long_lines_and_long_messages(world: Any) -> None:
    text = "x" * 20000
    assert (await world.shell(f"A={text}; echo ${{#A}}"))["stdout"].endswith("20000\r\n<<PINOKIO_SHELL>>")
    many = "\n".join(f"A{number}={'y' * 50}" for number in range(150)) + "\necho last-$A149"
    assert "\nlast-yyyy" in (await world.shell(many))["stdout"]


async def test_a_slow_command_of_a_long_message_loses_none_of_its_lines(world: Any) -> None:
    lines = ["sleep 0.8", *[f": {'x' * 50}"] * 80, "sleep 0.3; echo last-$((1+1))"]
    assert "last-2" in (await world.shell("\n".join(lines)))["stdout"]


async def test_a_prompt_that_shows_long_after_the_command_is_waited_for(world: Any) -> None:
    os.mkfifo(world.cwd / "silent")
    result = await world.shell('PROMPT_COMMAND="$PROMPT_COMMAND; read -rt 0.2 _ <>silent"\necho x-$((1+1))')
    assert result["stdout"].endswith("x-2\r\n<<PINOKIO_SHELL>>")


async def test_a_match_waits_for_the_rest_of_its_line(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "REST_OF_LINE", LONG)
    result = await world.shell(
        "printf 'http:''//127.0.0.1:78'; sleep 0.1; echo 60; sleep 1000",
        on=[{"event": r"/http:\/\/127\.0\.0\.1:\d+/", "done": True}],
    )
    assert result["event"].items[0] == "http://127.0.0.1:7860"


async def test_a_match_without_a_newline_is_taken_after_a_moment(world: Any) -> None:
    waiting = world.shell("printf 'rea''dy?'; sleep 1000", on=[{"event": r"/ready\?/", "done": True}])
    result = await asyncio.wait_for(waiting, LONG)
    assert result["event"].items[0] == "ready?"


async def test_slow_matcher_holds_the_program_back(world: Any) -> None:
    world.sidecar.delay = 0.1
    task = asyncio.ensure_future(world.shell("yes $(seq -s ' ' 1000)"))
    await asyncio.sleep(1)
    assert len(world.output) < 3_000_000
    await world.shells.kill_group(world.run_.key)
    await task


async def test_triggers_and_unknown_handler_keys(world: Any) -> None:
    await world.shell("echo evt-$((1+1))", on=[{"event": r"/evt-2/", "trigger": "act", "fail": True}])
    assert world.run_.triggered[0][0] == "act"
    assert "`fail`" in world.events("warning")[0]["text"]


async def test_another_shell(world: Any) -> None:
    result = await asyncio.wait_for(world.shell("echo in-$0-$((1+1))", shell="sh"), LONG)  # noqa: S604  # the parameter of a step
    assert "in-" in result["stdout"]
    assert "-2" in result["stdout"]


async def test_another_shell_may_take_long_to_show_its_prompt(world: Any) -> None:
    slow = world.cwd / "slow"
    slow.write_text("#!/bin/sh\nsleep 1.2\nexec sh\n")
    slow.chmod(0o755)
    result = await asyncio.wait_for(world.shell("echo in-$((1+1))", shell=str(slow)), LONG)
    assert "in-2" in result["stdout"]


async def test_sudo_as_root_runs_directly(world: Any) -> None:
    result = await world.shell("id -u; exit 3", sudo=True)
    assert "0\r\n" in result["stdout"] + "\r\n" or "sudo" in result["stdout"]
    assert "error" not in result
