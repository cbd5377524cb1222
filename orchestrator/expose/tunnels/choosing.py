"""Which providers are possible here, best first, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.tunnels.cloudflared import Named, Quick
from orchestrator.expose.tunnels.frp import Frp
from orchestrator.expose.tunnels.localtunnel import Localtunnel
from orchestrator.expose.tunnels.ngrok import Ngrok
from orchestrator.expose.tunnels.own import PlatformUrl
from orchestrator.expose.tunnels.ssh import SERVICES, own_host

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.expose.tunnels.provider import Here, Provider

ALL: Final[tuple[Provider, ...]] = (PlatformUrl(), Ngrok(), Named(), Frp(), Quick(), Localtunnel(), *SERVICES)
# Names that stand for several; the first possible one is meant.
FAMILIES: Final = {
    "cloudflared": ("cloudflared-named", "cloudflared-quick"),
    "cloudflare": ("cloudflared-named", "cloudflared-quick"),
    "ssh": tuple(service.name for service in SERVICES),
}


@dataclass(frozen=True, slots=True)
class Left:
    """Name a provider that is out, why, and what would bring it in ("" where nothing would)."""

    name: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Hold the providers to try in this order, the caveats of each by name, and those left out."""

    providers: tuple[Provider, ...]
    caveats: dict[str, str]
    left: tuple[Left, ...]


def names() -> tuple[str, ...]:
    """List what `--tunnel` takes, besides `ssh:user@host`."""
    return (*(provider.name for provider in ALL), "cloudflared", "ssh")


def settings_of(tunnel: str) -> tuple[tuple[str, ...], ...]:
    """List the variables that a tunnel cannot do without, one of each group; none for a name that means several."""
    return next((provider.needs.settings for provider in ALL if provider.name == tunnel.lower()), ())


def choose(here: Here, forced: str | None = None, excluded: Collection[str] = ()) -> Choice:
    """Sort the possible providers, best first; `forced` (what the user typed for `--tunnel`) leaves only that one.

    Raises BadInputError when the forced one is unknown or impossible, saying what to do about it. A choice without
    providers is an answer too: `left` says why.
    """
    if forced is not None:
        return _forced(here, forced)
    ranked: list[tuple[int, Provider, str]] = []
    left: list[Left] = []
    everything: tuple[Provider, ...] = ALL
    if mine := here.environ.get("PINOCTL_SSH_TUNNEL", ""):
        try:
            everything = (*ALL, own_host(mine))
        except BadInputError as error:  # kept, and changed by hand: no reason to leave the others out
            left.append(Left("PINOCTL_SSH_TUNNEL", str(error), error.hint or ""))
    for provider in everything:
        answer = provider.possible(here)
        if provider.name in excluded:
            left.append(Left(provider.name, "left out on request"))
        elif here.forbids and provider.name != "own":
            left.append(Left(provider.name, here.forbids, f"`--tunnel {provider.name}` does it at your own risk"))
        elif answer.ok:
            ranked.append((answer.rank, provider, answer.caveat))
        else:
            left.append(Left(provider.name, answer.why, answer.hint))
    ranked.sort(key=lambda each: each[0])
    caveats = {provider.name: caveat for _, provider, caveat in ranked if caveat}
    return Choice(tuple(provider for _, provider, _ in ranked), caveats, tuple(left))


def _forced(here: Here, forced: str) -> Choice:
    wanted: tuple[Provider, ...]
    if forced.startswith("ssh:"):
        wanted = (own_host(forced),)
    else:
        members = FAMILIES.get(forced.lower(), (forced.lower(),))
        wanted = tuple(provider for provider in ALL if provider.name in members)
    if not wanted:
        raise BadInputError(
            f"there is no tunnel called `{forced}`",
            hint=f"Choose one of {', '.join(f'`{name}`' for name in names())}, or `ssh:user@host` for a host of yours",
        )
    answers = [(provider, provider.possible(here)) for provider in wanted]
    possible = [(provider, answer) for provider, answer in answers if answer.ok]
    if not possible:
        why = answers[0][1]
        raise BadInputError(f"the tunnel `{forced}` is not possible here: {why.why}", hint=why.hint or None)
    caveats = {provider.name: answer.caveat for provider, answer in possible if answer.caveat}
    if here.forbids:
        caveats = {
            provider.name: ". ".join(filter(None, (here.forbids, caveats.get(provider.name, ""))))
            for provider, _ in possible
        }
    left = tuple(Left(provider.name, answer.why, answer.hint) for provider, answer in answers if not answer.ok)
    return Choice(tuple(provider for provider, _ in possible), caveats, left)
