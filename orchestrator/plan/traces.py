"""Traces of plans, as files: one per script, in the form of dry-run.md's last paragraphs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.engine.disk import disk
from orchestrator.engine.trace import visible

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.dry_run.records import ScriptPlan
    from orchestrator.plan.plan import AppPlan


def trace_lines(plan: ScriptPlan) -> list[str]:
    """Return the lines of a script's trace, the closing one included."""
    closing = {
        "status": plan.status,
        "daemon": plan.daemon,
        "result": visible(plan.result),
        "local": visible(plan.local),
    }
    return [json.dumps(row, ensure_ascii=False) for row in (*plan.trace, closing)]


def write_traces(folder: Path, plan: AppPlan) -> None:
    """Write `FOLDER/<app>/<script>.jsonl` for every script of a plan. Raises ScriptError when the disk refuses."""
    for script in plan.traced:
        file = folder / plan.name / f"{script.script}.jsonl"
        with disk("write the trace", file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(trace_lines(script)) + "\n", encoding="utf-8")
