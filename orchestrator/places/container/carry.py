"""Keeping what a user made when an app's container is replaced: its changes go into the new one."""

from __future__ import annotations

import contextlib
import functools
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from orchestrator.places.container.archives import Side
from orchestrator.places.container.carrying import Carrying, Nothing, learn
from orchestrator.places.container.changes import (
    CHANGED,
    DELETED,
    KINDS,
    NOBODYS,
    OURS,
    REMOVED_LIST,
    Change,
    below,
    mounts_of,
    tree,
    users,
)
from orchestrator.places.container.docker import DockerError, RefusedError, told
from orchestrator.places.container.names import APP, HOME, KIND
from orchestrator.places.container.packing import Packing, gathered
from orchestrator.places.container.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from docker import DockerClient

    from orchestrator.places.container.carrying import Plan
    from orchestrator.places.container.changes import Node

NAMED: Final = 5  # paths that a message names
STAMP: Final = "%Y-%m-%dT%H-%M-%SZ"


@dataclass(frozen=True, slots=True)
class Carried:
    """List absolute paths: put in their place, deleted at the new container's start, and where others are kept."""

    copied: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept_aside: tuple[str, ...] = ()


def _now() -> datetime:
    return datetime.now(timezone.utc)


def carry(
    docker: DockerClient,
    old: str,
    new: str,
    *,
    roots: Sequence[str],
    say: Callable[[str], None],
    stop: Callable[[], None] = lambda: None,
    tracked: Callable[[str], bool] | None = None,
    clock: Callable[[], datetime] = _now,
) -> Carried:
    """Put what was changed in container `old` below `roots` into `new`, which is created and was never started.

    The first of `roots` is the app's folder. `stop` has `old` stop, and is called once it is clear that it can be
    replaced and both images are read; `old` itself is read afterwards, as a file that changes meanwhile ends in
    DockerError. `tracked` tells what the program owns, git's indexes in the new image by default. After any error `new`
    is to be thrown away and made anew; everything may then be repeated. Deletions are left to the agent, which does at
    its start what `/pinokio/.carry-removed.json` lists. Where the old image was deleted, all that the two containers
    have not in common counts as changed by both.
    """
    progress = Progress(say)
    with told("what the user made cannot be carried over"), contextlib.ExitStack() as stack:
        about: dict[str, Any] = docker.api.inspect_container(old)
        state = docker.api.inspect_container(new)
        if not state["State"].get("StartedAt", "").startswith("0001-"):
            raise DockerError(
                f"container `{new[:12]}` was started before, so nothing can be carried into it safely",
                hint="remove it and run the same command again",
            )
        refuse_hidden(docker, old, new, roots)
        images = functools.cache(lambda: _images(docker, about, state, stack))
        for node in _trees(docker.api.diff(old) or [], roots, about, state):
            for image in images():
                learn(image, node, at=progress.comparing)
        stop()
        mine = Side(docker, old)
        changes = docker.api.diff(old) or []
        trees, pending = _trees(changes, roots, about, state), _pending(mine)
        _tell_of_others(mine, changes, (*roots, *mounts_of(about)), say)
        if not trees and not pending:
            return Carried()
        old_image, new_image = images()
        stamp = clock().astimezone(timezone.utc).strftime(STAMP)
        apart = (*mounts_of(about), *OURS, *mounts_of(state))
        plan = Carrying(
            (old_image, mine, new_image),
            roots=roots, stamp=stamp, apart=apart, pending=pending, tracked=tracked, at=progress.comparing,
        ).carry(trees)  # fmt: skip
        if plan.puts or plan.removed:
            listed = {REMOVED_LIST: json.dumps(plan.removed).encode()} if plan.removed else {}
            packing = Packing(mine, new_image, plan.puts, apart, listed)
            docker.api.put_archive(new, "/", progress.packed(gathered(packing.pieces())))
    carried = _told(plan)
    if carried.kept_aside:
        say(told_aside(carried.kept_aside, roots[0]))
    return carried


def told_aside(paths: Sequence[str], folder: str) -> str:
    """Say of which files another version is kept, and how to get there; `folder` is the app's."""
    shown = ", ".join(f"`{path.removeprefix(f'{folder}/')}`" for path in paths[:NAMED])
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return (
        f"{len(paths)} files were changed by you and by the update; the versions not in use are kept: {shown}{more}"
        f" (`pinoctl shell {folder.rpartition('/')[2]}` opens a shell there)"
    )


def _trees(
    changes: Sequence[Mapping[str, Any]], roots: Sequence[str], about: Mapping[str, Any], state: Mapping[str, Any]
) -> list[Node]:
    """Return what was changed and may be carried over; a root that only holds something else is no change."""
    found = tree(changes, roots, (*mounts_of(about), *OURS, *mounts_of(state)))
    return [node for node in found if node.below or node.kind != CHANGED or node.path not in roots[1:]]


