"""The index on disk: reading, writing, several processes, broken files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.state.app_state import AppState, Phase
from orchestrator.state.library import MIGRATIONS, Library
from orchestrator.state.rows import AppRow, Fact

FACTS = [Fact("one", "/one", state=AppState(Phase.STOPPED)), Fact("Two", "/two")]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def library(tmp_path):
    with Library(tmp_path / "home" / "library.sqlite", clock=lambda: 5.0) as library:
        yield library


def test_put_get_change_forget(library):
    row = AppRow("App", "/x", state=AppState(Phase.INSTALLING, 3, 7, "shell.run"), url="http://u")
    assert library.put(row) == replace(row, created=5.0, updated=5.0)
    assert library.get("aPP") == library.get("App") == library.all()[0]
    changed = library.set_state("app", AppState(Phase.READY))
    assert changed is not None
    assert str(changed.state) == "ready"
    assert library.change("app", url=None, agent_pid=4).agent_pid == 4
    assert library.change("nobody", url=None) is None
    assert library.forget("APP")
    assert not library.forget("APP")
    assert library.all() == []


def test_created_stays_and_names_are_one_whatever_their_case(library, tmp_path):
    library.put(AppRow("app", "/x"))
    with Library(library.path, clock=lambda: 8.0) as later:
        later.put(AppRow("APP", "/y"))
        (row,) = later.all()
    assert (row.name, row.path, row.created, row.updated) == ("APP", "/y", 5.0, 8.0)


def test_it_lasts(library):
    library.put(AppRow("app", "/x"))
    library.close()
    with Library(library.path) as again:
        assert [row.name for row in again.all()] == ["app"]
        assert not again.rebuilt


def test_a_failing_change_changes_nothing(library):
    library.put(AppRow("app", "/x"))
    with pytest.raises(TypeError):
        library.change("app", nonsense=1)
    library.put(AppRow("other", "/y"))
    assert [row.name for row in library.all()] == ["app", "other"]


def test_reconcile(library):
    library.put(AppRow("gone", "/g"))
    rows = library.reconcile(FACTS)
    assert [(row.name, str(row.state)) for row in rows] == [("one", "stopped"), ("Two", "not installed")]
    assert library.all() == rows


def test_a_missing_file_is_built_from_the_facts(tmp_path):
    calls = count()

    def facts():
        next(calls)
        return FACTS

    with Library(tmp_path / "library.sqlite", facts=facts) as library:
        assert [row.name for row in library.all()] == ["one", "Two"]
        assert library.rebuilt
    Library(tmp_path / "library.sqlite", facts=facts).close()
    assert next(calls) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database, whatever its name says" * 50),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: _sql(path, "DROP TABLE apps"),
        lambda path: _sql(path, "UPDATE apps SET state = 'nonsense'"),
        lambda path: _sql(path, "ALTER TABLE apps DROP COLUMN url"),
    ],
    ids=["text", "overwritten", "cut", "no table", "bad state", "no column"],
)
def test_a_broken_file_is_kept_aside_and_rebuilt(tmp_path, damage):
    path = tmp_path / "library.sqlite"
    with Library(path, facts=lambda: FACTS) as library:
        library.put(AppRow("old", "/old"))
    damage(path)
    with Library(path, facts=lambda: FACTS) as library:
        library.change("one", ref="x")
        assert [row.name for row in library.all()] == ["one", "Two"]
        assert library.rebuilt
        library.put(AppRow("later", "/later"))
    assert path.with_name("library.sqlite.broken-1").exists()
    with Library(path) as library:
        assert len(library.all()) == 3


def test_a_file_deleted_while_open_is_rebuilt(library, tmp_path):
    with Library(tmp_path / "library.sqlite", facts=lambda: FACTS) as other:
        for file in tmp_path.glob("library.sqlite*"):
            file.unlink()
        other.change("one", ref="x")
        assert other.path.exists()
        assert [row.ref for row in other.all()] == ["x", None]


def test_an_older_file_is_upgraded(tmp_path):
    path = tmp_path / "library.sqlite"
    with Library(path) as old:
        old.put(AppRow("app", "/x"))
    newer = (*MIGRATIONS, "UPDATE apps SET ref = 'upgraded'")
    with Library(path, migrations=newer) as library:
        assert [row.ref for row in library.all()] == ["upgraded"]
    with pytest.raises(PinoctlError, match="newer pinoctl") as caught:
        Library(path)
    assert caught.value.hint


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PinoctlError, match="cannot be written") as caught:
        Library(tmp_path / "file" / "library.sqlite")
    assert "PINOCTL_HOME" in (caught.value.hint or "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(PinoctlError, match="cannot be written"):
        Library(tmp_path / "folder")


WRITER = """
import sys
from pathlib import Path
from orchestrator.state.library import Library
from orchestrator.state.rows import AppRow
with Library(Path(sys.argv[1])) as library:
    for number in range(25):
        library.put(AppRow(f"{sys.argv[2]}-{number}", "/x"))
        row = library.get("shared")
        library.put(AppRow("shared", "/x"))
"""


def test_several_processes_at_once(tmp_path):
    path = tmp_path / "library.sqlite"
    path.write_bytes(b"broken from the start" * 100)
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name], cwd=ROOT, stderr=subprocess.PIPE) for name in "abc"]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, b"")
    with Library(path) as library:
        assert len(library.all()) == 3 * 25 + 1
    assert len(list(tmp_path.glob("*.broken-*"))) == 1


def test_sqlite_is_only_loaded_when_used():
    code = "import sys, orchestrator.state.library; print('sqlite3' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert result.stdout.strip() == "False"


def _sql(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
