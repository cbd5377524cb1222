"""What a launcher's own words say about the machine it needs: VRAM, memory, disk, platform, vendor.

Words that recommend ("RTX 4090 24GB recommended", "best with 16GB") are no requirement: only what says that it needs,
requires or takes at least an amount counts, and of several amounts the smallest, which is what can run at all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_AMOUNT: Final = r"(?P<amount>\d{1,4}(?:\.\d+)?)\s*\+?\s*(?P<unit>GB|GiB|G|TB)(?=V\b|\b)"
_NEED: Final = (
    r"(?:requires?|requirements?|required|needs?|needed|minimum|min\.?|at least|as low as|works? (?:with|on)|runs? on)"
)
_VRAM: Final = r"(?:V[- ]?RAM|GPU memory|video memory|graphics memory)"
_PATTERNS: Final = {
    "vram": (
        rf"{_NEED}[^.\n]{{0,50}}?{_AMOUNT}[^.\n]{{0,16}}?{_VRAM}",
        rf"{_AMOUNT}\s*(?:of\s+)?{_VRAM}[^.\n]{{0,30}}?{_NEED}",
        rf"{_VRAM}\s*(?:{_NEED})?\s*[:>=≥]+\s*~?{_AMOUNT}",
        rf"{_AMOUNT}\s*(?:of\s+)?{_VRAM}\s*(?:or more|\+|minimum)",
    ),
    "ram": (
        rf"{_NEED}[^.\n]{{0,40}}?{_AMOUNT}\s*(?:of\s+)?(?:system\s+)?(?:RAM|memory)\b",
        rf"{_AMOUNT}\s*(?:of\s+)?(?:system\s+)?RAM\b[^.,;()/\n]{{0,12}}?(?:required|needed|minimum|or more)",
        rf"(?<![Vv]-)(?<![Vv] )\bRAM\s*(?:{_NEED})?\s*[:>=≥]+\s*~?{_AMOUNT}",
    ),
    "disk": (
        rf"{_NEED}[^.\n]{{0,50}}?{_AMOUNT}[^.\n]{{0,24}}?(?:disk|storage|free space|drive space|of space)",
        rf"{_AMOUNT}\s*(?:of\s+)?(?:free\s+)?(?:disk|storage|drive)(?:\s+space)?[^.\n]{{0,30}}?{_NEED}",
        rf"(?:disk|storage)(?:\s+space)?\s*(?:{_NEED})?\s*[:>=≥]+\s*~?{_AMOUNT}",
        rf"{_AMOUNT}\s*(?:of\s+)?(?:free\s+)?(?:disk|storage|drive)\s+space",
    ),
}
_COMPILED: Final = {
    name: tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns) for name, patterns in _PATTERNS.items()
}
_SOFTENED: Final = re.compile(r"recommend|ideal|optimal|preferab|best|optional|faster|suggest", re.IGNORECASE)
_NEXT: Final = re.compile(r"recommended\s+(?:requirements?|specs?)|recommended\s*:", re.IGNORECASE)  # another amount's
_LIMITS: Final = {"vram": (1, 192), "ram": (1, 2048), "disk": (0.5, 4096)}
_NVIDIA: Final = re.compile(
    r"(?:requires?|needs?|only(?: works| runs)?(?: on| with| for)?|must have)\s+(?:an?\s+)?(?:NVIDIA|CUDA)\b"
    r"|\bNVIDIA(?:\s+GPUs?)?\s+(?:GPU\s+)?(?:only|required)\b|\b(?:NVIDIA|CUDA)[- ]only\b",
    re.IGNORECASE,
)
_PLATFORM: Final = {
    "win32": re.compile(r"\bWindows[- ]only\b|\bonly (?:works |runs |available )?(?:on|for) Windows\b", re.IGNORECASE),
    "darwin": re.compile(
        r"\b(?:Mac|macOS|Apple Silicon|MLX)[- ]only\b|\bonly (?:works |runs |available )?(?:on|for) (?:Mac|Apple)\w*\b"
        r"|\brequires? (?:an? )?(?:Apple Silicon|M[1-4]\b)",
        re.IGNORECASE,
    ),
}
NEAR: Final = 20  # characters behind an amount in which "recommended" belongs to it
TOP: Final = 400  # characters of a text in which "Windows only" is about the app and not about a remark in it
HEAD: Final = 6000  # characters of a text that count: further down, texts speak of training, history and other programs


def amounts(texts: Iterable[str]) -> dict[str, float]:
    """Return the GB of `vram`, `ram` and `disk` that texts require, each only where they name one."""
    found: dict[str, float] = {}
    for text in texts:
        head = re.sub(r"[*_`]", "", text[:HEAD])
        for name, patterns in _COMPILED.items():
            for amount in _amounts(name, patterns, head):
                found[name] = min(found.get(name, amount), amount)
    return found


def _amounts(name: str, patterns: tuple[re.Pattern[str], ...], text: str) -> Iterable[float]:
    low, high = _LIMITS[name]
    for pattern in patterns:
        for match in pattern.finditer(text):
            before = re.split(r"[.,;()/\n]", text[: match.start()])[-1]
            after = re.split(r"[.,;()/\n]", text[match.end() :])[0]
            after = _NEXT.split(after)[0]
            if _SOFTENED.search(f"{before}{match[0]}{after[:NEAR]}"):
                continue
            amount = float(match["amount"]) * (1000 if match["unit"].upper() == "TB" else 1)
            if low <= amount <= high:
                yield amount


def nvidia_only(text: str) -> bool:
    """Tell whether a text says that an NVIDIA card is needed."""
    return _NVIDIA.search(text[:HEAD]) is not None


def platforms(text: str) -> tuple[str, ...]:
    """Return the one platform that a text restricts itself to, as Node names it; empty when it names none."""
    return tuple(name for name, pattern in _PLATFORM.items() if pattern.search(text[:TOP]))
