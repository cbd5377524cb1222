"""The functions for a notebook's cells: `mount_drive`, `restore`, `up`, `down`, `status`, `forget`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.commands.options import home_of
from orchestrator.commands.output import clean
from orchestrator.engine.environment.files import prepare_home
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.launcher.names import same_name
from orchestrator.notebook import colab, keeping, moving
from orchestrator.notebook.program import call, options
from orchestrator.state.app_state import AppState, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.home import Home

MODELS: Final = "models"
STATE: Final = "state.json"
HEIGHT: Final = 800
ACTIVE: Final = frozenset(phase.value for phase in Phase if AppState(phase).active)


def mount_drive(
    folder: str = "MyDrive/pinoctl", *, home: str | os.PathLike[str] | None = None, mountpoint: str = colab.MOUNT
) -> Path:
    """Mount Google Drive and keep models and what finds everything again in a folder of it; return that folder.

    Asks for your consent the first time. No app may be running while models are moved there. Raises PinoctlError.
    """
    where = _home(home)
    if busy := _running(where):
        raise PinoctlError(f"{', '.join(f'`{name}`' for name in busy)} would lose models while they are moved",
                           hint="stop first what is running: `down()`")  # fmt: skip
    place = colab.mount(folder, mountpoint)
    moved = moving.move_drive(where.drive, place / MODELS, _line)
    if moved.files:
        _line(f"moved {moved.files} files ({moved.bytes / 2**20:.1f} MB) to `{place / MODELS}`")
    for path, why in moved.kept.items():
        _line(f"warning: `{path}` stays here: {why}")
    _save(where)
    known = [name for name in keeping.read(place / STATE).apps if not where.app(name).exists()]
    if known:
        _line(f"kept from before: {', '.join(known)}; `restore()` brings them back")
    return place


def restore(*, home: str | os.PathLike[str] | None = None) -> list[str]:
    """Fetch every app that was kept, at the commit it was at, with its settings; return the names of those fetched.

    Nothing is installed yet: `up` does that. Drive must be mounted, by `mount_drive`. An app that cannot be fetched is
    told and does not keep the others from it.
    """
    where = _home(home)
    file = _state_file(where)
    if file is None:
        raise PinoctlError("nothing is kept for this home, because no Drive is mounted", hint="call `mount_drive()`")
    prepare_home(where, os.environ)
    state = keeping.read(file)
    keeping.restore_environment(where, state.environment)
    return [kept.name for kept in state.apps.values() if _brought_back(where, kept)]


def _brought_back(home: Home, kept: keeping.Kept) -> bool:
    try:
        if keeping.restore_app(home, kept, environment=os.environ, say=lambda _: None):
            commit = f" at {kept.commit[:7]}" if kept.commit else ""
            _line(f'`{kept.name}` is back{commit}; `up("{kept.name}")` installs it')
            return True
    except PinoctlError as error:
        _line(f"warning: `{kept.name}` cannot be fetched: {error}")
        return False
    if not kept.url and not home.app(kept.name).exists():
        _line(f"warning: `{kept.name}` was a folder of this machine and cannot be fetched again")
    return False


def up(
    app: str, *, home: str | os.PathLike[str] | None = None, frame: bool = True, height: int = HEIGHT, **given: Any
) -> dict[str, Any]:
    """Install an app if needed, start it, and show it in the cell's output; return what `pinoctl up --json` says.

    The link with the app's token is left out of that: what a cell returns is saved with the notebook.
    Further arguments are options of `pinoctl up`: `answers={"model": "small"}`, `timeout=600`, `tunnel="ngrok"`.
    An app that was kept in Drive is fetched at the same commit, with the same answers. `frame=False` shows nothing;
    `height` is the frame's in pixels. Raises PinoctlError when the app does not come up.
    """
    where = _home(home)
    kept = _kept(where, app)
    if kept is not None:
        prepare_home(where, os.environ)
        keeping.restore_app(where, kept, environment=os.environ, say=lambda _: None)
        if kept.answers and "answers" not in given and "answer" not in given:
            given = {**given, "answers": dict(kept.answers)}
    wanted = {"tunnel": False, "framed": True, **given} if frame and _here() else given
    result = call(["up", app, "--home", str(where.root), *options(wanted)], _say, _environ())
    if not isinstance(result, dict):
        raise PinoctlError(f"`{app}` gave no answer", hint="run the cell again; it goes on where it was")
    name = str(result.get("app") or app)
    _save(where, {name: answers} if isinstance(answers := given.get("answers"), dict) else None)
    if result.get("failed"):
        raise PinoctlError(f"`{name}` did not come up; what failed is told above", hint="run the cell again to go on")
    link = str(result.get("share_link") or result.get("local_link") or result.get("url") or "")
    place = colab.frame_of(link)
    if frame and place is not None and _here():
        colab.show(*place, height)
    elif link:
        _line(link)
    return {name: value for name, value in result.items() if name not in {"share_link", "local_link"}}


def down(app: str | None = None, *, home: str | os.PathLike[str] | None = None) -> Any:
    """Stop an app, or all of them, and keep in Drive what is needed to find them again."""
    where = _home(home)
    done = call(["down", *([app] if app else ["--all"]), "--home", str(where.root)], _say, _environ())
    _save(where)
    return done


def status(*, home: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """Print each app with its state, and return what `pinoctl status --json` says."""
    found = call(["status", "--home", str(_home(home).root)], _say, _environ())
    rows = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    for each in rows:
        _line(f"{each.get('app')}: {each.get('state')}")
    return rows


def forget(app: str, *, home: str | os.PathLike[str] | None = None) -> None:
    """Take an app out of what is kept in Drive; its models stay, and so does the app if it is here."""
    where = _home(home)
    file, kept = _state_file(where), _kept(where, app)
    if file is None or kept is None:
        raise BadInputError(f"`{app}` is not kept in Drive", hint="`restore()` tells what is")
    state = keeping.read(file)
    keeping.write(file, replace(state, apps={name: each for name, each in state.apps.items() if name != kept.name}))


def _home(given: str | os.PathLike[str] | None) -> Home:
    return home_of(None if given is None else Path(given))


def _state_file(home: Home) -> Path | None:
    """Return where things are kept, None while HOME/drive is no link to a folder that is there."""
    if not home.drive.is_symlink() or not home.drive.is_dir():
        return None
    target = home.drive.readlink()
    return target.parent / STATE if target.is_absolute() and target.name == MODELS else None


def _kept(home: Home, app: str) -> keeping.Kept | None:
    file = _state_file(home)
    found = keeping.read(file).apps if file is not None else {}
    return next((kept for name, kept in found.items() if same_name(name, app)), None)


def _save(home: Home, answers: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    file = _state_file(home)
    if file is not None:
        keeping.write(file, keeping.gather(home, keeping.read(file), answers))


def _running(home: Home) -> list[str]:
    """Return the apps that run, as far as the command line tells; none where there is no home yet."""
    if not home.api.is_dir():
        return []
    found = call(["status", "--home", str(home.root)], lambda _: None, _environ())
    rows = found if isinstance(found, list) else []
    return [str(each["app"]) for each in rows if each.get("phase") in ACTIVE]


def _here() -> bool:
    """Tell whether this is a notebook on Colab."""
    try:
        colab.package("output")
    except PinoctlError:
        return False
    return True


def _environ() -> dict[str, str]:
    """Return the variables for commands; notebooks set one for plots that breaks programs of other environments."""
    return {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _line(text: str) -> None:
    _say(clean(text) + "\n")
