"""The facts about the machine that templates and menus may ask for (spec 2.6, 2.7; dry-run.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """Describe one graphics card: `name` is the lower-cased vendor, `model` the lower-cased model text."""

    name: str
    model: str
    driver: str | None = None


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """Hold the facts of one machine; `vram` and `ram` are whole GiB, 0 if unknown."""

    platform: str = "linux"
    arch: str = "x64"
    gpu: str = "none"
    gpus: tuple[Gpu, ...] = field(default_factory=tuple)
    gpu_model: str | None = None
    gpu_driver: str | None = None
    gpu_target: str | None = None
    vram: int = 0
    ram: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the profile as the sidecar and `--hardware` files have it."""
        return {**asdict(self), "gpus": [asdict(gpu) for gpu in self.gpus]}
