"""The ports of the gate: those that the platform leads to, those for this machine, and one for each tunnel.

Each has its own answer to whose word about a visitor counts: what one provider may say is not believed of another.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestrator.expose.certificates import Certificates
from orchestrator.expose.gate.proxy import Gate, GateError
from orchestrator.expose.gate.trust import LOOPBACK, Trust
from orchestrator.expose.saying import say
from orchestrator.hosts.way import HERE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.expose.exposed import Machinery
    from orchestrator.hosts.way import Way

REFRESH_SECONDS: Final = 60.0  # between looks at a certificate that may have been renewed
NOBODY: Final = Trust(())


async def listen_outside(shared: Machinery, way: Way, before: int, app: str | None) -> Gate:
    """Open a port that a way of the platform leads to, `before` if that is free; `app` None: for all apps.

    Raises GateError when none is free, CertificateError when the machine's certificate cannot be used.
    """
    ports = shared.surroundings.outer_ports(way, before)
    certificates = Certificates.find(places=(way.certificate,)) if way.certificate is not None else None
    gate = await _first(shared, ports, app, way.bind, certificates)
    gate.trust = shared.surroundings.trust_outside(way, gate.port)
    if certificates is not None:
        gate.beside(_kept_fresh(certificates))
    return gate


def follow(shared: Machinery, gate: Gate, before: Way, way: Way) -> bool:
    """Let an open port of one way be that of another, if it can be; tells whether it is."""
    reached = gate.port in way.ports if way.ports is not None else before.name == way.name
    if not reached or (before.bind, before.certificate) != (way.bind, way.certificate):
        return False
    gate.trust = shared.surroundings.trust_outside(way, gate.port)
    return True


async def listen_inside(shared: Machinery, ports: Iterable[int], app: str) -> Gate:
    """Open a port for this machine alone, one of these or any. Raises GateError."""
    gate = await _first(shared, [*ports, 0], app, HERE, None)
    gate.trust = shared.surroundings.trust_inside()
    return gate


async def listen_for_tunnel(shared: Machinery, ports: Iterable[int], app: str) -> Gate:
    """Open a port for a tunnel of one app, one of these or any; nobody is believed there yet. Raises GateError."""
    return await _first(shared, [*ports, 0], app, HERE, None)


def trust_of(provider: str, url: str) -> Trust:
    """Say whose word about a visitor counts behind a tunnel.

    Services that speak HTTP say who asks, in a header that no visitor can write. The others pass bytes on, and such a
    header is the visitor's own; then all of them come from one address, as far as can be told.
    """
    https, public = url.startswith("https://"), urlsplit(url).netloc
    if provider == "ngrok":
        return Trust(LOOPBACK, https=https, public=public)
    if provider.startswith("cloudflared"):
        return Trust(LOOPBACK, https=https, public=public, address_header="cf-connecting-ip")
    return Trust((), https=https, public=public)


async def _first(
    shared: Machinery, ports: Iterable[int], app: str | None, bind: str, certificates: Certificates | None
) -> Gate:
    failed = GateError("no port can be reached from outside")
    for port in dict.fromkeys(ports):
        try:
            return await Gate.listen(
                bind,
                port,
                keeper=shared.admission,
                app=app,
                apps=shared.apps,
                trust=NOBODY,
                meter=shared.use,
                tls=certificates.context if certificates is not None else None,
            )
        except GateError as error:  # noqa: PERF203  # the next port may be free
            failed = error
    raise failed


async def _kept_fresh(certificates: Certificates) -> None:
    """Present the machine's certificate as it is now, for as long as this is not cancelled."""
    said = ""
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        await asyncio.to_thread(certificates.refresh)
        if certificates.problem not in {"", said}:
            say(f"the certificate of this machine is as it was: {certificates.problem}")
        said = certificates.problem
