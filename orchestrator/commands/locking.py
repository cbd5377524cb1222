"""Building an image with its lock: written after a build, kept to in a locked one, compared in the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands import output
from orchestrator.commands.building import brought, build_image, plain_answers
from orchestrator.commands.progress import Progress
from orchestrator.engine.errors import PinoctlError
from orchestrator.launcher import git
from orchestrator.lock import lock as locks
from orchestrator.lock import pinning
from orchestrator.lock.differences import differences, wanting
from orchestrator.places.container import images, names, settings
from orchestrator.places.container.base_image import inspect, uv_version
from orchestrator.places.container.build import PINS, Wish
from orchestrator.places.container.place import ContainerPlace
from orchestrator.places.container.pushing import check_reference
from orchestrator.places.container.pushing import push as push_image
from orchestrator.places.container.reading import launcher_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.engine.home import Home
    from orchestrator.places.container.build import Built

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOWN = 40  # differences that are listed


class MovedError(PinoctlError):
    """Say that a build cannot be what its lock says; `moved` names what differs."""

    def __init__(self, moved: Sequence[str]) -> None:
        things = "one thing" if len(moved) == 1 else f"{len(moved)} things"
        super().__init__(
            f"the build is not what its lock says: {things} moved",
            hint="`pinoctl build` without `--locked` makes a new lock; the app goes on with the image it had",
        )
        self.moved = tuple(moved)


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
    commit_seconds: float = 0.0
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
            "commit_seconds": round(self.commit_seconds, 3),
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
    with contextlib.ExitStack() as undo:
        chosen = settings.read(home, app)
        if held is not None:
            undo.callback(_put_back, home, app, git.ref_of(home.app(app)) or commit, chosen.answers)
            _check_out(home, app, held, commit)
            commit = held.launcher.commit or commit
            _refuse(_differences_ahead(home, app, held), progress)
        known = {**(dict(chosen.answers) if held is None else dict(held.captured)), **plain_answers(answers, pairs)}
        wish = Wish(
            remember=known,
            fresh=fresh or held is not None,
            keep_failed=keep_failed,
            base=held.base.reference if held else None,
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
            if held is not None:
                _refuse([str(each) for each in differences(held, new)], progress)
            found["lock"] = held or new

        made = build_image(place, app, wish, progress, always=True, accept=accept)
        if made.image is None:
            failed = dict(made.result.get("failed") or {})
            _explain(home, app, place, progress, made.result)
            if held is not None:
                said = "\n".join(map(str, failed.get("lines") or ()))
                _refuse([f"{each}: cannot be had" for each in wanting(held, said)], progress)
            return Done(place, app, failed=made.result)
        undo.pop_all()
    file = lock_file or settings.folder_of(home, app) / locks.FILE_NAME
    locks.write(file, found["lock"])
    return Done(
        place, app, names.current(home, app), made.image, str(file),
        len(made.built.chain) if made.built else 0, made.built.reused if made.built else 0,
        made.built.commit_seconds if made.built else 0.0,
    )  # fmt: skip


def lock_of(
    place: ContainerPlace, app: str, built: Built, *, commit: str | None, origin: str | None, answers: Mapping[str, Any]
) -> locks.Lock:
    """Return the lock of what was built."""
    base = inspect(place.docker, built.labels[names.BASE].rpartition(" ")[2]) or {}
    begun = inspect(place.docker, built.base.start) or {}
    recipe = ((base.get("Config") or {}).get("Labels") or {}).get(names.RECIPE, "")
    return locks.Lock(
        date=datetime.now(timezone.utc),
        app=app,
        launcher=locks.Launcher(origin if commit else None, commit, built.reading.launcher_hash),
        base=locks.Base(built.base.start, str(begun.get("Id") or ""), recipe),
        hardware=json.loads(built.labels[names.HARDWARE]),
        captured=dict(answers),
        scripts=tuple(f"{script}#{index} {digest}" for script, index, digest in built.chain),
        inventory=built.inventory,
    )


def _digest(held: locks.Lock) -> str:
    return hashlib.sha256(json.dumps(held.to_json(), sort_keys=True).encode()).hexdigest()


def _refuse(moved: Sequence[str], progress: Progress) -> None:
    """Name what moved, if anything did, and raise MovedError."""
    for each in moved[:SHOWN]:
        progress.fresh_line()
        output.say(output.clean(f"moved: {each}"), style="yellow")
    if moved:
        raise MovedError(moved)


def _differences_ahead(home: Home, app: str, held: locks.Lock) -> list[str]:
    """Return what is known to be another than the lock's before anything is built: the launcher, the hardware."""
    from orchestrator.engine.hardware import detect  # noqa: PLC0415  # takes a moment

    here = replace(
        held,
        launcher=replace(held.launcher, tree=launcher_hash(home, app)),
        hardware=json.loads(json.dumps(detect().to_json())),
    )
    return [str(each) for each in differences(held, here)]


def _explain(home: Home, app: str, place: ContainerPlace, progress: Progress, result: Mapping[str, Any]) -> None:
    from orchestrator.commands.session import Session  # noqa: PLC0415  # only to explain
    from orchestrator.commands.up import explain  # noqa: PLC0415

    session = Session(home, app, quiet=True, place=place)
    session.progress = progress
    explain(session, dict(result.get("failed") or {}), str(result.get("log")), retry="build")


def _check_out(home: Home, app: str, held: locks.Lock, commit: str | None) -> None:
    """Put the app's launcher at the commit that a lock names, where it is a repository of ours."""
    folder = home.app(app)
    if held.launcher.commit and held.launcher.commit != commit:
        if folder.is_symlink():
            raise PinoctlError(
                f"`{app}` is your folder, at another commit than the lock's `{held.launcher.commit[:12]}`",
                hint="check that commit out there",
            )
        git.check_out(folder, held.launcher.commit, name=app)


def _put_back(home: Home, app: str, ref: str | None, answers: Mapping[str, Any]) -> None:
    """Leave an app as it was before a locked build that came to nothing: it goes on with the image it had."""
    settings.write(home, app, settings.read(home, app).changed(answers=answers))
    if ref is not None and not home.app(app).is_symlink():
        with contextlib.suppress(PinoctlError):
            git.check_out(home.app(app), ref, name=app)
