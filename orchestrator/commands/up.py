"""`pinoctl up APP`: from a name, a git URL or a folder to a URL that answers."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import (
    answer_options,
    container_options,
    expose_options,
    given_answers,
    home_of,
    home_option,
    json_option,
    parse_args,
    quiet_option,
)
from orchestrator.engine.errors import BadInputError, PinoctlError, advice
from orchestrator.places.choosing import CONTAINER

if TYPE_CHECKING:
    from orchestrator.agent.client import Client, Listener
    from orchestrator.commands.exposing import Exposing
    from orchestrator.commands.placing import Placed
    from orchestrator.commands.session import Session
    from orchestrator.engine.home import Home
    from orchestrator.launcher.fetch import Fetched

LINES = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """Hold how an app is to be brought up, checked; `exposure` is what was said of URLs beyond this machine."""

    args: dict[str, Any] | None = None
    answers: Any = None
    pairs: dict[str, Any] | None = None
    script: str | None = None
    from_step: int | None = None
    fresh: bool = False
    timeout: float | None = None
    exposure: dict[str, Any] | None = None


@click.command()
@click.argument("app")
@click.option("--name", metavar="NAME", help="What to call the app, instead of its repository's or folder's name.")
@click.option(
    "--args", "arguments", metavar="JSON", help="What the start script gets as `args` and first `input`: an object."
)
@click.option(
    "--script", metavar="SCRIPT", help="Which script starts the app, where it offers several; see `pinoctl menu APP`."
)
@click.option(
    "--from-step", type=click.IntRange(min=1), metavar="N", help="Go on with this step of the install script, from 1."
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Forget where an unfinished or finished installation stands, and install from the first step.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long the app may take to get ready.",
)
@click.option(
    "--keep-failed", is_flag=True, help="Leave the container of a failed installation running, to look at it."
)
@container_options
@expose_options
@answer_options
@home_option
@json_option
@quiet_option
def up(
    *,
    app: str,
    name: str | None,
    arguments: str | None,
    script: str | None,
    from_step: int | None,
    fresh: bool,
    timeout: float | None,
    answers: str | None,
    answer: tuple[str, ...],
    home: Path | None,
    as_json: bool,
    quiet: bool,
    keep_failed: bool,
    place: str | None,
    **others: Any,
) -> int:
    """Install an app if needed, start it and print its URL.

    APP is a name, a git URL (`https://github.com/owner/name`, with `@ref` for a branch, tag or commit) or a folder. The
    app goes on running; an app that is ready is left as it is. The URL is the last line on stdout, all else is on
    stderr. Ctrl-C while it installs stops the installation; the next `up` goes on from the last finished step. On a
    rented machine, or with `--tunnel`, the URL works from anywhere, for those who have it whole.
    """
    from orchestrator.commands.exposing import asked  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.placing import leave_other, on_trial, placed  # noqa: PLC0415

    if fresh and from_step is not None:
        raise BadInputError("`--fresh` and `--from-step` exclude each other", hint="give the one that you mean")
    given = parse_args(arguments)
    document, pairs = given_answers(answers, answer)
    exposure, limits = asked(others)
    wish = Wish(
        given if isinstance(given, dict) else None, document, pairs, script, from_step, fresh, timeout, exposure
    )
    where = home_of(home)
    fetched = fetched_app(where, app, name, quiet=quiet)
    placing = placed(where, fetched.name, place, limits, quiet=quiet)
    with on_trial(where, fetched.name, placing):
        if placing.name == CONTAINER:
            return bring_up_container(
                where, fetched.name, wish, placing, keep_failed=keep_failed, as_json=as_json, quiet=quiet
            )
        leave_other(where, fetched.name, placing)
        return bring_up(where, fetched.name, wish, as_json=as_json, quiet=quiet)


def bring_up_container(
    home: Home, name: str, wish: Wish, placing: Placed, *, keep_failed: bool, as_json: bool, quiet: bool
) -> int:
    """Have an app's image built where it has to be, then bring its container up."""
    from orchestrator.commands.building import brought, build_image, plain_answers  # noqa: PLC0415  # see above
    from orchestrator.commands.placing import leave_other, may_fall_back  # noqa: PLC0415
    from orchestrator.commands.progress import Progress  # noqa: PLC0415
    from orchestrator.commands.session import Session  # noqa: PLC0415
    from orchestrator.places.container import settings  # noqa: PLC0415
    from orchestrator.places.container.base_image import NoBaseError  # noqa: PLC0415
    from orchestrator.places.container.build import Wish as BuildWish  # noqa: PLC0415
    from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415

    progress = Progress(name, quiet=quiet)
    place = ContainerPlace(home, say=lambda line: progress.line(line, "dim"))
    chosen = settings.read(home, name)
    known = {**chosen.answers, **plain_answers(wish.answers, wish.pairs)}
    build_wish = BuildWish(
        wish.fresh,
        keep_failed,
        from_step=wish.from_step,
        remember=known,
        answers=wish.answers,
        pairs={**known, **(wish.pairs or {})} or None,
        environment=brought(),
    )
    try:
        made = build_image(place, name, build_wish, progress)
    except KeyboardInterrupt:
        return 130  # what that means for the app was said where it was known
    except NoBaseError as error:
        if not may_fall_back(place, name, placing):
            raise
        progress.line(f"warning: {error}; `{name}` is installed here, without a container", "yellow")
        settings.write(home, name, chosen.changed(place="host"))
        return bring_up(home, name, wish, as_json=as_json, quiet=quiet)
    if made.image is None:
        session = Session(home, name, quiet=quiet, place=place)
        session.progress = progress
        place.mirror_logs(name)
        return finish(session, place.seen(name, made.result), as_json=as_json)
    leave_other(home, name, placing)
    started = replace(wish, fresh=False, from_step=None)
    return bring_up(home, name, started, as_json=as_json, quiet=quiet)


