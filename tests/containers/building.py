"""What tests of builds, locks and exports share: homes of their own, a world outside that moves on, file trees."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound, NotFound

from orchestrator.engine.home import Home
from orchestrator.places.container import names
from tests.containers.lab import PATIENCE
from tests.lock.world import commit, repository, run, wheel

ROOT = Path(__file__).parent.parent.parent
ROOTFS = "pinoctl-rootfs:bookworm"
SERVED = Path(__file__).with_name("served.py")
PORT = 8000


@dataclass
class Ran:
    """Hold how a command ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Place:
    """Be one home with containers: `pinoctl` runs there, and `close` removes everything it made."""

    folder: Path
    client: docker.DockerClient
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(self.folder)

    @property
    def key(self) -> str:
        return names.home_key(self.home)

    def pinoctl(self, *words: str | Path, fails: bool = False, **more: str) -> Ran:
        """Run a command of ours and check that it ends well, or `fails`."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PINOCTL_", "PIP_", "UV_", "NPM_", "npm_", "GIT_")) and not name.endswith("_TOKEN")
        }
        base = os.environ.get("PINOCTL_BASE_IMAGE") or ROOTFS
        ours = {"PINOCTL_HOME": str(self.folder), "PINOCTL_PLACE": "container", "PINOCTL_BASE_IMAGE": base}
        done = subprocess.run(
            [sys.executable, "-m", "cli", *map(str, words)], cwd=ROOT, env={**kept, **ours, **self.environ, **more},
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600, check=False,
        )  # fmt: skip
        said = f"`pinoctl {' '.join(map(str, words))}` ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert (done.returncode != 0) == fails, said
        return Ran(done.returncode, done.stdout, done.stderr)

    def image(self, app: str) -> str | None:
        """Return the id of the image that an app runs from."""
        with contextlib.suppress(ImageNotFound):
            return str(self.client.images.get(names.current(self.home, app)).id)
        return None

    def images(self) -> list[Any]:
        """Return every image of this home, checkpoints as well."""
        found: list[Any] = self.client.images.list(all=True, filters={"label": f"{names.HOME}={self.key}"})
        return found

    def close(self) -> None:
        """Remove the containers, images and volumes of this home."""
        for container in self.client.containers.list(all=True, ignore_removed=True):
            with contextlib.suppress(APIError):
                if container.labels.get(names.HOME) == self.key or container.name.endswith(
                    (self.key, f"{self.key}-build")
                ):
                    container.remove(force=True, v=True)
        for _ in range(3):  # one that others are made from goes after them
            for image in self.images():
                for reference in image.tags or [image.id]:
                    with contextlib.suppress(APIError):
                        self.client.images.remove(reference, force=bool(image.tags))
        with contextlib.suppress(NotFound):
            self.client.volumes.get(names.volume(self.home, {})).remove(force=True)
        for volume in self.client.volumes.list(filters={"label": f"{names.HOME}={self.key}"}):
            with contextlib.suppress(APIError):
                volume.remove(force=True)


@contextlib.contextmanager
def place_in(folder: Path, client: docker.DockerClient, **environ: str) -> Iterator[Place]:
    """Yield a home below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder, client, environ)
    try:
        yield place
    finally:
        place.close()


def base_image(client: docker.DockerClient) -> str:
    """Return the id of a base image; the fixture of that name has made one."""
    listed = client.images.list(filters={"label": f"{names.KIND}=base"})
    return str(listed[0].id)


