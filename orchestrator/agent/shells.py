"""Which shells an app has, from the engine's events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ShellInfo:
    """Name one shell: its id, the script that opened it, and its process."""

    id: str
    script: str
    pid: int | None


@dataclass(slots=True)
class Shells:
    """Keep the open shells; `last_death` says which server died last while the app was starting."""

    open: dict[str, ShellInfo] = field(default_factory=dict)
    last_death: str | None = None

    @property
    def alive(self) -> bool:
        """Tell whether any shell is open."""
        return bool(self.open)

    def started(self, data: Mapping[str, Any]) -> None:
        """Take a `shell.start`."""
        pid = data.get("pid")
        shell = ShellInfo(str(data.get("id")), str(data.get("script", "")), pid if isinstance(pid, int) else None)
        self.open[shell.id] = shell

    def ended(self, data: Mapping[str, Any]) -> ShellInfo | None:
        """Take a `shell.end` and return the shell, None when it was not known."""
        return self.open.pop(str(data.get("id")), None)

    def clear(self) -> None:
        """Forget all."""
        self.open.clear()

    def to_json(self) -> list[dict[str, Any]]:
        """Return the shells as `status` shows them."""
        return [{"id": shell.id, "script": shell.script, "pid": shell.pid} for shell in self.open.values()]
