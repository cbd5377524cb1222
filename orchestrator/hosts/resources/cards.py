"""Common cards of rented machines by name, for `--hardware NAME`.

Models are what the driver calls them, memory and compute capability are NVIDIA's (developer.nvidia.com/cuda-gpus and
the data sheets of the cards), the driver is that of a machine rented with such a card today.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.hardware import Gpu, HardwareProfile, load

DRIVER: Final = "570.133.20"
RAM: Final = 64


@dataclass(frozen=True, slots=True)
class Card:
    """Describe a card: `vram` in GB, `target` its architecture as compilers name it."""

    model: str
    vram: int
    target: str


CARDS: Final[dict[str, Card]] = {
    "T4": Card("Tesla T4", 16, "sm_75"),
    "V100": Card("Tesla V100-SXM2-16GB", 16, "sm_70"),
    "A10": Card("NVIDIA A10", 24, "sm_86"),
    "A10G": Card("NVIDIA A10G", 24, "sm_86"),
    "L4": Card("NVIDIA L4", 24, "sm_89"),
    "L40S": Card("NVIDIA L40S", 48, "sm_89"),
    "A4000": Card("NVIDIA RTX A4000", 16, "sm_86"),
    "A5000": Card("NVIDIA RTX A5000", 24, "sm_86"),
    "A6000": Card("NVIDIA RTX A6000", 48, "sm_86"),
    "A100": Card("NVIDIA A100-SXM4-40GB", 40, "sm_80"),
    "A100-80GB": Card("NVIDIA A100-SXM4-80GB", 80, "sm_80"),
    "H100": Card("NVIDIA H100 80GB HBM3", 80, "sm_90"),
    "H200": Card("NVIDIA H200", 141, "sm_90"),
    "B200": Card("NVIDIA B200", 180, "sm_100"),
    "RTX 3060": Card("NVIDIA GeForce RTX 3060", 12, "sm_86"),
    "RTX 3090": Card("NVIDIA GeForce RTX 3090", 24, "sm_86"),
    "RTX 4090": Card("NVIDIA GeForce RTX 4090", 24, "sm_89"),
    "RTX 5090": Card("NVIDIA GeForce RTX 5090", 32, "sm_120"),
}
NO_CARD: Final = "none"


def names() -> list[str]:
    """List the names that `find_card` knows."""
    return [*CARDS, NO_CARD]


def find_card(name: str) -> HardwareProfile | None:
    """Return the profile of a Linux machine with one such card, None for an unknown name.

    Case, blanks and hyphens do not count, nor do `NVIDIA`, `GeForce` and `Tesla`: `rtx4090` and `4090` are the same.
    """
    wanted = _plain(name)
    if wanted in {"none", "cpu"}:
        return HardwareProfile(platform="linux", arch="x64", ram=RAM)
    for known, card in CARDS.items():
        if wanted in {_plain(known), _plain(known).removeprefix("rtx"), _plain(card.model)}:
            model = card.model.lower()
            return HardwareProfile(
                platform="linux",
                arch="x64",
                gpu="nvidia",
                gpus=(Gpu("nvidia corporation", model, DRIVER),),
                gpu_model=model,
                gpu_driver=DRIVER,
                gpu_target=card.target,
                vram=card.vram,
                ram=RAM,
            )
    return None


def load_hardware(text: str) -> HardwareProfile:
    """Return the profile that `--hardware` means: a JSON file's, or a card's of the table. Raises BadInputError."""
    looks_like_path = text.endswith(".json") or "/" in text
    found = None if looks_like_path or Path(text).is_file() else find_card(text)
    if found is not None:
        return found
    if looks_like_path or Path(text).is_file():
        return load(text)
    raise BadInputError(
        f"`{text}` is neither a file nor a card that is known here",
        hint=f"give a JSON file, or one of {', '.join(f'`{name}`' for name in names())}",
    )


def _plain(name: str) -> str:
    return re.sub(r"nvidia|geforce|tesla|[^a-z0-9]", "", name.lower())
