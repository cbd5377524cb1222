"""Stopping the machine that this runs on, by its provider's own interface, where a key of the machine allows it."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import PinoctlError
from orchestrator.hosts.pythons import python_with
from orchestrator.hosts.web import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from orchestrator.hosts.platform import Platform
    from orchestrator.hosts.signs import Signs
    from orchestrator.hosts.web import Ask

RUNPOD: Final = "https://rest.runpod.io/v1"
VAST: Final = "https://console.vast.ai/api/v0"
LONGEST: Final = 200  # letters of an answer that an error shows
GOOD: Final = range(200, 300)
REFUSED: Final = frozenset({401, 403})
COLAB_FOLDERS: Final = ("/var/colab", "/opt/google/drive")
STUDIO_FOLDER: Final = "/teamspace/studios/this_studio"
# Told not to make one, and held to the one that is meant: without its project lightning-sdk takes a studio from its
# own settings, or makes a new one.
STOP_STUDIO: Final = """\
import os, sys
wanted, project = sys.argv[1:3]
os.environ["LIGHTNING_CLOUD_SPACE_ID"] = wanted
if project:
    os.environ["LIGHTNING_CLOUD_PROJECT_ID"] = project
from lightning_sdk import Studio
studio = Studio(create_ok=False)
found = getattr(studio, "id", None) or studio._studio.id
if found != wanted:
    sys.exit(f"lightning-sdk takes this machine for studio {found}, not {wanted}")
studio.stop()
"""


@dataclass(frozen=True, slots=True)
class Command:
    """Hold a command that stops the machine, where the provider has only a program for it."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Say that a provider accepted to stop the machine; `note` tells what goes on costing."""

    platform: str
    note: str


def can_stop(platform: Platform, signs: Signs) -> str:
    """Return "" if this machine can be stopped from inside, else why not, in one sentence; may run programs."""
    try:
        stop_plan(platform, signs)
    except PinoctlError as error:
        return str(error)
    return ""


def stop_plan(platform: Platform, signs: Signs) -> Request | Command:
    """Return the request or command that stops this machine.

    Raises PinoctlError where the provider offers nothing, a key or program is missing, or nothing but a variable says
    which machine this is. Looking for a program takes running some.
    """
    planned = _PLANS.get(platform.name)
    if planned is None:
        raise PinoctlError(
            f"{platform.facts.title} cannot be stopped from inside", hint=f"stop it yourself: {platform.facts.stopping}"
        )
    return planned(signs)


async def stop_machine(
    platform: Platform,
    signs: Signs,
    http: Ask,
    run: Callable[[Sequence[str]], Awaitable[tuple[int, str]]] | None = None,
) -> Stopped:
    """Ask the provider to stop this machine; everything that runs here ends within the next seconds.

    `http` sends a request; `run` runs a command and returns its exit status and what it printed.
    Raises PinoctlError when there is no way, nobody answers or the provider refuses; no key is in its text.
    """
    plan = await asyncio.to_thread(stop_plan, platform, signs)
    if isinstance(plan, Command):
        await _run(plan, platform, run)
    else:
        await _ask(plan, platform, http)
    return Stopped(platform.name, _NOTES.get(platform.name, ""))


async def _run(
    plan: Command, platform: Platform, run: Callable[[Sequence[str]], Awaitable[tuple[int, str]]] | None
) -> None:
    if run is None:
        raise PinoctlError(
            f"{platform.facts.title} is stopped by a program only", hint=f"stop it yourself: {platform.facts.stopping}"
        )
    try:
        status, printed = await run(plan.words)
    except OSError as error:
        status, printed = 127, error.strerror or str(error)
    if status:
        last = next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), f"exit status {status}")
        raise PinoctlError(
            f"{platform.facts.title} could not be stopped: {last[:LONGEST]}",
            hint=f"stop it yourself: {platform.facts.stopping}",
        )


