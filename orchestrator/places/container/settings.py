"""How an app is placed: where it lives and what its container may use, kept where no container can write."""

from __future__ import annotations

import contextlib
import hmac
import json
import posixpath
import re
import secrets
import shutil
import stat
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.files import AgentFiles, read_json, write_json
from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from orchestrator.engine.home import Home

IMAGE, VOLUME = "image", "volume"
UNITS: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)

OURS_WHOLLY: Final = ("/opt/pinoctl", "/data/private", "/pinokio/run", "/data/run")
OURS: Final = frozenset({*OURS_WHOLLY, "/", "/data", "/pinokio", "/pinokio/api", "/pinokio/installed"})
OURS_BELOW: Final = tuple(f"{each}/" for each in OURS_WHOLLY)
# What programs need of their system. Below most of it there is room for folders of a user's.
SYSTEM: Final = re.compile(
    r"/((usr/|usr/local/)?(s?bin|lib(x?32|64)?)|usr(/local)?|etc(/ssl(/certs)?)?|var(/lib)?|tmp|run|home(/pinokio)?"
    r"|opt(/python)?|(dev|proc|sys)(/.*)?)"
)
LEAST: Final = 1 << 20  # bytes of a limit
LEAST_MEMORY: Final = 6 << 20  # bytes; daemons refuse less
VOLUME_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold what a user chose for an app; None and empty where nothing was.

    `place` is `host` or `container`, `mode` `image` or `volume`; `gpus` is `all`, `none`, a count or identifiers;
    `memory` and `shm` are bytes, `cpus` a number of processors, `pids` of processes; `mounts` are `SOURCE:TARGET[:ro]`;
    `base` is the image that the base image begins with; `left` tells that Docker has something of an app that lives on
    the host; `answers` are those that are not secret; `installed` says what was: the launcher's hash that the app's
    image stands for, and in volume mode the image below it.
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
    left: bool = False
    answers: Mapping[str, Any] = field(default_factory=dict)
    installed: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, **given: Any) -> Settings:
        """Return these settings with those that are given (not None) put in."""
        return replace(self, **{name: value for name, value in given.items() if value is not None and value != ()})


def folder_of(home: Home, app: str) -> Path:
    """Return the folder of what is decided about an app: no log that comes out of a container is ever copied there."""
    return home.root / "places" / app


def file_of(home: Home, app: str) -> Path:
    """Return the file of an app's settings."""
    return folder_of(home, app) / "place.json"


def read(home: Home, app: str) -> Settings:
    """Return an app's settings; what cannot be read was never chosen."""
    file = file_of(home, app)
    if not file.exists():
        _move_here(home, app)
    saved = read_json(file)
    if not isinstance(saved, dict):
        return Settings()
    values: dict[str, Any] = {
        name: tuple(saved[name]) if name == "mounts" else saved[name]
        for name, fits in READABLE.items()
        if name in saved and fits(saved[name])
    }
    return Settings(**values)


def _move_here(home: Home, app: str) -> None:
    """Move what earlier versions kept among the app's logs."""
    before, folder = AgentFiles(home, app).folder, folder_of(home, app)
    for name in ("place.json", "pinoctl.lock.json"):
        with contextlib.suppress(OSError):
            if stat.S_ISREG((before / name).lstat().st_mode):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                (before / name).replace(folder / name)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


# What each may be in a file that a user may have edited.
READABLE: Final[Mapping[str, Callable[[Any], bool]]] = {
    "place": lambda value: value in {"host", "container"} if isinstance(value, str) else False,
    "mode": lambda value: value in (IMAGE, VOLUME),
    "gpus": _text,
    "memory": lambda value: _number(value) and isinstance(value, int),
    "cpus": _number,
    "shm": lambda value: _number(value) and isinstance(value, int),
    "pids": lambda value: _number(value) and isinstance(value, int),
    "mounts": lambda value: isinstance(value, list) and all(map(_text, value)),
    "base": _text,
    "left": lambda value: isinstance(value, bool),
    "answers": lambda value: isinstance(value, dict),
    "installed": lambda value: isinstance(value, dict),
}


def write(home: Home, app: str, settings: Settings) -> None:
    """Keep an app's settings."""
    folder_of(home, app).mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(file_of(home, app), asdict(settings))


def salted(home: Home, answers: Mapping[str, Any], keys: Collection[str]) -> dict[str, str]:
    """Return hashes of some answers that tell changes, and that nobody without this home can find the answers by."""
    if not keys:
        return {}
    file = home.root / "places" / ".salt"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(file, secrets.token_hex(32))
    salt = str(read_json(file)).encode()
    told = {key: json.dumps(answers[key], sort_keys=True, default=str).encode() for key in keys}
    return {key: hmac.new(salt, text, "sha256").hexdigest() for key, text in told.items()}


def discard(home: Home, app: str) -> None:
    """Forget an app altogether, also what was chosen for it."""
    shutil.rmtree(folder_of(home, app), ignore_errors=True)


def forget(home: Home, app: str) -> None:
    """Forget what was installed; what the user chose stays."""
    chosen = read(home, app)
    if chosen.installed or chosen.answers:
        write(home, app, replace(chosen, installed={}, answers={}))


def parse_size(text: str, option: str, *, least: int = LEAST) -> int:
    """Return the bytes in `8g`, `512m` or `1.5GiB`; raise BadInputError for anything else, and below `least`."""
    found = SIZE.fullmatch(text.strip())
    size = float(found[1]) * UNITS[found[2].lower()] if found else 0.0
    if not least <= size < 1 << 60:
        raise BadInputError(
            f"`{option}` is a size of {least >> 20} MiB or more, got `{text}`", hint="write it like `8g` or `512m`"
        )
    return int(size)


def check_mount(text: str, exists: Callable[[str], bool] | None) -> None:
    """Refuse a mount over what pinoctl has there itself, or of a folder that is not there; raises BadInputError.

    `exists` tells of a folder of the daemon's machine, None where that is another one.
    """
    mount = parse_mount(text)
    target = posixpath.normpath("/" + mount["Target"].lstrip("/"))
    ours = target in OURS or target.startswith(OURS_BELOW)
    if ours or SYSTEM.fullmatch(target):
        raise BadInputError(
            f"`--mount {text}` would hide what {'pinoctl' if ours else 'the image'} has at `{target}`",
            hint="mount it elsewhere, for example below `/data/drive` or in the app's folder `/pinokio/api/APP`",
        )
    if mount["Type"] == "bind" and exists is not None and not exists(mount["Source"]):
        raise BadInputError(f"there is no `{mount['Source']}` to mount", hint="make it first, or name another folder")


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
    if kind == "volume" and not VOLUME_NAME.fullmatch(parts[0]):
        raise BadInputError(
            f"`{parts[0]}` of `--mount {text}` is neither a folder nor a volume's name",
            hint="begin a folder with `/`; volumes have two or more letters, digits, `_`, `.` and `-`",
        )
    return {"Type": kind, "Source": parts[0], "Target": parts[1], "ReadOnly": parts[2:] == ["ro"]}
