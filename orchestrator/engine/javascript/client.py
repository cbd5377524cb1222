"""The client of the JavaScript sidecar: one method per thing that JavaScript has to do for the engine."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import SidecarError
from orchestrator.engine.javascript.channel import Channel
from orchestrator.engine.javascript.process import NodeProcess, node_arguments, node_path, spawn
from orchestrator.engine.javascript.records import (
    CallResult,
    Host,
    Menu,
    MenuState,
    Opened,
    Outcome,
    Rendered,
    SidecarConfig,
    Silence,
)
from orchestrator.engine.javascript.replies import exception_of, outcome_of
from orchestrator.engine.ports import next_free
from orchestrator.engine.values import UNDEFINED, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START_TIMEOUT = 30.0
WATCHED = frozenset({"set", "rm", "replace"})


class Sidecar:
    """Run JavaScript for the engine in one Node process, and start another when that dies.

    Requests may overlap. After a death the next request starts a new process with the same variables, states and stored
    `local` and `global`; the runs that were open are lost and answer SidecarError until `reopen` loads them again.
    """

    def __init__(self, config: SidecarConfig, host: Host | None = None) -> None:
        """Prepare a sidecar; `start` makes one that already runs."""
        self.config = config
        self.host: Host = host or Silence()
        self._channel: Channel | None = None
        self._starting: asyncio.Lock = asyncio.Lock()
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs: dict[str, dict[str, Any]] = {}
        self._lost: dict[str, SidecarError] = {}
        self._environments: dict[str, dict[str, str]] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._stores: dict[str, dict[str, Any]] = {"local": {}, "global": {}}
        self._ready: asyncio.Future[str] | None = None
        self._menus: asyncio.Lock = asyncio.Lock()
        self._roots: tuple[str, ...] = ()
        self._tainted_by: str | None = None
        self._ports: dict[str, list[bool]] = {}
        self.node_version = ""
        self._booted: NodeProcess | None = None

    @classmethod
    async def start(
        cls, config: SidecarConfig, host: Host | None = None, *, node: NodeProcess | None = None
    ) -> Sidecar:
        """Start Node and return the sidecar once it answers. Raises SidecarError.

        `node` is one that `start_node` has started already, for an unconfined sidecar with the default memory.
        """
        sidecar = cls(config, host)
        sidecar._booted = node
        await sidecar._connect()
        return sidecar

    @property
    def alive(self) -> bool:
        """Tell whether a Node process is there to answer."""
        return self._channel is not None and self._channel.dead is None

    @property
    def pid(self) -> int | None:
        """Process id of the Node process, None when there is none."""
        return self._channel.process.pid if self._channel is not None and self.alive else None

    @property
    def lost(self) -> dict[str, SidecarError]:
        """Runs that were open when a process died, with the reason; `reopen` and `close_run` take them out."""
        return dict(self._lost)

    async def close(self) -> None:
        """End the process; nothing can be asked afterwards."""
        self._closed = True
        if self._channel is not None:
            self._channel.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def sweep(self) -> None:
        """Kill what launchers started with `child_process`; for when no script runs any more."""
        if self._channel is not None:
            self._channel.process.sweep()

    async def restart(self) -> None:
        """End the process and start another; open runs are lost."""
        if self._channel is not None:
            self._channel.kill("the JavaScript sidecar was restarted")
        await self._connect()

    async def open(
        self,
        run: str,
        path: str,
        *,
        action: str = "run",
        payload: Any = UNDEFINED,
        cwd: str | None = None,
        uri: str | None = None,
        name: str | None = None,
        key: str | None = None,
    ) -> Opened:
        """Load a script and evaluate its steps (spec 2.1-2.4); `key` names its `local` and `global`.

        Raises LoadError when there is no script or no steps, JavaScriptError when its code throws.
        """
        fields = {"path": path, "action": action, "cwd": cwd, "uri": uri, "name": name, "key": key}
        message = {"op": "open", "run": run, **{name: value for name, value in fields.items() if value is not None}}
        message["payload"] = encode({} if payload is UNDEFINED else payload)
        self._lost.pop(run, None)
        answer = await self._ask(message)
        self._runs[run] = message
        return self._opened(run, answer)

    async def reopen(self, run: str) -> Opened:
        """Open a lost run again, from its file as it is now and with the payload it had."""
        message = self._runs.get(run)
        if message is None:
            raise SidecarError(f"run `{run}` was never open in the JavaScript sidecar")
        self._lost.pop(run, None)
        return self._opened(run, await self._ask(message))

    def _opened(self, run: str, answer: Any) -> Opened:
        opened = Opened(**decode(answer))
        self._ports[run] = opened.ports
        return opened

    async def step(
        self,
        run: str,
        index: int,
        *,
        input: Any = UNDEFINED,  # noqa: A002  # as templates call it
        port: Callable[[], int] = next_free,
    ) -> Rendered:
        """Load the script again for `self`, render a step (spec 5.3) and decide `when` (5.4).

        `port` gives the value of `port`, and is called only for steps that ask for it. Raises ScriptError.
        """
        self._present(run)
        mentioned = self._ports.get(run, [])
        message = {"op": "step", "run": run, "index": index, "input": encode(input)}
        answer = await self._ask({**message, "port": port()} if mentioned[index : index + 1] == [True] else message)
        if "need" in answer:  # a template that came from elsewhere asks for it
            answer = await self._ask({**message, "port": port()})
        step = decode(answer["step"])
        method = step.get("method")
        return Rendered(
            method=None if method is UNDEFINED else method,
            params=step.get("params", UNDEFINED),
            step=step,
            has_next=answer["own"],
            next=decode(answer["next"]),
            run=answer["go"],
            when=step.get("when", UNDEFINED),
            returns=step.get("returns"),
            notify=step.get("notify"),
            queue=step.get("queue"),
            uri=step.get("uri"),
            warnings=answer["warnings"],
            condition=answer.get("condition"),
        )

    async def call(
        self,
        run: str,
        index: int,
        *,
        cwd: str | None = None,
        input: Any = UNDEFINED,  # noqa: A002  # as templates call it
    ) -> CallResult:
        """Call the function of the step rendered last: inline, of its `uri` module, or `kernel.*` (spec 7.0)."""
        self._present(run)
        answer = await self._ask({"op": "call", "run": run, "index": index, "cwd": cwd, "input": encode(input)})
        return CallResult(decode(answer["value"]), decode(answer["next"]), answer["redirected"])

    async def call_request(self, run: str, request: Mapping[str, Any], *, cwd: str | None = None) -> CallResult:
        """Call what a request names that is no step (`on.stop`, spec 4): a function, a `uri` module or `kernel.*`."""
        self._present(run)
        answer = await self._ask({"op": "request", "run": run, "request": encode(request), "cwd": cwd})
        return CallResult(decode(answer["value"]), decode(answer["next"]), answer["redirected"])

    async def texts(self, path: str, payload: Any = UNDEFINED) -> list[str]:
        """Return the text of each step of a script, after one of what it requires; functions are their source.

        Raises LoadError for what is no script.
        """
        given = {} if payload is UNDEFINED else {"payload": encode(payload)}
        answer = await self._ask({"op": "texts", "path": path, **given})
        return [str(text) for text in answer] if isinstance(answer, list) else []

    async def close_run(self, run: str, *, forget_local: bool = True) -> None:
        """Forget a run: its steps, the modules it loaded, the values it holds and, if told, its `local`."""
        opened = self._runs.pop(run, {})
        self._ports.pop(run, None)
        key = opened.get("key") or opened.get("path") or run
        if self._lost.pop(run, None) is None and self.alive:
            await self._ask({"op": "close", "run": run, "forget_local": forget_local})
        if forget_local:
            self._stores["local"].pop(key, None)

    async def memory(self, run_or_path: str, op: str, store: str, params: Any = UNDEFINED) -> Any:
        """Apply `set`, `rm`, `replace` or `get` to `local` or `global` with the dot paths of spec 7.3."""
        answer = await self._ask(
            {"op": "memory", "run": run_or_path, "do": op, "store": store, "params": encode(params)}
        )
        if op in WATCHED:
            self._stores[store][answer["key"]] = answer["store"]
            return UNDEFINED
        return decode(answer)

    async def snapshot(self, path: str) -> dict[str, Any]:
        """Return the `local` of a run or script path."""
        found = decode(await self._ask({"op": "snapshot", "path": path}))
        return found if isinstance(found, dict) else {}

    def set_env(self, app: str, env: Mapping[str, str]) -> None:
        """Give templates and `kernel.env` of an app (absolute folder; "" for every other) their variables."""
        self._environments[app] = dict(env)
        self._tell({"op": "env", "app": app, "env": dict(env)})

    def set_state(self, path: str, *, running: Any, ready: bool) -> None:
        """Say whether a script runs (any truthy value) and whether it is ready (spec 11.2, 11.4)."""
        message = {"op": "state", "path": path, "running": encode(running), "ready": ready}
        if running or ready:
            self._states[path] = message
        else:
            self._states.pop(path, None)
        self._tell(message)

    async def edit_json(self, path: str, op: str, params: Any) -> None:
        """Set or remove dot paths in a JSON file (`json.*`, `self.*` of spec 7.3)."""
        await self._ask({"op": "edit", "path": path, "do": op, "params": encode(params)})

    async def read_json(self, path: str) -> Any:
        """Return a JSON file's content, None where there is none."""
        return decode(await self._ask({"op": "read", "path": path}))

    async def load(self, path: str) -> Any:
        """Return what a .js or .json file exports (`load` of spec 7.3), None where there is none. Raises LoadError."""
        return decode(await self._ask({"op": "load", "path": path}))

    async def match_open(
        self, key: str, handlers: Any, *, interactive: bool = False, banner: str = "", window: int | None = None
    ) -> None:
        """Begin to follow a shell with `on` handlers; `window` characters are looked at, None for every whole chunk."""
        await self._ask(
            {
                "op": "match_open",
                "key": key,
                "handlers": encode(handlers),
                "interactive": interactive,
                "banner": banner,
                "window": window,
            }
        )

    async def match_feed(self, key: str, text: str) -> Outcome:
        """Match a chunk of raw terminal text (spec 8.7)."""
        return outcome_of(await self._ask({"op": "match_feed", "key": key, "text": text}))

    async def match_end(self, key: str, text: str) -> Outcome:
        """Look for errors in the final text of a shell (spec 8.8)."""
        return outcome_of(await self._ask({"op": "match_end", "key": key, "text": text}))

    def match_close(self, key: str) -> None:
        """Stop following a shell."""
        self._tell({"op": "match_close", "key": key})

    async def screen_match(self, handlers: Any, text: str, raw: str, chunk: str) -> tuple[bool, Any]:
        """Match the screen for `shell.enter` (spec 7.1): whether a handler fired, and its rendered `return`."""
        answer = await self._ask(
            {"op": "screen", "handlers": encode(handlers), "text": text, "raw": raw, "chunk": chunk}
        )
        return answer["matched"], decode(answer["value"])

    async def menu(self, app: str, *, state: MenuState | None = None) -> Menu:
        """Evaluate metadata and menu of an app folder; without `state`, with what this sidecar knows (spec 3.1)."""
        if self.config.confined is None:
            return await self._menu(app, state)
        async with self._menus:
            await self._fit(app)
            return await self._menu(app, state)

    async def _fit(self, app: str) -> None:
        """Make the confined process fit an app: able to read it, and not touched by the code of another one."""
        real = os.path.realpath(app)  # noqa: ASYNC240  # one look at a local disk
        reach = any(real == root or real.startswith(root + "/") for root in self._roots)
        if self.config.confined is not None and not reach:
            roots = (*self.config.confined.roots, app)
            self.config = replace(self.config, confined=replace(self.config.confined, roots=roots))
        if self.alive and not self._runs and (not reach or self._tainted_by not in {None, app}):
            await self.restart()

    async def _menu(self, app: str, state: MenuState | None) -> Menu:
        message: dict[str, Any] = {"op": "menu", "app": app}
        if state is not None:
            message["state"] = {
                "running": encode(state.running),
                "ready": sorted(state.ready),
                "local": encode(state.local),
                "global": encode(state.global_),
                "exists": state.exists,
            }
        answer = await self._ask(message)
        if self.config.confined is not None and await self.is_tainted():
            self._tainted_by = app
        try:
            items, meta, root, error = decode(answer["items"]), decode(answer["meta"]), answer["root"], answer["error"]
            if not isinstance(meta, dict) or root not in {"", "pinokio"} or not isinstance(error, (str, type(None))):
                raise TypeError  # noqa: TRY301  # one message for every kind of nonsense
            return Menu([item for item in items if isinstance(item, dict)], meta, root, bool(answer["found"]), error)
        except (KeyError, TypeError):
            raise SidecarError(f"the menu of `{app}` came back in a form that the sidecar never sends") from None

    async def is_tainted(self) -> bool:
        """Tell whether a launcher changed what others share in this confined process, works on in it, or ended it."""
        try:
            return bool(await self._ask({"op": "tainted"}))
        except SidecarError:
            return True

    async def render(self, template: Any, memory: Mapping[str, Any] | None = None, mode: str = "step") -> Any:
        """Render a value with names of the machine and `memory`; `mode` is `step`, `once` or `when` (spec 5.3, 5.4)."""
        answer = await self._ask(
            {"op": "render", "template": encode(template), "memory": encode(memory or {}), "mode": mode}
        )
        return decode(answer["value"])

    async def ask(self, op: str, **fields: Any) -> Any:
        """Ask for an operation that has no method of its own here; for tests and tools."""
        return decode(await self._ask({"op": op, **{name: encode(value) for name, value in fields.items()}}))

    def _present(self, run: str) -> None:
        if run in self._lost:
            raise SidecarError(
                f"run `{run}` was lost: {self._lost[run]}", hint="start the script again, or reopen the run"
            )

    async def _ask(self, message: dict[str, Any]) -> Any:
        channel = self._channel
        if channel is None or channel.dead is not None:
            channel = await self._connect()
        future = channel.request(message)
        limit = self.config.request_timeout
        if limit is None:
            answer = await future
        else:
            timer = asyncio.get_running_loop().call_later(limit, self._overdue, channel, future, message, limit)
            try:
                answer = await future
            finally:
                timer.cancel()
        if "error" in answer:
            raise exception_of(answer["error"])
        return answer["ok"]

    @staticmethod
    def _overdue(
        channel: Channel, future: asyncio.Future[dict[str, Any]], message: dict[str, Any], limit: float
    ) -> None:
        if not future.done():
            about = message.get("run") or message.get("app") or message.get("key") or message.get("path") or ""
            what = f"`{message['op']}` of `{about}`" if about else f"`{message['op']}`"
            channel.kill(f"the JavaScript sidecar was stopped: {what} took more than {limit:g} s")

    def _tell(self, message: dict[str, Any]) -> None:
        if self._channel is not None and self._channel.dead is None:
            self._channel.send(message)

    async def _connect(self) -> Channel:
        async with self._starting:
            if self._closed:
                raise SidecarError("the JavaScript sidecar is closed")
            if self._channel is not None and self._channel.dead is None:
                return self._channel
            channel = self._spawn()
            self._channel = channel
            self._ready = asyncio.get_running_loop().create_future()
            try:
                self.node_version = await asyncio.wait_for(self._ready, START_TIMEOUT)
            except asyncio.TimeoutError:
                channel.kill(f"Node did not start within {START_TIMEOUT:g} s")
                raise SidecarError(f"Node did not start within {START_TIMEOUT:g} s") from None
            self._replay(channel)
            return channel

    def _spawn(self) -> Channel:
        config = self.config
        node = config.node or node_path()
        cage = config.confined.prepare(node, config.home) if config.confined is not None else None
        env = dict(config.env) if cage is None else cage.env
        self._roots = cage.roots if cage else ()
        self._tainted_by = None
        arguments = node_arguments(node, memory=config.memory, extra=cage.node_options if cage else ())
        booted, self._booted = self._booted, None
        try:
            process = booted or spawn(
                arguments, env=env, cwd=config.home, before_exec=cage.before_exec if cage else None
            )
        finally:
            if cage is not None:
                cage.close()
        channel = Channel(
            process,
            on_message=self._heard,
            on_terminal=self._printed,
            on_death=self._died,
            memory_limit=2 * config.memory << 20,
        )
        hello = {
            "secret": channel.secret,
            "handles": secrets.token_hex(6) + ".",
            "home": config.home,
            "profile": config.profile.to_json(),
            "env": dict(config.env),
            "which": None if config.which is None else dict(config.which),
            "confined": cage.guard if cage else None,
        }
        channel.send({"hello": hello})
        return channel

    def _replay(self, channel: Channel) -> None:
        """Give a new process what the old one knew."""
        for app, env in self._environments.items():
            channel.send({"op": "env", "app": app, "env": env})
        for state in self._states.values():
            channel.send(state)
        if self._stores["local"] or self._stores["global"]:
            channel.send({"op": "restore", **self._stores})

    def _heard(self, message: dict[str, Any]) -> None:
        if "output" in message:
            self.host.output(message["output"], message["raw"])
        elif "call" in message:
            task = asyncio.ensure_future(self._answer(self._channel, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif "ready" in message and self._ready is not None and not self._ready.done():
            self._ready.set_result(message["ready"])

    async def _answer(self, channel: Channel | None, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"answer": message["call"]}
        try:
            payload = decode(message["payload"])
            fields = payload if isinstance(payload, dict) else {}
            answer["ok"] = encode(await self.host.call(message["op"], {**fields, "run": message["run"]}))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the launcher's promise is rejected with it
            answer["error"] = str(error) or type(error).__name__
        if channel is not None:
            channel.send(answer)

    def _printed(self, text: str) -> None:
        self.host.output("", text)

    def _died(self, reason: SidecarError) -> None:
        if not self._closed:
            self._lost.update(dict.fromkeys(self._runs, reason))
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(reason)
