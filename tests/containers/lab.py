"""A home with one small app, the real program at work on it, and what Docker holds of both."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.engine.home import Home
from orchestrator.places.container import names, streams

ROOT = Path(__file__).parents[2]
ROOTFS = "pinoctl-rootfs:bookworm"
DYING = Path(__file__).with_name("dying.py")
PATIENCE = 240.0  # seconds: the daemon builds for other tests meanwhile
ANONYMOUS = 64  # letters in the name of a volume that nobody named

Command = str | Mapping[str, Any]
MENU = """module.exports = {
  title: "small",
  menu: async (kernel, info) => info.exists("done.txt")
    ? [{ default: true, text: "Start", href: "start.js" }, { text: "Update", href: "update.js" }]
    : [{ default: true, text: "Install", href: "install.js" }],
}
"""
START = """module.exports = { daemon: true, run: [
  { method: "shell.run", params: { message: "python3 -m http.server {{port}} --bind 127.0.0.1",
    on: [{ event: "/http:\\\\/\\\\/[0-9.:]+/", done: true }] } },
  { method: "local.set", params: { url: "{{input.event[0]}}" } },
]}
"""


def script(commands: Iterable[Command], *, done: bool = False) -> str:
    """Return a script with one step per shell command; `done` adds the file by which the menu sees an installation."""
    given = [command if isinstance(command, Mapping) else {"message": command} for command in commands]
    steps: list[dict[str, Any]] = [{"method": "shell.run", "params": params} for params in given]
    if done:
        steps.append({"method": "fs.write", "params": {"path": "done.txt", "text": "done\n"}})
    return f"module.exports = {{ run: {json.dumps(steps, indent=1)} }}\n"


def ran(word: str, then: str = "") -> str:
    """Return a command which leaves a line in the app, and one on this machine that no container can take back."""
    return f"echo {word} >> ran.txt && echo {word} >> /gate/ran" + (f" && {then}" if then else "")


def failing(command: str, sign: str) -> Command:
    """Return a command whose step fails when it prints `sign`: an exit status makes no step fail."""
    return {"message": command, "on": [{"event": f"/{sign}/", "break": True}]}


def held(word: str) -> str:
    """Return a command which says that it is at work and waits until the test lets it go."""
    return f"touch /gate/at-{word}; while [ ! -e /gate/go ]; do sleep 0.05; done; {ran(word)}"


@dataclass(frozen=True)
class Done:
    """Hold how a command ended and what it said."""

    status: int
    out: str
    said: str

    @property
    def url(self) -> str:
        """The URL that `up` printed last."""
        return self.out.strip().splitlines()[-1]


class Watch:
    """Note which volumes without a name a home's containers had: no label tells it when the containers are gone."""

    def __init__(self, docker: Any, key: str) -> None:
        self._docker = docker
        self._label = f"{names.HOME}={key}"
        self._containers: set[str] = set()
        self._mounts: list[tuple[str, str]] = []
        self._events = docker.events(decode=True, filters={"type": ["container", "volume"]})
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        name, _, value = self._label.partition("=")
        with contextlib.suppress(Exception):  # the stream ends when it is closed, and with its daemon
            for event in self._events:
                actor = event["Actor"]
                if event["Type"] == "container" and actor["Attributes"].get(name) == value:
                    self._containers.add(actor["ID"])
                elif event["Type"] == "volume" and event["Action"] == "mount" and len(actor["ID"]) == ANONYMOUS:
                    self._mounts.append((actor["ID"], actor["Attributes"].get("container", "")))

    def volumes_left(self) -> list[str]:
        """Return those volumes that are still there."""
        ours = {volume for volume, container in list(self._mounts) if container in self._containers}
        return sorted(ours & {volume.name for volume in self._docker.volumes.list()})

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(Exception):  # a test's daemon may be gone
            self._events.close()


