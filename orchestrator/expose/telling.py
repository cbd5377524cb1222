"""What commands tell the gate of tunnels and of its machine: taken over, kept for its next start, and forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose import accounts
from orchestrator.expose.saying import say
from orchestrator.hosts.declared import declared_ports, with_declared
from orchestrator.hosts.web import ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.expose.exposed import Machinery
    from orchestrator.expose.exposures import GateFiles
    from orchestrator.expose.surroundings import Surroundings


def remembered(files: GateFiles, here: Surroundings, *, exposed: bool) -> Surroundings:
    """Return what is known of this machine with what was kept; what this process was started with comes first.

    Where the machine is reached counts only as long as an app of the home is `exposed`, up or down.
    """
    kept = accounts.read(files.accounts)
    missing = {name: kept[name] for name in kept if name not in here.environ and (exposed or name in accounts.NAMES)}
    try:
        return here.told(missing)
    except BadInputError as error:  # changed by hand: the gate has to come up all the same
        say(f"`{files.accounts}` is not used: {error}")
        return here


async def ask_provider(shared: Machinery) -> None:
    """Learn which ports the provider leads here, where it tells; a way with no such port is left out."""
    here = shared.surroundings
    if all(way.sure for way in here.ways if way.kind == "url"):
        return
    ports = await declared_ports(here.platform, here.signs, ask)
    found = tuple(with_declared(way, ports, here.signs) for way in here.ways)
    shared.surroundings = replace(here, ways=tuple(way for way in found if way.kind != "none") or found[:1])


async def take(shared: Machinery, brought: Mapping[str, str], where: Mapping[str, str]) -> str:
    """Take what a command knows better than this process: tokens, and where this machine is reached.

    Returns what that changes: `elsewhere` when doors have to be opened anew, `tokens`, or `` for nothing. Raises
    BadInputError.
    """
    here = shared.surroundings

    def new(said: Mapping[str, str]) -> bool:
        return any(here.environ.get(name, "") != value for name, value in said.items())

    if new(where):
        shared.surroundings = here.told({**brought, **where})
        await ask_provider(shared)
        return "elsewhere"
    if new(brought):
        shared.surroundings = here.told(brought)
        return "tokens"
    return ""


def keep(files: GateFiles, said: Mapping[str, str]) -> None:
    """Keep what was said, and proved to be of use, for the next process; a full disk is no reason to fail."""
    try:
        accounts.keep(files.accounts, said)
    except PinoctlError as error:
        say(str(error))


async def forget(shared: Machinery, names: Sequence[str]) -> list[str]:
    """Forget what was said under these names; returns those that were kept. Raises PinoctlError.

    A tunnel that is at work goes on.
    """
    kept, nothing = accounts.read(shared.files.accounts), dict.fromkeys(names, "")
    accounts.keep(shared.files.accounts, nothing)
    await take(
        shared,
        {name: "" for name in nothing if name in accounts.NAMES},
        {name: "" for name in nothing if name in accounts.WHERE},
    )
    return [name for name in names if name in kept]
