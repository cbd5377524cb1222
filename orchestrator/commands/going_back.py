"""The launcher at a lock's commit: for a locked build, with the way back, and for an export, beside the app."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.files import read_json, write_json
from orchestrator.commands import output
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.engine.repositories import remote_of
from orchestrator.launcher import git
from orchestrator.places.container import settings
from orchestrator.state.locks import LockedError, app_lock, waiting_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.lock.lock import Lock

NOTE: Final = "going-back.json"  # what an app goes back to; there only while a locked build is at work, or was killed


class Trial:
    """Hold whether a locked build came to something: only then the app stays at the lock's commit."""

    kept = False

    def keep(self) -> None:
        """Leave the app as it is now."""
        self.kept = True


@contextlib.contextmanager
def trial(home: Home, app: str, held: Lock, commit: str | None, *, say: Callable[[str], None]) -> Iterator[Trial]:
    """Put an app's launcher at a lock's commit, and back after the block unless it says `keep`.

    Where the process is killed meanwhile, `go_back` does that. Raises PinoctlError where it cannot be put there.
    """
    with waiting_lock(home, _key(app), "built", say=say):
        before = {"ref": git.ref_of(home.app(app)) or commit, "answers": dict(settings.read(home, app).answers)}
        note = _note(home, app)
        note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(note, before)  # first of all: nobody else knows the way back
        work = Trial()
        try:
            _check_out(home, app, held, commit)
            yield work
        finally:
            if work.kept:
                note.unlink(missing_ok=True)
            else:
                _back(home, app)


def go_back(home: Home) -> None:
    """Put every app back that a locked build left at its lock's commit when it was killed."""
    for note in sorted((home.root / "places").glob(f"*/{NOTE}")):
        app = note.parent.name
        try:
            with app_lock(home, _key(app), "put back"):
                if note.exists():
                    output.say(f"`{app}` goes back to the launcher that it had: a locked build of it was killed")
                    _back(home, app)
        except LockedError:
            continue  # that build is at work


@contextlib.contextmanager
def at_commit(home: Home, app: str, commit: str | None) -> Iterator[Home]:
    """Yield a home with the app's launcher at a commit; this home where it is there already, or in no repository."""
    folder = home.app(app)
    if commit is None or git.commit_of(folder) == commit:
        yield home
        return
    if folder.is_symlink():
        raise _at_another(app, commit)
    with tempfile.TemporaryDirectory(prefix="pinoctl-launcher-") as made:
        beside = Home(Path(made))
        beside.api.mkdir()
        clone = beside.app(app)
        git.run_git(["git", "clone", "--quiet", "--no-checkout", "--", str(folder), str(clone)])
        url = remote_of(folder)
        if url is not None:  # a commit that is not here is asked for there
            git.run_git(git.in_folder(clone, "remote", "set-url", "origin", url))
        git.check_out(clone, commit, name=app)
        yield beside


def _key(app: str) -> str:
    return f"{app} (locked)"


def _note(home: Home, app: str) -> Path:
    return settings.folder_of(home, app) / NOTE


def _at_another(app: str, commit: str) -> PinoctlError:
    return PinoctlError(
        f"`{app}` is your folder, at another commit than the lock's `{commit[:12]}`", hint="check that commit out there"
    )


def _check_out(home: Home, app: str, held: Lock, commit: str | None) -> None:
    folder = home.app(app)
    if held.launcher.commit and held.launcher.commit != commit:
        if folder.is_symlink():
            raise _at_another(app, held.launcher.commit)
        git.check_out(folder, held.launcher.commit, name=app)


def _back(home: Home, app: str) -> None:
    """Undo what a locked build changed; the note stays where that fails, for the next command."""
    note = _note(home, app)
    before: Any = read_json(note)
    if isinstance(before, dict):
        answers, ref = before.get("answers"), before.get("ref")
        if isinstance(answers, dict):
            settings.write(home, app, settings.read(home, app).changed(answers=answers))
        if isinstance(ref, str) and home.app(app).is_dir() and not home.app(app).is_symlink():
            try:
                git.check_out(home.app(app), ref, name=app)
            except PinoctlError as error:
                output.say(f"warning: `{app}` stays at the lock's launcher: {error}", style="yellow")
                return
    note.unlink(missing_ok=True)
