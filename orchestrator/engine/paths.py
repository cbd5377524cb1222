"""Which file a path or URI of a script stands for (spec 5.9); the sidecar's `paths.js` says the same in JavaScript."""

from __future__ import annotations

import os.path
import re
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import ScriptError

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIT_END: Final = re.compile(r"\.git(?=/|\Z)")


def _without_git(remote: str) -> str:
    return remote.removesuffix(".git").rstrip("/")


def _join(*parts: str) -> str:
    """Join and normalise like Node's `path.resolve`: one slash at the front, none at the end, links kept."""
    return "/" + os.path.normpath(os.path.join("/", *parts)).lstrip("/")  # noqa: PTH118  # pathlib keeps `..`


def git_uri(uri: str) -> str:
    """Return the repository part of a git URI, up to and with `.git`. Raises ScriptError."""
    found = _GIT_END.search(uri)
    if found is None:
        raise ScriptError(
            f"`{uri}` is no git repository: such a URI must contain `.git`",
            hint="add `.git` after the repository's name",
        )
    return uri[: found.end()]


def resolve_git(uri: str, git_folders: Mapping[str, str]) -> str | None:
    """Return the local path of a git URI, None if its repository is not installed.

    `git_folders` maps the remote of each installed repository, with or without `.git`, to its folder.
    Raises ScriptError.
    """
    repository = git_uri(uri)
    wanted = _without_git(repository)
    for remote, folder in git_folders.items():
        if _without_git(remote) == wanted:
            return _join(folder, "." + uri[len(repository) :])
    return None


def resolve_path(base: str | None, path: str) -> str:
    """Resolve a relative path against a folder. Raises ScriptError when there is no folder."""
    if path.startswith("/"):
        return _join(path)
    if not base:
        raise ScriptError(
            f"`{path}` is relative and there is no folder that it starts from", hint="give an absolute path or `~/…`"
        )
    return _join(base, path)


def resolve(uri: str, cwd: str | None, home: str, git_folders: Mapping[str, str]) -> str:
    """Return the absolute path that a URI stands for: a git URL, `~/…` (in `home`), absolute, or relative to `cwd`.

    Links are kept. Raises ScriptError for a URL without `.git`, a repository that is not installed, a relative path
    without `cwd`.
    """
    if uri.startswith("http"):
        found = resolve_git(uri, git_folders)
        if found is None:
            raise ScriptError(
                f"`{git_uri(uri)}` is not installed", hint="install it first, or let the script download it"
            )
        return found
    if uri.startswith("~/"):
        return _join(home, uri[2:])
    return resolve_path(cwd, uri)


def script_path(home: str, base: str, *parts: str, git_folders: Mapping[str, str]) -> str | None:
    """Return the path of `kernel.script.resolve(base, …)`, None if the repository is not installed (spec 2.6).

    Raises ScriptError when `base` is neither a git URL, nor `~/…`, nor absolute.
    """
    if base.startswith("http"):
        root = resolve_git(base, git_folders)
        return None if root is None else _join(root, *parts)
    return _join(resolve(base, None, home, git_folders), *parts)


def api_path(path: str, home: str) -> str:
    """Return the folder below `<home>/api` that a path lies in, in the desktop's own spelling outside of it."""
    api = f"{home}/api"
    relative = os.path.relpath(path, api)
    return f"{api}/{'' if relative == '.' else relative.split('/')[0]}"