def ensure_room(home: Home, text: str, name: str | None) -> None:
    """Raise PinoctlError where the disk has not the room that the app will take, before anything is fetched."""
    from orchestrator.catalog.catalog import apps, find  # noqa: PLC0415  # `--help` does without
    from orchestrator.catalog.planned import table  # noqa: PLC0415
    from orchestrator.hosts.resources.resources import free_at  # noqa: PLC0415
    from orchestrator.hosts.resources.room import check_room  # noqa: PLC0415
    from orchestrator.launcher.names import find_installed  # noqa: PLC0415

    if os.environ.get("PINOCTL_IGNORE_DISK", "") not in {"", "0"}:
        return
    here = find_installed(home, name or text.partition("@")[0].rpartition("/")[2])
    known = [] if here or "://" in text else find(text.partition("@")[0], apps(home))
    row = table().get(known[0].key) if len(known) == 1 else None
    planned = row is not None and row.repo == known[0].repo  # an app of the user's may have the name of one of ours
    needed = int(max(row.disk or 0, row.disk_estimate or 0) * 1e9) if planned and row is not None else None
    check_room(home.root, free_at(home.root), app=text, installed=here is not None, needed=needed)


def fetched_app(home: Home, text: str, name: str | None, *, quiet: bool) -> Fetched:
    """Get the launcher on disk, and put it in the index."""
    from orchestrator.commands.going_back import go_back  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.host import warn_of_loss  # noqa: PLC0415
    from orchestrator.commands.progress import Progress  # noqa: PLC0415
    from orchestrator.launcher.fetch import fetch  # noqa: PLC0415
    from orchestrator.launcher.names import installed  # noqa: PLC0415
    from orchestrator.launcher.target import parse_target  # noqa: PLC0415
    from orchestrator.places.host import HostPlace  # noqa: PLC0415

    HostPlace(home).prepare()
    go_back(home)
    ensure_room(home, text, name)
    target = parse_target(text, cwd=Path.cwd(), known=installed(home))
    progress = Progress(target.name, quiet=quiet)
    fetched = fetch(
        target, home, name=name, progress=None if quiet else lambda line: progress.line(output.clean(line), "dim")
    )
    if fetched.created and not quiet:
        what = f"linked to `{fetched.source}`" if fetched.source else f"cloned from `{fetched.origin}`"
        progress.line(f"`{fetched.name}` is {what}")
    if fetched.created:
        warn_of_loss(home)
    _remember(home, fetched)
    return fetched


