"""`pinoctl build APP`: an image with the app installed, which serves it anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import (
    answer_options,
    container_options,
    given_answers,
    home_of,
    home_option,
    json_option,
    quiet_option,
)
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.places.choosing import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.commands.locking import Done
    from orchestrator.engine.home import Home


@click.command()
@click.argument("app")
@click.option("--name", metavar="NAME", help="What to call the app, instead of its repository's or folder's name.")
@click.option("--push", metavar="REF", help="Push the image to a registry under this name.")
@click.option("--tag", metavar="REF", help="Give the image this name as well.")
@click.option("--fresh", is_flag=True, help="Take no checkpoint: do every step again.")
@click.option(
    "--lock",
    "lock_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the lock  [default: HOME/places/APP/pinoctl.lock.json]",
)
@click.option(
    "--locked",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Build again what a lock says, and fail with the differences where that is not possible.",
)
@click.option("--keep-failed", is_flag=True, help="Leave the container of a failed build running, to look at it.")
@container_options
@answer_options
@home_option
@json_option
@quiet_option
def build(
    *,
    app: str,
    name: str | None,
    push: str | None,
    tag: str | None,
    fresh: bool,
    lock_file: Path | None,
    locked: Path | None,
    keep_failed: bool,
    answers: str | None,
    answer: tuple[str, ...],
    home: Path | None,
    as_json: bool,
    quiet: bool,
    place: str | None,
    **limits: Any,
) -> int:
    """Build an app's image and print its name.

    The image serves the app on any machine with Docker, also without pinoctl: `docker run -p 8080:8080 IMAGE`.
    """
    from orchestrator.commands.locking import MovedError, build_locked  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.placing import on_trial, placed  # noqa: PLC0415
    from orchestrator.commands.up import fetched_app  # noqa: PLC0415
    from orchestrator.places.container.base_image import NoBaseError  # noqa: PLC0415
    from orchestrator.places.container.pushing import check_reference  # noqa: PLC0415

    _check(place, limits, locked)
    tag, push = (check_reference(each) if each else None for each in (tag, push))  # before the work, not after it
    document, pairs = given_answers(answers, answer)
    where = home_of(home)
    fetched = fetched_app(where, app, name, quiet=quiet)
    placing = placed(where, fetched.name, CONTAINER, limits, quiet=True, building=True)
    at_work = _runs_from_volume(where, fetched.name)
    try:
        with on_trial(where, fetched.name, placing):
            done = build_locked(
                where, fetched.name, fresh=fresh, keep_failed=keep_failed, answers=document, pairs=pairs, quiet=quiet,
                lock_file=lock_file, locked=locked, commit=fetched.commit, origin=fetched.origin,
            )  # fmt: skip
    except (MovedError, NoBaseError) as error:
        if as_json:
            why = (
                {"moved": list(error.moved)}
                if isinstance(error, MovedError)
                else {"failed": {"reason": str(error), "hint": error.hint}}
            )
            output.as_json({"app": fetched.name, "image": None, "lock": None, **why})
        raise
    if done.failed is not None:
        if as_json:
            output.as_json({"app": fetched.name, "image": None, "lock": None, **done.failed})
        return 1
    if at_work:
        _start_again(where, fetched.name, quiet=quiet)
    if tag:
        done.tag(tag)
    digest = _push(done, push, tag, as_json=as_json, quiet=quiet) if push else None
    if as_json:
        output.as_json({**done.to_json(push or tag), "digest": digest})
    else:
        output.data(push or tag or done.image)
    return 0


def _runs_from_volume(home: Home, name: str) -> bool:
    """Tell whether an app runs from the folder that it is installed into, so that it is stopped meanwhile."""
    from orchestrator.commands.overview import ask_agent  # noqa: PLC0415  # `--help` does without
    from orchestrator.places.container import settings  # noqa: PLC0415

    on_volume = settings.read(home, name).mode == settings.VOLUME
    return on_volume and (ask_agent(home, name) or {}).get("word") in {"ready", "starting"}


def _start_again(home: Home, name: str, *, quiet: bool) -> None:
    """Start an app as it was started last; one that does not come up takes nothing from what was built."""
    from orchestrator.commands.session import Session  # noqa: PLC0415  # `--help` does without

    try:
        with Session(home, name, quiet=quiet) as session:
            lent = session.lent()
            done = session.do(lambda client, listen: client.up(listen=listen, again=True, environment=lent))
            failed = done.get("failed")
    except PinoctlError as error:
        failed = error
    if failed:
        output.say(f"warning: `{name}` does not come up again; `pinoctl up {name}` says why", style="yellow")


def _push(done: Done, reference: str, tag: str | None, *, as_json: bool, quiet: bool) -> str | None:
    """Push what was built; a push that fails hides neither the image nor its lock."""
    try:
        return done.push(reference, quiet=quiet)
    except PinoctlError as error:
        if as_json:
            output.as_json({**done.to_json(tag), "digest": None, "error": str(error)})
        output.say(f"the image is made; `pinoctl image push {done.app} {reference}` pushes it without building")
        raise


def _check(place: str | None, limits: Mapping[str, Any], locked: Path | None) -> None:
    """Raise BadInputError for options that a build cannot follow."""
    if place not in {None, CONTAINER}:
        raise BadInputError("`build` makes images, so its place is a container", hint="leave `--place` out")
    if limits.get("volume_mode"):
        raise BadInputError("`build` makes images, and `--volume-mode` makes none", hint="leave one of them out")
    if locked is not None and limits.get("base"):
        raise BadInputError(
            "`--locked` begins with the image that the lock names, so it takes no `--base`",
            hint="leave `--base` out, or leave `--locked` out to make a new lock",
        )
