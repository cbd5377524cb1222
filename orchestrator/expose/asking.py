"""How commands ask the gate: one JSON object a line over a Unix socket, one answer to each."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LINE_LIMIT: Final = 4 * 1024 * 1024


def address(path: Path) -> tuple[str, int]:
    """Return an address that is short enough for the kernel (107 bytes), and a descriptor to close after using it."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{folder}/{path.name}", folder


def ask(path: Path, request: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
    """Ask the gate; raises PinoctlError with what it says, OSError when none is there, TimeoutError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            short, folder = address(path)
        except FileNotFoundError as error:
            raise ConnectionRefusedError(str(error)) from error
        try:
            client.connect(short)
        finally:
            os.close(folder)
        client.sendall(json.dumps(dict(request)).encode() + b"\n")
        with client.makefile("rb") as answers:
            line = answers.readline(LINE_LIMIT)
    if not line:
        raise ConnectionResetError("the gate ended before it answered")
    answer: dict[str, Any] = json.loads(line)
    refused = answer.get("error")
    if refused is not None:
        kind = BadInputError if refused.get("kind") == "BadInputError" else PinoctlError
        raise kind(str(refused.get("text")), hint=refused.get("hint"))
    result: dict[str, Any] = answer["result"]
    return result