def _images(
    docker: DockerClient, about: Mapping[str, Any], state: Mapping[str, Any], stack: contextlib.ExitStack
) -> tuple[Side | Nothing, Side]:
    """Return the old and the new image to read, the same one twice where nothing of the program is another."""
    labels = {
        KIND: "helper",
        **{name: value for name, value in (state["Config"]["Labels"] or {}).items() if name in {APP, HOME}},
    }
    theirs = stack.enter_context(_never_started(docker, state["Image"], labels))
    if theirs is None:
        raise DockerError("the new container's image was deleted", hint="run the same command again: it is built anew")
    new_image = Side(docker, theirs)
    if about["Image"] == state["Image"]:
        return new_image, new_image
    base = stack.enter_context(_never_started(docker, about["Image"], labels))
    return Side(docker, base) if base else Nothing(), new_image


def _tell_of_others(
    mine: Side, changes: Sequence[Mapping[str, Any]], roots: Sequence[str], say: Callable[[str], None]
) -> None:
    """Name what was made where nothing is carried over from, without what drivers are mounted over."""
    others = []
    for each in users(changes, ["/"], [*roots, *OURS, *NOBODYS]):
        entry = mine.entry(each.path) if "nvidia" not in each.path else None
        if entry is not None and ((entry.folder and each.what != KINDS[CHANGED]) or entry.size):
            others.append(f"`{each.path}`")
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        say(
            f"warning: what was made outside of `/pinokio`, `/home/pinokio` and `/opt/python` is not carried over:"
            f" {', '.join(others[:NAMED])}{more}"
        )


def refuse_hidden(docker: DockerClient, old: str, new: str, roots: Sequence[str]) -> None:
    """Raise RefusedError where a mount of container `new` would hide what was made in `old` below `roots`."""
    with told("what the user made cannot be listed"):
        about: dict[str, Any] = docker.api.inspect_container(old)
        apart = mounts_of(about)
        hidden = [each for each in mounts_of(docker.api.inspect_container(new)) if each not in apart]
        changes = docker.api.diff(old) or [] if hidden else []
        side = Side(docker, old)
        made = sorted(
            leaf.path
            for node in tree(changes, roots, (*apart, *OURS))
            for leaf in node.leaves()
            if leaf.kind != DELETED and below(leaf.path, hidden)
        )
        first = next((path for path in made if not _folder(side, path)), None)  # a mount leaves an empty folder behind
    if first is not None:
        name, app = str(about.get("Name") or old).lstrip("/"), roots[0].rpartition("/")[2]
        mount = next(each for each in hidden if below(first, [each]))
        more = f" and {len(made) - 1} more" if len(made) > 1 else ""
        raise RefusedError(
            f"a mount at `{mount}` would hide what was made there: `{first}`{more}",
            hint=f"copy it out with `docker cp {name}:{mount}/. FOLDER`, remove it with `pinoctl shell {app} -- rm -r"
            f" {mount}`, and mount FOLDER then; or leave this mount out",
        )


def _told(plan: Plan) -> Carried:
    aside = set(plan.aside)
    copied = tuple(put.target for put in plan.puts if put.target not in aside)
    return Carried(copied, tuple(plan.removed), tuple(plan.aside))


def _pending(mine: Side) -> tuple[str, ...]:
    """Return the deletions that the old container would have done at its next start."""
    entry = mine.entry(REMOVED_LIST)
    if entry is None or entry.kind != "file":
        return ()
    try:
        listed = json.loads(mine.read(REMOVED_LIST))
    except ValueError:
        return ()
    return tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()


def diff_of_users(docker: DockerClient, container: str, roots: Sequence[str]) -> list[Change]:
    """Return what is lost when a container is removed: top-most added, changed and deleted paths below `roots`.

    Folders that only got another time (byte code was written there) are not among them.
    """
    with told("the container's changes cannot be listed"):
        about = docker.api.inspect_container(container)
        found = users(docker.api.diff(container), roots, mounts_of(about))
        side = Side(docker, container)
        return [each for each in found if each.what != KINDS[CHANGED] or not _folder(side, each.path)]


def _folder(side: Side, path: str) -> bool:
    entry = side.entry(path)
    return entry is not None and entry.folder


@contextlib.contextmanager
def _never_started(docker: DockerClient, image: str, labels: Mapping[str, str]) -> Iterator[str | None]:
    """Make a container to read an image from, and remove it in the end; None where the image is gone."""
    from docker.errors import ImageNotFound  # noqa: PLC0415  # slow to import, and hosts without a daemon never need it

    try:
        made: str = docker.api.create_container(image, ["true"], labels=dict(labels))["Id"]
    except ImageNotFound:
        yield None
        return
    try:
        yield made
    finally:
        docker.api.remove_container(made, force=True, v=True)
