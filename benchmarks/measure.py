"""The measurements: each returns one value, in the unit of its figure.

Steps are timed by what they render: `{{Date.now()}}` is evaluated when a step is reached, so the time between two such
values is all that a step costs, its share of the loop and of the sidecar included.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.program import BenchError, Program

NOW: Final = "{{Date.now()}}"
STEPS: Final = 300
SHELLS: Final = 20
APP: Final = "bench-server"


def first_step(program: Program) -> float:
    """Start a process and see when its first step is rendered."""
    began, rows = program.script([{"method": "log", "params": {"text": NOW}}])
    return float(rows[0]["params"]["text"]) - began


def log(program: Program) -> float:
    """Take the mean of many `log` steps."""
    return _mean(program, {"method": "log", "params": {"text": NOW}}, STEPS, lambda row: row["params"]["text"])


def local_set(program: Program) -> float:
    """Take the mean of many `local.set` steps."""
    return _mean(program, {"method": "local.set", "params": {"now": NOW}}, STEPS, lambda row: row["params"]["now"])


def shell_true(program: Program) -> float:
    """Take the mean of many `shell.run` steps, each with a terminal and a bash of its own, without the first."""
    step = {"method": "shell.run", "params": {"message": "true", "env": {"NOW": NOW}}}
    return _mean(program, step, SHELLS, lambda row: row["params"]["env"]["NOW"])


def lines(program: Program) -> float:
    """Let a command print 200,000 lines."""
    steps = [{"method": "shell.run", "params": {"message": message}} for message in ("true", "seq 1 200000")]
    _, rows = program.script(steps)
    if "200000" not in rows[1]["returned"]["stdout"]:
        raise BenchError("the last of the 200,000 lines is missing")
    return float(rows[1]["ms"])


def help_(program: Program) -> float:
    """Call `pinoctl --help`."""
    return program.call("--help")[0]


def up(program: Program) -> float:
    """Bring a small app up that needs no installation, and take it down again."""
    with _server(program) as took:
        return took


def status(program: Program) -> float:
    """Call `pinoctl status` while an app is up."""
    return program.call("status")[0]


def plan(program: Program) -> float:
    """Plan 100 apps with every script: an install that starts a torch script, a start, and three small ones."""
    folder = program.root / "many"
    for number in range(100):
        _write_launcher(folder / f"app-{number}")
    targets = [str(path) for path in sorted(folder.iterdir())]
    return program.call("plan", "--every-script", "--hardware", "rtx4090", "--json", *targets)[0]


def _write_launcher(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in LAUNCHER.items():
        (folder / name).write_text(text, encoding="utf-8")


LAUNCHER = {
    "pinokio.js": """const path = require('path')
module.exports = {title: "Bench", menu: async (kernel, info) => info.exists("env")
  ? [{default: true, text: "Start", href: "start.js"}] : [{default: true, text: "Install", href: "install.js"}]}
""",
    "install.js": """module.exports = {run: [
  {method: "shell.run", params: {message: "git clone https://example.com/a/b app"}},
  {method: "script.start", params: {uri: "torch.js", params: {venv: "env", path: "app"}}},
  {method: "shell.run", params: {venv: "env", path: "app", message: ["uv pip install -r requirements.txt"]}},
]}
""",
    "torch.js": """module.exports = {run: ['win32', 'darwin', 'linux'].flatMap(on =>
  ['nvidia', 'amd', 'none'].map(card => (
  {when: `{{platform === '${on}' && gpu === '${card}'}}`, method: "shell.run",
   params: {venv: "{{args.venv}}", path: "{{args.path}}", message: "uv pip install torch==2.7.0"}})))}
""",
    "start.js": """module.exports = {daemon: true, run: [
  {method: "shell.run", params: {venv: "env", path: "app", message: "python app.py --port {{port}}",
   on: [{event: "/http:\\/\\/[0-9.:]+/", done: true}]}},
  {method: "local.set", params: {url: "{{input.event[0]}}"}},
]}
""",
    "update.js": """module.exports = {run: [{method: "shell.run", params: {path: "app", message: "git pull"}}]}
""",
    "reset.json": '{"run": [{"method": "fs.rm", "params": {"path": "app"}}]}\n',
}


def search(program: Program) -> float:
    """Read the catalogue and search it, in a process of its own; what the process itself takes is not counted."""
    code = (
        "import time; begin = time.perf_counter()\n"
        "from orchestrator.catalog.catalog import apps; from orchestrator.catalog.search import search\n"
        "assert search(apps(), ['voice', 'cloning'])\n"
        "print((time.perf_counter() - begin) * 1000)"
    )
    return float(program.python(code))


def memory(program: Program) -> float:
    """Add up the resident memory of the agent and everything in it but the app's own shells: its sidecar and keeper."""
    _, text = program.call("status", "--json")
    pid = next((row["pid"] for row in _apps(text) if row.get("app") == APP and row.get("pid")), None)
    if pid is None:
        raise BenchError("`status --json` names no agent")
    agent = psutil.Process(pid)
    ours = [agent, *(child for child in agent.children(recursive=True) if _is_ours(child))]
    return sum(process.memory_info().rss for process in ours) / 1e6


def _is_ours(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        line = " ".join(process.cmdline())
        return "http.server" not in line and not line.startswith("bash") and "/bash" not in line.split(" ")[0]
    return False


def _apps(text: str) -> list[dict[str, Any]]:
    parsed = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [row for part in parsed for row in (part if isinstance(part, list) else part.get("apps", [part]))]


def _mean(program: Program, step: dict[str, Any], steps: int, stamp: Callable[[dict[str, Any]], str]) -> float:
    _, rows = program.script([step] * (steps + 2))
    times = [float(stamp(row)) for row in rows[1:]]
    return (times[-1] - times[0]) / steps


@contextlib.contextmanager
def _server(program: Program) -> Iterator[float]:
    """Bring an app up that only serves its folder; give how long that took, in ms."""
    folder = program.root / APP
    folder.mkdir(exist_ok=True)
    (folder / "start.json").write_text(
        json.dumps(
            {
                "daemon": True,
                "run": [
                    {
                        "method": "shell.run",
                        "params": {
                            "message": "python3 -u -m http.server --bind 127.0.0.1 {{port}}",
                            "on": [{"event": r"/(http:\/\/[0-9.:]+)/", "done": True}],
                        },
                    },
                    {"method": "local.set", "params": {"url": "{{input.event[1]}}"}},
                ],
            }
        ),
        encoding="utf-8",
    )
    (folder / "pinokio.js").write_text(
        'module.exports = { title: "Bench", menu: [{ default: true, text: "Start", href: "start.json" }] }\n'
    )
    try:
        yield program.call("up", str(folder))[0]
    finally:
        program.call("down", APP)


@contextlib.contextmanager
def running(program: Program) -> Iterator[None]:
    """Keep the small app up, for figures that need one."""
    with _server(program):
        yield
