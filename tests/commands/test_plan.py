"""`pinoctl plan` as users and programs run it, on launchers in a home, in folders and in a repository."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import cli

TORCH = """module.exports = {run: [
  {when: "{{platform === 'win32'}}", method: "shell.run", params: {message: "pip install torch-directml"}},
  {when: "{{gpu === 'nvidia'}}", method: "shell.run", params: {venv: "{{args.venv}}", path: "app",
    message: "uv pip install torch==2.4.0 --index-url https://download.pytorch.org/whl/cu121"}},
  {when: "{{gpu === 'none'}}", method: "shell.run", params: {venv: "{{args.venv}}", path: "app",
    message: "uv pip install torch==2.4.0 --index-url https://download.pytorch.org/whl/cpu"}},
]}"""
FILES = {
    "pinokio.js": """module.exports = {title: "Painter", description: "Requires 8GB VRAM", menu: (kernel, info) => {
      if (!info.exists("app/env")) return [{default: true, text: "Install", href: "install.js"}]
      return [{default: true, text: "Start", href: "start.js"}]
    }}""",
    "install.js": """module.exports = {run: [
      {method: "input", params: {title: "Size", form: [{key: "size", items: ["small", "large"]}]}},
      {method: "shell.run", params: {message: "git clone https://github.com/painter/painter app"}},
      {method: "script.start", params: {uri: "torch.js", params: {venv: "env"}}},
      {method: "fs.write", params: {path: "{{path.resolve(cwd, 'made')}}", text: "x"}},
    ]}""",
    "start.js": """module.exports = {daemon: true, run: [
      {method: "shell.run", params: {venv: "env", path: "app", env: {API_KEY: "s3cret"}, message: "python app.py",
        on: [{event: "/(http:\\\\/\\\\/[0-9.:]+)/", done: true}]}},
      {method: "local.set", params: {url: "{{input.event[1]}}"}},
    ]}""",
    "torch.js": TORCH,
    "extra.json": '{"run": [{"method": "log", "params": {"text": "extra"}}]}',
    "settings.json": '{"a": 1}',
}


def put(folder: Path, files=FILES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def home(tmp_path):
    return tmp_path / "a home"


def snapshot(folder: Path):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*")) if folder.exists() else None


def plan(*arguments, home, capfd):
    status = cli.invoke(["plan", *map(str, arguments), "--home", str(home)])
    captured = capfd.readouterr()
    return status, captured.out, captured.err


def planned(*arguments, home, capfd):
    status, out, err = plan(*arguments, "--json", home=home, capfd=capfd)
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_an_installed_app_for_people(home, capfd, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    app = put(home / "api" / "painter")
    before = snapshot(home)
    status, out, _ = plan("painter", "--hardware", "rtx4090", home=home, capfd=capfd)
    assert status == 0
    assert snapshot(home) == before, "a plan changes nothing"
    assert out.startswith(f"painter · Painter\n  into {app}\n  runs here\n")
    for line in (
        "  install.js (install)",
        "    2. shell.run in .",
        "         git clone https://github.com/painter/painter app",
        "    torch.js 1. shell.run skipped: `platform === 'win32'` does not hold: platform is linux",
        "    torch.js 2. shell.run in app, environment env",
        "  start.js (start, stays running)",
        "  VRAM       8 GB",
        "  asks       size: size (default 'small')",
    ):
        assert line in out.splitlines()
    assert "s3cret" not in out


def test_json_holds_everything(home, capfd):
    put(home / "api" / "painter")
    (found,) = planned("painter", "--hardware", "rtx5090", home=home, capfd=capfd)
    assert (found["app"], found["title"], found["roles"]) == (
        "painter",
        "Painter",
        {"install": "install.js", "start": "start.js"},
    )
    assert found["verdict"]["state"] == "runs here"
    (warning,) = found["verdict"]["findings"]
    assert "sm_120" in warning["text"]
    assert "cu128" in warning["remedy"]
    needs = found["needs"]
    assert (needs["torch"], needs["cuda"], needs["vram"]) == ("2.4.0", "12.1", 8)
    assert needs["clones"] == [
        {"url": "https://github.com/painter/painter", "ref": None, "folder": str(home / "api/painter/app")}
    ]
    steps = found["scripts"][0]["steps"]
    assert [(step["script"], step["index"], step["executed"]) for step in steps][2:5] == [
        ("install.js", 2, True),
        ("torch.js", 0, False),
        ("torch.js", 1, True),
    ]
    assert found["scripts"][1]["steps"][0]["params"]["env"] == {"API_KEY": "***"}
    assert found["questions"][0]["key"] == "size"


def test_another_machine_takes_another_way(home, capfd):
    put(home / "api" / "painter")
    (found,) = planned("painter", "--hardware", "none", home=home, capfd=capfd)
    assert found["needs"]["cuda"] == "cpu"
    assert found["verdict"]["findings"][0]["what"] == "gpu"


def test_a_folder_elsewhere_is_planned_as_if_it_were_in_the_home(home, tmp_path, capfd):
    folder = put(tmp_path / "elsewhere" / "painter")
    before = snapshot(folder)
    (found,) = planned(folder, home=home, capfd=capfd)
    assert found["folder"] == str(home / "api" / "painter")
    assert found["scripts"][0]["steps"][-1]["params"]["path"] == str(home / "api/painter/made")
    assert "pinoctl-plan" not in json.dumps(found)
    assert not home.exists()
    assert snapshot(folder) == before


def test_a_repository_is_fetched_into_a_temporary_folder(home, tmp_path, capfd):
    source = put(tmp_path / "painter")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=source, check=True, capture_output=True)
    (found,) = planned(f"file://{source}", home=home, capfd=capfd)
    assert (found["app"], len(found["commit"])) == ("painter", 40)
    assert not home.exists()


def test_one_script(home, capfd):
    app = put(home / "api" / "painter")
    (found,) = planned(app / "extra.json", home=home, capfd=capfd)
    assert [script["script"] for script in found["scripts"]] == ["extra.json"]


def test_every_script_and_traces(home, tmp_path, capfd):
    put(home / "api" / "painter")
    (found,) = planned(
        "painter", "--every-script", "--trace", tmp_path / "traces", "--hardware", "T4", home=home, capfd=capfd
    )
    names = [script["script"] for script in found["scripts"]]
    assert names == ["install.js", "start.js", "extra.json", "torch.js"]
    written = sorted(str(path.relative_to(tmp_path / "traces")) for path in (tmp_path / "traces").rglob("*.jsonl"))
    assert written == [f"painter/{name}.jsonl" for name in sorted(names)]
    rows = [json.loads(line) for line in (tmp_path / "traces/painter/start.js.jsonl").read_text().splitlines()]
    assert [sorted(row) for row in rows] == [["executed", "index", "method", "params", "script"]] * 2 + [
        ["daemon", "local", "result", "status"]
    ]
    assert rows[-1] == {
        "status": "end",
        "daemon": True,
        "result": {"$undefined": True},
        "local": {"url": "http://127.0.0.1:7860"},
    }


def test_a_bad_target_does_not_stop_the_others(home, capfd):
    put(home / "api" / "painter")
    put(home / "api" / "broken", {"pinokio.js": "module.exports = {", "start.js": "module.exports = {run: ["})
    status, out, err = plan("nosuchapp", "painter", "broken", "--json", home=home, capfd=capfd)
    assert status == 1
    first, second, third = (json.loads(line) for line in out.splitlines())
    assert "neither installed nor in the catalogue" in first["problem"]
    assert second["verdict"]["state"] == "runs here"
    assert third["verdict"]["state"] == "cannot run"
    assert "does not load" in third["verdict"]["findings"][0]["text"]
    assert "2 of 3: painter: runs here" in err


@pytest.mark.parametrize("hardware", ["GTX 9999", "missing.json"])
def test_hardware_that_is_unknown(home, capfd, hardware):
    status, _, err = plan("x", "--hardware", hardware, home=home, capfd=capfd)
    assert status == 2
    assert "error:" in err


def test_two_apps_of_one_name_are_both_planned(home, tmp_path, capfd):
    one, other = (
        put(tmp_path / "one" / "painter"),
        put(tmp_path / "two" / "painter", {"start.json": '{"run": [{"method": "log"}]}'}),
    )
    first, second = planned(one, other, home=home, capfd=capfd)
    assert (first["roles"].get("install"), second["roles"]) == ("install.js", {"start": "start.json"})


def test_nothing_temporary_is_left(home, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    folder = put(tmp_path / "sub" / "painter")
    planned(folder, home=home, capfd=capfd)
    assert list(tmp_path.glob("pinoctl-plan*")) == []


def test_a_profile_in_a_file_and_the_same_for_script_run(home, tmp_path, capfd):
    app = put(home / "api" / "painter")
    profile = tmp_path / "machine.json"
    profile.write_text(json.dumps({"gpus": [{"name": "NVIDIA Corporation", "model": "NVIDIA A10"}], "vram": 24}))
    (found,) = planned("painter", "--hardware", profile, home=home, capfd=capfd)
    assert found["needs"]["cuda"] == "12.1"
    assert cli.invoke(["script", "run", str(app / "extra.json"), "--hardware", "A10", "--home", str(home)]) == 0


def test_the_menu_s_arguments_count_in_the_plan_and_not_in_the_trace(home, tmp_path, capfd):
    menu = '[{default: true, text: "Start", href: "start.json", params: {mode: "fast"}}]'
    put(
        home / "api" / "racer",
        {
            "pinokio.js": f"module.exports = {{menu: {menu}}}",
            "start.json": '{"run": [{"method": "log", "params": {"text": "in {{args.mode}} mode"}}]}',
        },
    )
    (found,) = planned("racer", "--trace", tmp_path / "traces", home=home, capfd=capfd)
    assert found["scripts"][0]["steps"][0]["params"] == {"text": "in fast mode"}
    (row, _) = (tmp_path / "traces/racer/start.json.jsonl").read_text().splitlines()
    assert json.loads(row)["params"] == {"text": "in {{args.mode}} mode"}
