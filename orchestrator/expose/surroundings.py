"""What the gate knows of its machine: the platform, the ways out of it, and the variables it was started with."""

from __future__ import annotations

import ipaddress
import platform as system
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestrator.expose.accounts import WHERE
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
    """Hold what was found out about this machine: its ways out, best first, one of kind `none` where it has none."""

    home: Home
    platform: Platform
    signs: Signs
    ways: tuple[Way, ...]
    environ: Mapping[str, str] = field(repr=False)

    @property
    def rented(self) -> bool:
        """Whether its user sits somewhere else, so that a URL on loopback is of no use."""
        return self.platform.name not in NOT_RENTED

    @property
    def way(self) -> Way:
        """The best way out."""
        return self.ways[0]

    def told(self, more: Mapping[str, str]) -> Surroundings:
        """Return what is known when these variables are, too; raises BadInputError for those that make no sense."""
        environ = {**self.environ, **more}
        if all(environ.get(name, "") == self.environ.get(name, "") for name in WHERE):
            return replace(self, environ=environ)
        return _look(self.home, Signs(environ, self.signs.exists, self.signs.read))

    def leading(self, tunnel: str) -> tuple[Way, ...]:
        """Return the ways that the gate should be at, best first, for a tunnel as it is asked for."""
        settled = tunnel == NONE and gate_port(self.signs) is not None
        wanted = tunnel in {AUTO, OWN} or settled
        return tuple(way for way in self.ways if way.kind == "url" and wanted)

    def outer_ports(self, way: Way, before: int) -> tuple[int, ...]:
        """Return the ports that a way leads to, as they should be tried; `before` is the one that was had."""
        settled = gate_port(self.signs)
        if settled is not None:
            return (settled,)
        if way.ports is not None:
            return (*((before,) if before in way.ports else ()), *(way.free or ()), *way.busy)
        return (*((before,) if before else ()), *((GATE_PORT,) if not way.sure else ()), 0)

    def inner_ports(self, before: int, tunnel: str) -> tuple[int, ...]:
        """Return the ports to be tried for this machine alone, none of those that are needed for a way out."""
        settled = gate_port(self.signs) if tunnel == NONE else None
        needed = {port for way in self.ways if way.kind == "url" for port in way.ports or ()}
        return tuple(port for port in (before, settled) if port and port not in needed)

    def tunnel_ports(self, before: int, tunnel: str) -> tuple[int, ...]:
        """Return the ports to be tried for a tunnel; the settled one where the platform leads nowhere, or need not."""
        settled = None if self.leading(tunnel) else gate_port(self.signs)
        return tuple(port for port in (settled, before) if port)

    def trust_outside(self, way: Way, port: int) -> Trust:
        """Say whose word about a visitor counts at a port that the platform leads to."""
        url = way.url(port)
        return Trust(
            _networks(way.proxies),
            https=url.startswith("https://"),
            public=urlsplit(url).netloc,
            forwarded_host=True,
        )

    def trust_inside(self) -> Trust:
        """Say the same of a port for this machine alone: what comes through an SSH tunnel comes from it as well."""
        frame = self.way.kind == "frame"  # what shows it there speaks HTTPS with the browser, and says who asks
        proxies = self.way.proxies if frame else trusted_proxies(self.signs)
        return Trust(_networks(proxies), https=frame, forwarded_host=True)

    def here(self, files: GateFiles, way: Way | None, port: int, wants: Wants) -> Here:
        """Describe this machine to the providers of tunnels; `way` leads to the gate's port, None: nothing does."""
        return Here(
            environ=self.environ,
            which=lambda program: shutil.which(program, path=self.environ.get("PATH")),
            folder=files.folder,
            programs=self.home.bin,
            machine=system.machine(),
            platform=self.platform.facts.title,
            own=_own(way, port) if way is not None else None,
            wants=wants,
            forbids=self.platform.facts.against_tunnels,
            remedy="" if self.way.kind == "url" else self.way.note,
        )


def _own(way: Way, port: int) -> Own:
    secure = way.certificate is not None
    inside = f"http{'s' if secure else ''}://{HERE}:{port}"
    return Own(way.url(port), inside, verify=not secure, shared=way.shared, note=way.note, hint=way.hint)


def _networks(named: Iterable[str]) -> Networks:
    return tuple(ipaddress.ip_network(each) for each in named)


def survey(home: Home, environ: Mapping[str, str]) -> Surroundings:
    """Look at this machine; raises BadInputError for variables of pinoctl's that make no sense."""
    return _look(home, Signs(environ, exists, read_text))


def _look(home: Home, signs: Signs) -> Surroundings:
    found = find_platform(signs)
    return Surroundings(home, found, signs, ways_out(found, signs), signs.environ)
