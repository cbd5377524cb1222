"""Where exposed apps are reached, as commands tell it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.commands import output
from orchestrator.expose.client import GateClient
from orchestrator.expose.exposures import NONE, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.home import Home
    from orchestrator.expose.exposures import Exposure


@dataclass(frozen=True, slots=True)
class Link:
    """Hold where an exposed app is reached.

    `url` is for everyone to see, `share` lets its holder in from anywhere, `local` on this machine alone. `problem`
    says why nothing leads there from outside, "" where something does or nothing is to; `hint` what to do about it.
    """

    url: str | None = None
    share: str | None = None
    local: str | None = None
    provider: str | None = None
    problem: str = ""
    hint: str = ""
    trying: bool = False

    @property
    def best(self) -> str | None:
        """The link that reaches furthest."""
        return self.share or self.local

    def to_json(self) -> dict[str, Any]:
        """Return what `up --json` and others tell of it."""
        return {
            "share_url": self.url, "share_link": self.share, "share_problem": self.problem or None,
            "local_link": self.local, "tunnel": self.provider,
        }  # fmt: skip


NOWHERE: Final = Link()
GONE: Final = "the gate does not run"


def link_of(shown: Mapping[str, Any]) -> Link:
    """Return where an app is reached, as the gate shows it."""
    tunnel, url = shown.get("tunnel") or {}, shown.get("share_url")
    wanted = tunnel.get("state") not in {None, "none"}
    return Link(
        url,
        shown.get("share_link"),
        shown.get("link"),
        tunnel.get("provider"),
        str(tunnel.get("reason") or "nothing answers there yet") if wanted and not url else "",
        str(tunnel.get("hint") or ""),
        trying=bool(tunnel.get("trying")),
    )


def warn(app: str, link: Link, *, instead: str = "") -> None:
    """Say why an app cannot be reached from outside, and what to do; `instead` is what is shown then."""
    if not link.problem:
        return
    output.say(
        f"warning: `{app}` cannot be reached from outside now: {output.clean(link.problem)}{instead}", style="yellow"
    )
    output.hint(output.clean(link.hint))
    if link.trying:
        output.hint("the gate goes on trying, `pinoctl gate status` shows how; `--no-tunnel` ends that")


def told_closed(app: str, link: Link) -> None:
    """Say so where nothing leads to an app from outside, and nothing is to."""
    if link.local and not link.url and not link.problem:
        output.say(f"`{app}` is open to this machine alone; `pinoctl expose {app} --tunnel auto` changes that")


def shown_links(home: Home, *, patience: float = 5.0) -> dict[str, dict[str, Any]]:
    """Return what the gate says of every exposed app, by app.

    Where no gate runs though it should, each has `gone`. Raises PinoctlError for one that does not answer.
    """
    client = GateClient(home)
    answer = client.ask("list", timeout=patience)
    if answer is not None:
        return {str(each["app"]): each for each in answer.get("apps", ())}
    left = [each for each in read(client.files.exposed).values() if each.active]
    why = _why_gone(client) if left else ""
    return {each.app: _gone(home, each, why) for each in left}


def _why_gone(client: GateClient) -> str:
    """Say why no gate answers: the process that starts it again may be at it."""
    from orchestrator.expose.supervise import take_lock  # noqa: PLC0415  # rarely needed

    try:
        lock = take_lock(client.files.lock, patience=0.0)
    except OSError:
        return GONE
    if lock is None:
        return "the gate does not answer, it is being started again"
    os.close(lock)
    return GONE


def _gone(home: Home, exposure: Exposure, why: str) -> dict[str, Any]:
    from orchestrator.commands.exposing import look  # noqa: PLC0415  # as above

    app = exposure.app
    hint = f"`pinoctl open {app}` waits for it" if why != GONE else f"`pinoctl open {app}` or `up {app}` starts it"
    state = "none" if exposure.tunnel == NONE else "failed"
    return {
        "app": app, "state": look(home, app)["word"], "public": exposure.public, "port": None, "url": None,
        "gone": True,
        "share_url": None, "tunnel": {"state": state, "provider": None, "reason": why, "hint": hint, "says": why},
        "warning": f"{why}; {hint}",
    }  # fmt: skip
