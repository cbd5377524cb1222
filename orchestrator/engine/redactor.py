"""Keep secret values out of journals and logs: known values are blanked wherever they appear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from orchestrator.engine.redaction import is_secret

MASK: Final = "••••••"
SHORTEST: Final = 4
SHORTEST_NAMED: Final = 6


class Redactor:
    """Blank secrets in text and in JSON-able values.

    In a stream a secret may be cut in two: `feed` holds back an end that could be the beginning of one, `flush` gives
    it out.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._held: dict[str, str] = {}
        self.add(values)

    @property
    def values(self) -> frozenset[str]:
        """The secrets that are known."""
        return frozenset(self._values)

    def add(self, values: Iterable[str]) -> None:
        """Learn more secrets; shorter ones than four characters would blank half of every log and are left out."""
        fresh = {value for value in values if len(value.strip()) >= SHORTEST} - self._values
        if fresh:
            self._values |= fresh
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(value) for value in longest_first))

    def add_named(self, variables: Mapping[str, Any]) -> None:
        """Learn the values of those variables whose names say that they are secret, and the passwords in URLs."""
        self.add(str(value) for name, value in variables.items() if is_secret(name) and _looks_secret(value))
        self.add(password for value in variables.values() for password in _passwords(str(value)))

    def text(self, text: str) -> str:
        """Return text with every known secret blanked."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def value(self, value: Any) -> Any:
        """Return a JSON-able value with secrets blanked, in values known and under names that say so."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                key: MASK
                if isinstance(item, str) and item and key != "key" and is_secret(str(key))
                else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def feed(self, stream: str, chunk: str) -> str:
        """Return what can be shown of a stream so far, secrets blanked."""
        if self._pattern is None:
            return chunk
        text = self.text(self._held.pop(stream, "") + chunk)
        keep = self._beginning_at_end(text)
        if keep:
            self._held[stream] = text[-keep:]
            return text[:-keep]
        return text

    def flush(self) -> dict[str, str]:
        """Give out what was held back, by stream."""
        held, self._held = self._held, {}
        return held

    @property
    def holding(self) -> bool:
        """Tell whether the end of some stream is held back."""
        return bool(self._held)

    def _beginning_at_end(self, text: str) -> int:
        best = 0
        for value in self._values:
            for size in range(min(len(value) - 1, len(text)), best, -1):
                if text.endswith(value[:size]):
                    best = size
                    break
        return best


_URL_PASSWORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:]*:([^\s/@]+)@")


def _passwords(text: str) -> list[str]:
    """Return the passwords in URLs, as they are written there and as they are meant."""
    found = _URL_PASSWORD.findall(text) if "@" in text else []
    return [form for password in found for form in (password, unquote(password))]


def _looks_secret(value: Any) -> bool:
    """Leave out what only a name takes for a secret: `USE_TOKEN=true`, `SSL_KEY=/etc/key.pem`."""
    return isinstance(value, str) and len(value) >= SHORTEST_NAMED and not value.startswith(("/", "./", "~"))
