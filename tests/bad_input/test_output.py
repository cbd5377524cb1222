"""Output and files that no terminal or disk likes: endless lines, bytes that are no text, full disks, odd names."""

# tables of scripts and JavaScript read best with one case on a line

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import ports
from tests.bad_input.conftest import Program

PYTHON = "python3 -c"


def shell(message: Any, **params: Any) -> dict[str, Any]:
    return {"method": "shell.run", "params": {"message": message, **params}}


@pytest.mark.slow
def test_a_hundred_megabytes_without_a_newline(program: Program) -> None:
    done = program.run(
        [
            shell("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo en''d"),
            {"method": "script.return", "params": "{{input.stdout.includes('end')}}"},
        ],
        "--json",
    )
    assert done.status == 0, done.text[-500:]
    assert json.loads(done.stdout)["result"] is True


@pytest.mark.slow
def test_a_hundred_megabytes_through_exec(program: Program) -> None:
    done = program.run(
        [
            {"method": "exec", "params": {"message": "head -c 100000000 /dev/zero | tr '\\0' x"}},
            {"method": "script.return", "params": "over"},
        ],
        "--json",
    )
    assert done.status in {0, 1}


@pytest.mark.parametrize(
    "message",
    [
        "head -c 200000 /dev/urandom | tr -d 'eE'",
        "printf '\\377\\376\\200\\xc3\\x28'",
        "printf '\\033[2J\\033]0;title\\007\\033[999999;999999H\\033[?1049h'",
        "printf '\\000\\001\\002'",
        "printf '\\xf0\\x9f\\x98'",
        "printf '\\033['",
        "printf '\\033]never ended'",
        "printf '\\033Pq#0;2;0;0;0'",
    ],
)
def test_bytes_that_are_no_text(program: Program, message: str) -> None:
    done = program.run(
        [
            shell(message, on=[{"event": "/error:|errno/i", "break": False}]),
            {"method": "script.return", "params": "over"},
        ],
        "--json",
    )
    assert done.status == 0, done.text[-500:]
    assert json.loads(done.stdout)["result"] == "over"


def test_bytes_in_other_places(program: Program) -> None:
    (program.app / "bytes").write_bytes(bytes(range(256)))
    done = program.run(
        [
            {"method": "fs.cat", "params": {"path": "bytes"}},
            {"method": "fs.read", "params": {"path": "bytes"}, "returns": "local.b"},
            {"method": "fs.read", "params": {"path": "bytes", "encoding": "utf8"}},
            {"method": "exec", "params": {"message": "cat bytes"}},
            {"method": "script.return", "params": "{{local.b.length}}"},
        ],
        "--json",
    )
    assert json.loads(done.stdout)["result"] == 256, done.text[-500:]


@pytest.mark.parametrize(
    ("name", "venv"),
    [
        ("with blanks", False),
        pytest.param('quote\'d "app"', True, marks=pytest.mark.slow),
        ("ünï 漢字 🚀", False),
        ("$HOME `x` ;&|", False),
        ("-dash", False),
        ("a\\b", False),
        pytest.param("per%cent", True, marks=pytest.mark.slow),
        ("new\nline", False),
    ],
)
def test_odd_paths(program: Program, name: str, *, venv: bool) -> None:
    program.app = program.home.parent / program.app.name / name
    program.app.mkdir(parents=True)
    try:
        done = program.run(
            [
                shell("pwd; echo x > 'made here'", path="sub dir's"),
                {"method": "fs.copy", "params": {"src": "sub dir's/made here", "dest": "cöpy"}},
                *([shell("echo in venv", venv="my env")] if venv else []),
                {"method": "script.return", "params": "{{exists('cöpy')}}"},
            ],
            "--json",
        )
        assert done.status == 0, done.text[-800:]
        assert json.loads(done.stdout)["result"] is True
        assert (program.app / "my env" / "pyvenv.cfg").is_file() is venv
    finally:
        (program.home / "api" / program.app.name).unlink(missing_ok=True)


def mounted(folder: Path, options: str) -> None:
    folder.mkdir(exist_ok=True)
    if (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, check=False
        ).returncode
        != 0
    ):
        pytest.skip("mounting a tmpfs is not allowed here")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    mounted(folder, "size=1m")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.parametrize(
    "step",
    [
        {"method": "fs.write", "params": {"path": "DISK/f", "text": "x" * 3_000_000}},
        {"method": "fs.append", "params": {"path": "DISK/f", "text": "x" * 3_000_000}},
        {"method": "json.set", "params": {"DISK/kept.json": {"a": "x" * 3_000_000}}},
        {"method": "fs.copy", "params": {"src": "big", "dest": "DISK/f"}},
    ],
)
def test_a_full_disk(program: Program, small_disk: Path, step: Any) -> None:
    (program.app / "big").write_bytes(b"x" * 3_000_000)
    (small_disk / "kept.json").write_text('{"kept": 1}')
    done = program.run(json.dumps({"run": [step]}).replace("DISK", str(small_disk)))
    assert done.status == 1
    assert "full" in done.error() or "ENOSPC" in done.error()
    assert (small_disk / "kept.json").read_text() == '{"kept": 1}'
    assert {path.name for path in small_disk.iterdir()} <= {"kept.json", "f"}


