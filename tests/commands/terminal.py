"""A pseudo-terminal with the program in it, to type at."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import time


class Terminal:
    """Run a command on a terminal of its own; `text` is everything that appeared."""

    def __init__(self, command, environment):
        self.text = ""
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, environment)  # noqa: S606  # the child of a fork

    def expect(self, what, *, timeout=60):
        """Read until a text appears after what was expected before, and return what came up to it."""
        until = time.monotonic() + timeout
        begin = getattr(self, "_seen", 0)
        while (at := self.text.find(what, begin)) < 0:
            left = until - time.monotonic()
            assert left > 0, f"{what!r} did not appear in:\n{self.text}"
            if select.select([self._descriptor], [], [], left)[0]:
                try:
                    self.text += os.read(self._descriptor, 65536).decode("utf-8", "replace")
                except OSError:
                    assert what in self.text[begin:], f"the program ended without {what!r}:\n{self.text}"
        self._seen = at + len(what)
        return self.text[begin:at]

    def type(self, text):
        os.write(self._descriptor, text.encode())

    def end(self, *, timeout=60):
        """Read to the end and return the exit status."""
        until = time.monotonic() + timeout
        with contextlib.suppress(OSError):
            while select.select([self._descriptor], [], [], max(0, until - time.monotonic()))[0]:
                piece = os.read(self._descriptor, 65536)
                if not piece:
                    break
                self.text += piece.decode("utf-8", "replace")
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
