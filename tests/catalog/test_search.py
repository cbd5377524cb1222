"""Searching, what fits, and the table of planned apps."""

from __future__ import annotations

import json

import pytest

from orchestrator.catalog import planned
from orchestrator.catalog.catalog import App, shipped
from orchestrator.catalog.fits import Machine, misfit
from orchestrator.catalog.planned import ABSENT, FAILS, PLANS, Planned, changes, kept, parse, render, row_of
from orchestrator.catalog.search import search

APPS = (
    App("comfyui", "comfyui", "u1", "labs", "IMAGE", ("stable-diffusion", "node-based")),
    App("comfy", "comfy", "u2", "factory", "IMAGE", ("comfyui",)),
    App("bark", "bark.pinokio", "u3", "peanut", "AUDIO", ("text-to-speech",), "Speaks and sings from a text"),
    App("rvc", "RVC-realtime", "u4", "peanut", "AUDIO", ("voice-cloning", "real-time")),
)


def names(*words, **filters):
    return [app.name for app in search(APPS, words, **filters)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["comfyui"], ["comfyui", "comfy"]),
        (["comfy"], ["comfy", "comfyui"]),
        (["voice", "cloning"], ["RVC-realtime"]),
        (["voice cloning"], ["RVC-realtime"]),
        (["sings"], ["bark.pinokio"]),
        (["PEANUT"], ["bark.pinokio", "RVC-realtime"]),
        (["audio", "image"], []),
        (["confyui"], ["comfyui", "comfy"]),
        (["zzzz"], []),
        ([], ["bark.pinokio", "comfy", "comfyui", "RVC-realtime"]),
    ],
)
def test_words(words, found):
    assert names(*words) == found


def test_filters():
    assert names(category="audio") == ["bark.pinokio", "RVC-realtime"]
    assert names(tag="Node-Based") == ["comfyui"]
    assert names("text", author="peanut") == ["bark.pinokio"]
    assert names(author="pea") == []


def test_every_shipped_app_is_the_first_hit_for_its_name():
    apps = shipped()
    wrong = [app.name for app in apps if search(apps, [app.name])[0].name.casefold() != app.name.casefold()]
    assert wrong == []


# the table


def test_the_shipped_table_has_a_row_for_every_app_and_is_as_refresh_writes_it():
    text = planned.TABLE.read_text("utf-8")
    rows = parse(text)
    assert {(row.key, row.repo) for row in rows.values()} == {(app.key, app.repo) for app in shipped()}
    assert render(rows.values()) == text
    for row in rows.values():
        assert row.outcome in {PLANS, FAILS, ABSENT}
        assert bool(row.reason) == (row.outcome != PLANS), row.key
        assert bool(row.commit) == (row.outcome != ABSENT), row.key
    assert sum(row.outcome == PLANS for row in rows.values()) > 270


ROW = Planned("a", "u", PLANS, commit="c" * 40, verdict="runs here", vram=8.0, gpus=("nvidia",), disk_estimate=7.5)


def test_a_row_goes_round():
    assert parse(render([ROW]))["a"] == ROW
    assert "null" not in render([ROW])
    assert row_of({**ROW.to_json(), "of a later version": 1}) == ROW


def test_changes_are_one_line_per_app():
    other = row_of({**ROW.to_json(), "vram": 12.0, "commit": "d"})
    gone, new = Planned("b", "u", PLANS), Planned("c", "u", ABSENT, "no such repository")
    found = changes({"a": ROW, "b": gone}, {"a": other, "c": new})
    assert found == [
        f"a: commit {'c' * 40} → d, vram 8.0 → 12.0",
        "b: gone",
        "c: new: cannot be fetched (no such repository)",
    ]
    assert changes({"a": ROW}, {"a": ROW}) == []


def test_what_was_learnt_stays_when_an_app_cannot_be_fetched():
    assert kept(None, "a", "u", "gone") == Planned("a", "u", ABSENT, "gone")
    assert kept(ROW, "a", "elsewhere", "gone").outcome == ABSENT
    stays = kept(ROW, "a", "u", "gone")
    assert (stays.vram, stays.reason) == (8.0, "from an earlier commit: gone")


@pytest.mark.parametrize(
    ("row", "machine", "why"),
    [
        (ROW, Machine("nvidia", 8, 10**10, 1 << 40), ""),
        (ROW, Machine("nvidia", 24), ""),
        (ROW, Machine("none", 0), "it needs a GPU of NVIDIA"),
        (ROW, Machine("nvidia", 6), "it needs 8 GB of VRAM"),
        (ROW, Machine("nvidia", 24, 10**9), "it takes 7.5 GB of disk"),
        (Planned("a", "u", PLANS, ram=48.0), Machine(memory=16 << 30), "it needs 48 GB of memory"),
        (Planned("a", "u", PLANS, platforms=("darwin",)), Machine(), "it is for macOS"),
        (Planned("a", "u", PLANS, verdict="cannot run", against=("no start script",)), Machine(), "no start script"),
        (Planned("a", "u", ABSENT, "gone"), Machine(), "cannot be fetched: gone"),
        (None, Machine(), "it was never planned"),
    ],
)
def test_what_fits(row, machine, why):
    assert misfit(row, machine) == why


def test_rows_are_small_and_plain():
    for line in planned.TABLE.read_text("utf-8").splitlines():
        assert len(line) < 1500
        assert "/tmp/" not in line  # nothing of the machine it was made on
        assert next(iter(json.loads(line))) == "key"
