"""One exposed app at work: its door in the gate, what leads there from outside, and the guard that stops what idles."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose.certificates import CertificateError
from orchestrator.expose.exposures import AUTO, MACHINE, NONE, OWN, Exposure
from orchestrator.expose.gate.proxy import GateError
from orchestrator.expose.guard.finish import failure, warning
from orchestrator.expose.guard.states import HoursGuard, IdleGuard, Meter, Sample, Verdict
from orchestrator.expose.guard.watch import Watch
from orchestrator.expose.listening import (
    NOBODY,
    follow,
    listen_for_tunnel,
    listen_inside,
    listen_outside,
    trust_of,
)
from orchestrator.expose.saying import say
from orchestrator.expose.tunnels.choosing import Choice, choose
from orchestrator.expose.tunnels.provider import Here, Wants
from orchestrator.expose.tunnels.supervisor import Effects, State, Tunnel
from orchestrator.expose.watching import WORKING
from orchestrator.hosts.stopping import can_stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.expose.exposures import GateFiles
    from orchestrator.expose.gate.admission import Admission
    from orchestrator.expose.gate.apps import Apps
    from orchestrator.expose.gate.apps import Meter as Use
    from orchestrator.expose.gate.keys import Keys
    from orchestrator.expose.gate.proxy import Gate
    from orchestrator.expose.guard.finish import What
    from orchestrator.expose.surroundings import Surroundings
    from orchestrator.expose.watching import Watcher
    from orchestrator.hosts.way import Way


@dataclass
class Machinery:
    """Hold what all exposed apps of a home share."""

    files: GateFiles
    surroundings: Surroundings
    keys: Keys
    admission: Admission
    apps: Apps
    common: Callable[[Exposure, Way], Awaitable[tuple[Gate, Way] | None]]  # the port for all apps, if there is one
    astray: Callable[[str, str, str], None]  # app, why its way does not lead to the gate, what to do about it
    watcher: Watcher
    use: Use
    nonce: str
    save: Callable[[Exposure], None]
    stop: Callable[[str, str, Verdict], Awaitable[None]]  # app, `app` or `machine`, why
    provide: Callable[[str, Here], Awaitable[str]]  # finds or fetches a tunnel's program
    gpu: Callable[[], Awaitable[float | None]]
    sample_all: Callable[[], Awaitable[Sample]]  # of all apps together, for who would stop the machine
    boot: Callable[[], str]
    clock: Callable[[], float]


class _Place(NamedTuple):
    gate: Gate
    way: Way | None = None
    fallback: str = ""  # why a way of the platform is not used


@dataclass
class Exposed:
    """Expose one app; `open` first, `close` last.

    `gate` is its port, its own or the one for all apps; `way` is the platform's that leads there. Tunnels of others
    lead to `door`, which is this app's alone. `astray` are the platform's ways that do not lead to the gate: why, and
    what to do about it.
    """

    exposure: Exposure
    shared: Machinery
    gate: Gate | None = None
    way: Way | None = None
    door: Gate | None = None
    tunnel: Tunnel | None = None
    problem: str = ""
    hint: str = ""
    fallback: str = ""
    astray: dict[str, tuple[str, str]] = field(default_factory=dict)
    cannot_stop: str = ""  # why the machine that is to be stopped some time cannot be
    left_running: str = ""  # what the guard could not stop, and tries no more
    worked: bool = False  # whether the app was seen at work since its door was opened
    moving: bool = False  # whether the platform's next way is about to be taken
    _proved: bool = False  # whether the platform's way led to the gate
    _watch: Watch | None = None
    _guarding: asyncio.Task[None] | None = None

    @property
    def guarded(self) -> bool:
        """Whether something would stop the app or the machine some time."""
        return self.exposure.idle_seconds is not None or self.exposure.most_seconds is not None

    @property
    def app(self) -> str:
        """The app's name."""
        return self.exposure.app

    @property
    def warned(self) -> str:
        """What the guard warns of at this moment: an end that is near, or what it cannot do; "" for nothing."""
        watch = self._watch
        if watch is None or watch.stopped:
            return self.left_running
        near, verdict = "", watch.verdict
        if verdict is not None and watch.failure:
            return failure(self.app, verdict, watch.failure, self._what)
        if verdict is not None and verdict.kind != "fine":
            near = self._warning(replace(verdict, seconds_left=watch.left or 0.0))
        return "; ".join(text for text in (near, watch.blind) if text)

    @property
    def failed(self) -> bool:
        """Whether nothing leads to the door, although something should."""
        tunnel = self.tunnel
        return bool(self.problem) if tunnel is None else tunnel.ended or tunnel.state.status == "failed"

    @property
    def by_own(self) -> bool:
        """Whether the platform's way leads to the door at this moment."""
        return self.tunnel is not None and (self.tunnel.state.status, self.tunnel.state.provider) == ("up", OWN)

    async def open(self, *, patient: bool = False) -> None:
        """Open the app's own port, or take the one that all apps share; raises PinoctlError when none can be had.

        With `patient` one for this machine will do for now.
        """
        guards = self._guards(self.exposure)
        self.gate, self.way, self.fallback = await self._place(self.exposure, patient=patient)
        self.exposure = self._placed(self.exposure)
        self._watch_over(guards)
        await self._foresee()

    async def _place(self, exposure: Exposure, *, patient: bool = False) -> _Place:
        """Return a port for an exposure, the one there is if that will do, and the platform's way that leads there.

        Where none of the platform's ways can be used it is one for this machine, which a tunnel can still lead to.
        """
        shared, around = self.shared, self.shared.surroundings
        fallback = ""
        for way in around.leading(exposure.tunnel):
            if way.name in self.astray:
                continue
            if (common := await shared.common(exposure, way)) is not None:
                return _Place(*common, fallback)
            try:
                return _Place(await self._at(way, exposure.port), way, fallback)
            except (GateError, CertificateError) as error:
                fallback = fallback or f"{way.name} cannot be used for `{self.app}`: {error}"
        if fallback and exposure.tunnel == OWN and not patient:
            hint = "hide another app, renew the machine's certificate, or use a tunnel: `--tunnel auto`"
            raise PinoctlError(fallback, hint=hint)
        if fallback and fallback != self.fallback:
            say(f"{self.app}: {fallback}")
        if self.gate is not None and self.way is None:
            return _Place(self.gate, None, fallback)
        inside = await listen_inside(shared, around.inner_ports(exposure.port, exposure.tunnel), self.app)
        return _Place(inside, None, fallback)

    async def _at(self, way: Way, before: int) -> Gate:
        """Return a port of the app's own that a way leads to; raises GateError, CertificateError."""
        gate = self.gate
        if (
            gate is not None
            and gate.app is not None
            and self.way is not None
            and follow(self.shared, gate, self.way, way)
        ):
            return gate
        return await listen_outside(self.shared, way, before, self.app)

    def _placed(self, exposure: Exposure) -> Exposure:
        """Return an exposure with the ports that are open."""
        own = self.gate.port if self.gate is not None and self.gate.app is not None else None
        return exposure.changed({"port": own, "door": self.door.port if self.door is not None else None})

    async def reach(self, *, patient: bool = False) -> None:
        """Lead something from outside to the door, unless it should stay closed or leads there already.

        Raises BadInputError for a way that was asked for in vain; with `patient` that is a problem to be shown.
        """
        if self.gate is None or self.tunnel is not None or self.exposure.tunnel == NONE:
            return
        try:
            here, choice = self._choose(self.exposure, self.gate, self.way)
        except BadInputError as error:
            if not patient:
                raise
            self.problem, self.hint = self.fallback or str(error), error.hint or ""
            say(f"{self.app}: {error}")
            return
        self.problem = self.hint = ""
        if not choice.providers and here.forbids:  # that keeps all of them out
            self.problem, self.hint = here.forbids, here.remedy
            return
        if not choice.providers:
            self.problem = "; ".join(f"{left.name}: {left.why}" for left in choice.left) or "no tunnel is possible"
            return
        if any(provider.name != OWN for provider in choice.providers):
            ports = self.shared.surroundings.tunnel_ports(self.exposure.door, self.exposure.tunnel)
            self.door = await listen_for_tunnel(self.shared, ports, self.app)
            self.exposure = self._placed(self.exposure)
        self.tunnel = Tunnel(
            self.door.port if self.door is not None else self.gate.port,
            choice.providers,
            here,
            nonce=self.shared.nonce,
            told=self._tell,
            effects=Effects(provide=self.shared.provide),
            caveats=choice.caveats,
            left=self._left,
        )
        self.tunnel.start()

    def _choose(self, exposure: Exposure, gate: Gate, way: Way | None) -> tuple[Here, Choice]:
        """Choose what leads to a port, best first; raises BadInputError for what was asked for in vain."""
        wants = Wants(streams=exposure.streams, websockets=True, uploads=True)
        here = self.shared.surroundings.here(self.shared.files, way, gate.port, wants)
        return here, choose(here, None if exposure.tunnel == AUTO else exposure.tunnel)

    async def change(self, exposure: Exposure, *, again: bool = False) -> None:
        """Expose the app as is said now; raises BadInputError, and then everything stays as it was.

        The tunnel is begun anew where it is to be another one, where it ended, and for `again`.
        """
        guards = self._guards(exposure)
        gate, way, fallback = await self._place(exposure)
        try:
            if exposure.tunnel != NONE:
                self._choose(exposure, gate, way)
        except PinoctlError:
            if gate is not self.gate and gate.app is not None:
                await gate.close()
            raise
        moved = exposure.tunnel != self.exposure.tunnel or gate is not self.gate
        before, self.gate, self.way, self.fallback = self.gate, gate, way, fallback
        self.exposure = self._placed(exposure)
        self._watch_over(guards)
        if moved or again or self.failed:
            await self.unreach()
        if before is not gate:
            await self._leave(before)
        await self._foresee()
        await self.reach()

    async def take_next_way(self, why: str, hint: str) -> None:
        """Go by the platform's next way, as this one does not lead to the gate; by this one still if there is none."""
        if self.way is None or not self._has_next_way():
            return
        name = self.way.name
        self.astray[name] = (why, hint)
        try:
            await self.change(self.exposure, again=True)
        except (PinoctlError, OSError) as error:
            say(f"{self.app}: {error}")
            del self.astray[name]

    def _has_next_way(self) -> bool:
        ways = self.shared.surroundings.leading(self.exposure.tunnel)
        others = [way for way in ways if self.way is not None and way.name not in {*self.astray, self.way.name}]
        return bool(others) and not self._proved

    def _left(self, provider: str, why: str, hint: str) -> None:
        if provider == OWN and self._has_next_way():
            self.moving = True
            self.shared.astray(self.app, why, hint)

    def _tell(self, state: State) -> None:
        self._proved = self._proved or (state.status == "up" and state.provider == OWN)
        if self.door is not None:
            up = state.status == "up" and state.provider != OWN
            self.door.trust = trust_of(state.provider, state.url) if up else NOBODY
        say(f"{self.app}: {worded(state)}")

    async def unreach(self) -> None:
        """End the tunnel, and close what it led to."""
        if self.tunnel is not None:
            tunnel, self.tunnel = self.tunnel, None
            await tunnel.close()
        if self.door is not None:
            door, self.door = self.door, None
            await door.close()
        self.problem = self.hint = ""
        self._proved = False

    async def close(self) -> None:
        """End the tunnel, the guard, and the door if it is the app's own."""
        guarding, self._guarding = self._guarding, None
        if guarding is not None and guarding is not asyncio.current_task():
            guarding.cancel()
            await asyncio.gather(guarding, return_exceptions=True)
        await self.shut()

    async def shut(self) -> None:
        """Close the tunnel and the door; the guard goes on."""
        await self.unreach()
        gate, self.gate = self.gate, None
        await self._leave(gate)

    async def _leave(self, gate: Gate | None) -> None:
        """Close the app's own port, or end what is at this app on the one for all."""
        if gate is not None and gate.app is None:
            gate.drop(self.app)
        elif gate is not None:
            await gate.close()

    # -- the guard

    def _guards(self, exposure: Exposure) -> tuple[IdleGuard | None, HoursGuard | None]:
        """Make the guards that an exposure asks for; raises BadInputError."""
        hours = None
        if exposure.most_seconds is not None:
            now, boot = self.shared.clock(), self.shared.boot()
            kept = Meter.from_json(exposure.meter)
            hours = HoursGuard(exposure.most_seconds, kept.read(now, boot) if kept else Meter.begin(now, boot))
        return IdleGuard(exposure.idle_seconds) if exposure.idle_seconds is not None else None, hours

    def _watch_over(self, guards: tuple[IdleGuard | None, HoursGuard | None]) -> None:
        """Let these guards take the place of those before."""
        if self._guarding is not None:
            self._guarding.cancel()
        self.left_running = ""
        self._watch = Watch(
            sample=self.shared.sample_all if self.exposure.at_end == MACHINE else self.sample,
            warn=self._warn,
            stop=self._stop,
            clock=self.shared.clock,
            idle=guards[0],
            hours=guards[1],
            trouble=lambda text: say(f"{self.app}: {text}"),
            save=self._save_meter,
        )
        self._guarding = asyncio.ensure_future(self._watch.run())

    async def _foresee(self) -> None:
        """Find out whether the machine that is to be stopped some time can be, as long as somebody is there to ask."""
        here, wanted = self.shared.surroundings, self.guarded and self.exposure.at_end == MACHINE
        self.cannot_stop = await asyncio.to_thread(can_stop, here.platform, here.signs) if wanted else ""

    async def sample(self, gpu: float | None = None) -> Sample:
        """Say how much the app is used at this moment; `gpu` spares asking how busy that is."""
        use, word = self.shared.use.of(self.app), self.shared.watcher.seen(self.app).word
        last = use.last if use.open > use.upgraded else use.last_request
        return Sample(
            now=self.shared.clock(),
            last_request=last,
            open_connections=use.open - use.upgraded,
            gpu_busy=await self.shared.gpu() if gpu is None else gpu,
            working=word in WORKING,
        )

    @property
    def _what(self) -> What:
        return "machine" if self.exposure.at_end == MACHINE else "app"

    def _warning(self, verdict: Verdict) -> str:
        if not self.cannot_stop:
            return warning(self.app, verdict, self._what)
        return f"{warning(self.app, verdict)}; the machine goes on and costs money: {self.cannot_stop}"

    def _warn(self, verdict: Verdict | None) -> None:
        say(f"{self.app} is in use again" if verdict is None else self._warning(verdict))

    async def _stop(self, verdict: Verdict) -> None:
        await self.shared.stop(self.app, self.exposure.at_end, verdict)

    def _save_meter(self, meter: Meter) -> None:
        self.exposure = self.exposure.changed({"meter": meter.to_json()})
        self.shared.save(self.exposure)

    # -- what is shown

    def shown(self) -> dict[str, Any]:
        """Return everything that commands show of it; `link` and `share_link` let their holders in."""
        seen, gate = self.shared.watcher.seen(self.app), self.gate
        state = self.tunnel.state if self.tunnel is not None else None
        secure = self.way is not None and self.way.certificate is not None
        inside = f"http{'s' if secure else ''}://127.0.0.1:{gate.port}" if gate is not None else None
        outside = state.url if state is not None and state.status == "up" else None
        through = self.door if state is not None and state.provider != OWN else gate
        left = self._watch.left if self._watch is not None else None
        return {
            "app": self.app, "state": seen.word, "public": self.exposure.public, "port": gate.port if gate else None,
            "url": inside,
            "link": self._link(inside, gate) if inside else None,
            "template": self._template(inside, gate) if inside else None,
            "share_url": outside,
            "share_link": self._link(outside, through) if outside else None,
            "share_template": self._template(outside, through) if outside else None,
            "tunnel": self._tunnel_shown(state),
            "warning": self.warned or None,
            "stop_after_idle": self.exposure.idle_seconds, "max_seconds": self.exposure.most_seconds,
            "stop_what": self.exposure.at_end, "stops_in": left,
            "stops_at": None if left is None else time.time() + left,
            "cannot_stop_because": self.cannot_stop or None,
        }  # fmt: skip

    def _tunnel_shown(self, state: State | None) -> dict[str, Any]:
        if state is None:
            return {
                "state": "failed" if self.problem else "none", "provider": None,
                "trying": bool(self.problem) and self.exposure.tunnel != AUTO,
                "reason": self.problem, "hint": self.hint, "says": self.problem,
            }  # fmt: skip
        if state.status == "failed" and self.moving:  # who waits is not to give up now
            state = replace(state, status="connecting")
        if state.status == "up":
            state = replace(state, caveat=". ".join(filter(None, (self.fallback, state.caveat))))
        elif state.status == "failed":
            before = [f"`{name}`: {why}" for name, (why, _) in self.astray.items()]
            hint = next((hint for _, hint in self.astray.values() if hint), "")
            reasons = filter(None, (self.fallback, *before, state.reason))
            state = replace(state, reason="; ".join(reasons), hint=state.hint or hint)
        return {
            "state": state.status, "provider": state.provider or None, "since": state.since, "tries": state.tries,
            "port": self.door.port if self.door is not None else None,
            "trying": self.tunnel is not None and not self.tunnel.ended,
            "reason": state.reason, "hint": state.hint, "caveat": state.caveat, "says": worded(state),
        }  # fmt: skip

    def _template(self, base: str, gate: Gate | None) -> str:
        """Return the address with `{token}` where a token goes: the app's page, or on a port for all the way to it."""
        if gate is not None and gate.app is None:
            return f"{base}/.pinoctl/go/{quote(self.app)}?token={{token}}"
        page = self.shared.watcher.seen(self.app).page
        return f"{base}{page}{'&' if '?' in page else '?'}token={{token}}"

    def _link(self, base: str, gate: Gate | None) -> str:
        if self.exposure.public:
            return self._template(base, gate).rpartition("token=")[0].rstrip("?&")
        return self._template(base, gate).replace("{token}", self.shared.keys.token(self.app))


def worded(state: State) -> str:
    """Say in one line how a tunnel is."""
    if state.status == "up":
        return f"tunnel `{state.provider}` is up" + (f"; {state.caveat}" if state.caveat else "")
    what = {"connecting": "connecting", "reconnecting": "connecting again", "failed": "no tunnel works"}[state.status]
    by = f" through `{state.provider}`" if state.provider else ""
    return f"{what}{by}" + (f": {state.reason}" if state.reason else "")
