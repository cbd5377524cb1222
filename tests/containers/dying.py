"""pinoctl, killed at a request to the daemon: `dying.py "WHEN METHOD PATTERN [N]" WORDS...`.

WHEN is `before` (the request is never sent), `during` (it is sent, and nobody waits for the answer) or `after` (it was
answered). N counts the requests that fit, from 1. A process killed from outside dies somewhere near; this one dies
exactly there, by the same signal.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import sys
import time
from typing import Any

import requests

SOON = 0.03  # seconds until a request that was sent is at work


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def once_sent(*_: Any) -> Any:
    """Die where the answer would be waited for."""
    time.sleep(SOON)
    kill()


def main() -> None:
    when, method, pattern, *count = sys.argv[1].split(" ")
    left = int(count[0]) if count else 1
    send = requests.Session.send

    def dying(self: requests.Session, request: Any, **more: Any) -> Any:
        nonlocal left
        if request.method == method and re.search(pattern, request.path_url):
            left -= 1
            if left == 0:
                if when == "before":
                    kill()
                if when == "during":
                    http.client.HTTPConnection.getresponse = once_sent  # type: ignore[method-assign]  # see below
                answer = send(self, request, **more)
                kill()
                return answer
        return send(self, request, **more)

    requests.Session.send = dying  # type: ignore[method-assign]  # the only way to die at this very moment
    del sys.argv[1]
    sys.argv[0] = "pinoctl"
    from cli import main as pinoctl  # noqa: PLC0415  # what it imports is counted as well

    pinoctl()


if __name__ == "__main__":
    main()