async def _ask(request: Request, platform: Platform, http: Ask) -> None:
    advice = f"stop it yourself: {platform.facts.stopping}"
    try:
        answer = await http(request)
    except (OSError, TimeoutError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        raise PinoctlError(f"{platform.facts.title} could not be stopped: {why}", hint=advice) from None
    text = _hidden(answer.text, request)
    if answer.status in REFUSED:
        raise PinoctlError(
            f"the provider refuses to stop this machine (status {answer.status}): its key may not do that", hint=advice
        )
    if answer.status not in GOOD or _says_no(answer.text):
        said = f": {text}" if text else ""
        raise PinoctlError(f"the provider did not stop this machine (status {answer.status}){said}", hint=advice)


def _says_no(text: str) -> bool:
    """Tell whether an answer is JSON that says `success: false`, as Vast.ai's does with status 200."""
    try:
        answer = json.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("success") is False


def _hidden(text: str, request: Request) -> str:
    """Return the beginning of an answer on one line, with everything that the request held secret blotted out."""
    for name, value in request.headers:
        if name.lower() == "authorization":
            text = text.replace(value, "***").replace(value.removeprefix("Bearer "), "***")
    return " ".join(text.split())[:LONGEST]


def _runpod(signs: Signs) -> Request:
    pod, key = signs.get("RUNPOD_POD_ID"), signs.secret("RUNPOD_API_KEY")
    _need(re.fullmatch(r"[A-Za-z0-9]+", pod), "RUNPOD_POD_ID", "runpodctl pod stop POD_ID")
    _need(_fits_header(key), "RUNPOD_API_KEY", "`runpodctl pod stop` after `runpodctl config --apiKey KEY`")
    _confirm(signs.confirms("RUNPOD_POD_ID", pod), f"pod `{pod}`", "RUNPOD_POD_ID")
    return Request("POST", f"{RUNPOD}/pods/{pod}/stop", (("Authorization", f"Bearer {key}"),))


def _vast(signs: Signs) -> Request:
    number = signs.get("CONTAINER_ID") or signs.get("VAST_CONTAINERLABEL").removeprefix("C.")
    key = signs.secret("CONTAINER_API_KEY")
    _need(re.fullmatch(r"[0-9]+", number), "CONTAINER_ID", "`vastai stop instance ID`")
    _need(_fits_header(key), "CONTAINER_API_KEY", "`vastai stop instance ID --api-key KEY`")
    sure = signs.confirms("CONTAINER_ID", number) or signs.confirms("VAST_CONTAINERLABEL", f"C.{number}")
    _confirm(sure, f"instance `{number}`", "CONTAINER_ID")
    headers = (("Authorization", f"Bearer {key}"), ("Content-Type", "application/json"))
    return Request("PUT", f"{VAST}/instances/{number}/", headers, b'{"state": "stopped"}')


def _colab(signs: Signs) -> Request:
    address = signs.get("TBE_RUNTIME_ADDR")
    _need(re.fullmatch(r"[A-Za-z0-9.:_-]+", address), "TBE_RUNTIME_ADDR", "`google.colab.runtime.unassign()` in a cell")
    there = any(map(signs.exists, COLAB_FOLDERS))  # the address means nothing on another machine
    _confirm(there or signs.confirms("TBE_RUNTIME_ADDR", address), "a runtime of Colab", "TBE_RUNTIME_ADDR")
    return Request("POST", f"http://{address}/unassign")


def _lightning(signs: Signs) -> Command:
    name = "LIGHTNING_CLOUD_SPACE_ID"
    studio = signs.get(name)
    _need(re.fullmatch(r"[A-Za-z0-9_-]+", studio), name, "`Studio().stop()` of lightning-sdk")
    told = signs.told(name)
    there = signs.exists(STUDIO_FOLDER) and not told  # the folder has the same name in every studio
    _confirm(there or signs.confirms(name, studio), f"studio `{studio}`", name)
    python = python_with("lightning_sdk", signs.environ)
    if not python:
        raise PinoctlError(
            "this machine cannot be stopped from inside: no Python on PATH has lightning-sdk",
            hint="install it with `python3 -m pip install lightning-sdk`, or stop the studio in the browser",
        )
    return Command((python, "-c", STOP_STUDIO, studio, signs.get("LIGHTNING_CLOUD_PROJECT_ID")))


def _fits_header(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable()


def _need(good: object, name: str, instead: str) -> None:
    if not good:
        raise PinoctlError(
            f"this machine cannot be stopped from inside: {name} is not set, or not as the provider sets it",
            hint=f"set it for pinoctl, or stop the machine with {instead} or in the browser",
        )


def _confirm(good: object, machine: str, name: str) -> None:
    """Refuse to stop what may be another machine: a shell can have the variables of one that is far away."""
    if not good:
        raise PinoctlError(
            f"nothing but a variable of this process says that this machine is {machine}, so it is not stopped",
            hint=f"if it is, write `{name}` into /etc/environment as the provider set it, or stop it in the browser",
        )


_PLANS: Final[Mapping[str, Callable[[Signs], Request | Command]]] = {
    "runpod": _runpod,
    "vast": _vast,
    "colab": _colab,
    "lightning": _lightning,
}
_NOTES: Final = {
    "runpod": "the volume disk goes on costing until the pod is terminated",
    "vast": "the disk goes on costing until the instance is destroyed",
    "colab": "everything outside of Drive is lost",
}
