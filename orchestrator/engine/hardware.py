"""The facts about the machine that templates and menus may ask for (spec 2.6, 2.7; dry-run.md)."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.limits import read_limits


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


def without_cards(profile: HardwareProfile) -> HardwareProfile:
    """Return the same machine as it looks where no graphics card can be seen."""
    return replace(profile, gpu="none", gpus=(), gpu_model=None, gpu_driver=None, gpu_target=None, vram=0)


Run = Callable[[Sequence[str]], "str | None"]
Nvml = Callable[[], "list[Card]"]


@dataclass(frozen=True, slots=True)
class Card:
    """Describe one card as a probe found it: `name` is the vendor, `vram` in MiB (None if unknown)."""

    name: str
    model: str
    driver: str | None = None
    vram: float | None = None
    target: str | None = None


def detect(
    *,
    root: Path = Path("/"),
    run: Run | None = None,
    nvml: Nvml | None = None,
    ram: int | None = None,
    machine: str | None = None,
) -> HardwareProfile:
    """Find out what this machine has (2.7): NVIDIA by its own interfaces, other cards by `lspci`.

    `root` is where `dev`, `proc` and `sys` lie, `run` returns what a program prints (None if it is missing or fails),
    `nvml` lists cards through NVIDIA's library, `ram` is in bytes, by default what this process may use. An NVIDIA card
    without its driver does not count: nothing could use it. Takes a few milliseconds without a GPU.
    """
    total = read_limits(root).memory if ram is None else ram
    return _profile(find_cards(root=root, run=run, nvml=nvml), total, machine or os.uname().machine)


def find_cards(*, root: Path = Path("/"), run: Run | None = None, nvml: Nvml | None = None) -> list[Card]:
    """List every card with its memory and architecture; the parameters are those of `detect`."""
    run = run or _run
    return _nvidia(root, run, nvml or _nvml) or _controllers(root, run)


def _profile(cards: Sequence[Card], ram: int, machine: str) -> HardwareProfile:
    primary = _primary(cards)
    return HardwareProfile(
        platform="linux",
        arch=_ARCHITECTURES.get(machine, machine),
        gpu=_vendor(primary.name) if primary else "none",
        gpus=tuple(Gpu(card.name.lower(), card.model.lower(), card.driver) for card in cards),
        gpu_model=primary.model.lower() if primary else None,
        gpu_driver=primary.driver if primary else None,
        gpu_target=primary.target if primary else None,
        vram=_whole(primary.vram / 1024) if primary and primary.vram else 0,
        ram=_whole(ram / 2**30),
    )


def _whole(number: float) -> int:
    return math.floor(number + 0.5)  # JavaScript rounds halves up


def _vendor(name: str) -> str:
    text = name.lower()
    if "nvidia" in text:
        return "nvidia"
    if "advanced micro devices" in text or re.search(r"\b(?:amd|ati)\b", text):
        return "amd"
    return "apple" if "apple" in text else text


def _primary(cards: Sequence[Card]) -> Card | None:
    """Choose the card that counts: any NVIDIA, else the AMD with the most memory, else Apple, else the first (2.7)."""
    by_vendor: dict[str, list[Card]] = {}
    for card in cards:
        by_vendor.setdefault(_vendor(card.name), []).append(card)
    if "amd" in by_vendor:
        by_vendor["amd"].sort(key=lambda card: -(card.vram or 0))
    for vendor in ("nvidia", "amd", "apple"):
        if vendor in by_vendor:
            return by_vendor[vendor][0]
    return cards[0] if cards else None


def _nvidia(root: Path, run: Run, nvml: Nvml) -> list[Card]:
    """List NVIDIA cards by the library, else by `nvidia-smi`, else from what the driver shows in /proc."""
    if any(root.glob("dev/nvidia[0-9]*")) or (root / "dev" / "dxg").exists():  # dxg: how Windows hands over a card
        return nvml() or _smi(run) or _proc(root)
    return _smi(run)


def _nvml() -> list[Card]:
    import pynvml  # noqa: PLC0415  # 27 ms, and only of use on a machine with such a card

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = _str(pynvml.nvmlSystemGetDriverVersion())
        cards = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**20
            model = _str(pynvml.nvmlDeviceGetName(handle))
            cards.append(Card(_NVIDIA, _spaced(model), driver, memory, f"sm_{major}{minor}"))
    except pynvml.NVMLError:
        return []  # `nvidia-smi` may still know: some virtual cards refuse single questions
    else:
        return cards
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _str(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


def _smi(run: Run) -> list[Card]:
    fields = "name,driver_version,memory.total"
    for query in (f"{fields},compute_cap", fields):  # drivers before 510 do not know compute_cap
        text = run(("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"))
        cards = [card for line in (text or "").splitlines() if (card := _smi_card(line))]
        if cards:
            return cards
    return []


def _smi_card(line: str) -> Card | None:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) < 3 or not parts[0]:  # noqa: PLR2004  # name, driver, memory
        return None
    memory = float(parts[2]) if re.fullmatch(r"[\d.]+", parts[2]) else None  # `[N/A]` on cards that share the system's
    capability = parts[3] if len(parts) > 3 else ""  # noqa: PLR2004  # as above
    target = f"sm_{capability.replace('.', '')}" if re.fullmatch(r"\d+\.\d+", capability) else None
    return Card(_NVIDIA, _spaced(parts[0]), parts[1] or None, memory, target)


def _proc(root: Path) -> list[Card]:
    version = _read(root / "proc/driver/nvidia/version")
    found = re.search(r"Kernel Module(?: for \S+)?\s+([\d.]+)", version)
    driver = found[1] if found else None
    cards = []
    for file in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        model = re.search(r"^Model:\s*(.+?)\s*$", _read(file), re.MULTILINE)
        if model:
            cards.append(Card(_NVIDIA, _spaced(model[1]), driver))
    return cards


def _spaced(model: str) -> str:
    """Keep a blank before the number, which launchers look for (`/ 50.+/`), also where a driver leaves it out."""
    return re.sub(r"\b(RTX|GTX)(?=\d)", r"\1 ", model.strip(), flags=re.IGNORECASE)


def _controllers(root: Path, run: Run) -> list[Card]:
    """List the cards of other vendors, from `lspci`, with what their kernel driver says about AMD's."""
    if not any(root.glob("sys/bus/pci/devices/*")):
        return []
    cards = []
    for line in (run(("lspci", "-D")) or "").splitlines():
        found = _LSPCI.match(line)
        if not found:
            continue
        vendor, model = _split_vendor(found["device"])
        if _vendor(vendor) == "nvidia":
            continue
        folder = root / "sys/bus/pci/devices" / found["address"]
        memory = _read(folder / "mem_info_vram_total").strip()
        cards.append(
            Card(
                vendor,
                model,
                _read(folder / "driver/module/version").strip() or None,
                int(memory) / 2**20 if memory.isdigit() else None,
                _gfx(root) if _vendor(vendor) == "amd" else None,
            )
        )
    return cards


