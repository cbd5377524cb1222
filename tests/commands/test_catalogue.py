"""`search`, `info`, `list` and `catalog refresh` as they are called."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import cli
from orchestrator.catalog import catalog, planned
from orchestrator.catalog.catalog import App


def run(*arguments, home, capfd):
    status = cli.invoke([*map(str, arguments), "--home", str(home)])
    captured = capfd.readouterr()
    return status, captured.out, captured.err


def test_search_for_people_and_programs(tmp_path, capfd):
    status, out, _ = run(
        "search", "voice", "cloning", "--category", "audio", "--limit", "3", home=tmp_path, capfd=capfd
    )
    assert (status, len(out.splitlines())) == (0, 4)
    _, out, _ = run("search", "comfyui", "--json", home=tmp_path, capfd=capfd)
    first = json.loads(out)[0]
    assert (first["name"], first["planned"]["web_ui"]) == ("comfyui", "comfyui")
    status, out, err = run("search", "xyzzyplugh", home=tmp_path, capfd=capfd)
    assert (status, out) == (1, "")
    assert "no app has all of these words" in err


def test_info(tmp_path, capfd):
    status, out, _ = run("info", "COMFYUI", home=tmp_path, capfd=capfd)
    assert status == 0
    assert "start        start.json" in out
    _, out, _ = run("info", "comfyui", "--json", home=tmp_path, capfd=capfd)
    assert json.loads(out)["planned"]["outcome"] == "plans"
    status, _, err = run("info", "comfyuii", home=tmp_path, capfd=capfd)
    assert status == 2
    assert "did you mean" in err
    (tmp_path / "api" / "private").mkdir(parents=True)
    status, out, _ = run("info", "private", home=tmp_path, capfd=capfd)
    assert (status, "yes, as private" in out) == (0, True)


def test_list_by_machine(tmp_path, capfd):
    _, out, _ = run("list", "--json", "--hardware", "none", home=tmp_path, capfd=capfd)
    rows = {row["key"]: row for row in json.loads(out)}
    assert len(rows) == 284
    assert (rows["hunyuan3d-2"]["fits"], rows["hunyuan3d-2"]["why_not"]) == (False, "it needs a GPU of NVIDIA")
    assert rows["sillytavern"]["fits"] is True
    _, small, err = run("list", "--fits", "--hardware", "RTX 3060", home=tmp_path, capfd=capfd)
    _, large, _ = run("list", "--fits", "--hardware", "H100", home=tmp_path, capfd=capfd)
    assert 100 < len(small.splitlines()) < len(large.splitlines()) < 284
    assert "apps fit" in err
    _, out, _ = run("list", "--fits", "--json", home=tmp_path, capfd=capfd)
    assert {row["fits"] for row in json.loads(out)} == {True, False}


def repository(folder: Path, files) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--date", "2020-01-01T00:00:00"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return f"file://{folder}"


TORCH = "uv pip install torch==2.7.0 gradio --index-url https://download.pytorch.org/whl/cu128"
INSTALL = json.dumps({"run": [{"method": "shell.run", "params": {"venv": "env", "message": TORCH}}]})
START = '{"daemon": true, "run": [{"method": "shell.run", "params": {"message": "python app.py --port 7860"}}]}'


@pytest.fixture
def three_apps(tmp_path, monkeypatch):
    good = repository(
        tmp_path / "repos" / "painter",
        {"install.json": INSTALL, "start.json": START, "README.md": "Requires 12GB VRAM"},
    )
    broken = repository(tmp_path / "repos" / "broken", {"start.js": "module.exports = {run: ["})
    apps = (
        App("painter", "painter", good),
        App("broken", "broken", broken),
        App("lost", "lost", f"file://{tmp_path}/nowhere"),
    )
    monkeypatch.setattr(catalog, "shipped", lambda: apps)
    return apps


def test_refresh_makes_the_table_and_says_what_changed(tmp_path, capfd, three_apps):
    table = tmp_path / "planned.jsonl"
    table.write_text("")
    arguments = ("catalog", "refresh", "--output", table, "--jobs", "2")
    status, out, err = run(*arguments, home=tmp_path / "home", capfd=capfd)
    assert (status, len(out.splitlines())) == (0, 3)
    rows = planned.parse(table.read_text())
    painter = rows["painter"]
    assert (painter.outcome, painter.verdict, painter.torch, painter.cuda, painter.vram) == (
        "plans",
        "runs here",
        "2.7.0",
        "12.8",
        12,
    )
    assert (painter.install, painter.start, painter.web_ui, len(painter.commit)) == (
        "install.json",
        "start.json",
        "gradio",
        40,
    )
    assert rows["broken"].outcome == "does not plan"
    assert (rows["lost"].outcome, rows["lost"].reason) == ("cannot be fetched", "there is no such repository")
    assert "1 cannot be fetched, 1 does not plan, 1 plans; 3 changed" in err
    # the same again changes nothing, to the byte
    before = table.read_bytes()
    status, out, _ = run(*arguments, home=tmp_path / "home", capfd=capfd)
    assert (status, out, table.read_bytes()) == (0, "", before)
    # a new commit is seen; --check writes nothing
    repository(tmp_path / "repos" / "painter", {"README.md": "Requires 16GB VRAM"})
    status, out, _ = run(*arguments, "--check", "--only", "painter", home=tmp_path / "home", capfd=capfd)
    assert status == 1
    assert "vram 12.0 → 16.0" in out
    assert table.read_bytes() == before
    # one that vanished keeps what was learnt
    (tmp_path / "repos" / "painter").rename(tmp_path / "repos" / "moved")
    run(*arguments, home=tmp_path / "home", capfd=capfd)
    kept = planned.parse(table.read_text())["painter"]
    assert (kept.vram, kept.reason) == (12, "from an earlier commit: there is no such repository")


def test_refresh_of_an_unknown_app(tmp_path, capfd, three_apps):
    status, _, err = run("catalog", "refresh", "--only", "nonsense", home=tmp_path, capfd=capfd)
    assert status == 2
    assert "not in pinoctl's catalogue" in err
