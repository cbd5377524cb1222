"""Which script of a launcher is which: install, start, update, reset, link (spec 3.5).

Pure: from the menu as it is now and the names of the files on disk. The menu changes while an app is installed and
started, so the caller evaluates it again after each and asks again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.launcher.menu import Menu, MenuItem

Stage = Literal["install", "start", "running", "unknown"]

DESTRUCTIVE = re.compile(r"(?<![a-z])(factory.?reset|reset|delete|uninstall|clean|cleanup)(?![a-z])")
NOT_START = ("install", "reinstall", "update", "upgrade", "reset", "link", "uninstall", "download", "stop", "clean")
START_FILES = ("start", "run", "launch", "index")
ELSEWHERE = frozenset({"mac", "macos", "osx", "darwin", "win", "windows", "win32", "directml"})
CARDS = {
    "nvidia": frozenset({"nvidia", "gpu", "cuda"}),
    "amd": frozenset({"amd", "rocm"}),
    "none": frozenset({"cpu"}),
}


@dataclass(frozen=True, slots=True)
class Script:
    """Name one script to run: its path below the launcher's folder, what it is started with, and its label.

    `confirm` is what the launcher wants asked before; `destructive` scripts are never started unless asked for.
    """

    path: str
    args: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    confirm: str = ""
    destructive: bool = False


@dataclass(frozen=True, slots=True)
class Scripts:
    """Hold the choice.

    `stage` is what the menu says is next: `install`, `start`, `running` (it offers a web page), or `unknown` for menus
    that never change, where only the record of a finished install tells. `variants` are the ways to start, in the
    menu's order, when there are several; `others` every script of the menu with no role.
    """

    install: Script | None = None
    start: Script | None = None
    update: Script | None = None
    reset: Script | None = None
    link: Script | None = None
    others: tuple[Script, ...] = ()
    variants: tuple[Script, ...] = ()
    stage: Stage = "unknown"


def choose_scripts(menu: Menu, files: Collection[str], *, gpu: str = "nvidia") -> Scripts:
    """Choose the scripts from a menu and the file names in the launcher's folder.

    `gpu` is the vendor (`nvidia`, `amd`, anything else for none): of several install scripts, the one for it is taken.
    """
    items = menu.scripts
    install = _install(menu, items, files, gpu)
    starts = _starts(items)
    start = _start(menu, items, starts, files, gpu)
    roles = {role: _role(role, items, files) for role in ("update", "reset", "link")}
    taken_paths = {script.path for script in (install, start, *roles.values()) if script} | {
        each.script for each in starts
    }
    variants = tuple(_script(item) for item in _distinct(starts))
    return Scripts(
        install=install,
        start=start,
        update=roles["update"],
        reset=roles["reset"],
        link=roles["link"],
        others=tuple(_script(item) for item in _distinct(items) if item.script not in taken_paths),
        variants=variants if len(variants) > 1 else (),
        stage=_stage(menu, items, starts, install),
    )


def files_of(folder: Path) -> list[str]:
    """List the script files in a launcher's folder, sorted; empty when there is no such folder."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.suffix in {".js", ".json"} and entry.is_file())
    except OSError:
        return []


def _install(menu: Menu, items: Sequence[MenuItem], files: Collection[str], gpu: str) -> Script | None:
    default = menu.default
    if default is not None and _is(default, "install") and not _destructive(default):
        return _script(default)
    found = [item for item in items if _is(item, "install") and not _destructive(item)]
    if found:
        return _script(min(found, key=lambda item: _fitness(item, gpu)))
    return _on_disk(("install",), files) or _by_prefix("install", files, gpu)


def _start(
    menu: Menu, items: Sequence[MenuItem], starts: Sequence[MenuItem], files: Collection[str], gpu: str
) -> Script | None:
    default = menu.default
    if default is not None and _can_start(default):
        return _script(default)
    for prefix in START_FILES[:-1]:
        matching = [item for item in starts if _is(item, prefix)]
        if matching:
            return _script(min(matching, key=lambda item: _fitness(item, gpu)))
    if starts:
        return _script(starts[0])
    index = next((item for item in items if _stem(item.script or "") == "index" and not _destructive(item)), None)
    if index is not None:
        return _script(index)
    on_disk = _on_disk(START_FILES, files)
    rest = next((item for item in items if _can_start(item)), None)
    if on_disk is None and rest is not None:
        return _script(rest)
    return on_disk or _by_prefix("start", files, gpu)


