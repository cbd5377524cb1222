"""The effects of the environment: ENVIRONMENT files, configuration files and folders on disk (spec 9.3, 9.4, 9.6)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.engine.environment import config_files, dotenv
from orchestrator.engine.environment.defaults import (
    NOT_FOLDERS,
    RESET_AT_START,
    app_file_text,
    reset_caches,
    system_file_text,
)
from orchestrator.engine.errors import PinoctlError, ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.engine.home import Home

LARGEST: Final = 4 << 20  # bytes of an ENVIRONMENT file
_REFUSALS: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP}
)  # the last two: file systems without hard links
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file so that readers see the old text or the new, never half; `mode` are its permissions.

    A link is followed. Raises PinoctlError when the folder cannot be written to.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
            os.replace(name, target)  # noqa: PTH105  # a name, not a Path
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: PTH108  # a name, not a Path
            raise
    except OSError as error:
        raise PinoctlError(
            f"`{path}` cannot be written: {error.strerror or error}",
            hint="check the permissions and the free space of that folder, or set PINOCTL_HOME to another one",
        ) from error


def _read_regular(path: str | os.PathLike[str]) -> bytes:
    """Return a file's bytes; raise OSError for a pipe, which might block for ever, and for more than is sensible."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if about.st_size > LARGEST:
            raise OSError(
                errno.EFBIG, f"it has {about.st_size / 1e6:.0f} MB, and no such file has more than {LARGEST / 1e6:g}"
            )
        return file.read()


def read_text(path: str | os.PathLike[str]) -> str | None:
    """Return the text of an ENVIRONMENT file, None if it is not there; a file that cannot be read is an error."""
    try:
        return dotenv.decode(_read_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PinoctlError(
            f"`{path}` cannot be read: {error.strerror or error}", hint="check its permissions"
        ) from error


def prepare_home(home: Home, process: Mapping[str, str], *, lfs: bool | None = None) -> list[str]:
    """Create what every home has: folders, HOME/ENVIRONMENT and the tools' configuration files (spec 1.1, 9.1, 9.6).

    Runs at every start of an engine and changes nothing that the user wrote. `lfs` says whether git-lfs is there (None:
    look). Returns warnings.
    """
    folders = (home.api, home.bin, home.cache, home.drive, home.logs, home.root / "history", home.cache / "HF_AUTH")
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PinoctlError(
            f"the folder `{error.filename}` cannot be made: {error.strerror or error}",
            hint="set PINOCTL_HOME to a folder that you can write to",
        ) from error
    _prepare_system_file(home)
    key = home.root / "key.json"
    if not key.exists():
        write_atomically(key, "{}")
    has_lfs = shutil.which("git-lfs", path=process.get("PATH")) is not None if lfs is None else lfs
    user_pip = [
        text for file in config_files.user_pip_files(process, home) if (text := _read_quietly(file)) is not None
    ]
    _write_ours(
        home.root / "gitconfig", config_files.gitconfig_text(config_files.user_git_files(process, home), lfs=has_lfs)
    )
    _write_ours(home.root / "pipconfig", config_files.pipconfig_text(user_pip))
    _write_ours(home.root / "condarc", config_files.condarc_text(home))
    values = dotenv.parse(read_text(home.environment) or "")
    warnings = make_folders(_absolute(values, home.root))
    for place, target in config_files.linked_configs(process, home).items():
        _link(Path(place), Path(target))
    return warnings


def _prepare_system_file(home: Home) -> None:
    text = read_text(home.environment)
    if text is None:
        write_atomically(home.environment, system_file_text())
        return
    values = _absolute(dotenv.parse(text), home.root)
    fixed = reset_caches(text, {name: _usable(values.get(name, "")) for name in RESET_AT_START})
    if fixed != text:
        write_atomically(home.environment, fixed)


def _usable(folder: str) -> bool:
    if not folder.startswith("/"):
        return False
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _absolute(values: Mapping[str, str], root: Path) -> dict[str, str]:
    return {name: str(root / value) if value.startswith("./") else value for name, value in values.items()}


def _read_quietly(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write_ours(path: Path, text: str) -> None:
    """Write a configuration file unless it is up to date, or someone took it over by removing our first line."""
    present = _read_quietly(str(path))
    if path.exists() and (present is None or not present.startswith(config_files.MARK) or present == text):
        return
    write_atomically(path, text)


def _link(place: Path, target: Path) -> None:
    """Keep a link to the user's own folder of settings: none where he has none, and never over something real."""
    with contextlib.suppress(OSError):
        if place.is_symlink() and not place.exists():
            place.unlink()
        if target.is_dir() and not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)


def make_folders(values: Mapping[str, str], *, unless: Iterable[str] = NOT_FOLDERS) -> list[str]:
    """Create every folder that a value names (9.4), `values` being absolute; return a warning for each failure."""
    warnings = []
    for name, value in values.items():
        if value[:1] != "/" or name in unless or os.path.exists(value):  # noqa: PTH110  # hot: once per shell and value
            continue
        try:
            os.makedirs(value, exist_ok=True)  # noqa: PTH103  # as above
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            warnings.append(f"the folder `{value}`, the value of `{name}`, cannot be made: {reason}")
    return warnings


def ensure_app_file(home: Home, app: Path) -> bool:
    """Create an app's ENVIRONMENT if it has none (9.3), readable by its owner alone; tell whether it was created."""
    root = home.app_root(app) or app
    path = root / "ENVIRONMENT"
    if path.exists():
        return False
    template = read_text(root / "_ENVIRONMENT") or ""
    system = dotenv.parse(read_text(home.environment) or "")
    write_atomically(path, app_file_text(template, system))
    return True


def set_app_values(home: Home, app: Path, values: Mapping[str, str]) -> None:
    """Edit lines of an app's ENVIRONMENT in place (7.3, `env.set`); the file that shells read, also in `pinokio/`.

    Raises ScriptError when the file is missing or a name is none.
    """
    path = (home.app_root(app) or app) / "ENVIRONMENT"
    text = read_text(path)
    if text is None:
        raise ScriptError(f"`env.set` needs `{path}`, which does not exist")
    for name, value in values.items():
        if not _NAME.match(name):
            raise ScriptError(f"`{name}` cannot be a variable: `env.set` takes letters, digits, `_`, `.` and `-`")
        text = dotenv.set_value(text, name, value)
    write_atomically(path, text)


def can_link(source: Path, target: Path) -> bool:
    """Tell whether files of one folder can be hard-linked into another: same file system, and same mount of it.

    Two bind mounts of one file system have equal device numbers and still refuse, so it is tried. True when a folder is
    not there or not writable, since nothing can be said then.
    """
    try:
        if source.stat().st_dev != target.stat().st_dev:
            return False
        with tempfile.NamedTemporaryFile(prefix=".pinoctl-", dir=source) as file:
            link = target / Path(file.name).name
            try:
                os.link(file.name, link)
            except OSError as error:
                return error.errno not in _REFUSALS
            link.unlink()
            return True
    except OSError:
        return True
