"""What was learnt about the apps by planning them: the table `planned.jsonl`, one line per app."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TABLE: Final = Path(__file__).with_name("planned.jsonl")
PLANS, FAILS, ABSENT = "plans", "does not plan", "cannot be fetched"


@dataclass(frozen=True, slots=True)
class Planned:
    """Hold one app's row; what its launcher does not say is None or empty.

    `outcome` is `plans`, `does not plan` or `cannot be fetched`, with the reason for the latter two; `verdict` is that
    for a Linux machine with a large NVIDIA card. `vram`, `ram` and `disk` are GB that the launcher's texts require,
    `disk_estimate` GB that its packages take as a rule. `commit` is the launcher's that was planned.
    """

    key: str
    repo: str
    outcome: str
    reason: str = ""
    commit: str = ""
    verdict: str = ""
    against: tuple[str, ...] = ()
    install: str = ""
    start: str = ""
    web_ui: str = ""
    python: str = ""
    torch: str = ""
    cuda: str = ""
    gpus: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    vram: float | None = None
    ram: float | None = None
    disk: float | None = None
    disk_estimate: float | None = None
    conda: bool = False
    source_build: bool = False
    asks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the row without what is empty, for the table and for `--json`."""
        always = {"key", "repo", "outcome"}
        return {
            name: value for name, value in asdict(self).items() if name in always or value not in (None, "", (), False)
        }


def row_of(data: Mapping[str, Any]) -> Planned:
    """Read a row; fields that this version does not know are left out."""
    names = {each.name for each in fields(Planned)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in names
    }
    return Planned(**values)


def parse(text: str) -> dict[str, Planned]:
    """Read a table; rows by key."""
    rows = (row_of(json.loads(line)) for line in text.splitlines() if line.strip())
    return {row.key: row for row in rows}


def render(rows: Iterable[Planned]) -> str:
    """Write a table: one line per app, sorted by key, keys of each line in a fixed order."""
    ordered = sorted(rows, key=lambda row: row.key)
    return "".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in ordered)


@functools.cache
def table() -> Mapping[str, Planned]:
    """Return the shipped table by key; it is read once, when first asked for."""
    try:
        return parse(TABLE.read_text(encoding="utf-8"))
    except FileNotFoundError:  # before the first refresh
        return {}


def kept(old: Planned | None, key: str, repo: str, reason: str) -> Planned:
    """Return the row of an app that cannot be fetched now: what was learnt before stays, with the reason."""
    if old is None or old.outcome == ABSENT or old.repo != repo:
        return Planned(key, repo, ABSENT, reason)
    return row_of({**old.to_json(), "reason": f"from an earlier commit: {reason}"})


def changes(old: Mapping[str, Planned], new: Mapping[str, Planned]) -> list[str]:
    """Say in one line per app what differs between two tables, sorted by key."""
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before is None and after is not None:
            found.append(f"{key}: new: {after.outcome}" + (f" ({after.reason})" if after.reason else ""))
        elif after is None:
            found.append(f"{key}: gone")
        elif before is not None and before != after:
            one, other = before.to_json(), after.to_json()
            what = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
            found.append(
                f"{key}: " + ", ".join(f"{name} {_shown(one.get(name))} → {_shown(other.get(name))}" for name in what)
            )
    return found


def _shown(value: Any) -> str:
    text = "-" if value is None else ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"  # noqa: PLR2004  # a line for people
