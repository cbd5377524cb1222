"""What users brought for their tunnels: tokens and settings, from variables or typed, kept in a file of the gate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

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
    from orchestrator.engine.environment.files import write_atomically  # noqa: PLC0415  # rarely needed by commands

    write_atomically(path, json.dumps(now, indent=1))
    return now
