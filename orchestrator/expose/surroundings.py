"""What the gate knows of its machine: the platform, the ways out of it, and the variables it was started with."""

from __future__ import annotations

import platform as system
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.expose import accounts
from orchestrator.expose.tunnels.provider import Here, Own, Wants
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.signs import Signs, exists, read_text
from orchestrator.hosts.way import HERE, Way, gate_port, ways_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.home import Home
    from orchestrator.expose.exposures import GateFiles
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

    @property
    def bind(self) -> str:
        """The address that the gate listens on: this machine's own, unless its provider leads to another."""
        return self.way.bind if self.way.kind == "url" else HERE

    @property
    def any_port(self) -> bool:
        """Whether the gate may listen on any port."""
        return self.way.kind != "url" or (self.way.ports is None and gate_port(self.signs) is None)

    def ports(self) -> tuple[int, ...]:
        """Return the ports that the gate should try first, best first; `()` when any will do."""
        settled = gate_port(self.signs)
        if settled is not None:
            return (settled,)
        if self.way.kind != "url":
            return ()
        if self.way.ports is not None:
            return self.way.free or ()
        return (GATE_PORT,) if not self.way.sure else ()

    def here(self, files: GateFiles, port: int, wants: Wants) -> Here:
        """Describe this machine to the providers of tunnels that lead to the gate at a port."""
        way = self.way
        url = way.url(port) if way.kind == "url" and (way.ports is None or port in way.ports) else ""
        terms = self.platform.facts.tunnels
        return Here(
            environ={**accounts.read(files.accounts), **self.environ},
            which=lambda program: shutil.which(program, path=self.environ.get("PATH")),
            folder=files.folder,
            programs=self.home.bin,
            machine=system.machine(),
            platform=self.platform.facts.title,
            own=Own(url, probe=way.certificate is None, note=way.note) if url else None,
            wants=wants,
            forbids="" if terms == "yes" else terms,
        )


def survey(home: Home, environ: Mapping[str, str]) -> Surroundings:
    """Look at this machine; raises BadInputError for variables of pinoctl's that make no sense."""
    signs = Signs(environ, exists, read_text)
    found = find_platform(signs)
    return Surroundings(home, found, signs, ways_out(found, signs)[0], environ)
