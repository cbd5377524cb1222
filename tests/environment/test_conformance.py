"""The environment rows observed on the desktop engine (spec 8.5, 9)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.engine.environment import Environment, ToolFacts, prepare_home
from orchestrator.engine.environment.assemble import LOGIN_PATH
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.home import Home

ROWS = [json.loads(line) for line in Path(__file__).parents[1].joinpath("conformance", "env.jsonl").open()]
FACTS = ToolFacts(conda=True, gxx="/usr/bin/g++")  # the machine of the recording, with its stand-in conda


def text(value):
    """Write what the rows show before node-pty made strings of it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def comparable(path: str, home: Home) -> list[str]:
    """Drop from a PATH the homebrew folders, which headless hosts do without, and pinoctl's base in their place."""
    skipped = {f"{home.bin}/homebrew/bin", f"{home.bin}/homebrew/Cellar", f"{home.base}/bin"}
    return [part for part in path.split(":") if part not in skipped]


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_row(row, tmp_path, monkeypatch):
    given, expect = row["input"], row["expect"]
    home = Home(tmp_path / "home")
    prepare_home(home, {})
    if "system" in given:
        with home.environment.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in given["system"].items())
    app = home.app("app")
    folder = app / "pinokio" if given.get("app_in_pinokio_dir") else app
    folder.mkdir(parents=True)
    (folder / "start.json").write_text("{}")
    if "app" in given:
        (folder / "ENVIRONMENT").write_text(given["app"])
    made: list[str] = []
    monkeypatch.setattr("os.makedirs", lambda path, **_: made.append(path))  # one row names a folder outside the home
    environment = Environment(home, {"PATH": LOGIN_PATH, **given.get("process", {})}, lambda: FACTS)

    if "throws" in expect:
        with pytest.raises(ScriptError, match="`PATH` in the `env` of a step must be a list"):
            environment.shell(folder / "start.json", given["env"])
        return
    shell = environment.shell(folder / "start.json", given.get("env"), given.get("-env", ()))
    wanted = {name: text(value).replace("<HOME>", str(home.root)) for name, value in expect["shell"].items()}
    got = {name: shell[name] for name in given["keys"] if name in shell}
    if "PATH" in wanted:
        assert comparable(got.pop("PATH"), home) == comparable(wanted.pop("PATH"), home)
    assert got == wanted
    assert not set(expect["dropped"]) & shell.keys()

    template = environment.template(folder / "start.json")
    wanted = {name: value.replace("<HOME>", str(home.root)) for name, value in expect["template"].items()}
    assert {name: template.get(name) for name in wanted} == wanted
    below = {Path(path).relative_to(app).parts[0] for path in made if Path(path).is_relative_to(app)}
    assert {entry.name for entry in app.iterdir()} | below == set(expect["dirs"])


def test_every_row_is_here():
    assert len(ROWS) == 13
