"""What a platform is: its folders, limits and rules, and the evidence that this machine is one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

YES: Final = "yes"
NO: Final = "no"
UNKNOWN: Final = "not documented"

Confidence = Literal["certain", "likely", "guess", "told"]


@dataclass(frozen=True, slots=True)
class Folder:
    """Describe a folder of a platform: what it survives (`yes`, `no`, or when), and its limits in words."""

    path: str
    restart: str
    stop: str
    deletion: str
    limit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Docker:
    """Say whether containers can be run there: `yes`, `no` or `maybe`, and why."""

    works: str
    why: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what is known of a platform, whatever machine this is.

    `bases` are the folders to keep a home in, the best first; where none is there, the user's own folder. `session` and
    `idle` word limits, `not documented` where no source tells. `stopping` says how to stop such a machine, `tunnels`
    whether its terms allow them: `yes`, or under which condition.
    """

    name: str
    title: str
    bases: tuple[str, ...]
    folders: tuple[Folder, ...]
    docker: Docker
    way: str
    session: str
    idle: str
    stopping: str
    tunnels: str = YES
    policies: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def against_tunnels(self) -> str:
        """What the platform's terms say against tunnels, a sentence without a full stop, "" for nothing."""
        return "" if self.tunnels == YES else f"{self.title} allows tunnels {self.tunnels}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold one sign: a variable, file or the like, what it says, and whether it says so by itself."""

    sign: str
    says: str
    strong: bool


@dataclass(frozen=True, slots=True)
class Platform:
    """Say which platform this machine is on, and why that is thought.

    `confidence` is `certain` (a strong sign and another), `likely` (one strong sign, or nothing speaks for anything
    else), `guess` (weak signs only) or `told` (PINOCTL_PLATFORM). `against` are signs of other platforms that lost.
    """

    facts: Facts
    confidence: Confidence
    evidence: tuple[Evidence, ...] = ()
    against: tuple[tuple[str, Evidence], ...] = ()

    @property
    def name(self) -> str:
        """The platform's short name, as PINOCTL_PLATFORM takes it."""
        return self.facts.name

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        facts = asdict(self.facts)
        return {
            **facts,
            "confidence": self.confidence,
            "evidence": [asdict(each) for each in self.evidence],
            "against": [{"platform": name, **asdict(each)} for name, each in self.against],
        }
