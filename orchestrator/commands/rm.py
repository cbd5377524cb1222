"""`pinoctl rm APP`: remove an app; what apps share stays."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, yes_option

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.home import Home


@click.command()
@click.argument("app")
@yes_option
@home_option
def rm(*, app: str, yes: bool, home: Path | None) -> int:
    """Stop an app and delete its folder and logs; the shared models (`drive`) and caches stay.

    A folder of yours that was linked with `up FOLDER` is only unlinked.
    """
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.confirm import confirm  # noqa: PLC0415
    from orchestrator.commands.placing import container_of, stop_everywhere  # noqa: PLC0415
    from orchestrator.launcher.fetch import remove  # noqa: PLC0415
    from orchestrator.state.locks import app_lock  # noqa: PLC0415

    where = home_of(home)
    name = installed_app(where, app)
    folder = where.app(name)
    linked = folder.is_symlink()
    container = container_of(where, name)
    lost = container.lost_with(name) if container is not None else []
    question = f"Unlink `{name}`? Its folder stays" if linked else f"Delete `{name}` with everything in `{folder}`?"
    if lost:
        made = f"{len(lost)} files and folders made in it, such as `{lost[0]}`"
        question = f"{question.rstrip('?')}, its images, and its container with {made}?"
    if not confirm(question, yes=yes):
        output.say(f"`{name}` stays")
        return 1
    with app_lock(where, name, "removed"):
        stop_everywhere(where, name)
        if container is not None:
            container.remove(name)
        remove(where, name)
        _forget(where, name)
    output.say(f"`{name}` is unlinked; its folder stays" if linked else f"`{name}` is removed")
    return 0


def _forget(home: Home, name: str) -> None:
    """Remove what pinoctl itself kept of the app: address, tokens, logs, sockets, snapshots, its place in the index."""
    from orchestrator.agent.files import AgentFiles  # noqa: PLC0415  # see above
    from orchestrator.commands.exposing import hide  # noqa: PLC0415
    from orchestrator.engine.errors import PinoctlError  # noqa: PLC0415
    from orchestrator.places.container import settings  # noqa: PLC0415
    from orchestrator.snapshots.trees import remove_tree  # noqa: PLC0415
    from orchestrator.state.library import Library  # noqa: PLC0415

    with contextlib.suppress(PinoctlError):  # a gate that hangs; its app is gone in any case
        hide(home, name, forget=True)
    files = AgentFiles(home, name)
    remove_tree(files.folder)
    settings.discard(home, name)
    for path in (files.socket, files.lock):
        path.unlink(missing_ok=True)
    with (
        contextlib.suppress(PinoctlError, OSError),
        Library(home.library) as library,
    ):  # the index is rebuilt where it is lost
        library.forget(name)
