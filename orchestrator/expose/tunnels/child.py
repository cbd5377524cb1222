"""What becomes a tunnel's program: it dies with the daemon, however that dies.

Run as `python -I -S child.py PARENT ARGV...`, not imported. It asks the kernel to be killed when its parent ends, and
replaces itself by the program, which inherits that. (Done between fork and exec in the daemon itself it would not be
safe with threads.)
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    """Become the program, unless the parent is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    for name in ("SIGPIPE", "SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # a program is what is being started
    except OSError as error:
        sys.stderr.write(f"cannot start `{argv[0]}`: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