def _starts(items: Iterable[MenuItem]) -> list[MenuItem]:
    """Return the items that start the app by their file's name, or failing that by their label."""
    usable = [item for item in items if _can_start(item)]
    by_name = [item for item in usable if any(_is(item, prefix) for prefix in START_FILES[:-1])]
    return by_name or [item for item in usable if re.match(r"(start|run|launch)\b", item.text.casefold())]


def _stage(menu: Menu, items: Sequence[MenuItem], starts: Sequence[MenuItem], install: Script | None) -> Stage:
    default = menu.default
    if menu.url is not None:
        return "running"
    if default is not None and _is(default, "install"):
        return "install"
    if default is not None and _can_start(default):
        return "start"
    installs = [item for item in items if _is(item, "install")]
    first = [item for item in installs if not re.search(r"re-?install|installed", item.text.casefold())]
    if not first:  # all say "Reinstall", or there is nothing to install
        return "start" if installs or starts or (items and install is None) else "unknown"
    if not starts:
        return "install"
    return "start" if items.index(starts[0]) < items.index(first[0]) else "unknown"


def _role(role: str, items: Iterable[MenuItem], files: Collection[str]) -> Script | None:
    pattern = re.compile(rf"{role}(?![a-z])" if role == "link" else role)
    found = next((item for item in items if pattern.match(_stem(item.script or ""))), None)
    if found is not None:
        return _script(found)
    return _on_disk((role,), files)


def _on_disk(stems: Iterable[str], files: Collection[str]) -> Script | None:
    names = (f"{stem}.{ending}" for stem in stems for ending in ("js", "json"))
    name = next((name for name in names if name in files), None)
    return Script(name, destructive=_says_destructive(name)) if name else None


def _by_prefix(prefix: str, files: Iterable[str], gpu: str) -> Script | None:
    names = sorted(name for name in files if _stem(name).startswith(prefix) and not _says_destructive(name))
    return Script(min(names, key=lambda name: _fit(name, gpu))) if names else None


def _can_start(item: MenuItem) -> bool:
    stem = _stem(item.script or "")
    special = any(re.match(rf"{word}(?![a-z])|{word}(er|ed|ing|s)?(?![a-z])", stem) for word in NOT_START)
    return item.kind == "script" and not special and not _destructive(item)


def _is(item: MenuItem, prefix: str) -> bool:
    return item.kind == "script" and _stem(item.script or "").startswith(prefix)


def _destructive(item: MenuItem) -> bool:
    return _says_destructive(item.script or "") or _says_destructive(item.text)


def _says_destructive(text: str) -> bool:
    return DESTRUCTIVE.search(text.casefold()) is not None


def _fitness(item: MenuItem, gpu: str) -> tuple[bool, bool]:
    return _fit(f"{item.script} {item.text}", gpu)


def _fit(name: str, gpu: str) -> tuple[bool, bool]:
    """Rank a name for this machine; smaller is better, ties keep the menu's order."""
    words = set(re.split(r"[^a-z0-9]+", name.casefold()))
    wanted = CARDS.get(gpu, CARDS["none"])
    others = frozenset[str]().union(*(cards for cards in CARDS.values() if cards != wanted), ELSEWHERE)
    return bool(words & (others - wanted)), not words & (wanted | {"linux"})


def _stem(path: str) -> str:
    return re.sub(r"\.(js|json)$", "", path.rpartition("/")[2]).casefold()


def _script(item: MenuItem) -> Script:
    return Script(item.script or "", dict(item.args), item.text, item.confirm, _destructive(item))


def _distinct(items: Iterable[MenuItem]) -> list[MenuItem]:
    """Keep the first of the items that start the same script in the same way."""
    seen: dict[tuple[str | None, tuple[tuple[str, str], ...]], MenuItem] = {}
    for item in items:
        seen.setdefault((item.script, tuple(sorted(_meaningful(item.args)))), item)
    return list(seen.values())


def _meaningful(args: Mapping[str, str]) -> list[tuple[str, str]]:
    """Leave out what only tells the desktop how to show a script."""
    return [(key, value) for key, value in args.items() if key not in {"run", "fullscreen"}]