def _split_vendor(device: str) -> tuple[str, str]:
    """Split `Vendor, Inc. [V] Model [Name]`; vendors end in a company's form or in square brackets."""
    found = _VENDOR.match(device)
    if found:
        return found["vendor"], found["model"].strip()
    vendor, _, model = device.partition(" ")
    return vendor, model


def _gfx(root: Path) -> str | None:
    """Return AMD's name of the instruction set of the first card (`gfx1100`)."""
    for file in sorted(root.glob("sys/class/kfd/kfd/topology/nodes/*/properties")):
        found = re.search(r"^gfx_target_version (\d+)$", _read(file), re.MULTILINE)
        if found and int(found[1]):  # processors have nodes as well, with 0
            version = int(found[1])
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _run(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def load(path: str | os.PathLike[str]) -> HardwareProfile:
    """Read a profile from a JSON file (`--hardware`): the keys of `HardwareProfile`, all optional.

    Facts that follow from `gpus` and are not given are filled in. Raises BadInputError for anything else.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"the hardware profile `{path}` cannot be read: {error}") from error
    except ValueError as error:
        raise BadInputError(f"the hardware profile `{path}` is not JSON: {error}") from error
    try:
        return from_json(data)
    except ValueError as error:
        hint = 'for example {"gpus": [{"name": "nvidia corporation", "model": "nvidia geforce rtx 4090"}], "vram": 24}'
        raise BadInputError(f"the hardware profile `{path}` is wrong: {error}", hint=hint) from error


def from_json(data: Any) -> HardwareProfile:
    """Turn JSON into a profile, checking every key; the inverse of `to_json`. Raises ValueError."""
    if not isinstance(data, dict):
        raise ValueError("it must be an object")  # noqa: TRY004  # one kind of error for whoever reads files
    gpus = data.get("gpus", [])
    if not isinstance(gpus, list):
        raise ValueError("`gpus` must be a list of objects")  # noqa: TRY004  # as above
    cards = tuple(Gpu(**_checked(gpu, _GPU_KEYS, "an entry of `gpus`", required=("name", "model"))) for gpu in gpus)
    cards = tuple(replace(card, name=card.name.lower(), model=card.model.lower()) for card in cards)
    values = _checked({key: value for key, value in data.items() if key != "gpus"}, _PROFILE_KEYS, "the profile")
    primary = _primary([Card(card.name, card.model, card.driver) for card in cards])
    if primary is not None:
        values.setdefault("gpu", _vendor(primary.name))
        if values["gpu"] == _vendor(primary.name):
            values = {"gpu_model": primary.model, "gpu_driver": primary.driver, **values}
    return HardwareProfile(gpus=cards, **values)


def _checked(data: Any, keys: Mapping[str, type], where: str, *, required: Sequence[str] = ()) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be an object, got {data!r}")  # noqa: TRY004  # as above
    for key, value in data.items():
        kind = keys.get(key)
        if kind is None:
            raise ValueError(f"`{key}` in {where} is none of {', '.join(f'`{name}`' for name in keys)}")
        if kind is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ValueError(f"`{key}` in {where} must be a whole number of GiB, got {value!r}")
        if kind is str and not isinstance(value, str) and not (value is None and key in _NULLABLE):
            raise ValueError(f"`{key}` in {where} must be text, got {value!r}")
    for key in required:
        if key not in data:
            raise ValueError(f"{where} needs `{key}`")
    return dict(data)


_NVIDIA: Final = "nvidia corporation"
_ARCHITECTURES: Final = {
    "x86_64": "x64",
    "amd64": "x64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "i686": "ia32",
    "armv7l": "arm",
}
_LSPCI: Final = re.compile(
    r"(?P<address>[0-9a-f:.]+) (?:VGA compatible|3D|Display) controller: "
    r"(?P<device>.+?)(?: \(rev \w+\))?(?: \(prog-if .*)?$"
)
_VENDOR: Final = re.compile(
    r"(?P<vendor>.+?\b(?:Corporation|Inc\.?|Corp\.?|Ltd\.?|LLC|GmbH|Technology)(?: \[[^\]]*\])?) (?P<model>.+)"
)
_GPU_KEYS: Final[Mapping[str, type]] = {"name": str, "model": str, "driver": str}
_PROFILE_KEYS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("platform", "arch", "gpu", "gpu_model", "gpu_driver", "gpu_target"), str),
    **dict.fromkeys(("vram", "ram"), int),
}
_NULLABLE: Final = frozenset({"driver", "gpu_model", "gpu_driver", "gpu_target"})
