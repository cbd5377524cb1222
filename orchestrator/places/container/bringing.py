"""Bringing a launcher into a container that is not at work: the files that it has not as they are here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.agent.removing import NAME as REMOVED_LIST
from orchestrator.places.container import files, launcher
from orchestrator.places.container.docker import Docker, told
from orchestrator.places.container.reading import sums_of

if TYPE_CHECKING:
    from orchestrator.engine.home import Home

Changes = tuple[list[launcher.LauncherFile], list[str]]


@dataclass(frozen=True, slots=True)
class Bringing:
    """Bring a launcher's files into containers; `inner` is the home there."""

    docker: Docker
    home: Home
    app: str
    inner: str
    files: list[launcher.LauncherFile]

    @property
    def _list(self) -> str:
        return f"{self.inner}/installed/{self.app}/launcher.json"

    def changed(self, container: str) -> Changes | None:
        """Return the launcher's files that are new to a container and those that it has no more, None without any."""
        now = launcher.digests(self.files, sums=sums_of(self.home))
        known = files.read_json(self.docker, container, self._list)
        before = known if isinstance(known, dict) else {}
        changed = [file for file in self.files if before.get(file.path) != now[file.path]]
        gone = sorted(set(before) - set(now))
        return None if known is not None and not changed and not gone else (changed, gone)

    def put(self, container: str) -> None:
        """Bring the launcher in the container to where it is here; what steps made of its other files stays."""
        found = self.changed(container)
        if found is None:
            return
        changed, gone = found
        now = launcher.digests(self.files, sums=sums_of(self.home))
        folder, app = self.home.app(self.app), f"api/{self.app}"
        with launcher.packed(folder, changed, app) as archive, told("the launcher cannot be copied"):
            self.docker.api.put_archive(container, self.inner, archive)
        if gone:  # the agent deletes them when it starts
            listed = json.dumps([f"{self.inner}/{app}/{path}" for path in gone]).encode()
            files.write(self.docker, container, f"{self.inner}/{REMOVED_LIST}", listed, below=self.inner)
        files.write(self.docker, container, self._list, json.dumps(now).encode(), below=self.inner)