class Lab:
    """Keep one home and one app; `docker` is a client of the daemon that `host` names, None for the default."""

    def __init__(self, docker: Any, folder: Path, app: str, *, host: str | None = None) -> None:
        self.docker = docker
        self.app = app
        self.home = Home(folder / "home")
        self.source = folder / app
        self.gate = folder / "gate"
        self.key = names.home_key(self.home)
        self.gate.mkdir()
        self.gate.chmod(0o777)
        self._procs: list[subprocess.Popen[str]] = []
        self._watch = Watch(docker, self.key)
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PINOCTL_", "PINOKIO_"))},
            "PINOCTL_HOME": str(self.home.root),
            "PINOCTL_BASE_IMAGE": ROOTFS,
            "PYTHONPATH": str(ROOT),
            **({"DOCKER_HOST": host} if host else {}),
        }

    # the launcher

    def write(self, install: Iterable[Command] | None = None, **files: str) -> None:
        """Write the launcher: the commands of its installation, and further scripts by name without ending."""
        steps = (ran("one"), ran("two"), ran("three")) if install is None else install
        texts = {"pinokio": MENU, "start": START, "install": script(steps, done=True), **files}
        self.source.mkdir(exist_ok=True)
        for name, text in texts.items():
            (self.source / f"{name}.js").write_text(text)

    @property
    def ran(self) -> list[str]:
        """The steps that really ran, in every container that there was."""
        file = self.gate / "ran"
        return file.read_text().split() if file.exists() else []

    def let_go(self) -> None:
        """Let the steps that are `held` go on."""
        (self.gate / "go").touch()

    # the program

    def start(self, *words: str, die: str | None = None) -> subprocess.Popen[str]:
        """Start pinoctl; `die` says at which request to the daemon it is killed (see dying.py)."""
        program = [sys.executable, str(DYING), die] if die else [sys.executable, "-m", "cli"]
        proc = subprocess.Popen(
            [*program, *words],
            env=self._environ,
            cwd=self.source.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._procs.append(proc)
        return proc

    def wait(self, proc: subprocess.Popen[str]) -> Done:
        """Wait for a command to end."""
        out, said = proc.communicate(timeout=PATIENCE)
        return Done(proc.returncode, out, said)

    def run(self, *words: str, die: str | None = None) -> Done:
        """Run pinoctl to its end."""
        return self.wait(self.start(*words, die=die))

    def up_words(self, *more: str) -> tuple[str, ...]:
        """Return the words that bring the app up."""
        gate = ("--mount", f"{self.gate}:/gate")
        return ("up", str(self.source), "--place", "container", *gate, *more)

    def up(self, *more: str) -> str:
        """Bring the app up, see that it serves, and return its URL."""
        done = self.run(*self.up_words(*more))
        assert done.status == 0, done.said
        assert answers(done.url), done.said
        return done.url

    def ps(self) -> dict[str, Any]:
        """Return what `ps --json` tells of the app."""
        done = self.run("ps", self.app, "--json")
        assert done.status == 0, done.said
        found: dict[str, Any] = json.loads(done.out)
        return found

    def settled(self) -> dict[str, Any]:
        """Return what `ps` tells when the app's agent has answered it: where much is going on that is not at once."""
        found: dict[str, Any] = eventually(lambda: (now := self.ps())["phase"] != "starting" and now)
        return found

    def inside(self, command: str) -> str:
        """Run a command in the app's container and return what it printed."""
        code, said, errors = self.exec("sh", "-c", command, workdir=f"/pinokio/api/{self.app}")
        assert code == 0, errors
        return said.decode()

    def exec(self, *command: str, what: str = "", **how: Any) -> tuple[int | None, bytes, bytes]:
        """Run a command in one of the app's containers as pinoctl does: docker-py's own way loses what comes soon."""
        return streams.run(self.docker, self.container(what).id, list(command), **how)

    # what Docker holds

    @property
    def name(self) -> str:
        """Name of the app's container."""
        return names.container(self.home, self.app)

    def container(self, what: str = "") -> Any:
        """Return one of the app's containers; raises docker's NotFound."""
        return self.docker.containers.get(names.container(self.home, self.app, what))

    def containers(self) -> list[Any]:
        """Return every container of the home, running or not."""
        return list(
            self.docker.containers.list(all=True, ignore_removed=True, filters={"label": f"{names.HOME}={self.key}"})
        )

    def images(self, kind: str | None = None) -> list[Any]:
        """Return the app's images, those below others too."""
        rows = self.docker.images.list(all=True, filters={"label": f"{names.HOME}={self.key}"})
        return [row for row in rows if kind is None or row.labels.get(names.KIND) == kind]

    def check_nothing_left(self) -> None:
        """Fail where the home has more containers than the app's, or that one has volumes that nobody named."""
        assert [each.name for each in self.containers()] == [self.name]
        mounts = [each for each in self.containers()[0].attrs["Mounts"] if each["Type"] == "volume"]
        assert {each["Name"] for each in mounts} == {names.volume(self.home), names.own_volume(self.home, self.app)}
        assert self._watch.volumes_left() == []

    def check_ready(self, url: str) -> None:
        """Fail unless the app serves there and `ps` says so."""
        found = self.settled()
        assert (found["state"], found["url"]) == ("ready", url)
        assert answers(url)

    def clean(self) -> None:
        """Remove everything that the home has in Docker, and end what was started."""
        self._watch.close()
        for proc in self._procs:
            if proc.poll() is None:
                proc.kill()
                proc.communicate()
        for container in self.containers():
            with contextlib.suppress(Exception):  # a test's daemon may be gone
                container.remove(force=True, v=True)
        for _ in range(2):  # what others are built on goes when they are gone
            for image in self.images():
                with contextlib.suppress(Exception):  # see above
                    self.docker.images.remove(image.id, force=True)
        with contextlib.suppress(Exception):  # see above
            self.docker.volumes.get(names.volume(self.home)).remove(force=True)
        with contextlib.suppress(Exception):  # see above
            for volume in self.docker.volumes.list(filters={"label": f"{names.HOME}={self.key}"}):
                volume.remove(force=True)


def answers(url: str) -> bool:
    """Tell whether something serves at a URL."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def eventually(check: Callable[[], Any]) -> Any:
    """Return what a check gives once that is true; fail when it never is."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} s: {check}")


def labels_of(container: Any) -> Mapping[str, str]:
    """Return a container's labels."""
    found: Mapping[str, str] = container.attrs["Config"]["Labels"] or {}
    return found
