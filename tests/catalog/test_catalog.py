"""The catalogue and its lookup by name."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from orchestrator.catalog import catalog
from orchestrator.catalog.catalog import App, choose, close, find
from orchestrator.engine.errors import BadInputError
from orchestrator.launcher.target import parse_target

ENTRIES = (
    App("forge", "forge", "https://github.com/one/forge", "one", "IMAGE", ("sd",)),
    App("forge-2", "Forge", "https://github.com/two/Forge", "two", "IMAGE"),
    App("tts", "TTS.pinokio", "https://github.com/three/TTS.pinokio", "three", "AUDIO", ("voice", "text-to-speech")),
)


def test_every_entry_is_usable():
    entries = catalog.apps()
    assert len(entries) > 250
    assert len({app.key for app in entries}) == len(entries)
    for app in entries:
        assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", app.repo)
        assert parse_target(app.repo, cwd="/").name
        assert app in find(app.key)
        assert app in find(f"{app.author}/{app.name}")


def test_names_in_any_case_and_keys():
    assert [app.author for app in find("FORGE", ENTRIES)] == ["one", "two"]
    assert [app.author for app in find("Forge", ENTRIES)] == ["two"]
    assert [app.author for app in find("forge-2", ENTRIES)] == ["two"]
    assert [app.author for app in find("tts.PINOKIO", ENTRIES)] == ["three"]
    assert find("nothing", ENTRIES) == []


def test_author_and_name():
    assert choose("TWO/forge", ENTRIES) is ENTRIES[1]
    assert choose("nobody/forge", ENTRIES) is None


def test_an_ambiguous_name_lists_the_choices():
    with pytest.raises(BadInputError, match="`one/forge`, `two/Forge`") as caught:
        choose("FORGE", ENTRIES)
    assert "author" in (caught.value.hint or "")


def test_close_names():
    assert close("forg", ENTRIES)[0].casefold() == "forge"
    assert "TTS.pinokio" in close("tts", ENTRIES)
    assert close("zzzzzz", ENTRIES) == []
    assert "flux-webui" in close("flux-webu")


def test_importing_the_catalogue_does_not_read_it():
    code = "import orchestrator.catalog.catalog as c; print(c.shipped.cache_info().currsize)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.strip() == "0"
    )


def test_descriptions_are_short_and_plain():
    described = [app for app in catalog.shipped() if app.description]
    assert len(described) > 270
    for app in described:
        assert len(app.description) <= 80, app.key
        assert not re.search(r"[.\n\x00-\x1f]$|https?:|  ", app.description), app.key
