"""Which HTTP ports a RunPod pod declares: nothing inside tells, but the provider does, where the pod's key may ask."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from orchestrator.hosts.stopping import RUNPOD
from orchestrator.hosts.way import listening
from orchestrator.hosts.web import Request

if TYPE_CHECKING:
    from orchestrator.hosts.platform import Platform
    from orchestrator.hosts.signs import Signs
    from orchestrator.hosts.way import Way
    from orchestrator.hosts.web import Ask

OK: Final = 200


def declared_request(platform: Platform, signs: Signs) -> Request | None:
    """Return the request that tells the declared ports, None where there is none or the key is missing."""
    pod, key = signs.get("RUNPOD_POD_ID"), signs.secret("RUNPOD_API_KEY")
    if platform.name != "runpod" or not re.fullmatch(r"[A-Za-z0-9]+", pod) or not re.fullmatch(r"[!-~]+", key):
        return None
    return Request("GET", f"{RUNPOD}/pods/{pod}", (("Authorization", f"Bearer {key}"),))


async def declared_ports(platform: Platform, signs: Signs, http: Ask) -> tuple[int, ...] | None:
    """Ask the provider for the ports that are declared as HTTP; None when it cannot be known.

    Never raises for a provider that refuses, answers something else or does not answer: this only spares a guess.
    """
    request = declared_request(platform, signs)
    if request is None:
        return None
    try:
        answer = await http(request)
        ports = json.loads(answer.text)["ports"] if answer.status == OK else None
    except (OSError, TimeoutError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(ports, list):
        return None
    found = [match for each in ports if (match := re.fullmatch(r"([0-9]{1,5})/http", str(each)))]
    return tuple(int(match[1]) for match in found)


def with_declared(way: Way, ports: tuple[int, ...] | None, signs: Signs) -> Way:
    """Return a way that was not sure with the ports that are declared, as it is when these are not known."""
    if way.sure or ports is None:
        return way
    usable = tuple(port for port in ports if way.ports is None or port in way.ports)
    if not usable:
        listed = f"declared are {', '.join(map(str, ports))}" if ports else "no port is declared as HTTP"
        return replace(way, kind="none", ports=(), note=f"{listed}; {way.hint or way.note}")
    inside = listening(signs)
    busy = tuple(port for port in usable if port in inside)
    return replace(way, ports=usable, busy=busy, one_port=way.one_port or len(usable) == 1, sure=True)
