"""`pinoctl update APP` and `rollback APP`: the launcher's own update script; a failed one changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import answer_options, given_answers, home_of, home_option, json_option, quiet_option
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.agent.client import Client, Listener
    from orchestrator.engine.home import Home
    from orchestrator.places.container.updating import Updating


@click.command()
@click.argument("app")
@answer_options
@home_option
@json_option
@quiet_option
def update(
    *, app: str, answers: str | None, answer: tuple[str, ...], home: Path | None, as_json: bool, quiet: bool
) -> int:
    """Update an app with its launcher's update script.

    An app that runs is stopped for it and started again. When the update fails, the version before it is put back.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.going_back import go_back  # noqa: PLC0415
    from orchestrator.commands.session import Session  # noqa: PLC0415
    from orchestrator.commands.up import finish  # noqa: PLC0415
    from orchestrator.places.choosing import HOST, place_of  # noqa: PLC0415

    document, pairs = given_answers(answers, answer)
    where = home_of(home)
    go_back(where)
    name = usable_app(where, app)
    if place_of(where, name).name != HOST:
        return _in_container(
            where, name, lambda updating, env: updating.run(answers=document, pairs=pairs, environment=env),
            "updated", retry="update", as_json=as_json, quiet=quiet,
        )  # fmt: skip

    def work(client: Client, listen: Listener) -> dict[str, Any]:
        return client.update(listen=listen, answers=document, pairs=pairs)

    with Session(where, name, quiet=quiet) as session:
        try:
            result = session.do(work)
        except KeyboardInterrupt:
            output.say(f"interrupted; the update of `{name}` goes on, `pinoctl logs -f {name}` shows it")
            return 130
        if not result.get("failed"):
            session.progress.line(f"`{name}` is updated")
        broken = str(result.get("state")).startswith("failed")  # then it is the start that failed, not the update
        return finish(
            session, {**result, "url": result.get("url")}, as_json=as_json, retry="up" if broken else "update"
        )


@click.command()
@click.argument("app")
@home_option
@json_option
@quiet_option
def rollback(*, app: str, home: Path | None, as_json: bool, quiet: bool) -> int:
    """Go back to the image from before an app's last update; what was made in the app since comes along.

    Only apps in containers keep one. A second rollback goes forward again.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.places.choosing import HOST, place_of  # noqa: PLC0415

    where = home_of(home)
    name = usable_app(where, app)
    if place_of(where, name).name == HOST:
        raise PinoctlError(
            f"`{name}` lives on the host, which keeps no earlier version",
            hint="a failed update is undone by itself; apps in containers can go back after a good one, too",
        )
    return _in_container(
        where, name, lambda updating, env: updating.back(env), "back", retry="rollback", as_json=as_json, quiet=quiet
    )


def _in_container(
    home: Home,
    name: str,
    work: Callable[[Updating, Mapping[str, str]], dict[str, Any]],
    done: str,
    *,
    retry: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Do a piece of work that makes an app run from another image, and print how it ended."""
    from orchestrator.commands.building import brought, listener, person  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.progress import Progress  # noqa: PLC0415
    from orchestrator.commands.session import Session  # noqa: PLC0415
    from orchestrator.commands.up import finish  # noqa: PLC0415
    from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415
    from orchestrator.places.container.updating import Updating  # noqa: PLC0415
    from orchestrator.state.locks import waiting_lock  # noqa: PLC0415

    progress = Progress(name, quiet=quiet)
    place = ContainerPlace(home, say=lambda line: progress.line(line, "dim"))
    updating = Updating(
        place, name, profile=place.profile(name), say=place.say, listen=listener(progress), ask=person(progress)
    )
    try:
        with waiting_lock(home, name, "updated", say=progress.line):
            result = work(updating, brought())
    except KeyboardInterrupt:
        output.say(f"interrupted; `{name}` goes on as it was")
        return 130
    session = Session(home, name, quiet=quiet, place=place)
    session.progress = progress
    if not result.get("failed"):
        progress.line(f"`{name}` is {done}")
    return finish(session, {**result, "place": place.name}, as_json=as_json, retry=retry)
