"""All facts about an app's needs, gathered from its planned steps and its texts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.dry_run.answers import PORT as ASSUMED_PORT
from orchestrator.engine.dry_run.commands import Command, commands_of, messages_of, program
from orchestrator.engine.dry_run.pip import Requirement, pip_install, requirements_in
from orchestrator.plan.needs import Clone, Download, Needs
from orchestrator.plan.reading import texts as words
from orchestrator.plan.reading.fetches import (
    checkout_of,
    clone_of,
    downloads_of,
    downloads_of_step,
    models_of,
    models_of_clone,
)
from orchestrator.plan.reading.web_ui import web_ui_of
from orchestrator.torch.builds import builds_of

if TYPE_CHECKING:
    from orchestrator.engine.dry_run.pip import PipInstall
    from orchestrator.engine.dry_run.records import PlannedStep, ScriptPlan

ReadText = Callable[[str], "str | None"]
CUDA_ENVIRONMENT: Final = 6.5  # GB: a CUDA build of torch unpacked with its nvidia-* wheels, without pip's cache
CPU_ENVIRONMENT: Final = 1.2  # GB: the same without CUDA
PORTS: Final = 65535
PACKAGES: Final = 1.0  # GB: what the other packages of a Python app take
_PORT: Final = re.compile(
    r"(?:--(?:server[-_.])?port[= ]+|(?<![\w/])(?:127\.0\.0\.1|0\.0\.0\.0|localhost):|\bPORT=)(\d{2,5})\b"
)
_SOURCE: Final = re.compile(
    r"\b(?:setup\.py (?:build|install|develop)|nvcc\b|no-build-isolation)|flash[-_]attn(?![\w.%+-]*\.whl)"
)
_PORT_NAME: Final = re.compile(r"(?:\w*_)?PORT")
_PROGRAM: Final = re.compile(r"[A-Za-z0-9_][\w.+-]*")
_TORCH_CUDA: Final = re.compile(r"cpu|\d+\.\d+")
TOO_DEEP: Final = (RecursionError, ValueError)  # nested or numbered beyond what Python turns into text


@dataclass(slots=True)
class _Facts:
    found: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    clones: dict[tuple[str, str], Clone] = field(default_factory=dict)
    downloads: dict[tuple[str, str], Download] = field(default_factory=dict)
    packages: dict[str, Requirement] = field(default_factory=dict)
    ports: dict[int, None] = field(default_factory=dict)
    programs: dict[str, None] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def add_ports(self, numbers: Iterable[str]) -> None:
        """Add the ports that a launcher names; the one that plans assume stands for any that is free."""
        for text in numbers:
            if text.isdecimal() and len(text) <= len(str(PORTS)) and 0 < int(text) <= PORTS:
                self.ports.update({int(text): None} if int(text) != ASSUMED_PORT else {})

    def put(self, name: str, value: Any, source: str, *, again: bool = False) -> None:
        if value and (again or name not in self.found):
            self.found[name] = value
            self.sources[name] = source


def read_needs(
    scripts: Sequence[ScriptPlan], *, texts: Iterable[str] = (), read_text: ReadText = lambda _: None
) -> Needs:
    """Read what an app needs from its planned scripts; pure, and whatever a launcher yields, it raises nothing.

    Only executed steps count for what the app does; what a skipped step's condition or notice says of platforms and
    cards counts as well. `texts` are the launcher's descriptions, `read_text` gives the text of one of its files by
    absolute path (requirements), None where there is none.
    """
    facts = _Facts()
    for step in (step for script in scripts for step in script.steps):
        with suppress(*TOO_DEEP):
            if step.executed:
                _read_step(facts, step, read_text)
            _read_notice(facts, step)
    _read_torch(facts, scripts, read_text)
    told = list(texts)
    for name, amount in words.amounts(told).items():
        facts.put(name, amount, "text")
    for text in told:
        if words.nvidia_only(text):
            facts.put("gpus", ("nvidia",), "text")
        facts.put("platforms", words.platforms(text), "text")
    return _needs(facts, told)


def _read_step(facts: _Facts, step: PlannedStep, read_text: ReadText) -> None:
    source = f"{step.script}#{step.index}"
    messages = messages_of(step)
    facts.lines.extend(messages)
    for text in messages:
        facts.add_ports(found[1] for found in _PORT.finditer(text))
        if _SOURCE.search(text):
            facts.put("source_build", True, source)  # noqa: FBT003  # a fact like the others
    for download in downloads_of_step(step):
        facts.downloads[download.kind, download.what] = download
    if isinstance(step.params, Mapping):
        if step.params.get("conda") and step.method in {"shell.run", "shell.start"}:
            facts.put("conda", True, source)  # noqa: FBT003  # a fact like the others
        facts.lines.extend(_hints(step.params))
        env = step.params.get("env")
        if isinstance(env, Mapping):
            facts.add_ports(str(value) for name, value in env.items() if _PORT_NAME.fullmatch(str(name)))
    for command in commands_of(step):
        _read_command(facts, command, read_text)


def _hints(params: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what tells of the page besides commands: names of variables, and the output that a step waits for."""
    for given, key in ((params.get("env"), None), (params.get("on"), "event")):
        if key is None and isinstance(given, Mapping):
            yield from (str(name) for name in given)
        elif key is not None and isinstance(given, (list, tuple)):
            events = (each.get(key) for each in given if isinstance(each, Mapping))
            yield from (event for event in events if isinstance(event, str))


