"""Which GPUs a container gets, and what to say where the daemon has none to give."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.places.container.docker import DockerError
from orchestrator.places.container.endpoint import gpu_support

if TYPE_CHECKING:
    from collections.abc import Mapping

IDENTIFIER: Final = re.compile(r"\d+|(?:GPU|MIG)-[\w./-]+|[\w.-]+/[\w.-]+=[\w.:-]+")
MISSING = "install the NVIDIA Container Toolkit, run `nvidia-ctk runtime configure --runtime=docker` and restart Docker"


def requests(wanted: str | None, info: Mapping[str, Any], *, card: bool) -> list[dict[str, Any]]:
    """Return the device requests of a container.

    `wanted` is `all`, `none`, a count, identifiers with commas, or None: all where the machine has a `card` and the
    daemon (`info`) offers it. Raises DockerError where it was asked for and cannot be had.
    """
    if wanted == "none" or (wanted is None and not card):
        return []
    support = gpu_support(info)
    if not support and (wanted is not None or card):
        if wanted is None:
            return []  # the caller warns: see `unused`
        raise DockerError(
            "the Docker daemon offers no NVIDIA card to containers", hint=f"{MISSING}, or give `--gpus none`"
        )
    request: dict[str, Any] = {"Driver": "cdi" if support == "cdi" else "", "Capabilities": [["gpu"]], "Options": {}}
    if wanted in {None, "all"}:
        request |= {"DeviceIDs": ["nvidia.com/gpu=all"]} if support == "cdi" else {"Count": -1}
    else:
        count, names = parsed(str(wanted))
        if support == "cdi":  # which knows no counts
            names = [each if "=" in each else f"nvidia.com/gpu={each}" for each in names or map(str, range(count))]
        request |= {"DeviceIDs": names} if names else {"Count": count}
    if support == "cdi":
        request["Capabilities"] = []
    return [request]


def parsed(wanted: str) -> tuple[int, list[str]]:
    """Return how many cards are wanted, or which; raise BadInputError where it is neither."""
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted), []
    names = [name.strip() for name in wanted.removeprefix("device=").split(",") if name.strip()]
    if not names or wanted.isdecimal() or not all(map(IDENTIFIER.fullmatch, names)):
        raise BadInputError(
            f"`--gpus` is `all`, `none`, a number from 1, or identifiers, got `{wanted}`",
            hint="for example `--gpus 1`, `--gpus 0,1` or `--gpus device=0`",
        )
    return 0, names


def unused(wanted: str | None, info: Mapping[str, Any], *, card: bool) -> str | None:
    """Return a warning where the machine has a card that containers cannot use, None otherwise."""
    if card and wanted is None and not gpu_support(info):
        return f"this machine has an NVIDIA card, but its Docker daemon does not offer it to containers; {MISSING}"
    return None
