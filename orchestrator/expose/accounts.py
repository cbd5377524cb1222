"""What users brought for their tunnels: tokens and settings, from variables, files or typed, kept for the gate.

Beside them stands what they said of this machine, which the gate would not know after it was killed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.tunnels.ssh import own_host

if TYPE_CHECKING:
    from collections.abc import Mapping

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

# Files that hold a token, as secrets of containers are given; the variable itself comes first.
FILES: Final = {
    "NGROK_AUTHTOKEN_FILE": "NGROK_AUTHTOKEN",
    "CLOUDFLARED_TOKEN_FILE": "CLOUDFLARED_TOKEN",
    "TUNNEL_TOKEN_FILE": "TUNNEL_TOKEN",
    "PINOCTL_FRP_TOKEN_FILE": "PINOCTL_FRP_TOKEN",
}
TOKENS: Final = frozenset(FILES.values())  # those of the names that nobody may see
SAME: Final = ("CLOUDFLARED_TOKEN", "TUNNEL_TOKEN")  # two names of one thing, kept under the first

# What may be said of this machine; kept for as long as an app of the home is exposed, up or down.
WHERE: Final = ("PINOCTL_PLATFORM", "PINOCTL_PUBLIC_URL", "PINOCTL_GATE_PORT", "PINOCTL_TRUSTED_PROXY")

KEPT: Final = frozenset({*NAMES, *WHERE})
LONGEST: Final = 1 << 16  # bytes of a file with a token
_NGROK: Final = re.compile(r"""^\s*authtoken:\s*["']?([^\s"'#]+)""", re.MULTILINE)


def brought(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a command's environment brings for tunnels; an empty value takes away what is kept.

    Raises BadInputError for a file without a token, and for an SSH host that is none.
    """
    found = {name: environ[name] for name in NAMES if name in environ}
    for file, name in FILES.items():
        if environ.get(file) and not found.get(name):
            found[name] = _token_in(file, environ[file])
    if any(name in found for name in SAME):
        token = next((found[name] for name in SAME if found.get(name)), "")
        found |= {**dict.fromkeys(SAME, ""), SAME[0]: token}
    if host := found.get("PINOCTL_SSH_TUNNEL"):
        own_host(host)
    return found


def said_of_here(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a command's environment says of this machine."""
    return {name: environ[name] for name in WHERE if name in environ}


def of_ngrok(environ: Mapping[str, str]) -> str:
    """Return the token in ngrok's own settings, "" where there is none."""
    try:
        text = (Path(environ.get("HOME") or "/") / ".config/ngrok/ngrok.yml").read_text("utf-8")
    except (OSError, ValueError):
        return ""
    found = _NGROK.search(text)
    return found[1] if found else ""


def _token_in(variable: str, path: str) -> str:
    hint = "put the token alone into a file that you can read"
    try:
        with Path(path).expanduser().open("rb") as file:
            token = file.read(LONGEST).decode("ascii").strip()
    except OSError as error:
        why = f"`{variable}` names `{path}`, which cannot be read: {error.strerror}"
        raise BadInputError(why, hint=hint) from error
    except UnicodeDecodeError:
        token = ""
    if not token or not re.fullmatch(r"[!-~]+", token):
        raise BadInputError(f"`{variable}` names `{path}`, which does not hold a token", hint=hint)
    return token


def read(path: Path) -> dict[str, str]:
    """Return what is kept; nothing where the file is missing or torn."""
    try:
        stored: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {name: value for name, value in stored.items() if name in KEPT and isinstance(value, str) and value}


def keep(path: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Add to what is kept (mode 600) and return all of it; an empty value takes one away. Raises PinoctlError."""
    before = read(path)
    now = {name: value for name, value in {**before, **more}.items() if name in KEPT and value}
    if now == before:
        return now
    from orchestrator.engine.environment.files import write_atomically  # noqa: PLC0415  # rarely needed by commands

    write_atomically(path, json.dumps(now, indent=1))
    return now
