"""Whether an app would run on a machine, and what speaks against it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.plan.plan import Finding, Question, Verdict

if TYPE_CHECKING:
    from orchestrator.engine.dry_run.records import PlannedStep, ScriptPlan
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.plan.needs import Needs

LEVELS: Final = ("cannot", "needs", "warning", "note")
GIB: Final = 2**30
SLACK: Final = 0.9  # cards and memory show a little less than their names say
_EVERYWHERE = re.compile(
    r"(?:--(?:listen|host|server[-_]name|address)[= ]+|_(?:HOST|SERVER_NAME)=)['\"]?0\.0\.0\.0\b|--listen(?=\s|$)"
)
_SHARED = re.compile(r"--share(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Room:
    """Hold what a machine has left, in bytes; None where it is not known or does not count."""

    disk_free: int | None = None
    memory: int | None = None


def judge(
    scripts: Sequence[ScriptPlan],
    needs: Needs,
    questions: Sequence[Question],
    profile: HardwareProfile,
    room: Room,
    *,
    missing: Iterable[str] = (),
    problem: str | None = None,
    torch: Iterable[Finding] = (),
) -> Verdict:
    """Judge the scripts that an app's lifecycle would use, on a machine of this profile with this room.

    `missing` are roles without a script (`start`), `problem` is why the menu could not be evaluated, `torch` what is to
    be said of its PyTorch builds.
    """
    findings = [
        *_roles(missing, problem),
        *_scripts(scripts),
        *_platform(scripts, needs, profile),
        *_card(needs, profile),
        *_room(needs, room),
        *_answers(questions),
        *torch,
        *_openness(scripts),
    ]
    ordered = sorted(dict.fromkeys(findings), key=lambda finding: LEVELS.index(finding.level))
    levels = {finding.level for finding in ordered}
    state = "cannot run" if "cannot" in levels else "needs" if "needs" in levels else "runs here"
    return Verdict(state, tuple(ordered))


def _roles(missing: Iterable[str], problem: str | None) -> Iterator[Finding]:
    for role in missing:
        yield Finding(
            "cannot",
            "file",
            f"the launcher has no {role} script",
            "plan one of its scripts by its path, or run one with `pinoctl run APP SCRIPT`",
        )
    if problem:
        yield Finding(
            "warning", "menu", f"its menu cannot be evaluated, so its scripts were chosen by their names: {problem}"
        )


def _scripts(scripts: Sequence[ScriptPlan]) -> Iterator[Finding]:
    for script in scripts:
        if script.status in {"load-error", "error"}:
            what = "file" if script.status == "load-error" else "script"
            yield Finding("cannot", what, f"`{script.script}` cannot be planned: {script.error}", script.hint or "")
        elif script.status == "step-limit":
            yield Finding("note", "script", f"`{script.script}` goes on for ever, so its plan stops after 400 steps")
        for step in script.steps:
            if step.executed:
                yield from _step(script, step)


def _step(script: ScriptPlan, step: PlannedStep) -> Iterator[Finding]:
    where = f"step {_number(step.index)} of `{step.script}`"
    if step.error and "there is no method" in step.error:
        yield Finding(
            "cannot",
            "method",
            f"{where} calls `{step.method}`, which no version of the engine has",
            "ask the launcher's author, or edit that step",
        )
    if step.method in {"script.start", "script.run"} and isinstance(step.params, Mapping):
        uri = step.params.get("uri")
        if isinstance(uri, str) and not uri.startswith("http") and uri.endswith((".js", ".json")):
            path = os.path.normpath(os.path.join(step.cwd, uri))  # noqa: PTH118  # compared with what was planned
            known = path.removeprefix(f"{script.app}/")
            if path.startswith(f"{script.app}/") and not any(each.script == known for each in script.steps):
                yield Finding(
                    "warning", "file", f"{where} starts `{uri}`, which has no steps here or is made by an earlier step"
                )


def _number(index: Any) -> Any:
    return index + 1 if isinstance(index, int) else index


def _platform(scripts: Sequence[ScriptPlan], needs: Needs, profile: HardwareProfile) -> Iterator[Finding]:
    if needs.platforms and profile.platform not in needs.platforms:
        names = {"win32": "Windows", "darwin": "macOS", "linux": "Linux"}
        wanted = " or ".join(names.get(name, name) for name in needs.platforms)
        yield Finding("cannot", "platform", f"it says that it runs on {wanted} only, and this is {profile.platform}")
    for script in scripts:
        steps = [step for step in script.steps if step.method not in {"notify", "log", "input", "modal"}]
        if steps and script.status == "end" and not any(step.executed for step in steps):
            yield Finding(
                "cannot",
                "platform",
                f"every step of `{script.script}` is skipped on this machine: {profile.platform}, {profile.gpu}",
            )


def _card(needs: Needs, profile: HardwareProfile) -> Iterator[Finding]:
    if needs.gpus and profile.gpu not in needs.gpus:
        wanted = " or ".join(
            {"nvidia": "NVIDIA", "amd": "AMD", "apple": "Apple"}.get(each, each) for each in needs.gpus
        )
        have = (
            f"this machine has {profile.gpu_model or profile.gpu}" if profile.gpu != "none" else "this machine has none"
        )
        yield Finding(
            "needs", "gpu", f"it says that it needs an {wanted} GPU, and {have}", "rent a machine with such a card"
        )
        return
    if needs.vram and profile.gpu != "none" and profile.vram and profile.vram < needs.vram * SLACK:
        yield Finding(
            "needs",
            "vram",
            f"it says that it needs {needs.vram:g} GB of VRAM, and this card has {profile.vram} GB",
            "rent a machine with a larger card, or look for a low-VRAM option in the app",
        )
    if needs.vram and profile.gpu == "none":
        yield Finding(
            "warning",
            "gpu",
            f"it speaks of {needs.vram:g} GB of VRAM, and this machine has no GPU",
            "rent a machine with a GPU",
        )
    elif profile.gpu == "none" and needs.torch and needs.cuda not in {None, "cpu"}:
        yield Finding(
            "warning",
            "gpu",
            "it installs a CUDA build of PyTorch, and this machine has no GPU: it runs on the CPU at best",
        )


def _room(needs: Needs, room: Room) -> Iterator[Finding]:
    wanted = max(needs.disk or 0, needs.disk_estimate or 0)
    if room.disk_free is not None and wanted and room.disk_free < wanted * 1e9:
        said = "says that it needs" if (needs.disk or 0) >= (needs.disk_estimate or 0) else "will take about"
        yield Finding(
            "needs",
            "disk",
            f"it {said} {wanted:g} GB of disk, and {room.disk_free / 1e9:.1f} GB are free",
            "make room, or choose a home on a larger disk with `--home`",
        )
    if room.memory is not None and needs.ram and room.memory < needs.ram * 1e9 * SLACK:
        yield Finding(
            "needs",
            "ram",
            f"it says that it needs {needs.ram:g} GB of memory; here are {room.memory / GIB:.0f} GB",
            "rent a machine with more memory",
        )


def _answers(questions: Sequence[Question]) -> Iterator[Finding]:
    for question in questions:
        if question.required:
            yield Finding(
                "needs",
                "answer",
                f"`{question.script}` asks for `{question.key}`"
                + (f" ({question.title})" if question.title and question.title != question.key else ""),
                f"give it with `--answer {question.key}=VALUE`",
            )


def _openness(scripts: Sequence[ScriptPlan]) -> Iterator[Finding]:
    from orchestrator.engine.dry_run.commands import messages_of  # noqa: PLC0415  # one use

    for script in scripts:
        for step in script.steps:
            text = "\n".join(messages_of(step)) if step.executed else ""
            env = step.params.get("env") if isinstance(step.params, Mapping) else None
            if isinstance(env, Mapping):
                text += "".join(f"\n{name}={value}" for name, value in env.items())
            where = f"step {_number(step.index)} of `{step.script}`"
            if _EVERYWHERE.search(text):
                yield Finding(
                    "warning",
                    "open",
                    f"{where} has the app listen on every address of the machine",
                    "close its port in the provider's firewall: pinoctl's URL does without",
                )
            if _SHARED.search(text):
                yield Finding(
                    "warning", "open", f"{where} asks for a public Gradio link, which anybody with it can use"
                )
