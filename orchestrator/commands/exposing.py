"""What commands need to expose apps: whether to, asking the gate for it, telling how it goes, and the gate itself."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.files import AgentFiles, read_json
from orchestrator.commands import output
from orchestrator.commands.limits import cautions, limits_of
from orchestrator.commands.links import NOWHERE, link_of, warn
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose import accounts
from orchestrator.expose.client import GateClient
from orchestrator.expose.exposures import AUTO, NONE, OWN, read, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.commands.links import Link
    from orchestrator.commands.progress import Progress
    from orchestrator.engine.home import Home
    from orchestrator.expose.daemon import Daemon
    from orchestrator.expose.gate.keys import Keys

PATIENCE: Final = 60.0
POLL_SECONDS: Final = 0.1
BY_WEBSOCKET: Final = frozenset({"comfyui", "invokeai", "jupyter", "streamlit", "swarmui", "flask"})
SETTLED: Final = frozenset({"up", "failed", "none"})


EXPOSING: Final = frozenset(
    {"tunnel", "no_tunnel", "public", "framed", "stop_after_idle", "max_hours", "stop_what"}
)  # the parameters of `expose_options`


def asked(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a command's options into what they say of its exposure, as the gate takes it, and all others."""
    exposing = {key: value for key, value in options.items() if key in EXPOSING}
    return given_exposure(exposing), {key: value for key, value in options.items() if key not in EXPOSING}


