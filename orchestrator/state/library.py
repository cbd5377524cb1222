"""The index of the apps in SQLite: quick, safe for several processes, rebuilt from the facts when it is lost."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.engine.errors import PinoctlError
from orchestrator.state.rows import COLUMNS, AppRow, Changes, Fact, from_columns, reconcile, to_columns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Self

    from orchestrator.state.app_state import AppState

T = TypeVar("T")

BUSY_SECONDS = 15.0
MIGRATIONS = (
    """
    CREATE TABLE apps (
        name TEXT PRIMARY KEY COLLATE NOCASE,
        path TEXT NOT NULL,
        origin TEXT,
        ref TEXT,
        place TEXT NOT NULL,
        state TEXT NOT NULL,
        step INTEGER,
        steps INTEGER,
        step_name TEXT NOT NULL,
        reason TEXT NOT NULL,
        url TEXT,
        script TEXT,
        agent_pid INTEGER,
        agent_started REAL,
        created REAL NOT NULL,
        updated REAL NOT NULL
    ) WITHOUT ROWID
    """,
)
BROKEN = re.compile(r"not a database|malformed|no such (table|column)|has no column|corrupt|already exists")
UNWRITABLE = re.compile(r"readonly|unable to open|disk i/o error|disk is full", re.IGNORECASE)


class Library:
    """Be the index of one home.

    `facts` lists what is true of the apps; it is only called when the file was missing or broken. A broken file is kept
    beside, as `library.sqlite.broken-1` and so on. Raises PinoctlError when the home cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        facts: Callable[[], Iterable[Fact]] = tuple,
        clock: Callable[[], float] = time.time,
        migrations: tuple[str, ...] = MIGRATIONS,
    ) -> None:
        self.path = path
        self.rebuilt = False
        self._facts = facts
        self._clock = clock
        self._migrations = migrations
        self._connection: sqlite3.Connection | None = None
        self._guarded(lambda: self._read("SELECT count(*) FROM apps"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def all(self) -> list[AppRow]:
        """Return every app, sorted by name without case."""
        found = self._guarded(lambda: [from_columns(dict(row)) for row in self._read("SELECT * FROM apps")])
        return sorted(found, key=lambda row: row.name.casefold())

    def get(self, name: str) -> AppRow | None:
        """Return one app by its name in any case, or None."""
        rows = self._guarded(lambda: [from_columns(dict(row)) for row in self._read(f"{_SELECT} WHERE name = ?", name)])
        return rows[0] if rows else None

    def put(self, row: AppRow) -> AppRow:
        """Write one app, new or known, and return it with its times set."""

        def write(connection: sqlite3.Connection) -> AppRow:
            old = connection.execute("SELECT created FROM apps WHERE name = ?", (row.name,)).fetchone()
            now = self._clock()
            stored = replace(row, created=old["created"] if old else row.created or now, updated=now)
            _put(connection, stored)
            return stored

        return self._guarded(lambda: self._write(write))

    def change(self, name: str, **values: Any) -> AppRow | None:
        """Change some fields of one app in one transaction and return it; None when there is no such app."""

        def write(connection: sqlite3.Connection) -> AppRow | None:
            old = connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
            if old is None:
                return None
            stored = replace(from_columns(dict(old)), **values, updated=self._clock())
            _put(connection, stored)
            return stored

        return self._guarded(lambda: self._write(write))

    def set_state(self, name: str, state: AppState) -> AppRow | None:
        """Change the state of one app."""
        return self.change(name, state=state)

    def forget(self, name: str) -> bool:
        """Remove one app from the index; tell whether it was there."""
        delete = "DELETE FROM apps WHERE name = ?"
        return self._guarded(lambda: self._write(lambda connection: connection.execute(delete, (name,)).rowcount > 0))

    def reconcile(self, facts: Iterable[Fact]) -> list[AppRow]:
        """Put the index right by the facts, in one transaction, and return all apps."""
        known = list(facts)

        def write(connection: sqlite3.Connection) -> Changes:
            rows = [from_columns(dict(row)) for row in connection.execute(_SELECT)]
            changes = reconcile(rows, known, now=self._clock())
            for name in changes.forget:
                connection.execute("DELETE FROM apps WHERE name = ?", (name,))
            for row in changes.put:
                _put(connection, row)
            return changes

        return list(self._guarded(lambda: self._write(write)).rows)

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self._open().execute(query, values).fetchall()

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
        except BaseException:
            with suppress(Exception):  # the first error is the one to report
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return result

    def _guarded(self, work: Callable[[], T]) -> T:
        """Do the work; when the file turns out to be broken, rebuild it and do the work again."""
        import sqlite3  # noqa: PLC0415  # costs as much as the rest of a short command

        try:
            if self._connection is not None and not self.path.exists():
                self.close()  # deleted under us: what we wrote now would be lost
            return work()
        except (sqlite3.DatabaseError, ValueError) as error:
            if UNWRITABLE.search(str(error)):
                raise self._unwritable(error) from error
            if isinstance(error, sqlite3.DatabaseError) and not BROKEN.search(str(error)):
                raise PinoctlError(
                    f"the index `{self.path}` cannot be used: {error}",
                    hint="try again when no other command is at work",
                ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        self._replace_broken(work)
        return work()

    def _unwritable(self, error: Exception) -> PinoctlError:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        return PinoctlError(
            f"the index `{self.path}` cannot be written: {why.lower()}",
            hint="set `PINOCTL_HOME` to a folder that you may write to and that has space left",
        )

    def _replace_broken(self, work: Callable[[], Any]) -> None:
        import sqlite3  # noqa: PLC0415  # see _guarded

        self.close()
        with _locked(self.path):
            try:
                work()
            except (sqlite3.DatabaseError, ValueError):
                self.close()
            else:
                return  # another command was quicker
            number = 1
            while (aside := self.path.with_name(f"{self.path.name}.broken-{number}")).exists():
                number += 1
            for ending in ("-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                self.path.rename(aside)

    def _open(self) -> sqlite3.Connection:
        import sqlite3  # noqa: PLC0415  # see _guarded

        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                self._upgrade(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _known_version(self, connection: sqlite3.Connection) -> int:
        version = _version(connection)
        if version > len(self._migrations):
            raise PinoctlError(
                f"the index `{self.path}` was written by a newer pinoctl",
                hint="upgrade pinoctl, or delete the file: it is built again from the apps",
            )
        return version

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == len(self._migrations):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = self._known_version(connection)
            for migration in self._migrations[version:]:
                connection.execute(migration)
            connection.execute(f"PRAGMA user_version = {len(self._migrations)}")
            if version == 0:
                for row in reconcile((), self._facts(), now=self._clock()).rows:
                    _put(connection, row)
                self.rebuilt = True
        except BaseException:
            with suppress(Exception):  # the first error is the one to report
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


_SELECT = "SELECT * FROM apps"


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _put(connection: sqlite3.Connection, row: AppRow) -> None:
    marks = ", ".join(f":{column}" for column in COLUMNS)
    columns = ", ".join(COLUMNS)
    connection.execute(f"INSERT OR REPLACE INTO apps ({columns}) VALUES ({marks})", to_columns(row))  # noqa: S608  # both are our constants


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with Path(f"{path}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
