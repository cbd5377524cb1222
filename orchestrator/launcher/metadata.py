"""An app's metadata: where its launcher is, and what `pinokio.js` and the files beside it say of it (spec 1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

INNER = "pinokio"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Hold what a launcher says of itself; texts are "" where it says nothing.

    `icon` is relative to the launcher's folder; `pre` are the prerequisites it lists for its user.
    """

    title: str = ""
    description: str = ""
    icon: str = ""
    version: str = ""
    pre: tuple[Mapping[str, Any], ...] = ()
    plugin: bool = False


def launcher_root(app: Path) -> str | None:
    """Return where `pinokio.js` is: "" for the app's folder, "pinokio" for the folder of that name in it, else None.

    Whether it also loads is for the sidecar to tell; a launcher whose outer file does not load has the inner one.
    """
    for root in ("", INNER):
        if (app / root / "pinokio.js").is_file():
            return root
    return None


def read_metadata(merged: Mapping[str, Any]) -> Metadata:
    """Read the merged metadata, taking nothing for granted: what has the wrong type counts as missing."""
    pre = merged.get("pre")
    return Metadata(
        title=_text(merged.get("title")),
        description=_text(merged.get("description")),
        icon=_text(merged.get("icon")),
        version=_text(merged.get("version")),
        pre=tuple(each for each in pre if isinstance(each, Mapping)) if isinstance(pre, list) else (),
        plugin=merged.get("path") == "plugin",
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""
