"""Why a step is skipped, in words: its condition, and the facts that it speaks of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FACTS: Final = ("platform", "arch", "gpu", "gpu_model", "gpu_driver", "gpu_target", "vram", "ram")
LONGEST: Final = 160
_TEXTS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`")
_CALLS = re.compile(r"\b(exists|running|which)\(([^()]*)\)")


def why_skipped(when: str | None, facts: Mapping[str, Any]) -> str:
    """Say in one phrase why a condition did not hold.

    `when` is the condition as the launcher wrote it, `facts` the machine's, by the names that templates use.
    """
    if when is None:
        return "its condition does not hold"
    condition = " ".join(re.sub(r"^\s*\{\{|\}\}\s*$", "", when).split())
    shown = condition if len(condition) <= LONGEST else f"{condition[: LONGEST - 1]}…"
    names = re.findall(r"(?<![\w.$])[A-Za-z_]\w*", _TEXTS.sub("", condition))
    spoken = [f"{name} is {_shown(facts[name])}" for name in dict.fromkeys(names) if name in FACTS and name in facts]
    calls = dict.fromkeys(f"{name}({given.strip()})" for name, given in _CALLS.findall(condition) if name != "which")
    if calls and not spoken:
        spoken = [f"as it is on disk now: {', '.join(calls)}"]
    return f"`{shown}` does not hold" + (f": {', '.join(spoken)}" if spoken else "")


def _shown(value: Any) -> str:
    return "none" if value in (None, "", "none") else str(value)
