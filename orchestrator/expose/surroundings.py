"""What the gate knows of its machine: the platform, the ways out of it, and the variables it was started with."""

from __future__ import annotations

import ipaddress
import platform as system
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestrator.expose import accounts
from orchestrator.expose.exposures import AUTO, NONE, OWN
from orchestrator.expose.gate.trust import Trust
from orchestrator.expose.tunnels.provider import Here, Own, Wants
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.signs import Signs, exists, read_text
from orchestrator.hosts.way import HERE, Way, gate_port, trusted_proxies, ways_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.engine.home import Home
    from orchestrator.expose.exposures import GateFiles
    from orchestrator.expose.gate.trust import Networks
    from orchestrator.hosts.platform import Platform

NOT_RENTED: Final = frozenset({"local", "container", "kubernetes"})
GATE_PORT: Final = 7860  # where a platform reaches any port that was declared, this one is declared most often


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Hold what was found out about this machine; `way` is the best way out, of kind `none` where it has none."""

    home: Home
    platform: Platform
    signs: Signs
    way: Way
    environ: Mapping[str, str] = field(repr=False)

    @property
    def rented(self) -> bool:
        """Whether its user sits somewhere else, so that a URL on loopback is of no use."""
        return self.platform.name not in NOT_RENTED

    def leads(self, tunnel: str) -> bool:
        """Tell whether the gate has to be where the platform leads to, for a tunnel as it is asked for."""
        settled = tunnel == NONE and gate_port(self.signs) is not None
        return self.way.kind == "url" and (tunnel in {AUTO, OWN} or settled)

    def outer_ports(self, before: int) -> tuple[int, ...]:
        """Return the ports that the platform leads to, as they should be tried; `before` is the one that was had."""
        settled, way = gate_port(self.signs), self.way
        if settled is not None:
            return (settled,)
        if way.ports is not None:
            return (*((before,) if before in way.ports else ()), *(way.free or ()), *way.busy)
        return (*((before,) if before else ()), *((GATE_PORT,) if not way.sure else ()), 0)

    def inner_ports(self, before: int, tunnel: str) -> tuple[int, ...]:
        """Return the ports to be tried for this machine alone, none of those that are needed for the way out."""
        settled = gate_port(self.signs) if tunnel == NONE else None
        needed = (self.way.ports or ()) if self.way.kind == "url" else ()
        return tuple(port for port in (before, settled) if port and port not in needed)

    def tunnel_ports(self, before: int, tunnel: str) -> tuple[int, ...]:
        """Return the ports to be tried for a tunnel; the settled one where the platform leads nowhere, or need not."""
        settled = None if self.leads(tunnel) else gate_port(self.signs)
        return tuple(port for port in (settled, before) if port)

    def trust_outside(self, port: int) -> Trust:
        """Say whose word about a visitor counts at a port that the platform leads to."""
        url = self.way.url(port)
        return Trust(
            _networks(self.way.proxies),
            https=url.startswith("https://"),
            public=urlsplit(url).netloc,
            forwarded_host=True,
        )

    def trust_inside(self) -> Trust:
        """Say the same of a port for this machine alone: what comes through an SSH tunnel comes from it as well."""
        frame = (
            self.way.kind == "frame"
        )  # what shows it there speaks HTTPS with the browser, and says who asks
        proxies = self.way.proxies if frame else trusted_proxies(self.signs)
        return Trust(_networks(proxies), https=frame, forwarded_host=True)

    def here(self, files: GateFiles, port: int | None, wants: Wants) -> Here:
        """Describe this machine to the providers of tunnels; `port` is the gate's, where the platform leads to that."""
        way = self.way
        secure = way.certificate is not None
        url = way.url(port) if port is not None else ""
        inside = f"http{'s' if secure else ''}://{HERE}:{port}"
        terms = self.platform.facts.tunnels
        return Here(
            environ={**accounts.read(files.accounts), **self.environ},
            which=lambda program: shutil.which(program, path=self.environ.get("PATH")),
            folder=files.folder,
            programs=self.home.bin,
            machine=system.machine(),
            platform=self.platform.facts.title,
            own=Own(url, inside, verify=not secure, shared=way.shared, note=way.note) if url else None,
            wants=wants,
            forbids="" if terms == "yes" else terms,
        )


def _networks(named: Iterable[str]) -> Networks:
    return tuple(ipaddress.ip_network(each) for each in named)


def survey(home: Home, environ: Mapping[str, str]) -> Surroundings:
    """Look at this machine; raises BadInputError for variables of pinoctl's that make no sense."""
    signs = Signs(environ, exists, read_text)
    found = find_platform(signs)
    return Surroundings(home, found, signs, ways_out(found, signs)[0], environ)
