"""Where the targets of a plan stand while they are planned, without a change to the home.

An installed app is planned where it is. Any other target is linked, or cloned, into a temporary home beside links to
what the real one holds, so that its scripts find the same neighbours; texts that name the temporary home are put right
afterwards (`relocated`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.home import Home
from orchestrator.engine.repositories import remote_of
from orchestrator.launcher.fetch import fetch
from orchestrator.launcher.git import commit_of
from orchestrator.launcher.names import find_installed, installed, valid_name
from orchestrator.launcher.target import hide_secrets, parse_target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.launcher.git import Progress
    from orchestrator.launcher.target import Target

SCRIPTS = (".js", ".json")
MINE = "api"  # what a temporary home has of its own; all else is a link into the real one


@dataclass(frozen=True, slots=True)
class Staged:
    """Hold one target, ready to be planned.

    `app` is the folder below `home`'s `api`, `shown` where it stands or would stand in the real home, `script` the one
    script to plan (relative to the app), None for the app as a whole. `problem` says why it cannot be planned; `app` is
    then meaningless.
    """

    text: str
    name: str
    home: Home
    app: Path
    shown: Path
    script: str | None = None
    problem: PinoctlError | None = None
    remote: str | None = None
    commit: str | None = None


@dataclass(slots=True)
class Stage:
    """Keep the temporary homes of one plan; `close` removes them, and what was cloned into them."""

    home: Home
    progress: Progress | None = None
    _temporary: list[Home] = field(default_factory=list)

    def close(self) -> None:
        """Remove the temporary homes; the folders that they link to stay."""
        for home in self._temporary:
            shutil.rmtree(home.root, ignore_errors=True)
        self._temporary.clear()

    def put(self, texts: Iterable[str], *, cwd: Path) -> list[Staged]:
        """Find or fetch each target; one that cannot be had is in the answer with its problem.

        A text is a script file, or what `up` takes: a name, a git URL with a ref, or a folder.
        """
        return [self._put(text, cwd) for text in texts]

    def _put(self, text: str, cwd: Path) -> Staged:
        try:
            return self._place(text, cwd)
        except PinoctlError as error:
            nowhere = self.home.api / "unknown"
            return Staged(text, _name_in(text), self.home, nowhere, nowhere, problem=error)

    def _place(self, text: str, cwd: Path) -> Staged:
        file = Path(os.path.abspath(cwd / Path(text).expanduser())) if "://" not in text else None  # noqa: PTH100  # links kept
        if file is not None and file.suffix in SCRIPTS and file.is_file():
            return self._script(text, file)
        target = parse_target(text, cwd=cwd, known=installed(self.home))
        if target.kind == "folder" and target.path is not None:
            return self._folder(text, target.path, None)
        here = find_installed(self.home, target.name) if target.kind == "name" and target.ref is None else None
        return self._staged(text, self.home, here, None) if here is not None else self._clone(text, target)

    def _script(self, text: str, file: Path) -> Staged:
        app = self.home.app_of(file)
        if app is not None and app != file:
            return self._staged(text, self.home, app.name, str(file.relative_to(app)))
        return self._folder(text, file.parent, file.name)

    def _folder(self, text: str, folder: Path, script: str | None) -> Staged:
        app = self.home.app_of(folder)
        if app is not None:
            return self._staged(text, self.home, app.name, script if app == folder else None)
        with contextlib.suppress(ValueError):  # a path that reaches an installed app by way of links
            inside = folder.resolve().relative_to(self.home.api.resolve())
            if len(inside.parts) == 1:
                return self._staged(text, self.home, inside.parts[0], script)
        if not valid_name(folder.name):
            raise BadInputError(
                f"{folder.name!r} cannot be the name of an app",
                hint="rename the folder: letters, digits, `.`, `_`, `-`",
            )
        home = self._home_without(folder.name)
        home.app(folder.name).symlink_to(folder, target_is_directory=True)
        return self._staged(text, home, folder.name, script)

    def _clone(self, text: str, target: Target) -> Staged:
        home = self._home_without(target.name)
        fetched = fetch(target, home, progress=self.progress)
        return self._staged(text, home, fetched.name, None)

    def _staged(self, text: str, home: Home, name: str, script: str | None) -> Staged:
        app = home.app(name)
        if not app.is_dir():
            raise BadInputError(
                f"the folder of `{name}` is gone", hint=f"put it back, or forget the app with `pinoctl rm {name}`"
            )
        remote = remote_of(app)
        return Staged(
            text, name, home, app, self.home.app(name), script,
            remote=hide_secrets(remote) if remote else None, commit=commit_of(app),
        )  # fmt: skip

    def _home_without(self, name: str) -> Home:
        """Return a temporary home in which no app has a name yet."""
        for home in self._temporary:
            if find_installed(home, name) is None:
                return home
        home = Home(Path(tempfile.mkdtemp(prefix="pinoctl-plan-")))
        self._temporary.append(home)
        home.api.mkdir()
        with contextlib.suppress(OSError):  # a home that is not there yet has no neighbours
            for entry in self.home.root.iterdir():
                if entry.name != MINE:
                    (home.root / entry.name).symlink_to(entry)
        return home


def _name_in(text: str) -> str:
    return text.rstrip("/").rpartition("/")[2].partition("@")[0].removesuffix(".git") or text


def relocated(value: Any, old: str, new: str) -> Any:
    """Return a value with one folder's name put for another's in every text, keys included."""
    if old == new:
        return value
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, Mapping):
        return {relocated(key, old, new): relocated(item, old, new) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(relocated(item, old, new) for item in value)
    return value
