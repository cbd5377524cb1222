"""What one git work tree is at: its commit, where it came from, which of its files were changed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from orchestrator.engine.repositories import git_folder, remote_of

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_TRACKED_ONLY = ("--untracked-files=no", "--ignore-submodules=all")
_GIT_LIMIT = 120  # seconds; a status of a big work tree on a cold disk takes a while


def without_credentials(url: str) -> str:
    """Return a URL without user, password, query and fragment; `git@host:path` and paths come back as they are."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if not parts.scheme or not parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    user = parts.username if parts.scheme.endswith("ssh") and parts.username else ""
    return urlunsplit((parts.scheme, f"{user}@{host}" if user else host, parts.path, "", ""))


def checkout(folder: Path) -> dict[str, Any] | None:
    """Describe the work tree in a folder: `origin`, `commit`, `branch`, `dirty`; None where git knows none.

    `commit` is None before the first commit, `branch` is None when the head is detached; `dirty` are the tracked files
    that differ from the commit, relative to the folder. Nothing is written, no hook or file monitor runs.
    """
    answer = _git(folder, "status", "--porcelain=v2", "--branch", "-z", *_TRACKED_ONLY)
    if answer is None:
        commit = _head(folder)
        if commit is None:
            return None
        return {"origin": _origin(folder), "commit": commit, "branch": None, "dirty": []}
    facts: dict[str, Any] = {"origin": _origin(folder), "commit": None, "branch": None}
    dirty = set()
    records = iter(answer.split("\0"))
    for record in records:
        kind, _, rest = record.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            if name == "branch.oid" and _COMMIT.match(value):
                facts["commit"] = value
            elif name == "branch.head" and value != "(detached)":
                facts["branch"] = value
        elif kind == "1":
            dirty.add(rest.split(" ", 7)[-1])
        elif kind == "2":
            dirty |= {rest.split(" ", 8)[-1], next(records, "")}
        elif kind == "u":
            dirty.add(rest.split(" ", 9)[-1])
    return {**facts, "dirty": sorted(dirty)}


def _origin(folder: Path) -> str | None:
    url = remote_of(folder)
    return without_credentials(url) if url else None


def _git(folder: Path, *arguments: str) -> str | None:
    """Ask git about a folder that anybody may own; None if it does not answer."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-c", "core.fsmonitor=false",
               "-C", os.fspath(folder), *arguments]  # fmt: skip
    try:
        done = subprocess.run(command, env=env | {"LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=_GIT_LIMIT, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "backslashreplace") if done.returncode == 0 else None


def _head(folder: Path) -> str | None:
    """Read the commit from the files of a repository, where git itself is missing or refuses."""
    inner = folder / ".git"
    try:
        if inner.is_file():
            inner = (folder / inner.read_text("utf-8").strip().removeprefix("gitdir:").strip()).resolve()
        text = (inner / "HEAD").read_text("utf-8").strip()
        if _COMMIT.match(text):
            return text
        name = text.removeprefix("ref:").strip()
        for base in dict.fromkeys((inner, git_folder(folder) or inner)):
            loose = base / name
            if ".." not in Path(name).parts and loose.is_file():
                return loose.read_text("utf-8").strip()
            packed = base / "packed-refs"
            lines = packed.read_text("utf-8").splitlines() if packed.is_file() else []
            for line in lines:
                commit, _, ref = line.partition(" ")
                if ref == name:
                    return commit
    except (OSError, ValueError):
        return None
    return None