@dataclass
class World:
    """Be what launchers fetch from, in a container of its own; `folder` is served, and a test changes it at will."""

    folder: Path
    url: str
    container: Any

    @property
    def index(self) -> str:
        return f"{self.url}/simple"

    def wheel(self, name: str, version: str, requires: tuple[str, ...] = ()) -> Path:
        return wheel(self.folder / "wheels", name, version, requires)

    def repository(self, name: str, **files: str) -> str:
        return repository(self.folder / "git" / name, **files)

    def commit(self, name: str, **files: str) -> str:
        return commit(self.folder / "git" / name, **files)

    def forget(self, name: str, text: str) -> str:
        """Put another history in the place of a repository's, its old commits gone for good."""
        folder = self.folder / "git" / name
        run("git", "checkout", "-q", "--orphan", "other", cwd=folder)
        made = commit(folder, text__txt=text)
        run("git", "branch", "-D", "main", cwd=folder)
        run("git", "branch", "-m", "main", cwd=folder)
        run("git", "reflog", "expire", "--expire=now", "--all", cwd=folder)
        run("git", "gc", "-q", "--prune=now", cwd=folder)
        return made

    def npm(self, name: str, version: str) -> None:
        """Publish an npm package of one module."""
        file = self.folder / "tarballs" / f"{name}-{version}.tgz"
        texts = {
            "package/package.json": json.dumps({"name": name, "version": version, "main": "index.js"}),
            "package/index.js": f"module.exports = {version!r}\n",
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w:gz") as tar:
            for path, text in texts.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(text), 0o644
                tar.addfile(entry, io.BytesIO(text.encode()))

    def write(self, name: str, text: str) -> None:
        """Put a plain file there, at `URL/files/NAME`."""
        file = self.folder / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def asked(self) -> str:
        """Return what was asked for, one request a line."""
        text: bytes = self.container.logs()
        return text.decode()


@contextlib.contextmanager
def world_in(folder: Path, client: docker.DockerClient) -> Iterator[World]:
    """Serve a folder to all containers on the bridge; the server is a container itself."""
    for name in ("wheels", "git", "files", "tarballs", "yanked"):
        (folder / name).mkdir(parents=True)
    container = client.containers.run(
        base_image(client), ["-u", "/served.py"], entrypoint=["python3"], user="0", detach=True, init=True,
        name=f"rebuild-world-{uuid.uuid4().hex[:8]}", healthcheck={"test": ["NONE"]}, labels={"pinoctl.test": "world"},
        volumes={str(folder): {"bind": "/world", "mode": "ro"}, str(SERVED): {"bind": "/served.py", "mode": "ro"}},
    )  # fmt: skip
    try:
        container.reload()
        address = container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        world = World(folder, f"http://{address}:{PORT}", container)
        world.write("there", "yes")
        await_page(f"{world.url}/files/there")
        yield world
    finally:
        container.remove(force=True, v=True)


def await_page(url: str, *, token: str | None = None, holds: str = "") -> str:
    """Return a page as soon as it is there and holds a text."""
    end, last = time.monotonic() + PATIENCE, "nothing"
    while time.monotonic() < end:
        try:
            last = page(url, token=token)
            if holds in last:
                return last
        except OSError as error:
            last = str(error)
        time.sleep(0.1)
    raise AssertionError(f"`{url}` did not answer with `{holds}`: {last}")


def page(url: str, *, token: str | None = None) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def refused(url: str) -> int:
    """Return the status with which a page is refused."""
    try:
        page(url)
    except urllib.error.HTTPError as error:
        return error.code
    raise AssertionError(f"`{url}` is open to everybody")


@contextlib.contextmanager
def running(client: docker.DockerClient, image: str, **environ: str) -> Iterator[tuple[Any, str]]:
    """Run an image as anybody would, with nothing of pinoctl's around; yield its container and URL."""
    container = client.containers.run(
        image, detach=True, environment=environ, ports={"8080/tcp": ("127.0.0.1", None)},
        name=f"rebuild-run-{uuid.uuid4().hex[:8]}", cap_drop=["ALL"], security_opt=["no-new-privileges:true"],
    )  # fmt: skip
    try:
        container.reload()
        yield container, f"http://127.0.0.1:{container.ports['8080/tcp'][0]['HostPort']}/"
    finally:
        container.remove(force=True, v=True)


# file trees

# git's internals, bytecode and logs differ between any two installations; the home's own book-keeping has times in it
NOT_COMPARED = re.compile(r"(^|/)(\.git|__pycache__|logs)(/|$)|\.pyc$|^pinokio/(installed|run)(/|$)")


def tree(client: docker.DockerClient, image: str, *below: str) -> dict[str, str]:
    """Return every path of an image below some folders with its kind, mode and what it holds."""
    container = client.containers.create(image)
    found: dict[str, str] = {}
    try:
        stream = _Stream(container.export(chunk_size=1 << 20))
        with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]  # all it does is read
            for entry in tar:
                name = entry.name.rstrip("/")
                if not any(name == each or name.startswith(f"{each}/") for each in below) or NOT_COMPARED.search(name):
                    continue
                content = tar.extractfile(entry) if entry.isreg() else None
                held = hashlib.sha256(content.read()).hexdigest() if content is not None else entry.linkname
                found[name] = f"{entry.type.decode()} {entry.mode:o} {entry.uid}:{entry.gid} {held}"
    finally:
        container.remove()
    return found


