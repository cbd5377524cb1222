"""A home with apps that can be exposed, an SSH server that leads to them, and the processes of both."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.engine.home import Home
from orchestrator.expose.client import GateClient
from tests.commands.conftest import Program, processes
from tests.expose.tunnels.lab import PATIENCE, Sshd, descendants, words
from tests.expose.world import free_port

SERVER = Path(__file__).with_name("server.py")


def start_script(name, page):
    """Return a script that starts the server of these tests and says where its page is."""
    message = f"{shlex.quote(sys.executable)} -u server.py {{{{port}}}} {name} '{page}'"
    ready = {"event": "/http:\\/\\/[0-9.:]+[^\\s]*/", "done": True}
    return json.dumps({
        "daemon": True,
        "run": [
            {"method": "shell.run", "params": {"message": message, "on": [ready]}},
            {"method": "local.set", "params": {"url": "{{input.event[0]}}"}},
        ],
    })  # fmt: skip


class Lab(Program):
    """The program in one home, in front of an SSH server that forwards; `key` is in an agent of its own."""

    def __init__(self, folder: Path, **env):
        super().__init__(folder / "home")
        self.folder, self.env = folder, env
        self.remote = free_port()
        ssh = folder / "ssh"
        ssh.mkdir()
        banner = f"Tunnel to http://127.0.0.1:{self.remote}\n"
        self.sshd = Sshd(ssh, banner).prepare(ssh / "key")
        self._agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", ssh / "agent"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        adding, env = ["ssh-add", "-q", ssh / "key"], {**os.environ, "SSH_AUTH_SOCK": str(ssh / "agent")}
        # its socket is there before anybody listens at it
        self.until(lambda: subprocess.run(adding, env=env, capture_output=True, check=False).returncode == 0)
        self.sshd.start()

    def environment(self, **more):
        """Return the environment of a call: a machine of the user's own, whatever this one is."""
        agent = str(self.folder / "ssh" / "agent")
        return super().environment(**{"PINOCTL_PLATFORM": "local", "SSH_AUTH_SOCK": agent, **self.env, **more})

    # -- the ways out

    @property
    def fixed(self):
        """Name the tunnel whose URL is always the same: one app at a time can have it."""
        return f"{self.any}/{self.remote}"

    @property
    def any(self):
        """Name the tunnel that gives every app a port of its own."""
        return f"ssh:{self.sshd.user}@127.0.0.1:{self.sshd.port}"

    # -- apps

    def write(self, name, page="/"):
        """Write an app's launcher and return its folder."""
        folder = self.folder / name
        folder.mkdir()
        shutil.copy(SERVER, folder / "server.py")
        (folder / "start.json").write_text(start_script(name, page), "utf-8")
        return folder

    def good(self, *arguments, **keywords):
        """Run a command that has to succeed."""
        ran = self(*arguments, **keywords)
        assert ran.status == 0, f"{arguments}: {ran.err}"
        return ran

    def up(self, name, *options, page="/"):
        """Bring an app up, exposed through the tunnel with the fixed URL unless told otherwise; returns its link."""
        folder = self.folder / name if (self.folder / name).exists() else self.write(name, page)
        how = () if {"--tunnel", "--no-tunnel"} & set(options) else ("--tunnel", self.fixed)
        ran = self.good("up", folder, "--quiet", *how, *options)
        assert ran.out.count("\n") == 1, ran.out
        return ran.last

    def shown(self, name):
        """Return what the gate shows of an app."""
        return GateClient(Home(self.home)).ask("state", app=name) or {}

    # -- processes

    def gate(self):
        """Return the process that serves and the one that keeps it alive."""
        found = {}
        for pid in processes(self.home, "orchestrator.commands.gate_process"):
            with contextlib.suppress(OSError, IndexError):
                found[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        # a third is one that becomes another program in a moment
        served = [pid for pid, parent in found.items() if parent in found and found[parent] not in found]
        assert len(served) == 1, found
        return served[0], found[served[0]]

    def ssh(self):
        """Return the processes of the tunnels' ssh clients."""
        return [pid for pid in descendants(self.gate()[0]) if words(pid)[0].endswith(b"ssh")]

    def server(self, name):
        """Return the process of an app's server."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    said = words(int(entry.name))
                    if b"server.py" in said and name.encode() in said and (entry / "cwd").resolve().name == name:
                        return int(entry.name)
        raise AssertionError(f"`{name}` has no server")

    @staticmethod
    def kill(*pids):
        """Kill processes at once."""
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    @staticmethod
    def until(enough, seconds=PATIENCE):
        """Wait until something is so and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError, OSError):
                if found := enough():
                    return found
            time.sleep(0.02)
        raise AssertionError("it never came to that")

    def returns(self, link, seconds=PATIENCE):
        """Wait until the app itself answers at a link, by a token alone."""
        return self.until(lambda: "treasure" in fetch(link).text, seconds)

    def close(self):
        """Stop everything."""
        ended = self("down", "--all")
        with contextlib.suppress(AssertionError, ProcessLookupError):
            self.kill(*reversed(self.gate()))
        self.sshd.stop()
        self._agent.kill()
        self._agent.wait()
        assert ended.status == 0, ended.err


class Answer:
    """What was answered, or `status` 0 when nobody did."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


_OPENER = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))


def fetch(url, method="GET", body=None, *, timeout=PATIENCE, **headers):
    """Ask for something as a program does: no cookies, no redirects followed."""
    request = urllib.request.Request(url, body, {"Accept": "*/*", **headers}, method=method)  # our own URL
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())
    except OSError as error:
        return Answer(0, {}, str(error).encode())


def parts(link):
    """Part a link into its base (`http://host:port`) and its token."""
    split = urlsplit(link)
    return f"{split.scheme}://{split.netloc}", split.query.rpartition("token=")[2]
