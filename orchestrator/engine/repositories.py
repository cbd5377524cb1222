"""Git repositories below `<HOME>/api`: finding the folder of a URL, cloning and updating (spec 5.9, 7.4)."""

from __future__ import annotations

import asyncio
import configparser
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.engine.errors import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.engine.home import Home


def folder_name(url: str) -> str:
    """Return the folder that a cloned URL gets: the URL without its scheme, everything unusual as `_` (1.3)."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", re.sub(r"^https?://", "", url))


def split_git_uri(uri: str) -> tuple[str, str]:
    """Split a URI into the repository's URL, which ends with `.git`, and the path inside it."""
    found = re.match(r"(https?://.+?\.git)(?:/(.*))?$", uri)
    if found is None:
        raise ScriptError(
            f"`{uri}` does not name a git repository",
            hint="a git repository's URI must end with `.git`, as in `https://HOST/OWNER/NAME.git`",
        )
    return found.group(1), found.group(2) or ""


def git_folder(folder: Path) -> Path | None:
    """Return the folder that holds a work tree's `config`: `.git`, or what a `.git` file points to, or None."""
    inner = folder / ".git"
    try:
        if inner.is_dir():
            return inner
        pointer = inner.read_text("utf-8", "replace").strip()
        found = (folder / pointer.removeprefix("gitdir:").strip()).resolve()
        common = found / "commondir"  # a worktree shares the configuration of its repository
        return (found / common.read_text("utf-8").strip()).resolve() if common.is_file() else found
    except (OSError, ValueError):  # a ValueError for names with NUL in them
        return None


def remote_of(folder: Path) -> str | None:
    """Return a repository's `remote.origin.url` as its configuration has it, or None; no git is needed."""
    inner = git_folder(folder)
    if inner is None:
        return None
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string((inner / "config").read_text("utf-8", "replace").replace("\t", ""))
        url = parser.get('remote "origin"', "url", fallback=None)
    except (OSError, configparser.Error):
        return None
    return url.strip('"') if url else None


class Repositories:
    """Know which folder holds which repository."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: tuple[int, dict[str, str]] | None = None

    def folders(self) -> dict[str, str]:
        """Return the folders of `<HOME>/api` by remote URL, in listing order; read again when the folder changed."""
        try:
            stamp = self._home.api.stat().st_mtime_ns
        except OSError:
            return {}
        if self._seen is None or self._seen[0] != stamp:
            found: dict[str, str] = {}
            for folder in sorted(self._home.api.iterdir()):
                remote = remote_of(folder)
                if remote:
                    found.setdefault(remote, str(folder))
            self._seen = (stamp, found)
        return self._seen[1]

    async def fetch(
        self,
        uri: str,
        *,
        branch: str | None,
        commit: str | None,
        pull: bool,
        output: Callable[[str], None],
        env: Mapping[str, str],
    ) -> Path:
        """Clone the repository of a git URI unless it is there, then switch and pull as asked; return its folder."""
        url, _ = split_git_uri(uri)
        wanted = url.removesuffix(".git")
        known = next(
            (Path(path) for remote, path in self.folders().items() if remote.removesuffix(".git") == wanted), None
        )
        folder = known or self._home.api / folder_name(url)
        if known is None:
            await self._clone(url, folder, output, env)
        if branch:
            await _git(folder, ["pull"], output, env)
            await _git(folder, ["switch", branch], output, env)
        if commit:
            await _git(folder, ["switch", "--detach", commit], output, env)
        if pull:
            await _git(folder, ["pull"], output, env)
        return folder

    async def _clone(self, url: str, folder: Path, output: Callable[[str], None], env: Mapping[str, str]) -> None:
        self._home.api.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".clone-", dir=self._home.api))
        try:
            await _git(staging, ["clone", "--progress", "--", url, str(staging / "new")], output, env)
            (staging / "new").rename(folder)
        except OSError as error:
            raise ScriptError(f"`{url}` cannot be put at `{folder}`: {error.strerror}") from error
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, True)  # noqa: FBT003  # positional in to_thread
            self._seen = None


async def _git(folder: Path, arguments: list[str], output: Callable[[str], None], env: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        "git",
        *arguments,
        cwd=folder,
        env={**env, "GIT_TERMINAL_PROMPT": "0"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None  # noqa: S101  # asked for above
    tail = ""
    try:
        while chunk := await process.stdout.read(65536):
            text = chunk.decode("utf-8", "replace")
            tail = (tail + text)[-400:]
            output(text.replace("\n", "\r\n"))
        status = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if status != 0:
        said = tail.strip().splitlines()[-1] if tail.strip() else "no output"
        raise ScriptError(f"`git {arguments[0]}` failed with exit status {status}: {said}")