def _remember(home: Home, fetched: Fetched) -> None:
    from orchestrator.state.library import Library  # noqa: PLC0415
    from orchestrator.state.rows import AppRow  # noqa: PLC0415

    with (
        contextlib.suppress(PinoctlError, OSError),
        Library(home.library) as library,
    ):  # an index that is lost is rebuilt
        if library.change(fetched.name, origin=fetched.origin, ref=fetched.ref) is None:
            library.put(AppRow(fetched.name, str(fetched.app), origin=fetched.origin, ref=fetched.ref))


def bring_up(home: Home, name: str, wish: Wish, *, as_json: bool, quiet: bool) -> int:
    """Have an installed app's agent bring it up, and print how that ended; returns the exit status."""
    from orchestrator.commands.exposing import asks, begin, called_for  # noqa: PLC0415  # see above
    from orchestrator.commands.session import Session  # noqa: PLC0415  # see above

    with Session(home, name, quiet=quiet) as session:
        given = wish.exposure or {}
        asked_of_gate = called_for(home, name, given)
        exposing = None
        if asked_of_gate is not None:  # the way in from outside is made while the app starts
            exposing = begin(home, name, asked_of_gate, restart=not session.ready())
        joined = session.busy()

        def work(client: Client, listen: Listener) -> dict[str, Any]:
            start, args = start_script(session, wish)
            return client.up(
                listen=listen,
                fresh=wish.fresh,
                from_step=wish.from_step,
                timeout=wish.timeout,
                start=start,
                args=args,
                answers=wish.answers,
                pairs=wish.pairs,
                environment=session.lent(),
            )

        try:
            if joined:
                session.progress.line(f"another command is bringing `{name}` up already; this one waits for it")
            result = session.do(work)
        except KeyboardInterrupt:
            return interrupted(home, name, joined=joined)
        except PinoctlError:
            if exposing is not None:
                exposing.take_back()
            raise
        _bring_log(session, afresh=as_json or bool(result.get("failed")))
        watched = exposing is not None and asked_of_gate != given
        if result.get("share") and not result.get("failed") and (watched or (exposing is None and not given)):
            exposing = begin(home, name, {"tunnel": "auto"})  # PINOKIO_SHARE_CLOUDFLARE
        elif watched and not quiet:
            session.progress.line(f"`{name}` is watched, not exposed; `pinoctl expose {name} --tunnel auto` exposes it")
        return finish(session, result, as_json=as_json, exposing=exposing, asked=asks(given))


def _bring_log(session: Session, *, afresh: bool) -> None:
    """Have a copy of the log where `status` says that it is; one that is there is brought up to date with `afresh`."""
    from orchestrator.agent.files import AgentFiles  # noqa: PLC0415  # see above

    if afresh or not AgentFiles(session.home, session.app).terminal.exists():
        with contextlib.suppress(PinoctlError, OSError):  # the app is up nevertheless
            session.at.mirror_logs(session.app)


def start_script(session: Session, wish: Wish) -> tuple[str | None, dict[str, Any] | None]:
    """Return the script to start and its arguments; None to leave the choice to the agent.

    A script that the menu offers gets what its item gives along, below what the user gave.
    """
    if wish.script is None and wish.args is None:
        return None, None
    from orchestrator.commands.offers import read_offers  # noqa: PLC0415  # only for who chooses

    offers = read_offers(session.home, session.app, session.client)
    if wish.script is not None:
        offered = offers.find(wish.script)
        if offered is None and not (offers.launcher.folder / wish.script).is_file():
            raise BadInputError(
                f"`{session.app}` has no script or menu item `{wish.script}`",
                hint=f"`pinoctl menu {session.app}` lists what it offers; menus offer more once their app is installed",
            )
        path, args = (offered.path, dict(offered.args)) if offered is not None else (wish.script, {})
    else:
        start = offers.launcher.scripts.start
        if start is None:
            raise BadInputError(
                f"`{session.app}` names no start script that `--args` could go to", hint="name one with `--script`"
            )
        path, args = start.path, dict(start.args)
    return path, {**args, **(wish.args or {})}


