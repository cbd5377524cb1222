"""Building an image with its lock: written after a build, kept to in a locked one, compared in the end."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.agent.files import AgentFiles
from orchestrator.commands.building import brought, build_image, plain_answers
from orchestrator.commands.progress import Progress
from orchestrator.engine.errors import PinoctlError
from orchestrator.lock import lock as locks
from orchestrator.lock import pinning
from orchestrator.lock.differences import differences
from orchestrator.places.container import images, names, settings
from orchestrator.places.container.base_image import inspect, uv_version
from orchestrator.places.container.build import PINS, Wish
from orchestrator.places.container.place import ContainerPlace
from orchestrator.places.container.pushing import check_reference
from orchestrator.places.container.pushing import push as push_image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.engine.home import Home
    from orchestrator.places.container.build import Built

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOWN = 40  # differences that are listed


@dataclass(frozen=True, slots=True)
class Done:
    """Tell how a build ended: the image's name and id and the lock's file, or what failed."""

    place: ContainerPlace
    app: str
    image: str = ""
    id: str = ""
    lock: str = ""
    steps: int = 0
    reused: int = 0
    failed: Mapping[str, Any] | None = None

    def tag(self, reference: str) -> None:
        """Give the image another name."""
        images.tag(self.place.docker, self.id, check_reference(reference))

    def push(self, reference: str, *, quiet: bool) -> str | None:
        """Push the image, with progress; returns its digest."""
        progress = Progress(self.app, quiet=quiet)
        return push_image(self.place.docker, reference, say=_sayer(progress, quiet=quiet))

    def to_json(self, reference: str | None) -> dict[str, Any]:
        """Return what `build --json` ends with."""
        return {
            "app": self.app,
            "image": reference or self.image,
            "id": self.id,
            "lock": self.lock,
            "steps": self.steps,
            "reused": self.reused,
            "failed": None,
        }


def _sayer(progress: Progress, *, quiet: bool) -> Callable[[str], None]:
    def say(line: str) -> None:
        if not quiet:
            progress.line(line, "dim")

    return say


def build_locked(
    home: Home,
    app: str,
    *,
    fresh: bool,
    keep_failed: bool,
    answers: Any,
    pairs: Mapping[str, Any] | None,
    quiet: bool,
    lock_file: Path | None,
    locked: Path | None,
    commit: str | None,
    origin: str | None,
) -> Done:
    """Build an app's image and write its lock; with `locked` keep to that lock, and raise when something moved."""
    progress = Progress(app, quiet=quiet)
    place = ContainerPlace(home, say=_sayer(progress, quiet=quiet))
    held = locks.read(locked) if locked is not None else None
    if held is not None and held.app.casefold() != app.casefold():
        raise PinoctlError(f"the lock is that of `{held.app}`, not of `{app}`", hint="give the lock of this app")
    if held is not None:
        _put_launcher_back(home, app, held, commit)
        commit = held.launcher.commit or commit
    chosen = settings.read(home, app)
    known = {**(dict(chosen.answers) if held is None else dict(held.captured)), **plain_answers(answers, pairs)}
    settings.write(home, app, chosen.changed(answers=known))
    wish = Wish(
        fresh=fresh or held is not None,
        keep_failed=keep_failed,
        answers=answers,
        pairs={**known, **(pairs or {})} or None,
        environment={
            **brought(),
            **(pinning.environment(held, Path(PINS), path=PATH, uv=uv_version()) if held else {}),
        },
        pins=_digest(held) if held else "",
        pin_files=pinning.files(held, Path(PINS)) if held else {},
        inventory=True,
    )
    found: dict[str, Any] = {}

    def accept(built: Built) -> None:
        plain = settings.read(home, app).answers  # a script may have said meanwhile that one is a secret
        kept = {key: value for key, value in known.items() if key in plain}
        new = lock_of(place, app, built, commit=commit, origin=origin, answers=kept)
        moved = differences(held, new) if held is not None else []
        for each in moved[:SHOWN]:
            progress.line(f"moved: {each}", "yellow")
        if moved:
            raise PinoctlError(
                f"the build is not what its lock says: {len(moved)} things moved",
                hint="`pinoctl build` without `--locked` makes a new lock; the app goes on with the image it had",
            )
        found["lock"] = held or new

    made = build_image(place, app, wish, progress, always=True, accept=accept)
    if made.image is None:
        from orchestrator.commands.session import Session  # noqa: PLC0415  # only to explain
        from orchestrator.commands.up import explain  # noqa: PLC0415

        session = Session(home, app, quiet=quiet, place=place)
        session.progress = progress
        explain(session, dict(made.result.get("failed") or {}), str(made.result.get("log")))
        return Done(place, app, failed=made.result)
    file = lock_file or AgentFiles(home, app).folder / locks.FILE_NAME
    locks.write(file, found["lock"])
    return Done(
        place, app, names.current(home, app), made.image, str(file),
        len(made.built.chain) if made.built else 0, made.built.reused if made.built else 0,
    )  # fmt: skip


def lock_of(
    place: ContainerPlace, app: str, built: Built, *, commit: str | None, origin: str | None, answers: Mapping[str, Any]
) -> locks.Lock:
    """Return the lock of what was built."""
    base = inspect(place.docker, built.labels[names.BASE].rpartition(" ")[2]) or {}
    recipe = ((base.get("Config") or {}).get("Labels") or {}).get(names.RECIPE, "")
    tree = None if commit else built.reading.launcher_hash
    return locks.Lock(
        date=datetime.now(timezone.utc),
        app=app,
        launcher=locks.Launcher(origin if commit else None, commit, tree),
        base=locks.Base(built.base.start, str(base.get("Id") or ""), recipe),
        hardware=json.loads(built.labels[names.HARDWARE]),
        captured=dict(answers),
        scripts=tuple(f"{script}#{index} {digest}" for script, index, digest in built.chain),
        inventory=built.inventory,
    )


def _digest(held: locks.Lock) -> str:
    return hashlib.sha256(json.dumps(held.to_json(), sort_keys=True).encode()).hexdigest()


def _put_launcher_back(home: Home, app: str, held: locks.Lock, commit: str | None) -> None:
    """Put the app's launcher at the commit that a lock names, where it is a repository of ours."""
    from orchestrator.launcher import git  # noqa: PLC0415  # only for locked builds

    folder = home.app(app)
    if held.launcher.commit and held.launcher.commit != commit:
        if folder.is_symlink():
            raise PinoctlError(
                f"`{app}` is your folder, at another commit than the lock's `{held.launcher.commit[:12]}`",
                hint="check that commit out there",
            )
        git.check_out(folder, held.launcher.commit, name=app)
