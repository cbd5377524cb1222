"""A home for launchers in the patterns that real ones use, and what every such test asks of `up` and `down`."""

# launchers are data: a step per line reads best

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.commands.conftest import Program
from tests.patterns.sources import SERVER_JS, SERVER_PY

MARK = "PATTERN_MARK"


def marked(mark):
    """Return the processes that inherited this mark, with their command lines; zombies have none."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def page(url, timeout=60):
    """Return what a server answers."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode(errors="replace")


class App:
    """Bring one launcher up and down in the patterns' home."""

    def __init__(self, program, folder):
        self.program, self.folder, self.name, self.mark = program, folder, folder.name, str(folder)
        self.env = {MARK: self.mark}
        self.err = ""

    def run(self, *words, **keywords):
        return self.program(*words, **{**self.env, **keywords})

    def start(self, *words):
        """Start the program in the background."""
        return subprocess.Popen(self.program.command(*words), env=self.program.environment(**self.env), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def up(self, *options, target=None, fails=False, **keywords):
        """Bring it up; returns the JSON that `up` ends with, after one answered request."""
        ran = self.run("up", target or self.folder, "--json", *options, **keywords)
        self.err = ran.err
        assert ran.out, ran.err
        result = ran.json
        if fails:
            assert ran.status == 1, ran.err
            assert result["url"] is None
            assert result["state"].startswith("failed"), result
        else:
            assert ran.status == 0, ran.err
            assert result["state"] == "ready", ran.err
        return result

    @property
    def status(self):
        """What its agent tells of it."""
        return self.program.live(self.name, **self.env)

    @property
    def state(self):
        return self.run("status", self.name, "--json").json["state"]

    def read(self, path):
        return (self.folder / path).read_text()

    def logs(self, *texts):
        """Wait until all of these were printed."""
        end = time.monotonic() + 60
        while not all(text in (printed := self.run("logs", self.name).out) for text in texts):
            assert time.monotonic() < end, printed

    def down(self):
        """Stop it, and see that nothing is left of it: no process, no open port, no run."""
        before = self.status
        assert before["state"] == "ready" or before["state"].startswith("failed"), before
        ran = self.run("down", self.name, "--json")
        assert ran.status == 0, ran.err
        after = ran.json[0]["state"]
        assert after == ("stopped" if before["state"] == "ready" else before["state"]), ran.json
        self.gone()
        for port in [one["port"] for one in before["ports"]]:
            with pytest.raises(OSError):
                page(f"http://127.0.0.1:{port}/", timeout=1)

    def gone(self):
        """See that no process carries this app's mark, however it left its terminal."""
        end = time.monotonic() + 60
        while (left := marked(self.mark)) and time.monotonic() < end:
            time.sleep(0.02)
        assert left == {}

    def __call__(self, *options, says="hello", **keywords):
        """Bring it up, ask its page, take it down; returns what `up` said."""
        result = self.up(*options, **keywords)
        assert says in page(result["url"])
        self.down()
        return result


@pytest.fixture(scope="session")
def patterns(tmp_path_factory):
    """Return the program with a home of its own for all patterns."""
    home = tmp_path_factory.mktemp("patterns") / "home"
    program = Program(home)
    yield program
    ended = program("down", "--all")
    assert ended.status == 0, ended.err


@pytest.fixture
def app(patterns, tmp_path, request):
    """Return a function that writes a launcher's files into a folder and gives the app; its processes end with the test."""
    made = []

    def write(files, name=None):
        number = f"-{len(made)}" if made else ""
        name = name or request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")[:50] + number
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for path, text in {"server.py": SERVER_PY, "server.js": SERVER_JS, **files}.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(text, indent=1) if isinstance(text, (dict, list)) else text)
        one = App(patterns, folder)
        made.append(one)
        return one

    yield write
    for one in made:
        if marked(one.mark):
            patterns("down", one.name, **one.env)
            patterns("rm", one.name, "--yes", **one.env)
        for pid in marked(one.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def git(*words, cwd=None):
    """Run git with a name and without anybody's own settings."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    who = [
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@localhost",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "commit.gpgsign=false",
    ]
    return subprocess.run(
        ["git", *who, *map(str, words)], cwd=cwd, env=env, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def forge(tmp_path):
    """Return a function that publishes a folder as `https://forge.test/NAME`, and the git settings that lead there."""
    root = tmp_path / "forge"
    root.mkdir()
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f'[url "file://{root}/"]\n\tinsteadOf = https://forge.test/\n[protocol "file"]\n\tallow = always\n'
    )

    def publish(folder, name, *, tag=None):
        bare = root / f"{name}.git"
        if not (folder / ".git").exists():
            git("init", "-q", cwd=folder)
            git("init", "-q", "--bare", bare)
            git("remote", "add", "origin", bare, cwd=folder)
        git("add", "-A", cwd=folder)
        git("commit", "-q", "--allow-empty", "-m", "state", cwd=folder)
        if tag:
            git("tag", tag, cwd=folder)
        git("push", "-q", "--tags", "origin", "HEAD:main", cwd=folder)
        return f"https://forge.test/{name}.git"

    publish.env = {"GIT_CONFIG_GLOBAL": str(settings)}
    return publish
