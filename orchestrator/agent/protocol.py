"""What goes over the agent's socket: JSON lines both ways, and the versions that two sides can agree on.

A request is `{"id": any, "op": name, ...}`. A reply repeats the id: `{"id", "ok": true, "result"}` or
`{"id", "ok": false, "error": {"message", "hint", "kind"}}`. Between them come stream messages, for clients that asked:
`{"event": kind, "t": unix seconds, "data": {...}}`, `{"output": text, "script": name, "offset": bytes}` and
`{"dropped": messages}` where a slow client missed some.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.engine.errors import PinoctlError

VERSIONS: Final = (1,)
MAX_LINE: Final = 8 * 1024 * 1024


class ProtocolError(PinoctlError):
    """Report a line that is no request, or an agent that speaks no version of ours."""


class GarbledError(ProtocolError):
    """Report a line that is not JSON: whoever wrote it does not speak the protocol at all."""


class AgentError(PinoctlError):
    """Carry an error that the agent answered with; `kind` is the class of the error over there."""

    def __init__(self, message: str, *, hint: str | None = None, kind: str = "PinoctlError") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


def choose_version(offered: Any) -> int:
    """Return the newest version that both sides speak; `offered` is the other side's list."""
    theirs = set(offered) if isinstance(offered, Sequence) and not isinstance(offered, str) else set()
    common = [version for version in VERSIONS if version in theirs]
    if not common:
        raise ProtocolError(
            f"no protocol version in common: this agent speaks {list(VERSIONS)}, the other side {offered!r}",
            hint="stop the app with `pinoctl down` and start it again, so that both are of one version",
        )
    return max(common)


def encode_line(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line; what JSON cannot say becomes text."""
    return (
        json.dumps(message, separators=(",", ":"), ensure_ascii=False, default=repr).encode("utf-8", "surrogatepass")
        + b"\n"
    )


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the object that one line holds; raises ProtocolError."""
    try:
        message = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise GarbledError(f"a line is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"a line is not an object but a {type(message).__name__}")
    return message


def reply(request_id: Any, result: Any) -> dict[str, Any]:
    """Return the message that answers a request."""
    return {"id": request_id, "ok": True, "result": result}


def refusal(request_id: Any, error: BaseException) -> dict[str, Any]:
    """Return the message that refuses a request."""
    return {
        "id": request_id,
        "ok": False,
        "error": {
            "message": str(error) or type(error).__name__,
            "hint": getattr(error, "hint", None),
            "kind": type(error).__name__,
        },
    }
