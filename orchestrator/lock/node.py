"""What npm installed, read from its lock files."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from orchestrator.lock.checkouts import without_credentials

if TYPE_CHECKING:
    from pathlib import Path


def lock_file(file: Path) -> dict[str, Any] | None:
    """Return the sha256 of a `package-lock.json`; None if it cannot be read."""
    try:
        return {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    except OSError:
        return None


def installed(modules: Path) -> dict[str, Any] | None:
    """Describe what is in a `node_modules` folder: `packages`, place in the tree to `version`, `resolved`, `integrity`.

    None where npm left no list of what it installed (other package managers, very old versions).
    """
    file = modules / ".package-lock.json"
    try:
        data = file.read_bytes()
        listed = json.loads(data)["packages"]
        packages = {str(place): _facts(fact) for place, fact in sorted(listed.items()) if place}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return {"sha256": hashlib.sha256(data).hexdigest(), "packages": packages}


def _facts(fact: dict[str, Any]) -> dict[str, str]:
    found = {name: str(fact[name]) for name in ("version", "resolved", "integrity") if fact.get(name)}
    if "resolved" in found:
        found["resolved"] = without_credentials(found["resolved"])
    return found