class _Stream:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._kept = chunks, b""

    def read(self, size: int) -> bytes:
        while len(self._kept) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._kept += chunk
        taken, self._kept = self._kept[:size], self._kept[size:]
        return taken


def unlike(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Name the paths in which two trees differ."""
    return [
        f"{path}: {before.get(path)} -> {after.get(path)}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


# launchers

SERVER = """
import http.server, json, pathlib, subprocess, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = pathlib.Path("said.txt").read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
START = """
module.exports = { daemon: true, run: [
  { method: "shell.run", params: { message: "python3 server.py {{port}}",
      on: [{ event: "/(http:\\\\/\\\\/[0-9.:]+)/", done: true }] } },
  { method: "local.set", params: { url: "{{input.event[1]}}" } }
] }
"""
MENU = """
module.exports = { version: "3.0", title: "TITLE", menu: async (kernel, info) => {
  if (!info.exists("said.txt")) return [{ default: true, text: "Install", href: "install.js" }]
  if (info.running("start.js")) return [{ default: true, text: "Open", href: info.local("start.js").url || "start.js" }]
  return [{ default: true, text: "Start", href: "start.js" }]
} }
"""


def launcher(folder: Path, steps: list[dict[str, Any]], said: str = "", **more: Any) -> Path:
    """Write a launcher whose install script has these steps and ends by writing what its page says."""
    last = {"method": "fs.write", "params": {"path": "said.txt", "text": said or f"here is {folder.name}"}}
    folder.mkdir(parents=True, exist_ok=True)
    install = {**more, "run": [*steps, last]}
    texts = {
        "install.js": f"module.exports = {json.dumps(install, indent=1)}\n",
        "start.js": START,
        "pinokio.js": MENU.replace("TITLE", folder.name),
        "server.py": SERVER,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def shell(message: str | list[str], **params: Any) -> dict[str, Any]:
    """Return a step that runs a command."""
    return {"method": "shell.run", "params": {"message": message, **params}}


def garden(folder: Path, world: World) -> Path:
    """Write a launcher that takes something of every kind from the world, always the newest."""
    options = f"--index-url {world.index}"
    trusted = f"--trusted-host {world.url.split('/')[2].split(':')[0]}"
    return launcher(folder, [
        shell(f"uv pip install {options} alpha", venv="env"),
        shell(f"uv pip install git+{world.url}/git/fromgit", venv="env"),
        shell(f"git clone --depth 1 {world.url}/git/lib lib"),
        shell(f"python -m venv other && other/bin/pip install {options} {trusted} beta"),
        shell(f"npm install --registry {world.url}/npm left", path="web"),
        {"method": "fs.download", "params": {"uri": f"{world.url}/files/words.txt", "dir": "words"}},
    ])  # fmt: skip


def fill(world: World) -> None:
    """Put the first version of everything into the world."""
    world.wheel("alpha", "1.0", ("gamma",))
    world.wheel("beta", "1.0", ("gamma",))
    world.wheel("gamma", "1.0")
    world.repository("lib", lib__txt="the first")
    (world.folder / "git" / "fromgit").parent.mkdir(exist_ok=True)
    from tests.lock.world import package_repository  # noqa: PLC0415  # only here

    package_repository(world.folder / "git" / "fromgit", "first = True\n")
    world.npm("left", "1.0.0")
    world.write("words.txt", "words")


def move_on(world: World) -> None:
    """Bring out something newer of everything."""
    world.wheel("alpha", "2.0", ("gamma", "delta"))
    world.wheel("beta", "1.1", ("gamma",))
    world.wheel("gamma", "1.1")
    world.wheel("delta", "0.1")
    world.commit("lib", lib__txt="the second")
    world.commit("fromgit", text__txt="second = True\n")
    world.npm("left", "1.1.0")


def found_in(chunks: Iterator[bytes], secrets: list[str]) -> set[str]:
    """Return those of some texts that a stream of bytes holds."""
    longest = max(map(len, secrets))
    found: set[str] = set()
    before = b""
    for chunk in chunks:
        text = before + chunk
        found |= {secret for secret in secrets if secret.encode() in text}
        before = text[-longest:]
    return found


def found_below(folder: Path, secrets: list[str]) -> set[str]:
    """Name the files below a folder that hold one of some texts."""
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink() and found_in(iter([file.read_bytes()]), secrets)
    }