def test_a_home_on_a_full_disk(program: Program, small_disk: Path) -> None:
    (small_disk / "fill").write_bytes(b"")
    with contextlib.suppress(OSError), (small_disk / "fill").open("wb") as file:
        while True:
            file.write(b"x" * 4096)
    program.home = small_disk / "home"
    program.home.parent.joinpath("hardware.json").unlink(missing_ok=True)
    done = program.pinoctl("script", "run", program.write("main.json", [{"method": "log"}]), "--home", program.home)
    assert done.status in {1, 2}
    assert done.error()


def test_a_trace_on_a_full_disk(program: Program, small_disk: Path) -> None:
    (small_disk / "fill").write_bytes(b"x" * 1_000_000)
    done = program.run([{"method": "log", "params": {"text": "x" * 500_000}}], "--trace", small_disk / "trace")
    assert done.status == 1
    assert "space" in done.text or "full" in done.text


def test_a_read_only_home(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "readonly"
    mounted(folder, "size=1m")
    try:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        done = program.pinoctl(
            "script", "run", program.write("main.json", [{"method": "log"}]), "--home", folder / "home"
        )
        assert done.status == 2
        assert "cannot be" in done.error()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_link_of_the_same_name(program: Program) -> None:
    elsewhere = program.home.parent / "elsewhere" / program.app.name
    elsewhere.mkdir(parents=True)
    (elsewhere / "main.json").write_text('{"run": [{"method": "log"}]}')
    done = program.script(elsewhere / "main.json")
    assert done.status == 2
    assert "already another app" in done.error()


def test_links_that_point_out_of_the_app(program: Program, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (program.app / "way out").symlink_to(outside)
    (program.app / "file").symlink_to(outside / "kept")
    (program.app / "circle").symlink_to("circle")
    done = program.run(
        [
            {"method": "fs.write", "params": {"path": "file", "text": "new"}},
            {"method": "fs.rm", "params": {"path": "way out"}},
            {"method": "fs.rm", "params": {"path": "circle"}},
        ]
    )
    assert done.status == 0, done.text
    assert (outside / "kept").read_text() == "kept"
    assert not (program.app / "way out").is_symlink()
    (program.app / "circle").symlink_to("circle")
    assert program.run([{"method": "fs.read", "params": {"path": "circle"}}]).status == 1


@pytest.mark.parametrize("path", ["~/", "~/api", "../..", "/", "../../api/..", "~/api/../api"])
def test_the_home_cannot_be_removed(program: Program, path: str) -> None:
    for method in ("fs.rm", "fs.write"):
        done = program.run([{"method": method, "params": {"path": path, "text": ""}}])
        assert done.status == 1
        assert "home" in done.error()
    assert (program.home / "api").is_dir()


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server that gives whatever name it is told to."""
    told: dict[str, Any] = {"name": "f", "location": None}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if told["location"] and self.path == "/start":
                self.send_response(302)
                self.send_header("Location", told["location"])
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", "4")
            if told["name"] is not None:
                self.send_header("Content-Disposition", f"attachment; filename={told['name']}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"evil")

        do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_address[1]}", told
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize(
    "name",
    [
        '"../evil"',
        '"../../../evil"',
        '"/tmp/evil-pinoctl"',
        '"..\\\\evil"',
        '".."',
        '"."',
        '""',
        "../evil",
        '"a/b/../../../evil"',
        '"x%2f..%2f..%2fevil"',
        '"~/evil"',
    ],
)
def test_a_download_keeps_to_its_folder(program: Program, server: tuple[str, dict[str, Any]], name: str) -> None:
    url, told = server
    told["name"] = name
    before = set(program.home.parent.rglob("*evil*"))
    done = program.run([{"method": "fs.download", "params": {"url": f"{url}/start", "dir": "models/deep"}}])
    assert done.status in {0, 1}
    inside = program.app / "models"
    assert all(inside in path.parents for path in set(program.home.parent.rglob("*evil*")) - before)
    assert not Path("/tmp/evil-pinoctl").exists()
    assert [
        path
        for path in program.app.iterdir()
        if path.name not in {"models", "main.json", "ENVIRONMENT", "logs", "cache"}
    ] == []


def test_a_port_that_is_taken(program: Program) -> None:
    with socket.socket() as taken:
        first = 0
        while not first:  # somebody else may take it just now
            with contextlib.suppress(OSError):
                taken.bind(("127.0.0.1", ports.next_free()))
                first = taken.getsockname()[1]
        taken.listen()
        done = program.run([{"method": "script.return", "params": "{{port}}"}], "--json")
    assert json.loads(done.stdout)["result"] != first


def test_a_server_that_dies_at_once(program: Program) -> None:
    done = program.run(
        {
            "daemon": True,
            "run": [
                shell("exit 3", on=[{"event": "/http:\\/\\/\\S+/", "done": True}]),
                {"method": "local.set", "params": {"url": "{{input.event[0]}}"}},
            ],
        },
        "--json",
    )
    assert done.status == 0, done.text
    assert json.loads(done.stdout)["daemon"] is True
