"""The values that the parts of the download engine exchange."""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.engine.errors import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class TransientError(Exception):
    """Report a failure that may pass: a broken connection, a server that is busy. `wait`: what the server asks for."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class ChangedError(Exception):
    """Report that the server no longer has, or no longer gives, what was begun: start over."""


class CancelledError(Exception):
    """Report that the download was told to stop; what it has stays for the next time."""


def free_space(folder: Path) -> int:
    """Return the bytes that can still be written in a folder."""
    return shutil.disk_usage(folder).free


@dataclass(slots=True)
class Settings:
    """Set the limits of a download, and what it takes from outside so that tests need not wait; times in seconds."""

    connections: int = 4
    parallel_from: int = 32 * 1024 * 1024
    chunk: int = 256 * 1024
    connect_timeout: float = 30.0
    stall: float = 60.0
    tries: int = 10
    longest_wait: float = 60.0
    save_every: float = 2.0
    report_every: float = 0.5
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    sleep: Callable[[float], None] | None = None
    clock: Callable[[], float] = time.monotonic
    free: Callable[[Path], int] = free_space


@dataclass(frozen=True, slots=True)
class Order:
    """Ask for one file: into `folder` under the server's name, or as exactly `path`; `checksum` is (algorithm, hex)."""

    url: str
    folder: Path | None = None
    path: Path | None = None
    checksum: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tell what became of an order: `status` is `skipped` or `downloaded`, `received` the bytes that really came."""

    path: Path
    status: str
    size: int
    received: int = 0


@dataclass(frozen=True, slots=True)
class Remote:
    """Describe the file on the server; `size` is None where the server does not tell, `etag` only a strong one."""

    size: int | None
    ranges: bool
    etag: str | None
    modified: str | None
    name: str

    def matches(self, other: Mapping[str, object]) -> bool:
        """Tell whether a file begun earlier is still this one; without a tag or date the size has to do."""
        if other.get("size") != self.size:
            return False
        return (other.get("etag"), other.get("modified")) == (self.etag, self.modified)


class Stop:
    """Be the one switch that ends all threads of a download."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._closers: dict[int, Callable[[], None]] = {}

    def set(self) -> None:
        """Tell everyone to stop, and wake those who wait for the network."""
        self._event.set()
        with self._lock:
            closers = list(self._closers.values())
        for close in closers:
            close()

    def is_set(self) -> bool:
        """Tell whether it is over."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise CancelledError when it is over."""
        if self._event.is_set():
            raise CancelledError

    def wait(self, seconds: float) -> None:
        """Sleep, but wake up when it is over."""
        self._event.wait(seconds)

    def on_set(self, close: Callable[[], None]) -> Callable[[], None]:
        """Have `close` called at the end; returns what takes that back."""
        with self._lock:
            self._closers[id(close)] = close
        if self.is_set():
            close()

        def forget() -> None:
            with self._lock:
                self._closers.pop(id(close), None)

        return forget


def parse_checksum(sha256: str | None, checksum: str | None) -> tuple[str, str] | None:
    """Read the `sha256` and `checksum` params: a hex digest, with its algorithm and a colon in front in `checksum`.

    Raises ScriptError for an unknown algorithm or a digest of a wrong length.
    """
    text = f"sha256:{sha256}" if sha256 else checksum
    if not text:
        return None
    name, colon, digest = text.partition(":")
    if not colon:
        name, digest = "sha256", text
    algorithm, digest = name.strip().lower().replace("-", ""), digest.strip().lower()
    lengths = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
    if algorithm not in lengths:
        raise ScriptError(
            f"`fs.download` does not know the checksum `{name}`", hint="use `sha256:` and 64 hexadecimal digits"
        )
    if len(digest) != lengths[algorithm] or not all(character in "0123456789abcdef" for character in digest):
        raise ScriptError(
            f"`fs.download` needs {lengths[algorithm]} hexadecimal digits after `{algorithm}:`, got `{digest}`"
        )
    return algorithm, digest
