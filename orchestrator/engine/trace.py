"""Traces: what a run did, as JSON lines in the order in which its steps began (dry-run.md, last paragraphs)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.engine.values import UNDEFINED, Opaque, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def visible(value: Any) -> Any:
    """Encode a value without the handles that mean something only inside one engine."""
    encoded = encode(value)

    def strip(item: Any) -> Any:
        if isinstance(item, dict):
            return {
                key: strip(part)
                for key, part in item.items()
                if not (key == "handle" and ("$function" in item or "$opaque" in item or "$error" in item))
            }
        return [strip(part) for part in item] if isinstance(item, list) else item

    return strip(encoded)


def _arrays(item: Any) -> Any:
    """Reduce matches to plain arrays: rendering copies the arrays in params, and only elements survive that (6.1)."""
    if isinstance(item, dict):
        return _arrays(item["$match"]) if "$match" in item else {key: _arrays(part) for key, part in item.items()}
    return [_arrays(part) for part in item] if isinstance(item, list) else item


@dataclass(slots=True)
class Row:
    """Hold one step that was reached; `finish` adds what came of it."""

    data: dict[str, Any]

    def finish(self, *, returned: Any, ms: float, error: str | None = None) -> None:
        """Add a step's result, its duration in milliseconds, and its error if it failed."""
        self.data["returned"] = visible(returned)
        self.data["ms"] = round(ms, 3)
        if error is not None:
            self.data["error"] = error


@dataclass(slots=True)
class Trace:
    """Collect the rows of a run and of the scripts that it starts."""

    rows: list[Row] = field(default_factory=list)
    absent: Any = None  # what stands for the params of a step without any: a plan writes `{"$undefined": true}`

    def reached(self, script: str, index: Any, method: Any, params: Any, *, executed: bool) -> Row:
        """Add a row for a step."""
        shown = visible(method) if isinstance(method, Opaque) else method
        row = Row(
            {
                "script": script,
                "index": index,
                "executed": executed,
                "method": shown,
                "params": self.absent if params is UNDEFINED else _arrays(visible(params)),
            }
        )
        self.rows.append(row)
        return row

    def lines(self, closing: dict[str, Any]) -> list[str]:
        """Return all rows and the closing line as JSON texts."""
        return [json.dumps(row.data, ensure_ascii=False) for row in self.rows] + [
            json.dumps(closing, ensure_ascii=False)
        ]

    def write(
        self,
        path: Path,
        *,
        status: str,
        daemon: bool,
        result: Any,
        local: Any,
        blank: Callable[[str], str] = lambda text: text,
    ) -> None:
        """Write the trace; `status` is `end`, `error`, `stopped` or `load-error`, `blank` hides secrets."""
        closing = {"status": status, "daemon": daemon, "result": visible(result), "local": visible(local)}
        path.write_text(blank("\n".join(self.lines(closing))) + "\n", encoding="utf-8")
