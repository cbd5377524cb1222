"""Fetching a launcher's newest commit only, for looking at it: no history, no name in the home."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from orchestrator.launcher import git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def shallow_command(url: str, folder: str | os.PathLike[str]) -> list[str]:
    """Build the command that clones the newest commit of a repository's default branch."""
    patience = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"]  # bytes a second, seconds
    return [
        "git",
        *patience,
        "clone",
        "--quiet",
        "--depth",
        "1",
        "--single-branch",
        "--no-tags",
        "--",
        url,
        os.fspath(folder),
    ]


def fetch_newest(url: str, folder: Path, *, env: Mapping[str, str] | None = None) -> str:
    """Bring a repository's newest commit into a folder, replacing what is there when all has come; return the commit.

    Raises GitError with one clear reason when it cannot be had; the folder is then as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    arriving = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(arriving, ignore_errors=True)
    try:
        git.run_git(shallow_command(url, arriving), env=env)
        commit = _commit(arriving)
        shutil.rmtree(folder, ignore_errors=True)
        arriving.rename(folder)
    except git.GitError as error:
        why, hint = git.explain(error.output) if error.output else (str(error), error.hint)
        raise git.GitError(why, hint=hint, output=error.output) from None
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    return commit


def _commit(folder: Path) -> str:
    found = git.commit_of(folder)
    if found is None:
        raise git.GitError("the repository is empty")
    return found
