"""What an installation consists of, as JSON data; run as `python -m orchestrator.lock.inventory`, it prints that."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.lock import node
from orchestrator.lock.checkouts import checkout, without_credentials
from orchestrator.lock.environments import environment
from orchestrator.lock.walking import Found, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Facts = dict[str, Any]
_CHUNK = 1 << 20


def take(
    home: Path, app: str, *, roots: Sequence[Path] = (), events: Iterable[Mapping[str, Any]] = ()
) -> Facts:  # fmt: skip
    """Look at what an app consists of: everything below HOME/api/<app>, and the environments below HOME/bin.

    `roots` are further folders to look into. `events` are those of the app's journal, for the files it downloaded.
    The result is the same for the same files: lists sorted by path, no times; paths are relative to the home where
    they lie in it. Keys: `repositories`, `environments`, `npm`, `resolved`, `python_versions`, `downloads`.
    """
    home = home.resolve()
    found = _merged([walk(folder) for folder in (home / "api" / app, *(root.resolve() for root in roots))])
    tools = walk(home / "bin")
    return {
        "repositories": _described(home, found.repositories, checkout),
        "environments": _described(home, sorted({*found.environments, *tools.environments}), environment),
        "npm": _described(home, found.package_locks, node.lock_file)
        + _described(home, found.node_modules, node.installed),
        "resolved": _described(home, found.resolved, node.lock_file),
        "python_versions": _described(home, found.python_versions, _first_line),
        "downloads": downloads(home, events),
    }


def downloads(home: Path, events: Iterable[Mapping[str, Any]]) -> list[Facts]:
    """List the files that were downloaded and are still there: `path`, `url`, `size` (bytes), `sha256`."""
    last: dict[str, str] = {}
    for event in events:
        path, url = event.get("path"), event.get("url")
        if event.get("kind") == "download" and isinstance(path, str) and isinstance(url, str) and path:
            last[os.path.normpath(home / path)] = url
    found = []
    for path, url in sorted(last.items()):
        try:
            size, digest = _digest(Path(path))
        except OSError:
            continue
        found.append({"path": _relative(home, path), "url": without_credentials(url), "size": size, "sha256": digest})
    return found


def _described(home: Path, places: Iterable[str], describe: Callable[[Path], Facts | None]) -> list[Facts]:
    facts = ((place, describe(Path(place))) for place in places)
    return [{"path": _relative(home, place), **fact} for place, fact in facts if fact is not None]


def _merged(walks: Sequence[Found]) -> Found:
    return Found(**{
        name: sorted({place for found in walks for place in getattr(found, name)}) for name in vars(Found())
    })  # fmt: skip


def _relative(home: Path, path: str) -> str:
    inside = os.path.relpath(path, home)
    return path if inside.startswith("..") else inside


def _first_line(file: Path) -> Facts | None:
    try:
        lines = file.read_text("utf-8", "replace").split()
    except OSError:
        return None
    return {"python": lines[0]} if lines else None


def _digest(file: Path) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


def journal_events(files: Iterable[Path]) -> Iterator[Facts]:
    """Yield the events of journal files, oldest first; lines that are no JSON objects are left out."""
    for file in files:
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the inventory of one app as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.lock.inventory", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the home, as /pinokio")
    parser.add_argument("--app", required=True, help="the app's folder below HOME/api")
    parser.add_argument("--journal", type=Path, action="append", default=[], help="a journal, oldest first")
    parser.add_argument("--root", type=Path, action="append", default=[], help="a further folder to look into")
    chosen = parser.parse_args(arguments)
    facts = take(chosen.home, chosen.app, roots=chosen.root, events=journal_events(chosen.journal))
    sys.stdout.write(json.dumps(facts, sort_keys=True, separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
