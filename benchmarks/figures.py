"""What is measured, in which unit, with the desktop engine's figure and what we aim at."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Final


@dataclass(frozen=True, slots=True)
class Figure:
    """Describe one figure.

    `desktop` is that of the desktop engine 8.0.40 on the same kind of machine, None where it has no such thing.
    """

    key: str
    what: str
    unit: str
    desktop: float | None
    aim: float | None


FIGURES: Final = (
    Figure("first_step", "process start to first step", "ms", 1700, 200),
    Figure("log", "a `log` step", "ms", 4.5, 0.3),
    Figure("local_set", "a `local.set` step", "ms", 48, 0.3),
    Figure("shell_true", "a `shell.run true` step", "ms", 1078, 12),
    Figure("lines", "`shell.run` printing 200,000 lines", "ms", 2700, 700),
    Figure("memory", "memory of an idle app's engine", "MB", 159, 120),
    Figure("help", "`pinoctl --help`", "ms", None, 150),
    Figure("status", "`pinoctl status`, one app up", "ms", None, 200),
    Figure("plan", "`pinoctl plan` of 100 apps with 5 scripts each", "ms", None, 20000),
    Figure("search", "searching the catalogue, reading it included", "ms", None, 50),
    Figure("up", "`pinoctl up` of a small app, to its URL", "ms", None, None),
    Figure("container_up", "the same in its container, beyond the host's time", "ms", None, 500),
    Figure("container_build", "building an image, beyond the same installation on the host", "%", None, 15),
    Figure("container_last_step", "rebuilding after a change in the last step", "ms", None, None),
    Figure(
        "container_second",
        "a second app with the same packages in volume mode, none compiled ahead, of the first's bytes",
        "%",
        None,
        10,
    ),
    Figure("gate_latency", "a small request through the gate, beyond the app's own time", "ms", None, 1),
    Figure("gate_down", "a large download through the gate, loss against a raw forwarder", "%", None, 20),
    Figure("gate_up", "a large upload through the gate, loss against a raw forwarder", "%", None, 20),
    Figure("gate_down_chunks", "the same download in chunks of 64 KiB", "%", None, 20),
    Figure("gate_up_chunks", "the same upload in chunks of 64 KiB", "%", None, 20),
    Figure("gate_down_small_chunks", "the same download in chunks of 8 KiB", "%", None, None),
    Figure("gate_up_small_chunks", "the same upload in chunks of 8 KiB", "%", None, None),
    Figure("gate_websockets", "memory of one of 1,000 WebSockets in the gate, opened at once", "kB", None, 50),
    Figure("gate_downloads", "growth of the gate's memory by 200 downloads at once", "MB", None, 100),
    Figure("recovery_gate", "the gate is killed, until its public URL answers", "ms", None, None),
    Figure("recovery_keeper", "both its processes are killed, and `up`, until it answers", "ms", None, None),
    Figure("recovery_client", "the SSH tunnel's client is killed, until the URL answers", "ms", None, None),
    Figure("recovery_server", "its server comes back after 5 s, until the URL answers", "ms", None, None),
    Figure("recovery_app", "the app's server is killed, until the URL answers", "ms", None, None),
    Figure("recovery_up", "`down` and `up` of an exposed app, until the URL answers", "ms", None, None),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Hold the values of one figure, one for each run, or why there are none."""

    figure: Figure
    values: tuple[float, ...] = ()
    failure: str | None = None

    @property
    def median(self) -> float | None:
        """Return the median, None without values."""
        return median(self.values) if self.values else None

    @property
    def verdict(self) -> str:
        """Say whether the aim is met."""
        if self.median is None:
            return "failed"
        if self.figure.aim is None:
            return ""
        return "yes" if self.median <= self.figure.aim else "no"

    def to_json(self) -> dict[str, object]:
        """Return what `--json` prints for it."""
        figure = self.figure
        return {
            "key": figure.key,
            "what": figure.what,
            "unit": figure.unit,
            "desktop": figure.desktop,
            "aim": figure.aim,
            "median": self.median,
            "min": min(self.values, default=None),
            "max": max(self.values, default=None),
            "runs": len(self.values),
            "failure": self.failure,
        }


def number(value: float | None, unit: str) -> str:
    """Write a value with as many digits as mean something."""
    if value is None:
        return "-"
    if unit == "ms" and value >= 1000:
        return f"{value / 1000:.2f} s"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def table(rows: list[Measured]) -> list[str]:
    """Lay the figures out in Markdown, so that the README can have them as they are."""
    cells = [["", "desktop", "pinoctl", "lowest to highest", "aim", "met"]]
    for row in rows:
        unit = row.figure.unit
        span = f"{number(min(row.values), unit)} to {number(max(row.values), unit)}" if row.values else f"{row.failure}"
        cells.append(
            [
                row.figure.what,
                number(row.figure.desktop, unit),
                number(row.median, unit),
                span,
                number(row.figure.aim, unit),
                row.verdict,
            ]
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
