"""A home with a real launcher in it, and the program run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SERVER = """
import http.server, os, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<p>hello from {os.getcwd()}</p>".encode())

    def log_message(self, *_):
        pass

port = int(sys.argv[1])
print(f"serving {' '.join(sys.argv[2:])} on http://127.0.0.1:{port}", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever()
"""

LAUNCHER = {
    "server.py": SERVER,
    "pinokio.js": """module.exports = {
  title: "Demo", description: "An app for tests",
  menu: async (kernel, info) => {
    if (!info.exists("installed.txt")) return [{default: true, text: "Install", href: "install.js"}]
    if (info.running("start.js")) {
      const local = info.local("start.js")
      if (local && local.url) return [{default: true, text: "Open", href: local.url}]
      return [{default: true, text: "Terminal", href: "start.js"}]
    }
    return [
      {default: true, text: "Start", href: "start.js", params: {mode: "normal"}},
      {text: "Start fast", href: "fast.js", params: {mode: "fast"}},
      {text: "Update", href: "update.js"},
      {text: "Reset", href: "reset.js", confirm: "Delete everything?"},
    ]
  },
}""",
    "install.js": """module.exports = {run: [
  {method: "log", params: {text: "preparing"}},
  {method: "shell.run", params: {message: "printf 'one\\\\rtwo\\\\n'"}},
  {method: "fs.write", params: {path: "installed.txt", text: "yes"}},
]}""",
    "start.js": """module.exports = {daemon: true, run: [
  {method: "shell.run", params: {message: "python3 -u server.py {{port}} {{args.mode}} {{args.extra || ''}}",
                                 on: [{event: "/http:\\\\/\\\\/[0-9.:]+/", done: true}]}},
  {method: "local.set", params: {url: "{{input.event[0]}}"}},
]}""",
    "fast.js": """module.exports = {daemon: true, run: [
  {method: "shell.run", params: {message: "python3 -u server.py {{port}} {{args.mode}} {{args.extra || ''}}",
                                 on: [{event: "/http:\\\\/\\\\/[0-9.:]+/", done: true}]}},
  {method: "local.set", params: {url: "{{input.event[0]}}"}},
]}""",
    "update.js": """module.exports = {run: [{method: "fs.write", params: {path: "version.txt", text: "2"}}]}""",
    "reset.js": """module.exports = {run: [{method: "fs.rm", params: {path: "installed.txt"}}]}""",
    "tool.js": """module.exports = {run: [
  {method: "log", params: {text: "tool {{args.what}}"}},
  {method: "fs.write", params: {path: "tool.txt", text: "{{args.what}}"}},
]}""",
    "broken.js": """module.exports = {run: [
  {method: "log", params: {text: "before"}},
  {method: "no.such", params: {}},
]}""",
}


@dataclass(frozen=True)
class Ran:
    """Hold what one run of the program left."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out.splitlines()[-1])

    @property
    def last(self):
        return self.out.splitlines()[-1] if self.out else ""


class Program:
    """Run `pinoctl` in one home."""

    def __init__(self, home):
        self.home = home

    def environment(self, **more):
        keep = {
            key: value for key, value in os.environ.items() if not key.startswith("PINOCTL") or key == "PINOCTL_PLACE"
        }
        return {**keep, "PINOCTL_HOME": str(self.home), **more}

    def command(self, *arguments):
        return [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]

    def __call__(self, *arguments, text="", cwd=None, timeout=300, **env):
        ran = subprocess.run(self.command(*arguments), input=text.encode(), capture_output=True,
                             cwd=cwd, timeout=timeout,
                             env=self.environment(**env), check=False)  # fmt: skip
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def live(self, app, **env):
        """Return the status of an app that is up, once its agent itself tells it.

        `status` shows what an agent wrote last where that does not answer in a moment: no ports, no scripts.
        """
        end = time.monotonic() + 60
        while (found := self("status", app, "--json", **env).json)["since"] is None:
            assert time.monotonic() < end, f"the agent of `{app}` does not answer"
        return found

    def start(self, *arguments, **keywords):
        return subprocess.Popen(self.command(*arguments), env=self.environment(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords)  # fmt: skip


def processes(home, module):
    """Return the processes of one of our modules that name this home on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(home).encode() in words and module.encode() in words:
                found.append(int(entry.name))
    return found


def agents(home):
    """Return the agents' processes of a home."""
    return processes(home, "orchestrator.agent")


def page(url):
    """Return what a URL shows, "" when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def served(folder, url):
    """Tell whether a URL is answered by the launcher in a folder; ports are taken again quickly, by anybody."""
    return page(url) == f"<p>hello from {folder}</p>"


@pytest.fixture(scope="session")
def pinoctl(tmp_path_factory):
    """Return the program with a home for the whole session, so that its base environment is built once."""
    program = Program(tmp_path_factory.mktemp("pinokio"))
    yield program
    ended = program("down", "--all")
    assert ended.status == 0, ended.err
    assert agents(program.home) == []


@pytest.fixture
def launcher(tmp_path):
    """Return a function that writes a launcher with the given files changed (None leaves one out)."""

    def write(name, **changes):
        folder = tmp_path / name
        folder.mkdir()
        files = {**LAUNCHER, **{key.replace("_", ".", 1): text for key, text in changes.items()}}
        for file, text in files.items():
            if text is not None:
                (folder / file).write_text(text)
        return folder

    return write
