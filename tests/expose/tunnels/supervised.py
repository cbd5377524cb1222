"""A tunnel whose time, programs and network are under the test's control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.tunnels.own import PlatformUrl
from orchestrator.expose.tunnels.probing import Reply
from orchestrator.expose.tunnels.provider import Here, Needs, Possible, Start, Told
from orchestrator.expose.tunnels.supervisor import Effects, State, Timing, Tunnel
from tests.expose.tunnels.common import Time, here

NONCE = "the-nonce"
PORT = 4711
Script = list[tuple[float, str]]  # after so many seconds this line; `exit N` ends it, and what follows is read later


@dataclass(frozen=True)
class Fake:
    """A provider whose program writes `url X`, `port N`, `problem X`, `final X`."""

    name: str
    needs: Needs = Needs(programs=("fake",))  # noqa: RUF009  # frozen
    patience: int = 3
    settle: float = 0.0

    def possible(self, here: Here) -> Possible:
        return Possible(ok=True, why="always")

    def command(self, port: int, here: Here, program: str) -> Start:
        return Start(port=port, argv=(program, self.name), secrets=("SECRET",), settle=self.settle)

    def read(self, line: str, stream: str, start: Start) -> Told | None:
        word, _, rest = line.partition(" ")
        if word == "bug":
            raise ValueError(rest)
        if word == "url":
            return Told(url=rest)
        if word == "port":
            return Told(url=f"http://guess:{rest}", port=int(rest))
        if word in {"problem", "final"}:
            return Told(problem=rest, final=word == "final", hint="do this" if word == "final" else "")
        return None


class Running:
    """A program that follows its script."""

    def __init__(self, time: Time, script: Script) -> None:
        self.time, self.script = time, script
        self.pid = 1
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended = False

    async def lines(self) -> AsyncIterator[tuple[str, str]]:
        for after, line in self.script:
            await self.time.sleep(after)
            if line.startswith("exit "):
                self.status.set_result(int(line.split()[1]))
            else:
                yield "stderr", line

    async def wait(self) -> int:
        return await asyncio.shield(self.status)

    async def end(self) -> None:
        self.ended = True
        if not self.status.done():
            self.status.set_result(-15)


@dataclass
class World:
    """Everything outside of a tunnel."""

    folder: Path
    time: Time = field(default_factory=Time)
    scripts: dict[str, list[Script]] = field(default_factory=dict)  # the last one of each is used again and again
    replies: dict[str, Reply] = field(default_factory=dict)
    gate: bool = True
    states: list[State] = field(default_factory=list)
    started: list[tuple[float, str, Running]] = field(default_factory=list)
    asked: list[tuple[float, str, Mapping[str, str]]] = field(default_factory=list)
    verified: list[bool] = field(default_factory=list)
    missing: str = ""
    broken: OSError | None = None

    async def provide(self, name: str, machine: Here) -> str:
        if self.broken is not None:
            raise self.broken
        if self.missing:
            raise PinoctlError(self.missing, hint="install it")
        return f"/bin/{name}"

    async def spawn(self, start: Start) -> Running:
        name = start.argv[1]
        waiting = self.scripts[name]
        script = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        running = Running(self.time, script)
        self.started.append((self.time.now, name, running))
        return running

    async def get(self, url: str, headers: Mapping[str, str], seconds: float, *, verify: bool = True) -> Reply:
        self.asked.append((self.time.now, url, headers))
        self.verified.append(verify)
        if url.startswith((f"http://127.0.0.1:{PORT}/", "https://127.0.0.1:8443/")):
            return Reply(200, NONCE) if self.gate else Reply(problem="cannot connect")
        return self.replies.get(url.removesuffix("/.pinoctl/nonce"), Reply(problem="its name cannot be resolved"))

    def up(self, *urls: str) -> None:
        for url in urls:
            self.replies[url] = Reply(200, f"{NONCE}\n")

    def tunnel(
        self, *providers: str | Fake, timing: Timing | None = None, machine: Here | None = None, **more
    ) -> Tunnel:
        effects = Effects(
            provide=self.provide,
            spawn=self.spawn,
            get=self.get,
            sleep=self.time.sleep,
            clock=self.time.clock,
            now=self.time.clock,
            random=lambda: 0.5,
        )
        known = [
            PlatformUrl() if each == "own" else Fake(each) if isinstance(each, str) else each for each in providers
        ]
        return Tunnel(
            PORT,
            known,
            machine or here(self.folder),
            nonce=NONCE,
            told=self.states.append,
            effects=effects,
            timing=timing,
            **more,
        )

    def statuses(self) -> list[tuple[str, str]]:
        """Say (status, provider) of what was told, without repetitions."""
        seen = [(state.status, state.provider) for state in self.states]
        return [each for before, each in zip([None, *seen], seen, strict=False) if each != before]

    def is_up(self, url: str) -> Callable[[], bool]:
        return lambda: bool(self.states) and (self.states[-1].status, self.states[-1].url) == ("up", url)

    def is_(self, status: str) -> Callable[[], bool]:
        return lambda: bool(self.states) and self.states[-1].status == status
