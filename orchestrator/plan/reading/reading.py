"""All facts about an app's needs, gathered from its planned steps and its texts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.dry_run.commands import Command, commands_of, messages_of, program
from orchestrator.engine.dry_run.pip import Requirement, pip_install, requirements_in
from orchestrator.plan.needs import Clone, Download, Needs
from orchestrator.plan.reading import texts as words
from orchestrator.plan.reading.fetches import clone_of, downloads_of, downloads_of_step, models_of
from orchestrator.plan.reading.web_ui import web_ui_of

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
_CUDA: Final = re.compile(r"(?:/|\b|\+)cu(1[0-4])(\d)\b")
_SOURCE: Final = re.compile(
    r"\b(?:setup\.py (?:build|install|develop)|nvcc\b|no-build-isolation)|flash[-_]attn(?![\w.-]*\.whl)"
)
_VENDOR_OF: Final = {"nvidia": "nvidia", "cuda": "nvidia"}


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
    for script in scripts:
        for step in script.steps:
            if step.executed:
                _read_step(facts, step, read_text)
            _read_notice(facts, step)
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
    facts.lines.extend(messages_of(step))
    for text in messages_of(step):
        facts.ports.update(
            dict.fromkeys(port for found in _PORT.finditer(text) if 0 < (port := int(found[1])) <= PORTS)
        )
        if _SOURCE.search(text):
            facts.put("source_build", True, source)  # noqa: FBT003  # a fact like the others
    for download in downloads_of_step(step):
        facts.downloads[download.kind, download.what] = download
    if isinstance(step.params, Mapping):
        if step.params.get("conda") and step.method in {"shell.run", "shell.start"}:
            facts.put("conda", True, source)  # noqa: FBT003  # a fact like the others
        env = step.params.get("env")
        if isinstance(env, Mapping):
            for name, value in env.items():
                if (
                    re.fullmatch(r"(?:\w*_)?PORT", str(name))
                    and str(value).isdecimal()
                    and 0 < int(str(value)) <= PORTS
                ):
                    facts.ports[int(str(value))] = None
    for command in commands_of(step):
        _read_command(facts, command, read_text)


def _read_command(facts: _Facts, command: Command, read_text: ReadText) -> None:
    source = command.where
    facts.programs[program(command.argv)] = None
    facts.put("python", _python_of(command), source)
    clone = clone_of(command)
    if clone is not None:
        facts.clones[clone.url, clone.folder] = clone
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
    source, command = install.command.where, install.command
    wanted = list(install.requirements)
    for file in install.files:
        path = _joined(command.cwd, file)
        facts.downloads["python", path] = Download("python", f"-r {file}", command.venv)
        wanted.extend(requirements_in(read_text(path) or ""))
    for each in wanted:
        facts.packages[each.name] = each
        if each.name == "torch":
            facts.put(
                "torch", (each.pinned or _torch_in(each.url) or each.version or "newest").partition("+")[0], source
            )
            facts.put("cuda", _cuda_in(f"{each.version} {each.url}"), source)
    named = " ".join(each.url or f"{each.name}{each.version}" for each in install.requirements)
    if named:
        facts.downloads["python", named] = Download("python", named, command.venv)
    indexes = " ".join([install.index, *install.extra_indexes, install.backend])
    if any(each.name in {"torch", "torchvision", "torchaudio"} for each in wanted):
        cpu = "cpu" if re.search(r"(?:/whl/|^| )cpu\b", indexes) else ""
        facts.put("cuda", _cuda_in(indexes) or cpu, source)


def _torch_in(url: str) -> str:
    found = re.search(r"torch-(\d+\.\d+\.\d+)", url)
    return found[1] if found else ""


def _cuda_in(text: str) -> str:
    found = _CUDA.search(text)
    return f"{found[1]}.{found[2]}" if found else ""


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
    models = dict.fromkeys(model for each in facts.downloads.values() if (model := models_of(each)))
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
