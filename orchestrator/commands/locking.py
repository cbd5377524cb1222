"""Building an image with its lock: written after a build, kept to in a locked one, compared in the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.agent.client import Event, Message
from orchestrator.agent.container import HARDWARE
from orchestrator.commands import going_back, output
from orchestrator.commands.ask import can_ask
from orchestrator.commands.building import brought, build_image, plain_answers
from orchestrator.commands.progress import Progress
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.hardware import HardwareProfile, from_json
from orchestrator.engine.redaction import HIDDEN
from orchestrator.lock import lock as locks
from orchestrator.lock import pinning
from orchestrator.lock.differences import differences, wanting
from orchestrator.places.container import images, names, settings
from orchestrator.places.container.base_image import NoBaseError, files, inspect, recipe, uv_version
from orchestrator.places.container.build import PINS, Wish
from orchestrator.places.container.place import ContainerPlace
from orchestrator.places.container.pushing import check_reference, publish
from orchestrator.places.container.reading import launcher_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from orchestrator.engine.home import Home
    from orchestrator.places.container.build import Built

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOWN = 40  # differences that are listed
KIND = ("platform", "arch", "gpu")  # of a machine: what is built for one kind does not run on another


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
        """Push the image under a name of its own, with progress; returns its digest."""
        progress = Progress(self.app, quiet=quiet)
        return publish(self.place.docker, self.id, reference, say=_sayer(progress, quiet=quiet))

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


@dataclass
class _Result:
    """Make the lock of what is built, and compare it with the one that the build is held to.

    `known` are the answers that are no secrets, `given` the names of those that were given for this build.
    """

    place: ContainerPlace
    app: str
    held: locks.Lock | None
    known: Mapping[str, Any]
    given: Collection[str]
    commit: str | None
    origin: str | None
    secret: set[str] = field(default_factory=set)
    lock: locks.Lock | None = None

    def listen(self, message: Message) -> None:
        """Note which answers a script says are secrets."""
        if isinstance(message, Event) and message.kind == "input.done":
            told = message.data.get("answers")
            self.secret |= {key for key, value in (told if isinstance(told, dict) else {}).items() if value == HIDDEN}

    def accept(self, built: Built) -> None:
        """Take what was built; raises MovedError."""
        plain = settings.read(self.place.home, self.app).answers  # a script may have said that one is a secret
        kept = {key: value for key, value in self.known.items() if key in plain}
        if built.reused:  # the step that asked may be one of those that were done before
            self.secret |= {each.key for each in built.reading.plan.questions if each.secret}
        new = lock_of(
            self.place, self.app, built,
            commit=self.commit, origin=self.origin, answers=kept, secrets=tuple(sorted(self.secret)),
        )  # fmt: skip
        if self.held is not None:
            refuse([str(each) for each in differences(self._compared(self.held), self._compared(new))])
            new = replace(self.held, captured=kept)
        self.lock = new

    def _compared(self, lock: locks.Lock) -> locks.Lock:
        return replace(lock, captured={key: value for key, value in lock.captured.items() if key not in self.given})


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
    file = lock_file or settings.folder_of(home, app) / locks.FILE_NAME
    locks.check_target(file)
    held = read_held(app, locked) if locked is not None else None
    given = given_names(answers, pairs)
    with contextlib.ExitStack() as stack:
        chosen = settings.read(home, app)
        work = None
        if held is not None:
            _refuse_without(held, given)
            work = stack.enter_context(going_back.trial(home, app, held, commit, say=progress.line))
            commit = held.launcher.commit or commit
            _compare_ahead(place, app, held)
        known = {**(dict(chosen.answers) if held is None else dict(held.captured)), **plain_answers(answers, pairs)}
        wish = Wish(
            remember=known,
            fresh=fresh or held is not None,
            keep_failed=keep_failed,
            answers=answers,
            pairs={**known, **(pairs or {})} or None,
            environment=brought(),
            inventory=True,
        )
        result = _Result(place, app, held, known, given, commit, origin)
        with _bases_of(held, app):
            made = build_image(
                place, app, wish if held is None else _held_to(held, wish), progress,
                always=True, accept=result.accept, listen=result.listen, profile=machine_of(held) if held else None,
            )  # fmt: skip
        if made.image is None or result.lock is None:
            told = place.seen(app, made.result)
            _explain(home, app, place, progress, told, locked=locked)
            if held is not None:
                said = "\n".join(map(str, (told.get("failed") or {}).get("lines") or ()))
                refuse([f"{each}: cannot be had" for each in wanting(held, said)])
            return Done(place, app, failed=told)
        if work is not None:
            work.keep()
    locks.write(file, result.lock)
    return Done(
        place, app, names.current(home, app), made.image, str(file),
        len(made.built.chain) if made.built else 0, made.built.reused if made.built else 0,
        made.built.commit_seconds if made.built else 0.0,
    )  # fmt: skip


@contextlib.contextmanager
def _bases_of(held: locks.Lock | None, app: str) -> Iterator[None]:
    """Say what to do where the image is not to be had that a lock begins with: no other one will do."""
    try:
        yield
    except NoBaseError as error:
        if held is None:
            raise
        raise NoBaseError(
            str(error),
            hint=f"bring `{held.base.reference}` here with `docker pull` or `docker load`, or make a new lock with"
            f" `pinoctl build {app} --base IMAGE`",
        ) from error


def _held_to(held: locks.Lock, wish: Wish) -> Wish:
    """Return a wish with what holds a build in a container to a lock: base, versions, the machine that scripts see."""
    return replace(
        wish,
        base=held.base.reference,
        environment={**wish.environment, **pinning.environment(held, Path(PINS), path=PATH, uv=uv_version())},
        pins=_digest(held),
        pin_files={**pinning.files(held, Path(PINS)), HARDWARE.name: json.dumps(dict(held.hardware))},
    )


def _compare_ahead(place: ContainerPlace, app: str, held: locks.Lock) -> None:
    """Raise MovedError for what is known to have moved, and say what else this machine has otherwise."""
    here, machine = place.profile(app), machine_of(held)
    refuse(_differences_ahead(place, app, held, here))
    for each in differences(replace(held, hardware=machine.to_json()), replace(held, hardware=here.to_json())):
        output.say(f"this machine is not the lock's, which scripts get to see: {output.clean(str(each))}")


def read_held(app: str, file: Path) -> locks.Lock:
    """Return the lock in a file; raises BadInputError for one that is no lock, or another app's."""
    held = locks.read(file)
    if held.app.casefold() != app.casefold():
        raise BadInputError(f"the lock is that of `{held.app}`, not of `{app}`", hint="give the lock of this app")
    return held


