"""How an app is placed: where it lives and what its container may use, kept beside its logs."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.files import AgentFiles, read_json, write_json
from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.engine.home import Home

IMAGE, VOLUME = "image", "volume"
UNITS: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold what a user chose for an app; None and empty where nothing was.

    `place` is `host` or `container`, `mode` `image` or `volume`; `gpus` is `all`, `none`, a count or identifiers;
    `memory` and `shm` are bytes, `cpus` a number of processors, `pids` of processes; `mounts` are `SOURCE:TARGET[:ro]`;
    `base` is the image that the base image begins with; `answers` those that are not secret; `installed`
    says what was: the launcher's hash that the app's image stands for, and in volume mode the image below it.
    """

    place: str | None = None
    mode: str = IMAGE
    gpus: str | None = None
    memory: int | None = None
    cpus: float | None = None
    shm: int | None = None
    pids: int | None = None
    mounts: tuple[str, ...] = ()
    base: str | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    installed: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, **given: Any) -> Settings:
        """Return these settings with those that are given (not None) put in."""
        return replace(self, **{name: value for name, value in given.items() if value is not None and value != ()})


def file_of(home: Home, app: str) -> Path:
    """Return the file of an app's settings."""
    return AgentFiles(home, app).folder / "place.json"


def read(home: Home, app: str) -> Settings:
    """Return an app's settings; what cannot be read was never chosen."""
    saved = read_json(file_of(home, app))
    if not isinstance(saved, dict):
        return Settings()
    known = {each.name for each in fields(Settings)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in saved.items() if name in known
    }
    return Settings(**values)


def write(home: Home, app: str, settings: Settings) -> None:
    """Keep an app's settings."""
    files = AgentFiles(home, app)
    files.prepare()
    write_json(file_of(home, app), asdict(settings))


def parse_size(text: str, option: str) -> int:
    """Return the bytes in `8g`, `512m` or `1.5GiB`; raise BadInputError."""
    found = SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * UNITS[found[2].lower()]) if found else 0
    if size < 1 << 20:
        raise BadInputError(f"`{option}` is a size of 1 MiB or more, got `{text}`", hint="write it like `8g` or `512m`")
    return size


def parse_mount(text: str) -> dict[str, Any]:
    """Return a mount of `SOURCE:TARGET[:ro]` as Docker takes it; a source with a slash is a folder, else a volume."""
    parts = text.split(":")
    if (
        len(parts) not in {2, 3}
        or not parts[0]
        or not parts[1].startswith("/")
        or parts[2:] not in ([], ["ro"], ["rw"])
    ):
        raise BadInputError(
            f"`--mount` needs SOURCE:TARGET, got `{text}`",
            hint="for example `--mount /mnt/models:/data/drive/models` or `--mount /mnt/sets:/sets:ro`",
        )
    if "/" in parts[0] and not parts[0].startswith("/"):
        raise BadInputError(f"the folder of `--mount {text}` is not absolute", hint="begin it with `/`")
    kind = "bind" if parts[0].startswith("/") else "volume"
    return {"Type": kind, "Source": parts[0], "Target": parts[1], "ReadOnly": parts[2:] == ["ro"]}
