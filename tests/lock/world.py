"""Small pieces of the world outside that a test can move on: wheels, a package index, git repositories."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import os
import subprocess
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path

GIT = {
    "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.org", "GIT_AUTHOR_DATE": "2025-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_COMMITTER_DATE": "2025-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


def plain_environment(**more: str) -> dict[str, str]:
    """Return what commands of a test run with: nothing of the machine that would change what they do."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "UV_", "PIP_", "VIRTUAL"))
    }
    kept.pop("PYTHONPATH", None)
    return {**kept, **GIT, **more}


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None, fails: bool = False) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=plain_environment() if env is None else env,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=100, check=False,
    )  # fmt: skip
    text = done.stdout.decode("utf-8", "replace")
    assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}:\n{text}"
    return text.strip()


def wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = (), generator: str = "test (1)") -> Path:
    """Make a wheel of a package with one module, by hand."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}/__init__.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}\nA text\nVersion: 9\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: {generator}\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_sum(text)},{len(text)}\n" for path, text in files.items()) + f"{info}/RECORD,,\n"
    file = folder / f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path, (2025, 1, 1, 0, 0, 0)), text)
    return file


def _sum(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@contextlib.contextmanager
def index(folder: Path) -> Iterator[str]:
    """Serve the wheels of a folder as a package index without upload dates; yield its URL."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            parts = self.path.strip("/").split("/")
            if parts[0] != "simple":
                super().do_GET()
                return
            names = sorted(file.name for file in folder.glob("*.whl") if file.name.split("-")[0] == parts[1])
            links = "".join(f'<a href="/{urllib.parse.quote(name)}">{name}</a>' for name in names).encode()
            self.send_response(200 if names else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(links)))
            self.end_headers()
            self.wfile.write(links)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def repository(folder: Path, **files: str) -> str:
    """Make a repository with one commit, and return that."""
    folder.mkdir(parents=True)
    run("git", "init", "-q", "-b", "main", cwd=folder)
    run("git", "config", "uploadpack.allowAnySHA1InWant", "true", cwd=folder)
    run("git", "config", "uploadpack.allowFilter", "true", cwd=folder)
    return commit(folder, **files)


def commit(folder: Path, **files: str) -> str:
    """Commit files (`a__b` stands for the name `a.b`) and return the commit."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    run("git", "add", "-A", cwd=folder)
    run("git", "commit", "-q", "--allow-empty", "-m", "a change", cwd=folder)
    return head(folder)


def head(folder: Path) -> str:
    return run("git", "rev-parse", "HEAD", cwd=folder)


BACKEND = """
import zipfile


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "fromgit-1.0-py3-none-any.whl"
    info = "fromgit-1.0.dist-info"
    wheel = "Wheel-Version: 1.0\\nGenerator: setuptools (70.1.0)\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    with zipfile.ZipFile(folder + "/" + name, "w") as archive:
        archive.writestr("fromgit/__init__.py", open("text.txt").read())
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: fromgit\\nVersion: 1.0\\n")
        archive.writestr(info + "/WHEEL", wheel)
        archive.writestr(info + "/RECORD", "".join(f"{each},,\\n" for each in [*archive.namelist(), info + "/RECORD"]))
    return name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def package_repository(folder: Path, text: str) -> str:
    """Make a repository of a Python package that builds without anything else."""
    return repository(folder, backend__py=BACKEND, pyproject__toml=PROJECT, text__txt=text)
