"""What is exposed and how: read, changed, written; files that are torn or strange cost no gate its start."""

from __future__ import annotations

import json
import stat

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home
from orchestrator.expose.exposures import APP, AUTO, MACHINE, Exposure, GateFiles, read, write


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "exposed.json"
    exposures = {
        "one": Exposure("one", port=43001, tunnel="ngrok", public=True, idle_seconds=1800.0),
        "Two": Exposure("Two", at_end=MACHINE, most_seconds=3600.0, meter={"elapsed": 3}, active=False),
    }
    write(path, exposures)
    assert read(path) == exposures
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["exposed.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"apps": 3}', '{"apps": {"a": {}}}', "null"])
def test_a_torn_file_exposes_nothing(tmp_path, text):
    path = tmp_path / "exposed.json"
    path.write_text(text)
    assert read(path) == {}
    assert read(tmp_path / "missing.json") == {}


@pytest.mark.parametrize(
    "row",
    [{}, 3, {"app": ""}, {"app": "x", "port": "80"}, {"app": "x", "public": "yes"}, {"app": "x", "at_end": "world"},
     {"app": "x", "idle_seconds": -1}, {"app": "x", "meter": 3}, {"app": "x", "most_seconds": 1e12},
     {"app": "x", "most_seconds": float("inf")}, {"app": "x", "idle_seconds": float("nan")}, {"app": "x", "tunnel": ""},
     {"app": "x", "stopped": None}],
)  # fmt: skip
def test_a_strange_row_is_left_out_and_the_others_stay(tmp_path, row):
    path = tmp_path / "exposed.json"
    path.write_text(json.dumps({"apps": [row, {"app": "good", "of a later version": 1}]}))
    assert read(path) == {"good": Exposure("good")}


def test_what_is_given_replaces_what_was_and_nothing_else():
    before = Exposure("app", tunnel="ssh", idle_seconds=60.0)
    assert before.changed({"public": True, "tunnel": None}) == Exposure(
        "app", tunnel="ssh", public=True, idle_seconds=60.0
    )
    assert before.changed({"idle_seconds": 0.0}).idle_seconds is None, "0 takes a limit back"
    assert (Exposure("app").tunnel, Exposure("app").at_end) == (AUTO, APP)
    with pytest.raises(BadInputError, match="`at_end` of an exposure cannot be"):
        before.changed({"at_end": "world"})


def test_the_gates_files_are_nobody_elses(tmp_path):
    files = GateFiles(Home(tmp_path / "home"))
    files.prepare()
    for folder in (files.folder, files.socket.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert files.socket.name.startswith("."), "no app can have this name"
