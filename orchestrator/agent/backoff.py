"""How long to wait before a server that died is started again, and when to give up; pure arithmetic over a clock."""

from __future__ import annotations

from dataclasses import dataclass, field

LONGEST = 60.0
HEALTHY = 600.0
ATTEMPTS = 5


@dataclass(slots=True)
class Backoff:
    """Count restarts: 1, 2, 4 ... 60 s apart, five at most; ten minutes of health make it forget all of them."""

    attempts: int = 0
    limit: int = ATTEMPTS
    _ready_since: float | None = field(default=None)

    def healthy(self, now: float) -> None:
        """Note that the app got ready."""
        self._ready_since = now

    def died(self, now: float) -> float | None:
        """Return the seconds to wait before the next try, None when it is time to give up."""
        if self._ready_since is not None and now - self._ready_since >= HEALTHY:
            self.attempts = 0
        self._ready_since = None
        if self.attempts >= self.limit:
            return None
        self.attempts += 1
        return min(2.0 ** (self.attempts - 1), LONGEST)

    def reset(self) -> None:
        """Forget everything: somebody asked for a start."""
        self.attempts = 0
        self._ready_since = None
