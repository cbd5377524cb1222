"""Getting an app's launcher on disk: clone it, re-use the clone, link a folder, remove it.

Everything is written beside its place and renamed when complete, so that a kill at any moment leaves either nothing or
the whole; what a killed command left is cleared by the next one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.catalog import catalog
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.repositories import remote_of
from orchestrator.launcher import git
from orchestrator.launcher.names import check_name, find_installed, installed, listing, near, same_name
from orchestrator.launcher.target import hide_secrets, name_of_url, same_remote
from orchestrator.snapshots.trees import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.engine.home import Home
    from orchestrator.launcher.target import Target

TEMPORARY = re.compile(r"\.(?:fetch|removed)-.+-(?P<pid>\d+)")


@dataclass(frozen=True, slots=True)
class Fetched:
    """Say what is on disk now.

    `app` is the folder below `HOME/api` (a link for a user's folder, whose real place is `source`); `origin` the
    remote's URL without secrets; `created` is false when it was there before.
    """

    name: str
    app: Path
    origin: str | None = None
    ref: str | None = None
    commit: str | None = None
    source: Path | None = None
    created: bool = False


def fetch(
    target: Target,
    home: Home,
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    progress: git.Progress | None = None,
) -> Fetched:
    """Get the launcher that a target means into `HOME/api`, or find it there, and return where it is.

    `name` is what the user wants to call it (`--name`). Raises BadInputError for unknown names, names that another app
    has, refs nobody knows; GitError when cloning fails.
    """
    wanted = check_name(name) if name is not None else None
    clear_leftovers(home)
    if target.kind == "folder":
        return _link(home, _required(target.path), wanted or target.name, named=wanted is not None)
    url, usual = target.url, None
    if target.kind == "name":
        here = find_installed(home, target.name)
        if here is not None and wanted in {None, here}:
            return _reuse(home, here, target.ref, env=env, progress=progress)
        url = remote_of(home.app(here)) if here is not None else None
        if url is None:
            listed = source_of(target.name, home)
            url, usual = listed.repo, listed.name
    return _clone(home, _required(url), wanted, target.ref, usual=usual, env=env, progress=progress)


def source_of(name: str, home: Home) -> catalog.App:
    """Return the app that the catalogues have under a name, or raise BadInputError with names that are close."""
    known_apps = catalog.apps(home)
    found = catalog.choose(name, known_apps)
    if found is not None:
        return found
    known = near(name, [*installed(home), *(app.name for app in known_apps)])
    advice = f"did you mean {listing(known)}?" if known else "give its git URL or its folder"
    raise BadInputError(f"`{name}` is neither installed nor in the catalogue", hint=advice)


def _clone(
    home: Home,
    url: str,
    wanted: str | None,
    ref: str | None,
    *,
    usual: str | None,
    env: Mapping[str, str] | None,
    progress: git.Progress | None,
) -> Fetched:
    """Clone a repository as `wanted`; else reuse it under whatever name it has, or take its `usual` one."""
    name = wanted or usual or name_of_url(url)
    if not name:
        advice = "give one with `--name`"
        raise BadInputError(f"`{hide_secrets(url)}` ends in nothing that can be an app's name", hint=advice)
    taken = find_installed(home, name)
    candidates = [*([taken] if taken else []), *(installed(home) if wanted is None else [])]
    for other in candidates:
        if same_remote(remote_of(home.app(other)), url):
            return _reuse(home, other, ref, env=env, progress=progress)
    if taken is not None:
        raise _name_taken(home, taken)
    home.api.mkdir(parents=True, exist_ok=True)
    temporary = home.api / f".fetch-{name}-{os.getpid()}"
    try:
        _clone_into(temporary, url, env=env, progress=progress)
        if ref is not None:
            git.check_out(temporary, ref, name=name, env=env, progress=progress)
        try:
            temporary.rename(home.app(name))
        except OSError:  # another command was quicker with this name
            if not same_remote(remote_of(home.app(name)), url):
                raise _name_taken(home, name) from None
    finally:
        remove_tree(temporary)
    return _describe(home, name, ref, created=True)


def _clone_into(folder: Path, url: str, *, env: Mapping[str, str] | None, progress: git.Progress | None) -> None:
    try:
        git.run_git(git.clone_command(url, folder), env=env, progress=progress)
    except git.GitError as error:
        why, hint = git.explain(error.output) if error.output else (str(error), error.hint)
        raise git.GitError(f"`{hide_secrets(url)}` cannot be cloned: {why}", hint=hint, output=error.output) from None
    if hide_secrets(url) != url:  # git needs the token for the next `pull`, and keeps it in its configuration
        (folder / ".git" / "config").chmod(0o600)


def _reuse(
    home: Home, name: str, ref: str | None, *, env: Mapping[str, str] | None, progress: git.Progress | None
) -> Fetched:
    app = home.app(name)
    if not app.is_dir():
        raise BadInputError(f"`{name}` is linked to `{_link_target(app)}`, which is gone",
                            hint=f"put the folder back, or forget the app with `pinoctl rm {name}`")  # fmt: skip
    if ref is not None:
        if not git.is_repository(app):
            raise BadInputError(f"`{name}` is not a git repository, so it has no `{ref}`", hint="leave the `@ref` out")
        git.check_out(app, ref, env=env, progress=progress)
    return _describe(home, name, ref, created=False)


def _link(home: Home, folder: Path, name: str, *, named: bool) -> Fetched:
    inside = home.app_of(folder)
    if inside is not None:
        return _inside(home, folder, inside, name if named else folder.name)
    real = folder.resolve()
    if home.root.resolve().is_relative_to(real):
        raise BadInputError(
            f"`{folder}` holds the Pinokio home `{home.root}`, so it cannot be an app in it",
            hint="give the folder of one launcher",
        )
    for other in installed(home):
        if home.app(other).resolve() == real and (not named or same_name(other, name)):
            return _describe(home, other, None, created=False)
    if not name:
        raise BadInputError(f"{folder.name!r} cannot be the name of an app", hint="give one with `--name`")
    taken = find_installed(home, name)
    if taken is not None:
        if home.app(taken).is_dir():
            raise _name_taken(home, taken)
        home.app(taken).unlink()  # a link whose folder was moved away or deleted
    home.api.mkdir(parents=True, exist_ok=True)
    try:
        home.app(name).symlink_to(folder, target_is_directory=True)
    except FileExistsError:
        if home.app(name).resolve() != real:
            raise _name_taken(home, name) from None
    return _describe(home, name, None, created=True)


def _inside(home: Home, folder: Path, app: Path, name: str) -> Fetched:
    if app != folder:
        raise BadInputError(f"`{folder}` is a folder inside the app `{app.name}`", hint=f"give `{app.name}` itself")
    if not same_name(name, app.name):
        raise BadInputError(f"`{folder}` is installed as `{app.name}` already", hint="leave `--name` out")
    return _describe(home, check_name(app.name), None, created=False)


def _name_taken(home: Home, name: str) -> BadInputError:
    app = home.app(name)
    remote = remote_of(app) if app.is_dir() else None
    if app.is_symlink():
        owner = f"the folder `{_link_target(app)}`"
    elif remote is not None:
        owner = f"the app from `{hide_secrets(remote)}`"
    else:
        owner = f"the app in `{app}`"
    return BadInputError(f"the name `{name}` is taken by {owner}", hint="choose another name with `--name`")


def _link_target(app: Path) -> str:
    try:
        return os.readlink(app)  # noqa: PTH115  # Path.readlink would tidy what the message should show
    except OSError:
        return os.fspath(app)


def _describe(home: Home, name: str, ref: str | None, *, created: bool) -> Fetched:
    app = home.app(name)
    remote = remote_of(app)
    return Fetched(
        name=name,
        app=app,
        origin=hide_secrets(remote) if remote else None,
        ref=ref or git.ref_of(app),
        commit=git.commit_of(app),
        source=app.resolve() if app.is_symlink() else None,
        created=created,
    )


def _required(value: Any) -> Any:
    if value is None:
        raise PinoctlError("this target has neither a URL nor a folder", hint="this is a defect of pinoctl; report it")
    return value


def remove(home: Home, name: str) -> bool:
    """Remove an app's folder, or only the link where the folder is the user's; tell whether there was one."""
    here = find_installed(home, name)
    if here is None:
        return False
    app = home.app(here)
    if app.is_symlink():
        app.unlink()
        return True
    doomed = home.api / f".removed-{here}-{os.getpid()}"
    remove_tree(doomed)
    app.rename(doomed)
    remove_tree(doomed)
    return True


def clear_leftovers(home: Home, *, alive: Callable[[int], bool] | None = None) -> None:
    """Delete what killed commands left beside the apps; what a living process works on stays."""
    is_alive = alive or _alive
    try:
        entries = list(home.api.iterdir())
    except OSError:
        return
    for entry in entries:
        found = TEMPORARY.fullmatch(entry.name)
        if found is not None and not is_alive(int(found["pid"])):
            remove_tree(entry)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return pid != os.getpid()
