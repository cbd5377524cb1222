"""What is kept to find everything again on a new machine: `state.json` beside the models, without secrets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from orchestrator.engine.environment import dotenv
from orchestrator.engine.environment.defaults import app_file_text, system_file_text
from orchestrator.engine.environment.files import ensure_app_file, read_text, set_app_values, write_atomically
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.redaction import is_secret
from orchestrator.engine.repositories import remote_of
from orchestrator.launcher import git
from orchestrator.launcher.fetch import fetch
from orchestrator.launcher.names import installed, valid_name
from orchestrator.launcher.target import Target
from orchestrator.places.container import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.engine.home import Home

VERSION: Final = 1
NOT_KEPT: Final = frozenset(
    {"installed", "answers"}
)  # of an app's settings: what was built on the machine that is gone


@dataclass(frozen=True, slots=True)
class Kept:
    """Hold what is kept of an app.

    `url` is its repository without passwords, "" for an app that has none and cannot be fetched again; `commit` and
    `branch` where it was; `settings` what was chosen for its place; `answers` and `environment` without secrets.
    """

    name: str
    url: str = ""
    commit: str | None = None
    branch: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """Hold what is kept of a home: its apps by name, and the variables of its ENVIRONMENT that were changed."""

    apps: Mapping[str, Kept] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def read(file: Path) -> State:
    """Return what was kept, nothing when there is no file; raise PinoctlError for one that cannot be understood."""
    try:
        saved = json.loads(file.read_text("utf-8"))
        if saved["version"] != VERSION:
            raise PinoctlError(
                f"`{file}` was written by another version of pinoctl", hint="update pinoctl, or move that file away"
            )
        apps = {name: Kept(**{**kept, "name": name}) for name, kept in saved["apps"].items() if valid_name(name)}
        return State(apps, dict(saved["environment"]))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PinoctlError(
            f"`{file}` cannot be read: {error}", hint="move it away to begin anew; the models beside it stay"
        ) from error


def write(file: Path, state: State) -> None:
    """Write what is kept, whole or not at all."""
    data = {
        "version": VERSION,
        "apps": {name: asdict(kept) for name, kept in sorted(state.apps.items())},
        "environment": dict(state.environment),
    }
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
        part.replace(file)
    except OSError as error:
        raise PinoctlError(
            f"`{file}` cannot be written: {error.strerror or error}", hint="make room in Drive, or mount it again"
        ) from error


def gather(home: Home, before: State, answers: Mapping[str, Mapping[str, Any]] | None = None) -> State:
    """Return what is to be kept now: the apps that are here, and those kept before that are not.

    `answers` are those given for an app just now; answers of before stay where none were given.
    """
    apps = dict(before.apps)
    for name in installed(home):
        earlier = before.apps.get(name)
        given = (answers or {}).get(name)
        told = without_secrets(given) if given is not None else earlier.answers if earlier is not None else {}
        apps[name] = _kept(home, name, told)
    system = dotenv.parse(read_text(home.environment) or "")
    return State(apps, _changed(system, dotenv.parse(system_file_text())))


def _kept(home: Home, name: str, answers: Mapping[str, Any]) -> Kept:
    app = home.app(name)
    chosen = settings.read(home, name)
    defaults = settings.Settings()
    values = {
        key: value for key, value in asdict(chosen).items() if key not in NOT_KEPT and value != getattr(defaults, key)
    }
    root = home.app_root(app) or app
    template = read_text(root / "_ENVIRONMENT") or ""
    usual = dotenv.parse(app_file_text(template, dotenv.parse(read_text(home.environment) or "")))
    own = dotenv.parse(read_text(root / "ENVIRONMENT") or "")
    remote = None if app.is_symlink() else remote_of(app)
    return Kept(
        name,
        without_password(remote) if remote else "",
        git.commit_of(app) if remote else None,
        git.ref_of(app) if remote else None,
        values,
        {**without_secrets(chosen.answers), **answers},
        _changed(own, usual),
    )


def _changed(values: Mapping[str, str], usual: Mapping[str, str]) -> dict[str, str]:
    changed = {name: value for name, value in values.items() if value != usual.get(name, "")}
    return {name: value for name, value in changed.items() if not is_secret(name) and not _has_password(value)}


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers whose names tell of no secret, and whose texts are no address with a password."""
    return {
        name: value
        for name, value in values.items()
        if not is_secret(name) and not (isinstance(value, str) and _has_password(value))
    }


def _has_password(text: str) -> bool:
    try:
        return "://" in text and urlsplit(text).password is not None
    except ValueError:
        return False


def without_password(url: str) -> str:
    """Return a repository's address without a password, and without the user of http(s), which may be a token."""
    try:
        address = urlsplit(url)
    except ValueError:
        return ""
    if not address.scheme or "@" not in address.netloc:
        return url
    user, _, host = address.netloc.rpartition("@")
    keep = user.partition(":")[0] + "@" if "ssh" in address.scheme else ""
    return urlunsplit(address._replace(netloc=keep + host))


def restore_app(home: Home, kept: Kept, *, environment: Mapping[str, str], say: Callable[[str], None]) -> bool:
    """Fetch an app that is not here at the commit it was at, and give it its settings; tell whether it was fetched.

    Its environments are made anew by its next `up`. Raises PinoctlError when it cannot be fetched.
    """
    app = home.app(kept.name)
    if not kept.url or app.exists() or app.is_symlink():
        return False
    target = Target("url", kept.url, kept.name, url=kept.url)
    fetch(target, home, name=kept.name, env=environment, progress=say)
    if kept.commit:
        git.check_out(app, kept.commit, name=kept.name, env=environment)
        if kept.branch:  # so that an update of the app has a branch to follow
            git.run_git(git.in_folder(app, "checkout", "--quiet", "-B", kept.branch), env=environment)
    if kept.settings:
        chosen = {key: tuple(value) if key == "mounts" else value for key, value in kept.settings.items()}
        known: dict[str, Any] = {
            key: value for key, value in chosen.items() if key in settings.READABLE and key not in NOT_KEPT
        }
        settings.write(home, kept.name, settings.Settings(**known))
    if kept.environment:
        ensure_app_file(home, app)
        set_app_values(home, app, kept.environment)
    return True


def restore_environment(home: Home, values: Mapping[str, str]) -> None:
    """Set the variables of HOME/ENVIRONMENT that were changed before; the file must be there."""
    text = before = read_text(home.environment) or system_file_text()
    for name, value in values.items():
        text = dotenv.set_value(text, name, value)
    if text != before:
        write_atomically(home.environment, text)