def _read_command(facts: _Facts, command: Command, read_text: ReadText) -> None:
    source, name = command.where, program(command.argv)
    if _PROGRAM.fullmatch(name):  # not the `[` and `==` of a shell's conditions
        facts.programs[name] = None
    facts.put("python", _python_of(command), source)
    clone = clone_of(command)
    if clone is not None:
        facts.clones[clone.url, clone.folder] = clone
    ref = checkout_of(command)
    for key, cloned in list(facts.clones.items()) if ref else ():
        if cloned.folder == command.cwd:
            facts.clones[key] = replace(cloned, ref=ref)
    for download in downloads_of(command):
        facts.downloads[download.kind, download.what] = download
        if download.kind == "conda":
            facts.put("conda", True, source)  # noqa: FBT003  # a fact like the others
            for found in re.finditer(r"pytorch-cuda=+([\d.]+)", download.what):
                facts.put("cuda", found[1], source)
    install = pip_install(command)
    if install is not None:
        _read_install(facts, install, read_text)


def _read_install(facts: _Facts, install: PipInstall, read_text: ReadText) -> None:
    command = install.command
    wanted = list(install.requirements)
    for file in install.files:
        path = _joined(command.cwd, file)
        facts.downloads["python", path] = Download("python", f"-r {file}", command.venv)
        wanted.extend(requirements_in(read_text(path) or ""))
    for each in wanted:
        facts.packages[each.name] = each
    named = " ".join(each.url or f"{each.name}{each.version}" for each in install.requirements)
    if named:
        facts.downloads["python", named] = Download("python", named, command.venv)


def _read_torch(facts: _Facts, scripts: Sequence[ScriptPlan], read_text: ReadText) -> None:
    """Take the torch that the first environment with one ends up with, after all installs that touch it."""
    builds = []
    with suppress(*TOO_DEEP):
        builds = builds_of([step for script in scripts for step in script.steps], read_text=read_text)
    for build in builds[:1]:
        facts.put("torch", build.version or "newest", build.where)
        if _TORCH_CUDA.fullmatch(build.cuda):
            facts.put("cuda", build.cuda, build.where, again=True)


def _python_of(command: Command) -> str:
    if re.fullmatch(r"3\.\d{1,2}(?:\.\d+)?", command.python):
        return ".".join(command.python.split(".")[:2])
    found = re.search(r"(?:python=+|--python[= ]+(?:python)?|\bpython)(3\.\d{1,2})\b", " ".join(command.argv))
    return found[1] if found else ""


def _read_notice(facts: _Facts, step: PlannedStep) -> None:
    """Read what a notice of the launcher says about the machine it needs, also one that is not shown here."""
    if step.method not in {"notify", "modal", "input", "log"} or not isinstance(step.params, Mapping):
        return
    text = " ".join(str(step.params.get(key, "")) for key in ("html", "text", "title", "description"))
    source = f"{step.script}#{step.index}"
    if words.nvidia_only(text):
        facts.put("gpus", ("nvidia",), source)
    for name, amount in words.amounts([text]).items():
        facts.put(name, amount, source)


def _joined(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path)) if "\0" not in path else folder  # noqa: PTH118  # nothing on disk is meant


def _needs(facts: _Facts, told: Sequence[str]) -> Needs:
    found = facts.found
    models = dict.fromkeys(
        model
        for model in (*map(models_of, facts.downloads.values()), *map(models_of_clone, facts.clones.values()))
        if model
    )
    web_ui = web_ui_of(facts.lines, facts.packages, [clone.url for clone in facts.clones.values()], told)
    if web_ui:
        facts.sources.setdefault("web_ui", "commands")
    return Needs(
        platforms=found.get("platforms", ()),
        gpus=found.get("gpus", ()),
        vram=found.get("vram"),
        ram=found.get("ram"),
        disk=found.get("disk"),
        disk_estimate=_estimate(facts),
        python=found.get("python"),
        torch=found.get("torch"),
        cuda=found.get("cuda"),
        clones=tuple(facts.clones.values()),
        downloads=tuple(facts.downloads.values()),
        models=tuple(models),
        ports=tuple(sorted(facts.ports)),
        commands=tuple(sorted(facts.programs)),
        web_ui=web_ui,
        source_build=bool(found.get("source_build")),
        conda=bool(found.get("conda")),
        sources=dict(facts.sources),
    )


def _estimate(facts: _Facts) -> float | None:
    """Add up what the environments take as a rule; None where no Python package is installed."""
    if not any(each.kind == "python" for each in facts.downloads.values()):
        return None
    if "torch" not in facts.found:
        return PACKAGES
    return PACKAGES + (CPU_ENVIRONMENT if facts.found.get("cuda") == "cpu" else CUDA_ENVIRONMENT)
