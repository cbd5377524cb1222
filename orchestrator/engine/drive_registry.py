"""`drives.json`: which folder of the drive holds what, by git remote and route (spec 10)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.engine.disk import disk, write_whole
from orchestrator.engine.errors import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Table = dict[str, dict[str, str]]


def clean_remote(url: str) -> str:
    """Write a git URL as `https://host/owner/name.git`, without passwords, whatever form it had; local paths stay."""
    text = url.strip()
    scp = re.match(r"^(?:[^@/]+@)?([^:/]+):(?!//)(.+)$", text)
    if scp:
        text = f"https://{scp.group(1)}/{scp.group(2)}"
    found = re.match(r"^[a-z+]+://(?:[^@/]*@)?([^/]+)/+(.*)$", text, re.IGNORECASE)
    if not found:
        return text
    path = found.group(2).strip("/").removesuffix(".git").strip("/")
    return f"https://{found.group(1).lower().removeprefix('www.')}/{path}.git"


def normalise_remote(url: str) -> str:
    """Reduce a git URL to what the forms of one repository have in common; GitHub's names ignore case."""
    cleaned = clean_remote(url)
    return cleaned.lower() if cleaned.startswith("https://github.com/") else cleaned


class Registry:
    """Read and write the registry of one drive; everything that changes it happens inside `locked`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "drives.json"

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[], None], sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
        """Keep other apps from linking at the same time; calls `waiting` once when one does."""
        with disk("use the drive", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / "drives.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            told = False
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        waiting()
                        told = True
                    sleep(0.1)
            yield
        finally:
            os.close(handle)

    def read(self) -> Table:
        """Return the registry, empty when there is none; raise ScriptError for one that cannot be understood."""
        try:
            found = json.loads(self.file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ScriptError(
                f"the registry of shared folders `{self.file}` cannot be read: {error}",
                hint="repair it; without it apps would lose the links to their shared files",
            ) from error
        if not isinstance(found, dict):
            raise ScriptError(f"the registry of shared folders `{self.file}` holds no object", hint="repair it by hand")
        return {
            remote: {route: path for route, path in routes.items() if isinstance(path, str)}
            for remote, routes in found.items()
            if isinstance(routes, dict)
        }

    def folder(self, remotes: Sequence[str], route: str) -> Path | None:
        """Find the drive folder of a route: a registered one first, else a new subfolder of a registered drive."""
        table = self.read()
        own = [
            routes
            for remote in remotes
            for key, routes in table.items()
            if normalise_remote(key) == normalise_remote(remote)
        ]
        for routes in own:
            if route in routes:
                return self._present(routes[route])
        for routes in own:
            for known, path in routes.items():
                return self._drive_of(self._present(path), known) / route
        return None

    def new_folder(self, route: str, now_ms: int) -> Path:
        """Name a folder in a drive that does not exist yet: `drives/peers/d<unix ms>/<route>`."""
        while (drive := self.root / "drives" / "peers" / f"d{now_ms}").exists():
            now_ms += 1
        return drive / route

    def register(self, remotes: Sequence[str], route: str, folder: Path) -> None:
        """Write down that the repositories keep a route in a folder."""
        table = self.read()
        before = json.dumps(table)
        for remote in remotes:
            key = next(
                (key for key in table if normalise_remote(key) == normalise_remote(remote)), clean_remote(remote)
            )
            table.setdefault(key, {})[route] = str(folder)
        if json.dumps(table) != before:
            with disk("write", self.file):
                write_whole(self.file, [json.dumps(table, indent=2).encode()], alone=True)

    def _present(self, path: str) -> Path:
        """Return a registered folder; one of a drive that has moved since is looked for in this one."""
        registered = Path(path)
        if registered.exists():
            return registered
        tail = path.partition("/drives/peers/")[2]
        return self.root / "drives" / "peers" / tail if tail and ".." not in Path(tail).parts else registered

    def _drive_of(self, folder: Path, route: str) -> Path:
        peers = self.root / "drives" / "peers"
        if folder.is_relative_to(peers) and folder != peers:
            return peers / folder.relative_to(peers).parts[0]
        return folder.parents[len(Path(route).parts) - 1]