def machine_of(held: locks.Lock) -> HardwareProfile:
    """Return the machine of a lock, for scripts to see; raises BadInputError."""
    try:
        return from_json(dict(held.hardware))
    except ValueError as error:
        raise BadInputError(
            f"`hardware` of the lock is wrong: {error}", hint="make a new lock with `pinoctl build`"
        ) from None


def given_names(answers: Any, pairs: Mapping[str, Any] | None) -> set[str]:
    """Return the names of all answers that were given."""
    listed = answers if isinstance(answers, list) else [answers]
    return {str(key) for each in (*listed, pairs) if isinstance(each, Mapping) for key in each}


def tree_moved(home: Home, app: str, held: locks.Lock) -> list[str]:
    """Return that the launcher's files are others than the lock's, if they are."""
    here = replace(held, launcher=replace(held.launcher, tree=launcher_hash(home, app)))
    return [str(each) for each in differences(held, here)]


def _refuse_without(held: locks.Lock, given: Collection[str]) -> None:
    """Raise BadInputError where a secret answer is missing that the lock's build had, and nobody can be asked."""
    missing = [name for name in held.secrets if name not in given]
    if missing and not can_ask():
        shown = ", ".join(f"`{name}`" for name in missing)
        raise BadInputError(
            f"the lock's build was given secret answers that no lock holds: {shown}",
            hint=f"give them again with `--answer {missing[0]}=VALUE` or `--answers FILE`",
        )


def lock_of(
    place: ContainerPlace,
    app: str,
    built: Built,
    *,
    commit: str | None,
    origin: str | None,
    answers: Mapping[str, Any],
    secrets: tuple[str, ...] = (),
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
        secrets=secrets,
        scripts=tuple(f"{script}#{index} {digest}" for script, index, digest in built.chain),
        inventory=built.inventory,
    )


def _digest(held: locks.Lock) -> str:
    return hashlib.sha256(json.dumps(held.to_json(), sort_keys=True).encode()).hexdigest()


def refuse(moved: Sequence[str]) -> None:
    """Name what moved, if anything did, and raise MovedError."""
    for each in moved[:SHOWN]:
        output.say(output.clean(f"moved: {each}"), style="yellow")
    if moved:
        raise MovedError(moved)


def _differences_ahead(place: ContainerPlace, app: str, held: locks.Lock, here: HardwareProfile) -> list[str]:
    """Return what is known to be another than the lock's before anything is built.

    That is the launcher, the kind of machine, and the base image where the image that it begins with is here. What
    else a machine has otherwise scripts do not get to see.
    """
    start = inspect(place.docker, held.base.reference)
    key = recipe(held.base.reference, str(start["Id"]), files()) if start is not None else held.base.recipe
    now = replace(
        held,
        launcher=replace(held.launcher, tree=launcher_hash(place.home, app)),
        base=replace(held.base, recipe=key) if held.base.recipe else held.base,
        hardware={**machine_of(held).to_json(), **{name: getattr(here, name) for name in KIND}},
    )
    return [str(each) for each in differences(replace(held, hardware=machine_of(held).to_json()), now)]


def _explain(
    home: Home, app: str, place: ContainerPlace, progress: Progress, result: Mapping[str, Any], *, locked: Path | None
) -> None:
    from orchestrator.commands.session import Session  # noqa: PLC0415  # only to explain
    from orchestrator.commands.up import explain  # noqa: PLC0415

    session = Session(home, app, quiet=True, place=place)
    session.progress = progress
    retry = f"build --locked {shlex.quote(str(locked))}" if locked is not None else "build"
    explain(session, dict(result.get("failed") or {}), str(result.get("log")), retry=retry)
