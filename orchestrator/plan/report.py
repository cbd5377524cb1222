"""A plan for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.dry_run.commands import messages_of
from orchestrator.engine.redaction import redact
from orchestrator.engine.trace import visible
from orchestrator.plan.reasons import why_skipped

if TYPE_CHECKING:
    from orchestrator.engine.dry_run.records import PlannedStep, ScriptPlan
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.plan.plan import AppPlan

WIDTH: Final = 200  # characters of a step's params that are not a command
MARKS: Final = {"cannot": "cannot run", "needs": "needs", "warning": "warning", "note": "note"}
Line = tuple[str, "str | None"]


def lines(plan: AppPlan, profile: HardwareProfile) -> Iterator[Line]:
    """Yield a plan's lines for people, each with its style (of commands/output.py) or None."""
    name = f"{plan.name} · {plan.title}" if plan.title and plan.title != plan.name else plan.name
    yield name, "bold"
    if plan.problem is not None:
        yield f"  cannot be planned: {plan.problem}", "red"
        if plan.hint:
            yield f"  hint: {plan.hint}", "dim"
        return
    if plan.remote:
        yield f"  from {plan.remote}" + (f" at {plan.commit[:12]}" if plan.commit else ""), "dim"
    yield f"  into {plan.folder}", "dim"
    style = {"runs here": "green", "needs": "yellow", "cannot run": "red"}[plan.verdict.state]
    yield f"  {plan.verdict.state}", style
    for finding in plan.verdict.findings:
        yield f"    {MARKS[finding.level]}: {finding.text}", None
        if finding.remedy:
            yield f"      hint: {finding.remedy}", "dim"
    roles = {path: role for role, path in plan.roles.items()}
    facts = profile.to_json()
    for script in plan.scripts:
        yield from _script(script, roles.get(script.script), facts)
    yield from _needs(plan)


def _script(script: ScriptPlan, role: str | None, facts: Mapping[str, Any]) -> Iterator[Line]:
    yield "", None
    about = ", ".join(filter(None, [role, "stays running" if script.daemon else None]))
    yield f"  {script.script}" + (f" ({about})" if about else ""), "bold"
    for variable in (*script.pre, *script.env):
        yield f"    requires the variable {variable.get('env') or variable.get('key') or variable}", None
    for step in script.steps:
        yield from _step(step, script, facts)
    if script.status != "end":
        yield f"    {script.status}: {script.error or ''}".rstrip(": "), "red"


def _step(step: PlannedStep, script: ScriptPlan, facts: Mapping[str, Any]) -> Iterator[Line]:
    number = step.index + 1 if isinstance(step.index, int) else step.index
    inner = f"{step.script} " if step.script != script.script else ""
    method = step.method or "no method"
    if not step.executed:
        yield f"    {inner}{number}. {method} skipped: {why_skipped(step.when, facts)}", "dim"
        return
    params = step.params if isinstance(step.params, Mapping) else {}
    where = ""
    if messages_of(step):
        folder = params.get("path") if isinstance(params.get("path"), str) and params.get("path") else "."
        where = f" in {folder}"
        where += f", environment {params['venv']}" if isinstance(params.get("venv"), str) else ""
        where += ", conda" if params.get("conda") else ""
    yield f"    {inner}{number}. {method}{where}", None
    env = params.get("env")
    if isinstance(env, Mapping) and env:
        yield "         with " + " ".join(f"{name}={value}" for name, value in redact(dict(env)).items()), "dim"
    for message in messages_of(step):
        for line in message.splitlines():
            yield f"         {line}", "blue"
    if not messages_of(step) and step.params not in (None, {}) and visible(step.params) != {"$undefined": True}:
        text = json.dumps(visible(redact(dict(params)) if params else step.params), ensure_ascii=False)
        yield f"         {text if len(text) <= WIDTH else text[: WIDTH - 1] + '…'}", "dim"
    if step.error:
        yield f"         {step.error}", "red"


def _needs(plan: AppPlan) -> Iterator[Line]:
    needs = plan.needs
    rows: list[tuple[str, str]] = [
        ("clones", "\n".join(f"{each.url}" + (f" at {each.ref}" if each.ref else "") for each in needs.clones)),
        ("downloads", "\n".join(f"{each.kind}: {each.what}" for each in needs.downloads)),
        ("models", "\n".join(needs.models)),
        ("torch", " ".join(filter(None, [needs.torch, f"CUDA {needs.cuda}" if needs.cuda else None]))),
        ("Python", needs.python or ""),
        ("VRAM", f"{needs.vram:g} GB" if needs.vram else ""),
        ("memory", f"{needs.ram:g} GB" if needs.ram else ""),
        ("disk", _disk(needs.disk, needs.disk_estimate)),
        ("ports", ", ".join(map(str, needs.ports))),
        ("page", needs.web_ui or ""),
    ]
    found = [(name, text) for name, text in rows if text]
    if found:
        yield "", None
    for name, text in found:
        first, *rest = text.splitlines()
        yield f"  {name:<10} {first}", None
        for line in rest:
            yield f"  {'':<10} {line}", None
    for question in plan.questions:
        answer = "needs an answer" if question.required else f"default {question.default!r}"
        yield f"  {'asks':<10} {question.key}: {question.title or question.key} ({answer})", None


def _disk(named: float | None, estimate: float | None) -> str:
    if named:
        return f"{named:g} GB, as it says"
    return f"about {estimate:g} GB for its packages, and its models" if estimate else ""


def as_json(plan: AppPlan, profile: HardwareProfile) -> dict[str, Any]:
    """Return a plan as `--json` prints it (docs/plan.md); values that JSON cannot carry are as in traces."""
    facts = profile.to_json()
    return {
        "app": plan.name,
        "title": plan.title,
        "folder": plan.folder,
        "remote": plan.remote,
        "commit": plan.commit,
        "problem": plan.problem,
        "hint": plan.hint,
        "roles": plan.roles,
        "verdict": {"state": plan.verdict.state, "findings": [asdict(each) for each in plan.verdict.findings]},
        "needs": _needs_json(plan),
        "questions": [asdict(each) for each in plan.questions],
        "scripts": [_script_json(script, facts) for script in plan.scripts],
    }


def _needs_json(plan: AppPlan) -> dict[str, Any]:
    return asdict(plan.needs)


def _script_json(script: ScriptPlan, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "script": script.script,
        "status": script.status,
        "error": script.error,
        "daemon": script.daemon,
        "steps": [_step_json(step, facts) for step in script.steps],
    }


def _step_json(step: PlannedStep, facts: Mapping[str, Any]) -> dict[str, Any]:
    params = redact(dict(step.params)) if isinstance(step.params, Mapping) else step.params
    return {
        "script": step.script,
        "index": step.index,
        "executed": step.executed,
        "method": step.method,
        "params": visible(params),
        "cwd": step.cwd,
        "commands": messages_of(step),
        "reason": None if step.executed else why_skipped(step.when, facts),
        "error": step.error,
    }
