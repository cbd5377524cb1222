"""A visitor of the gate for the tests of admission: asks, keeps cookies as a browser does, and reads the answers."""

from __future__ import annotations

import asyncio
import http.cookies
from collections.abc import Awaitable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from orchestrator.expose.gate.admission import Admission
from orchestrator.expose.gate.contract import Answer, Pass, Seen
from orchestrator.expose.gate.keys import Keys

BROWSER = {"accept": "text/html,*/*;q=0.8", "sec-fetch-mode": "navigate", "sec-fetch-site": "none"}
PROGRAM = {"accept": "*/*"}
NOW = 1_800_000_000.0


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Client:
    """Asks one gate, at one port; `jar` holds cookies by name."""

    gate: Admission
    app: str | None = "one"
    peer: str = "203.0.113.7"
    secure: bool = True
    host: str = "gate.example"
    jar: dict[str, str] = field(default_factory=dict)
    keys: Keys | None = None
    clock: Clock | None = None
    ticks: Clock | None = None

    def ask(self, target="/", method="GET", headers=None, *, body=b"", upgrade=False, jar=True):
        given = {**(PROGRAM if headers is None else headers)}
        lines = list(given.items())
        if jar and self.jar:
            lines.append(("cookie", "; ".join(f"{name}={value}" for name, value in self.jar.items())))
        seen = Seen(method, target, tuple(lines), self.peer, self.secure, self.host, upgrade, self.app, body)
        answer = self.gate.decide(seen)
        if isinstance(answer, Awaitable):
            answer = asyncio.run(_awaited(answer))
        self.keep(answer)
        return answer

    def visit(self, target="/", **more):
        return self.ask(target, headers={**BROWSER, **more})

    def post(self, target, fields, **more):
        form = {"content-type": "application/x-www-form-urlencoded", "origin": self.origin, "accept": "text/html"}
        return self.ask(target, "POST", {**form, **more}, body=urlencode(fields).encode())

    @property
    def origin(self):
        return f"{'https' if self.secure else 'http'}://{self.host}"

    def keep(self, answer):
        lines = answer.cookies if isinstance(answer, Pass) else [v for k, v in answer.headers if k == "set-cookie"]
        for line in lines:
            (name, morsel), *_ = http.cookies.SimpleCookie(line.replace("Partitioned", "")).items()
            if morsel["max-age"] == "0":
                self.jar.pop(name, None)
            else:
                self.jar[name] = morsel.value

    def other(self, **changes):
        """Return another browser at the same gate."""
        return Client(**{**self.__dict__, "jar": {}, **changes})


async def _awaited(answer: Awaitable[Answer]) -> Answer:
    return await answer


def header(answer: Answer, name: str) -> str | None:
    return next((value for key, value in answer.headers if key == name), None)


def set_cookies(answer: Answer) -> list[str]:
    return [value for key, value in answer.headers if key == "set-cookie"]


def passed(answer, app="one"):
    return isinstance(answer, Pass) and answer.app == app


def make(tmp_path, **more):
    """Return a client and its keys: the apps `one` and `two` have tokens."""
    clock, ticks = Clock(), Clock(1000.0)
    keys = Keys(tmp_path / "gate" / "keys.json", clock, more.get("audit"))
    keys.token("one")
    keys.token("two")
    return Client(Admission(keys, nonce="n0nce", clock=ticks, **more), keys=keys, clock=clock, ticks=ticks)
