"""The gate's process: which apps are exposed, kept over restarts, and what commands may ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator import __version__
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose import accounts, telling
from orchestrator.expose.certificates import CertificateError
from orchestrator.expose.control import Control
from orchestrator.expose.exposed import Exposed, Machinery
from orchestrator.expose.exposures import AUTO, MACHINE, Exposure, GateFiles, read, write
from orchestrator.expose.gate.admission import Admission
from orchestrator.expose.gate.apps import Meter as Use
from orchestrator.expose.gate.apps import State
from orchestrator.expose.gate.audit import Audit
from orchestrator.expose.gate.keys import Keys
from orchestrator.expose.gate.proxy import GateError
from orchestrator.expose.guard.finish import NotAllowedError, failure, finish
from orchestrator.expose.guard.gpu import Patient, gpu_use
from orchestrator.expose.guard.states import Sample, together
from orchestrator.expose.listening import follow, listen_outside
from orchestrator.expose.saying import say
from orchestrator.expose.tunnels.backoff import Backoff
from orchestrator.expose.tunnels.fetching import Fetching
from orchestrator.expose.tunnels.spawn import run
from orchestrator.expose.watching import AT_WORK, Watched, Watcher
from orchestrator.hosts.stopping import can_stop, stop_machine
from orchestrator.hosts.web import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from orchestrator.engine.home import Home
    from orchestrator.expose.gate.proxy import Gate
    from orchestrator.expose.guard.finish import What
    from orchestrator.expose.guard.states import Verdict
    from orchestrator.expose.surroundings import Surroundings
    from orchestrator.hosts.way import Way

IDLE_SECONDS: Final = 5.0  # with nothing exposed, until the process ends
GONE_SECONDS: Final = 15.0  # how long an app may be stopped before its door closes: restarts are shorter
GONE: Final = frozenset({"stopped", "not installed"})
PROGRAM_SECONDS: Final = 60.0
NONCE_BYTES: Final = 16


class Daemon:
    """Expose the apps of one home; `serve` until nothing is exposed any more.

    `look` says how an app is and where it listens (see Watcher), `stop_app` stops one, `running` lists those of the
    home that run, exposed or not; all of them may block.
    """

    def __init__(
        self,
        home: Home,
        surroundings: Surroundings,
        *,
        look: Callable[[str], Mapping[str, Any]],
        stop_app: Callable[[str], None],
        running: Callable[[], Sequence[str]] = tuple,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.files = GateFiles(home)
        self.files.prepare()
        self._stop_app, self._running = stop_app, running
        self._sleep = sleep
        self._audit = Audit(self.files.audit)
        self.keys = Keys(self.files.keys, audit=self._audit, say=say)
        self.watcher = Watcher(look, self._changed, sleep=sleep)
        self._apps: dict[str, Exposed] = {}
        self._exposures = read(self.files.exposed, say)
        self._common: Gate | None = None
        self._common_way: Way | None = None
        self._stopping = 0
        self._changes = 0
        self._undo: dict[str, Exposure | None] = {}
        self._work = asyncio.Lock()
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        nonce = secrets.token_urlsafe(NONCE_BYTES)
        self.machinery = Machinery(
            files=self.files,
            surroundings=telling.remembered(self.files, surroundings, exposed=bool(self._exposures)),
            keys=self.keys,
            admission=Admission(
                self.keys,
                nonce=nonce,
                public=self._is_public,
                framed=self._is_framed,
                audit=self._audit,
                apps=lambda: [app for app, each in self._apps.items() if each.gate is self._common],
            ),
            apps=self,
            common=self._shared_port,
            astray=self._astray,
            watcher=self.watcher,
            use=Use(clock),
            nonce=nonce,
            save=self._save,
            stop=self._stop,
            provide=Fetching(say).provide,
            gpu=Patient(gpu_use),
            sample_all=self._sample_all,
            boot=_boot_id,
            clock=clock,
        )

    @property
    def surroundings(self) -> Surroundings:
        """What is known of this machine, which commands may know better later."""
        return self.machinery.surroundings

    # -- what the gate asks

    def target(self, app: str) -> tuple[str, int] | None:
        """Say where an app listens."""
        return self.watcher.seen(app).target

    def state(self, app: str) -> State:
        """Say how an app is."""
        seen, exposed = self.watcher.seen(app), self._apps.get(app)
        return State(seen.word, (exposed.warned if exposed is not None else "") or seen.detail)

    def lost(self, app: str) -> None:
        """Look again at an app that did not answer."""
        self.watcher.lost(app)

    def _is_public(self, app: str) -> bool:
        return app in self._apps and self._apps[app].exposure.public

    def _is_framed(self, app: str) -> bool:
        return app in self._apps and self._apps[app].exposure.framed

    # -- the process

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Go on with what was exposed before, answer commands, and end when nothing is exposed any more."""
        control = Control(self.handle)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread: a test's
                loop.add_signal_handler(number, self._ended.set)
        try:
            await telling.ask_provider(self.machinery)
            for exposure in list(self._exposures.values()):
                if exposure.active:
                    await self._again(exposure)
            await control.listen(self.files.socket)
            ready()
            await self._until_idle()
        finally:
            with contextlib.suppress(OSError):
                self.files.socket.unlink()
            await control.close()
            for task in self._tasks:
                task.cancel()
            for exposed in list(self._apps.values()):
                await exposed.close()
            if self._common is not None:
                await self._common.close()
            await self.watcher.close()

    async def _again(self, exposure: Exposure) -> None:
        """Expose what was exposed before; what fails there is shown, tried again, and keeps no others from it."""
        try:
            there = await self._begin(exposure, patient=True)
        except (PinoctlError, OSError) as error:
            say(f"{exposure.app}: {error}")
            return
        if there.problem and exposure.tunnel != AUTO:
            self._by_itself(self._keep_trying(there))

    async def _keep_trying(self, there: Exposed) -> None:
        """Try to reach an exposed app as it was asked for, until that is possible or somebody wants it otherwise."""
        waits, wanted = Backoff(random.random), there.exposure.tunnel
        while there.tunnel is None:
            await self._sleep(waits.wait())
            async with self._work:
                if self._apps.get(there.app) is not there or there.gate is None or there.exposure.tunnel != wanted:
                    return
                with contextlib.suppress(PinoctlError, OSError):
                    await there.change(there.exposure)
                    self._save(there.exposure)

    def _by_itself(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_idle(self) -> None:
        while not self._ended.is_set():
            seen = self._changes
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), IDLE_SECONDS)
            if not self._apps and not self._work.locked() and seen == self._changes:
                return

    # -- what commands ask

    async def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a command; raises PinoctlError."""
        operation = _OPERATIONS.get(str(request.get("op")))
        if operation is None:
            raise BadInputError(
                f"the gate knows no `{request.get('op')}`", hint="it may be of another version: `down` all apps"
            )
        return await operation(self, request)

    async def _ping(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {"apps": len(self._apps), "version": __version__}

    async def _quit(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """End this process; what is exposed stays so for the next one."""
        asyncio.get_running_loop().call_later(0.01, self._ended.set)
        return {}

    async def _list(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {"apps": [exposed.shown() for exposed in self._apps.values()]}

    async def _state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        app = _app(request)
        if request.get("fresh") and app in self._apps:
            await self.watcher.look_now(app)
        exposed = self._apps.get(app)
        return exposed.shown() if exposed is not None else {}

    async def _expose(self, request: Mapping[str, Any]) -> dict[str, Any]:
        app, given = _app(request), request.get("given") or {}
        async with self._work:
            here, brought, where = self.surroundings, request.get("accounts") or {}, request.get("environ") or {}
            before, there = self._exposures.get(app), self._apps.get(app)
            exposure = (before or Exposure(app)).changed({**given, "active": True, "stopped": ""})
            if request.get("restart"):
                exposure = exposure.changed({"meter": {}})  # the hours count since `up`
            try:
                renewed = await telling.take(self.machinery, brought, where)
                shown = await self._put(exposure, there, renewed)
            except BaseException:
                self.machinery.surroundings = here
                if there is not None and app not in self._apps:
                    await self._again(there.exposure)
                    self._save(there.exposure)
                raise
            self._undo[app] = before
            self._save(shown.exposure)
            telling.keep(self.files, {**brought, **where})
            self.watcher.lost(app)
            return shown.shown()

    async def _put(self, exposure: Exposure, there: Exposed | None, renewed: str) -> Exposed:
        """Expose an app as is said now; `renewed` is what else was said (see `telling.take`)."""
        if there is not None and (there.gate is None or renewed == "elsewhere"):
            await self._end(exposure.app)
            there = None
        if there is None:
            return await self._begin(exposure)
        if there.failed:
            there.astray.clear()
        await there.change(exposure, again=bool(renewed))
        await self._close_common()
        return there

    async def _forget(self, request: Mapping[str, Any]) -> dict[str, Any]:
        async with self._work:
            return {"forgotten": await telling.forget(self.machinery, request.get("names") or ())}

    async def _begin(self, exposure: Exposure, *, patient: bool = False) -> Exposed:
        exposed = Exposed(exposure, self.machinery)
        self.keys.token(exposure.app)
        self._apps[exposure.app] = exposed
        self.watcher.add(exposure.app)
        try:
            await exposed.open(patient=patient)
            await exposed.reach(patient=patient)
        except BaseException:
            self._apps.pop(exposure.app, None)
            self.watcher.remove(exposure.app)
            await exposed.close()
            raise
        return exposed

    async def _shared_port(self, exposure: Exposure, way: Way) -> tuple[Gate, Way] | None:
        """Return the port for all apps where a way of the platform leads to one only and it can be had.

        The way that leads others there already is returned with it, else the one asked for. Raises BadInputError for
        a public app beside closed ones: whoever gets a script into it would act in the others with their visitors'
        cookies.
        """
        if not way.one_port:
            return None
        if self._common is None:
            with contextlib.suppress(GateError, CertificateError):  # told by who asks
                self._common, self._common_way = await listen_outside(self.machinery, way, 0, None), way
        company = [each for each in self._apps.values() if each.gate is self._common and each.app != exposure.app]
        if self._common is not None and any(each.exposure.public != exposure.public for each in company):
            names = ", ".join(f"`{each.app}`" for each in company)
            raise BadInputError(
                f"`{exposure.app}` would share one port with {names}, and only one side of them is public",
                hint="give it a way of its own, for example `--tunnel cloudflared`, or hide the others first",
            )
        common, before = self._common, self._common_way
        if common is None or before is None:
            return None
        if before.name != way.name and any(each.by_own for each in company):
            way = before
        if not follow(self.machinery, common, before, way):
            return None
        self._common_way = way
        return common, way

    async def _hide(self, request: Mapping[str, Any]) -> dict[str, Any]:
        app = _app(request)
        async with self._work:
            if request.get("undo"):
                return {"hidden": await self._take_back(app)}
            exposed = self._apps.get(app)
            if request.get("failed") and exposed is not None and exposed.exposure.at_end == MACHINE:
                await exposed.shut()  # its guard goes on: nothing else would stop the machine
                return {"hidden": True}
            hidden = await self._end(app)
            if not request.get("keep"):
                hidden = self._exposures.pop(app, None) is not None or hidden
                self._write()
            if request.get("forget"):
                self.keys.remove(app)
        return {"hidden": hidden}

    async def _take_back(self, app: str) -> bool:
        """Put an app's exposure back to what it was before the last command."""
        before, there = self._undo.pop(app, None), self._apps.get(app)
        if before is not None and before.active and there is not None:
            await there.change(before)
            self._save(before)
            return False
        hidden = await self._end(app)
        if before is None:
            self._exposures.pop(app, None)
        else:
            self._exposures[app] = before
        self._write()
        return hidden

    async def _end(self, app: str) -> bool:
        exposed = self._apps.pop(app, None)
        self.watcher.remove(app)
        if exposed is not None:
            await exposed.close()
            self._save(exposed.exposure.changed({"active": False}))
        await self._close_common()
        return exposed is not None

    async def _close_common(self) -> None:
        if self._common is not None and not any(each.gate is self._common for each in self._apps.values()):
            common, self._common = self._common, None
            await common.close()

    # -- what happens by itself

    def _changed(self, app: str, seen: Watched) -> None:
        say(f"{app}: {seen.word}{f' ({seen.detail})' if seen.detail else ''}")
        exposed = self._apps.get(app)
        if exposed is None:
            return
        exposed.worked = exposed.worked or seen.word in AT_WORK
        if seen.word in GONE and exposed.worked:  # one that never ran is waited for
            self._by_itself(self._close_when_gone(app))

    def _astray(self, app: str, why: str, hint: str) -> None:
        if app in self._apps:
            self._by_itself(self._take_next_way(self._apps[app], why, hint))

    async def _take_next_way(self, there: Exposed, why: str, hint: str) -> None:
        async with self._work:
            company = [each for each in self._apps.values() if each.gate is there.gate and each is not there]
            if self._apps.get(there.app) is there and not any(each.by_own for each in company):
                await there.take_next_way(why, hint)
                await self._close_common()
                self._save(there.exposure)
            there.moving = False

    async def _close_when_gone(self, app: str) -> None:
        await self._sleep(GONE_SECONDS)
        async with self._work:
            exposed = self._apps.get(app)
            if exposed is None or self._stopping or self.watcher.seen(app).word not in GONE:
                return
            if exposed.exposure.at_end == MACHINE and exposed.guarded:
                await exposed.shut()  # see _hide
            else:
                await self._end(app)

    async def _sample_all(self) -> Sample:
        gpu = await self.machinery.gpu()  # once for all: a driver that hangs costs seconds
        return together([await exposed.sample(gpu) for exposed in list(self._apps.values())], self.machinery.clock())

    async def _stop(self, app: str, what: str, verdict: Verdict) -> None:
        """Stop the app, or every app and the machine; what fails is tried again by the guard that asks for it."""

        async def stop_apps() -> None:
            failed: Exception | None = None
            apps = dict.fromkeys([*self._apps, *await asyncio.to_thread(self._running)]) if what == MACHINE else (app,)
            for each in apps:
                try:
                    await asyncio.to_thread(self._stop_app, each)
                    self._remember_stop(each, verdict.reason)
                except Exception as error:  # noqa: BLE001, PERF203  # the others are to save what they have all the same
                    failed = error
            if failed is not None:
                raise failed

        async def machine() -> None:
            here = self.surroundings
            if why := await asyncio.to_thread(can_stop, here.platform, here.signs):
                raise NotAllowedError(why)
            await stop_machine(here.platform, here.signs, ask, self._run)

        thing: What = "machine" if what == MACHINE else "app"
        self._stopping += 1  # the doors stay meanwhile
        try:
            outcome = await finish(thing, verdict, stop_apps=stop_apps, stop_machine=machine)
        except Exception as error:
            self._audit.note(f"{thing} not stopped", app=app, why=failure(app, verdict, str(error), thing))
            raise
        finally:
            self._stopping -= 1
        say(f"{app}: {outcome}")
        refused = outcome.stopped != thing
        self._audit.note("machine not stopped" if refused else "stopped", app=app, why=str(outcome))
        if refused and app in self._apps:
            self._apps[app].left_running = outcome.problem
        for each in [name for name in self._apps if self.watcher.seen(name).word in GONE]:
            self._changed(each, self.watcher.seen(each))

    def _remember_stop(self, app: str, why: str) -> None:
        there = self._apps.get(app)
        known = there.exposure if there is not None else self._exposures.get(app)
        if known is None:
            return
        known = known.changed({"stopped": why})
        if there is not None:
            there.exposure = known
        self._save(known)

    async def _run(self, words: Sequence[str]) -> tuple[int, str]:
        """Run a provider's program; returns its exit status and what it said."""
        try:
            await run(words, self.surroundings.environ, seconds=PROGRAM_SECONDS)
        except PinoctlError as error:
            return 1, str(error)
        return 0, ""

    # -- what is kept

    def _save(self, exposure: Exposure) -> None:
        self._exposures[exposure.app] = exposure
        self._write()

    def _write(self) -> None:
        self._changes += 1
        if not self._exposures:
            telling.keep(self.files, dict.fromkeys(accounts.WHERE, ""))
        with contextlib.suppress(PinoctlError):  # a full disk: the next process will not know of it, this one goes on
            write(self.files.exposed, self._exposures)


_OPERATIONS: Final[dict[str, Callable[[Daemon, Mapping[str, Any]], Awaitable[dict[str, Any]]]]] = {
    "ping": Daemon._ping,  # noqa: SLF001  # the table of this class
    "list": Daemon._list,  # noqa: SLF001  # as above
    "state": Daemon._state,  # noqa: SLF001  # as above
    "expose": Daemon._expose,  # noqa: SLF001  # as above
    "quit": Daemon._quit,  # noqa: SLF001  # as above
    "forget": Daemon._forget,  # noqa: SLF001  # as above
    "hide": Daemon._hide,  # noqa: SLF001  # as above
}


def _app(request: Mapping[str, Any]) -> str:
    app = request.get("app")
    if not isinstance(app, str) or not app:
        raise BadInputError("the request names no app")
    return app


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return ""
