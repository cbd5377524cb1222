"""What the gate's process says of itself, into its log."""

from __future__ import annotations

import contextlib
import sys


def say(text: str) -> None:
    """Write a line; a full disk or a closed log stops nothing that goes on besides."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
