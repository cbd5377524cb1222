"""What users brought for their tunnels: tokens and settings, from variables or typed, kept in a file of the gate."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Variables of tunnels; what is kept of a user's environment when a gate is to lead somewhere later, too.
NAMES: Final = (
    "NGROK_AUTHTOKEN",
    "NGROK_DOMAIN",
    "CLOUDFLARED_TOKEN",
    "CLOUDFLARED_HOSTNAME",
    "TUNNEL_TOKEN",
    "PINOCTL_FRP_SERVER",
    "PINOCTL_FRP_TOKEN",
    "PINOCTL_FRP_URL",
    "PINOCTL_FRP_REMOTE_PORT",
    "PINOCTL_LOCALTUNNEL_SERVER",
    "PINOCTL_LOCALTUNNEL_SUBDOMAIN",
    "PINOCTL_SSH_TUNNEL",
    "PINOCTL_SSH_URL",
)


def brought(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a command's environment brings for tunnels."""
    return {name: environ[name] for name in NAMES if environ.get(name)}


def read(path: Path) -> dict[str, str]:
    """Return what is kept; nothing where the file is missing or torn."""
    try:
        stored: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {name: value for name, value in stored.items() if name in NAMES and isinstance(value, str) and value}


def keep(path: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Add to what is kept (mode 600) and return all of it; an empty value takes one away. Raises PinoctlError."""
    before = read(path)
    now = {name: value for name, value in {**before, **more}.items() if name in NAMES and value}
    if now == before:
        return now
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(now, file, indent=1)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise PinoctlError(
            f"`{path}` cannot be written: {error.strerror}", hint="check the permissions and the free space there"
        ) from error
    return now