def interrupted(home: Home, name: str, *, joined: bool) -> int:
    """Settle an interrupted `up`: what this command began is stopped, unless the app got ready."""
    from orchestrator.commands.overview import ask_agent, state_of  # noqa: PLC0415  # see above
    from orchestrator.places.choosing import place_of  # noqa: PLC0415
    from orchestrator.state.app_state import Phase  # noqa: PLC0415

    state = state_of(ask_agent(home, name) or {})
    if state is not None and state.phase is Phase.READY:
        output.say(f"interrupted; `{name}` is ready and goes on, `pinoctl down {name}` stops it")
    elif joined:
        output.say(f"interrupted; the other command goes on with `{name}`, `pinoctl down {name}` stops it")
    else:
        output.say(f"interrupted; stopping `{name}`")
        place_of(home, name).stop(name)
        output.say(
            f"`{name}` is stopped; `pinoctl up {name}` goes on from the last finished step, `--fresh` begins anew"
        )
    return 130


def finish(
    session: Session,
    result: dict[str, Any],
    *,
    as_json: bool,
    retry: str = "up",
    exposing: Exposing | None = None,
    asked: bool = False,
) -> int:
    """Print how it ended: the URL last on stdout, or what failed and what to do about it on stderr.

    Of an app that is exposed it is the URL that works from outside; where there is none though it was `asked` for,
    that is a failure.
    """
    from orchestrator.commands.links import NOWHERE  # noqa: PLC0415  # see above
    from orchestrator.state.app_state import render  # noqa: PLC0415  # see above

    failed, children = result.get("failed"), result.get("failed_children") or []
    if children:
        session.progress.line(
            f"warning: completed with failed sub-script: {', '.join(output.clean(str(child)) for child in children)}",
            "yellow",
        )
    if failed:
        explain(session, failed, str(result.get("log")), retry=retry)
    link = NOWHERE
    if exposing is not None:
        link = exposing.give_up() if failed else exposing.settle(session.progress)
    url = result.get("url")  # an app that could not be updated is up nevertheless
    if as_json:
        output.as_json({
            "app": session.app, "state": result.get("state") or render(session.state()), "url": url,
            "place": result.get("place", "host"), "log": result.get("log"),
            "failed": failed, "failed_children": children, **link.to_json(),
            **({"updated": bool(result["updated"])} if "updated" in result else {})})  # fmt: skip
    elif failed:
        pass  # standard output has the URL of what was asked for, and nothing else
    elif url:
        output.data(str(link.best or url))
    else:
        state = str(result.get("state") or render(session.state()))
        session.progress.line(f"`{session.app}` is {state}" + ("; it has no page" if state == "ready" else ""))
    return 1 if failed or (asked and link.problem) else 0


def explain(session: Session, failed: dict[str, Any], log: str, *, retry: str = "up") -> None:
    """Say what failed: script, step, reason, last lines, the log, and the next command; `retry` is what was tried."""
    app = session.app
    script, step = session.progress.script(failed) if failed.get("script") else "", failed.get("step")
    method = f" (`{output.clean(str(failed['method']))}`)" if failed.get("method") else ""
    place = f"{script} " + (f"step {step}{method} " if step else "") if script else ""
    for line in (failed.get("lines") or [])[-LINES:]:
        session.progress.line(f"  | {output.clean(str(line))}", "dim")
    session.progress.fresh_line()
    beside = Path(log).parent.name == "build" and Path(log).parent.parent.name == app
    reason = output.clean(str(failed.get("reason")))
    output.report(f"{place}failed: {reason}" if place else reason)
    output.hint(advice(failed.get("hint"), app))
    everything = f"`pinoctl logs {app}{' --build' if beside else ''}` shows everything (`{log}`)"
    if retry != "up":
        output.hint(f"`pinoctl {retry} {app}` tries again, {everything}")
        return
    again = f"`pinoctl up {app}` tries again" + (f" from step {step}" if step and script.startswith("install") else "")
    output.hint(f"{again}, `pinoctl up {app} --fresh` installs anew, {everything}")
