"""The Pinokio home: one folder that holds apps, caches, shared models and our own state (spec 1.1)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """Name every place inside one PINOKIO_HOME; creating them is up to whoever writes there."""

    root: Path

    @property
    def api(self) -> Path:
        """Folder of the installed apps, one folder (or link) each."""
        return self.root / "api"

    @property
    def bin(self) -> Path:
        """Tools shared by all apps: `miniforge`, `npm`, our base environment."""
        return self.root / "bin"

    @property
    def base(self) -> Path:
        """Our base environment, whose `bin` goes on PATH where there is no base conda (design, decision 10)."""
        return self.root / "bin" / "base"

    @property
    def miniforge(self) -> Path:
        """The base conda, where there is one."""
        return self.root / "bin" / "miniforge"

    @property
    def cache(self) -> Path:
        """Caches of tools, one subfolder per variable of spec 9.1."""
        return self.root / "cache"

    @property
    def drive(self) -> Path:
        """What apps share through `fs.link` (spec 10), unless PINOKIO_DRIVE says otherwise."""
        return self.root / "drive"

    @property
    def logs(self) -> Path:
        """Journals and terminal logs."""
        return self.root / "logs"

    @property
    def environment(self) -> Path:
        """The file of variables that every app inherits (spec 9.1)."""
        return self.root / "ENVIRONMENT"

    @property
    def run(self) -> Path:
        """Sockets and locks of running agents."""
        return self.root / "run"

    @property
    def library(self) -> Path:
        """The SQLite index of the apps."""
        return self.root / "library.sqlite"

    def app(self, name: str) -> Path:
        """Folder of one app."""
        return self.api / name

    def app_of(self, path: str | os.PathLike[str]) -> Path | None:
        """Return the app folder that a path lies in (the first folder below `api`, links kept), or None."""
        try:
            relative = Path(os.path.abspath(path)).relative_to(self.api)  # noqa: PTH100  # resolve() would follow links
        except ValueError:
            return None
        return self.api / relative.parts[0] if relative.parts else None

    def app_root(self, path: str | os.PathLike[str]) -> Path | None:
        """Return the folder of an app's ENVIRONMENT: `<app>/pinokio` if there is one, else the app (spec 1.2)."""
        app = self.app_of(path)
        if app is None:
            return None
        inner = app / "pinokio"
        return inner if inner.is_dir() else app