def given_exposure(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the exposure options say, as the gate takes it; what was not given is left out."""
    tunnel = options.get("tunnel")
    if tunnel is not None and not tunnel.strip():
        raise BadInputError(
            "`--tunnel` names nothing", hint="`auto` takes what works best, and `--no-tunnel` lets nothing lead to it"
        )
    if options.get("no_tunnel"):
        if tunnel is not None:
            raise BadInputError("`--tunnel` and `--no-tunnel` exclude each other", hint="give the one that you mean")
        tunnel = NONE
    given = {
        "tunnel": tunnel,
        "public": options.get("public"),
        "framed": options.get("framed"),
        **limits_of(options),
    }
    return {key: value for key, value in given.items() if value is not None}


def asks(given: Mapping[str, Any]) -> bool:
    """Tell whether what was given for an exposure asks for a way in from outside; limits do not."""
    if "tunnel" in given:
        return bool(given["tunnel"] != NONE)
    return bool(given.get("public") or given.get("framed"))


def called_for(home: Home, app: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the gate is to be asked for when an app is brought up, None for nothing.

    An app gets a URL beyond this machine where somebody asks for one, did so before, and on rented machines;
    `--no-tunnel` there leaves the gate. With nothing but limits elsewhere the gate watches it, and nothing leads to it.
    """
    from orchestrator.expose.surroundings import survey  # noqa: PLC0415  # looks into files

    kept = read(GateClient(home).files.exposed, lambda text: output.say(f"warning: {text}", style="yellow"))
    if asks(given) or app in kept or survey(home, os.environ).rented:
        return dict(given)
    more = {key for key, value in given.items() if value is not False} - {"tunnel"}
    return {**given, "tunnel": NONE} if more else None


@dataclass(frozen=True, slots=True)
class Exposing:
    """Hold an exposure that was asked for; the way in from outside may still be on its way."""

    client: GateClient
    app: str
    shown: Mapping[str, Any]

    def settle(self, progress: Progress, *, tell: bool = True) -> Link:
        """Wait until it is known how the app is reached, and tell what happens until then.

        Without `tell` the caller warns of what does not work.
        """
        if self.shown.get("public"):
            progress.line(f"warning: `{self.app}` is open to everyone who finds its address (`--public`)", "yellow")
        shown = self.client.ask("state", app=self.app, fresh=True) or self.shown
        link = _settle(lambda: self.client.ask("state", app=self.app) or {}, shown, progress)
        progress.fresh_line()
        if tell:
            warn(self.app, link)
        return link

    def now(self) -> Mapping[str, Any]:
        """Return what the gate shows of the app."""
        return self.client.ask("state", app=self.app) or self.shown

    def give_up(self) -> Link:
        """Close the door of an app that did not come up; how it was exposed is kept for its next start."""
        self.client.ask("hide", app=self.app, keep=True, failed=True)
        return NOWHERE

    def take_back(self) -> None:
        """Put the exposure back to what it was before, as what it was for was never begun."""
        with contextlib.suppress(PinoctlError):
            self.client.ask("hide", app=self.app, undo=True)


def begin(home: Home, app: str, given: Mapping[str, Any], *, restart: bool = False) -> Exposing:
    """Have the gate expose an app; raises PinoctlError. With `restart` the hours that it may run count anew."""
    client = GateClient(home)
    if given.get("tunnel") not in {None, AUTO, NONE, OWN} and (terms := _against_tunnels(home)):
        output.say(f"warning: {terms}; `--tunnel {given['tunnel']}` is used at your own risk", style="yellow")
    brought = accounts.brought(os.environ)
    brought.update(_typed(home, given.get("tunnel"), brought))
    wanted = {**given, "streams": streams(home, app)}
    where = accounts.said_of_here(os.environ)
    shown = client.need("expose", app=app, given=wanted, restart=restart, accounts=brought, environ=where)
    for text in cautions(app, given, shown):
        output.say(f"warning: {text}", style="yellow")
    return Exposing(client, app, shown)


def _against_tunnels(home: Home) -> str:
    from orchestrator.expose.surroundings import survey  # noqa: PLC0415  # looks into files

    return survey(home, os.environ).platform.facts.against_tunnels


def streams(home: Home, app: str) -> bool:
    """Tell whether an app's page follows its work by server-sent events, as far as the catalogue knows its kind."""
    from orchestrator.catalog.catalog import apps, find  # noqa: PLC0415  # only to expose
    from orchestrator.catalog.planned import table  # noqa: PLC0415  # as above

    known = find(app, apps(home))
    row = table().get(known[0].key) if len(known) == 1 else None
    return row is None or row.web_ui not in BY_WEBSOCKET


def _typed(home: Home, tunnel: str | None, brought: Mapping[str, str]) -> dict[str, str]:
    """Get what the wanted tunnel needs and nobody gave: ngrok's own token, else from the person, where there is one."""
    if tunnel is None:
        return {}
    import click  # noqa: PLC0415  # only to ask

    from orchestrator.commands.ask import can_ask  # noqa: PLC0415  # as above
    from orchestrator.expose.tunnels.choosing import settings_of  # noqa: PLC0415  # as above

    known = {**accounts.read(GateClient(home).files.accounts), **brought}
    found = {}
    for names in settings_of(tunnel):
        name = names[0]
        if any(known.get(each) for each in names):
            continue
        if name == "NGROK_AUTHTOKEN" and (token := accounts.of_ngrok(os.environ)):
            found[name] = token
        elif can_ask():
            hidden = name in accounts.TOKENS
            found[name] = click.prompt(f"{name} (kept in HOME/gate, for you only)", hide_input=hidden, err=True)
    return found


def _settle(
    look: Callable[[], Mapping[str, Any]],
    shown: Mapping[str, Any],
    progress: Progress,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Link:
    until, told = clock() + PATIENCE, ""
    while True:
        tunnel = shown.get("tunnel") or {}
        said = str(tunnel.get("says") or "")
        if said and said != told and tunnel.get("state") != "failed":  # that is warned of when all is said
            progress.line(output.clean(said), "dim")
            told = said
        if tunnel.get("state") in SETTLED or clock() >= until:
            return link_of(shown)
        sleep(POLL_SECONDS)
        shown = look() or shown


def hide(home: Home, app: str, *, keep: bool = False, forget: bool = False) -> bool:
    """Close an app's door and tunnel; tells whether there was any.

    `keep` keeps how it was exposed for its next start, `forget` ends its links and sessions for good.
    """
    client = GateClient(home)
    answer = client.ask("hide", app=app, keep=keep, forget=forget)
    if answer is not None:
        return bool(answer.get("hidden"))
    kept = read(client.files.exposed)
    known = app in kept
    if known and not keep:
        write(client.files.exposed, {name: each for name, each in kept.items() if name != app})
    elif known and kept[app].active:  # the gate died: the next one is to leave the door of an app that is down closed
        write(client.files.exposed, {**kept, app: kept[app].changed({"active": False})})
    if forget and client.files.keys.exists():
        keys_of(home).remove(app)
    return known and not keep


def keys_of(home: Home) -> Keys:
    """Open the tokens, links and passwords of a home."""
    from orchestrator.expose.exposures import GateFiles  # noqa: PLC0415  # `--help` does without
    from orchestrator.expose.gate.audit import Audit  # noqa: PLC0415  # as above
    from orchestrator.expose.gate.keys import Keys  # noqa: PLC0415  # as above

    files = GateFiles(home)
    files.prepare()
    return Keys(files.keys, audit=Audit(files.audit))


def look(home: Home, app: str) -> dict[str, Any]:
    """Return what is true of an app: `word`, `reason` and `url`, as the gate watches it."""
    from orchestrator.commands.overview import ask_agent  # noqa: PLC0415  # imports a lot

    said = ask_agent(home, app)
    if said is None:
        stored = read_json(AgentFiles(home, app).state)
        failed = isinstance(stored, Mapping) and stored.get("word") == "failed"
        return {"word": "failed", "reason": stored.get("reason")} if failed else {"word": "stopped"}
    return {key: said.get(key) for key in ("word", "reason", "url", "step", "steps")} if said else {"word": "unknown"}


def daemon_of(home: Home) -> Daemon:
    """Make the gate of a home, with everything that it needs to know of apps and of this machine."""
    from orchestrator.commands.overview import known_apps  # noqa: PLC0415  # only the gate's process needs it
    from orchestrator.expose.daemon import Daemon  # noqa: PLC0415  # as above
    from orchestrator.expose.surroundings import survey  # noqa: PLC0415  # as above
    from orchestrator.expose.watching import AT_WORK  # noqa: PLC0415  # as above
    from orchestrator.places.choosing import place_of  # noqa: PLC0415  # as above

    def stop_app(app: str) -> None:
        place_of(home, app).stop(app)

    def running() -> list[str]:
        return [app for app in known_apps(home) if look(home, app).get("word") in AT_WORK]

    return Daemon(home, survey(home, os.environ), look=lambda app: look(home, app), stop_app=stop_app, running=running)
