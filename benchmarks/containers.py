"""Figures of apps in containers, each beside the same work on the host; they need a Docker daemon."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.program import BenchError

if TYPE_CHECKING:
    from benchmarks.program import Program

PACKAGES = "numpy scipy pandas scikit-learn matplotlib flask"
SERVER = {
    "start.json": {
        "daemon": True,
        "run": [
            {
                "method": "shell.run",
                "params": {
                    "message": "python3 -u -m http.server {{port}} --bind 127.0.0.1",
                    "on": [{"event": "/http:\\/\\/[0-9.:]+/", "done": True}],
                },
            },
            {"method": "local.set", "params": {"url": "{{input.event[0]}}"}},
        ],
    }
}
INSTALL = {
    "install.json": {
        "run": [
            {"method": "shell.run", "params": {"venv": "env", "message": f"uv pip install {PACKAGES}"}},
            {"method": "shell.run", "params": {"venv": "env", "message": "python -m compileall -q env/lib"}},
            {"method": "shell.run", "params": {"message": "echo done > installed.txt"}},
        ]
    }
}


def usable() -> bool:
    """Tell whether there is a Docker daemon to measure with."""
    from orchestrator.places.container.endpoint import look_round  # noqa: PLC0415  # only for these figures

    return look_round().usable


def _app(program: Program, name: str, *, install: bool = False) -> Path:
    folder = program.root / name
    folder.mkdir(exist_ok=True)
    for file, content in {**SERVER, **(INSTALL if install else {})}.items():
        (folder / file).write_text(json.dumps(content), encoding="utf-8")
    return folder


def warm_up(program: Program) -> float:
    """Start an app in its container, less what the same app takes on the host; both are installed, and stopped."""
    times = {}
    for place in ("host", "container"):
        folder = _app(program, f"bench-{place}")
        if not (program.home / "api" / folder.name).exists():
            program.call("up", str(folder), "--place", place, "--quiet")
        program.call("down", folder.name)
        times[place] = program.call("up", folder.name, "--quiet")[0]
        program.call("down", folder.name)
    return times["container"] - times["host"]


def build(program: Program) -> float:
    """Build an image with everything installed anew: how many percent longer that takes than the same on the host.

    Packages come from caches in both; the seconds of committing the image do not count.
    """
    here = _app(program, "install-host", install=True)
    there = _app(program, "install-container", install=True)
    for folder, place in ((here, "host"), (there, "container")):
        if not (program.home / "api" / folder.name).exists():
            program.call("up", str(folder), "--place", place, "--quiet")
            program.call("down", folder.name)
    subprocess.run(["rm", "-rf", str(here / "env")], check=True)
    on_host = program.call("run", here.name, "install.json", "--quiet")[0]
    took, answer = program.call("build", there.name, "--fresh", "--json", "--quiet")
    in_container = took - 1000 * json.loads(answer)["commit_seconds"]
    program.call("down", here.name)
    return 100 * (in_container - on_host) / on_host


def last_step(program: Program) -> float:
    """Rebuild after a change in the last of three steps; raise BenchError when any other step was repeated."""
    folder = _app(program, "install-container", install=True)
    if not (program.home / "api" / folder.name).exists():
        program.call("build", str(folder), "--quiet")
    changed = json.loads((folder / "install.json").read_text("utf-8"))
    changed["run"][-1]["params"]["message"] = f"echo {time.time_ns()} > installed.txt"
    (folder / "install.json").write_text(json.dumps(changed), encoding="utf-8")
    took, answer = program.call("build", folder.name, "--json", "--quiet")
    told = json.loads(answer)
    if told["steps"] - told["reused"] != 1:
        raise BenchError(f"{told['steps'] - told['reused']} of {told['steps']} steps were repeated")
    return took


def second_app(program: Program) -> float:
    """Install a second app with the same packages in volume mode: the bytes it adds in percent of the first's.

    The step that compiles packages is left out: what it makes is each environment's own, and so is what Python compiles
    when apps run. Bytes are those on disk; the first app's are those of its folder.
    """
    added = []
    for number in (1, 2):
        name = f"volume-{number}-{time.time_ns()}"
        folder = _app(program, name, install=True)
        steps = json.loads((folder / "install.json").read_text("utf-8"))
        del steps["run"][1]
        (folder / "install.json").write_text(json.dumps(steps), encoding="utf-8")
        before = _used(program)
        program.call("up", str(folder), "--place", "container", "--volume-mode", "--quiet")
        program.call("down", name)
        added.append(_used(program) - before)
        if number == 1:
            own = _own(program, name)
    return 100 * added[1] / own


def _volume(program: Program) -> Path:
    from orchestrator.engine.home import Home  # noqa: PLC0415  # only for these figures
    from orchestrator.places.container.names import volume  # noqa: PLC0415

    done = subprocess.run(
        ["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", volume(Home(program.home))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Path(done.stdout.strip() or "/nowhere")


def _used(program: Program) -> int:
    folder = _volume(program)
    if not folder.exists():
        return 0
    return int(
        subprocess.run(["du", "-sB1", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0]
    )


def _own(program: Program, name: str) -> int:
    folder = _volume(program) / "api" / name
    return int(
        subprocess.run(["du", "-sB1", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0]
    )


def clean(program: Program) -> None:
    """Remove every container, image and volume that the figures made."""
    from orchestrator.engine.home import Home  # noqa: PLC0415  # only for these figures
    from orchestrator.places.container.names import volume  # noqa: PLC0415
    from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415

    home = Home(program.home)
    place = ContainerPlace(home)
    for folder in (program.home / "api").glob("*"):
        place.remove(folder.name)
    subprocess.run(["docker", "volume", "rm", "--force", volume(home)], capture_output=True, check=False)
