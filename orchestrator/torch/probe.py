"""Asking the torch of each environment of an app, after an install, whether it can use the machine's card."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from orchestrator.torch.advice import TorchFinding, advise
from orchestrator.torch.builds import Build
from orchestrator.torch.environments import Environment, environments_of
from orchestrator.torch.matrix import capability_of, runs_on

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.hardware import HardwareProfile

SECONDS: Final = 180.0  # importing torch from a cold disk takes a minute on some machines
REMEDY: Final = "docs/torch.md says what may be the cause; `pinoctl up APP --fresh` installs again"
QUESTION: Final = """
import json, warnings
answer = {}
try:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        import torch
        answer["available"] = bool(torch.cuda.is_available())
        answer["architectures"] = list(torch.cuda.get_arch_list())
        if answer["available"]:
            answer["capability"] = list(torch.cuda.get_device_capability(0))
            torch.zeros(8, device="cuda").sum().item()
    answer["warnings"] = [str(each.message) for each in said][:5]
except BaseException as error:
    answer["error"] = f"{type(error).__name__}: {error}"[:2000]
print("\\n" + json.dumps(answer))
"""

Ask = Callable[[Environment, Mapping[str, str]], "dict[str, Any]"]


def probe(app: Path, profile: HardwareProfile, env: Mapping[str, str], *, ask: Ask | None = None) -> list[TorchFinding]:
    """Look at every environment of an app that has torch and say what is wrong with it on this machine.

    With an NVIDIA card each one is run (`ask`); without a card only its files are read, and what that leaves open is
    said. `env` is the environment that the app's commands have. Blocks; an environment that does not answer costs
    three minutes at most.
    """
    findings: list[TorchFinding] = []
    for found in environments_of(app):
        name = os.path.relpath(found.folder, app)
        known = advise([Build(name, found.version, found.cuda, name, found.python)], profile)
        if profile.gpu != "nvidia":
            findings.extend(known or [_unchecked(found, name)])
            continue
        judged = judge(found, name, (ask or ask_torch)(found, env), profile)
        # what the files tell names the remedy; what torch itself says is the proof
        findings.extend([*known, *judged] if not known or not judged else known)
    return findings


def _unchecked(found: Environment, name: str) -> TorchFinding:
    what = "a CPU build" if found.cuda == "cpu" else f"for CUDA {found.cuda}"
    return TorchFinding(
        "note", f"torch {found.version} in `{name}` is {what}; without a GPU nothing more could be checked", "", name
    )


def judge(found: Environment, name: str, answer: Mapping[str, Any], profile: HardwareProfile) -> list[TorchFinding]:
    """Turn what torch answered into findings; none when it can use the card."""
    error = answer.get("error")
    built_for = tuple(
        each for name in answer.get("architectures", []) if (each := capability_of(str(name))) is not None
    )
    major, minor = (*answer.get("capability", ()), 0, 0)[:2]
    if error:
        text = f"does not work: {error}"
    elif not answer.get("available"):
        said = next((each for each in answer.get("warnings", []) if "driver" in each or "CUDA" in each), "")
        text = f"does not see the {profile.gpu_model or 'card'}" + (f": {said}" if said else "")
    elif built_for and not runs_on(built_for, int(major) * 10 + int(minor)):
        text = f"has no code for compute capability {major}.{minor}"
    else:
        return []
    return [TorchFinding("problem", f"torch {found.version} in `{name}` {text}", REMEDY, name)]


def ask_torch(found: Environment, env: Mapping[str, str], *, seconds: float = SECONDS) -> dict[str, Any]:
    """Run an environment's Python with our question and return its answer; `error` holds what went wrong."""
    try:
        process = subprocess.Popen(
            [found.interpreter, "-c", QUESTION],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(env),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return {"error": f"its Python cannot be started: {error.strerror}"}
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"error": f"it did not answer within {seconds:g} s"}
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    lines = output.decode("utf-8", "replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else None
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"error": f"its Python ended with status {process.returncode}"}
