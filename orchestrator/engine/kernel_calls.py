"""What a launcher's JavaScript asks of the engine through `kernel` (spec 2.6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orchestrator.engine.call import Call
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED, to_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.call import Method
    from orchestrator.engine.engine import Engine
    from orchestrator.engine.run import Run


class KernelCalls:
    """Answer the sidecar's calls; `engine` is set as soon as there is one."""

    engine: Engine

    def output(self, run: str, raw: str) -> None:
        """Pass on what a launcher's code printed."""
        found = self._run(run)
        if found is not None:
            found.output(raw)
        else:
            self.engine.sink.output("launcher", raw)

    async def call(self, op: str, payload: dict[str, Any]) -> Any:
        """Carry out one call: free ports, shells and commands outside the step loop, stopping a script."""
        engine = self.engine
        if op == "port":
            wanted = payload.get("port")
            return (
                engine.ports.is_free(_number("port", wanted, 65535))
                if wanted not in (None, UNDEFINED)
                else engine.ports.next_free()
            )
        if op == "ports":
            wanted = payload.get("count")
            return engine.ports.take(_number("ports", 1 if wanted in (None, UNDEFINED) else wanted, 1000))
        if op == "stop":
            return await engine.stop(str(payload.get("path", "")))
        function = engine.find_method(op) if op == "exec" or op.startswith(("shell.", "script.")) else None
        if function is not None:
            return await self._method(op, function, payload)
        raise ScriptError(f"`kernel.{op}` is not there in a headless engine")

    async def _method(self, op: str, function: Method, payload: Mapping[str, Any]) -> Any:
        run = self._run(str(payload.get("run", "")))
        if run is None:
            raise ScriptError(
                f"`kernel.{op}` can only be used while a script runs", hint="menus must not start commands"
            )
        params = payload.get("params")
        call = Call(engine=self.engine, run=run, method=op, params=params)
        return await asyncio.shield(asyncio.ensure_future(function(call)))

    def _run(self, run_id: str) -> Run | None:
        wanted = run_id.partition(".")[0]
        return next((run for run in self.engine.runs.values() if run.id == wanted), None)


def _number(name: str, value: Any, most: int) -> int:
    """Return a whole number that a launcher gave to `kernel.port(s)`; raise ScriptError for anything else."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, str))
        or not to_text(value).strip().isdecimal()
        or float(value) > most
    ):
        raise ScriptError(f"`kernel.{name}` needs a whole number up to {most}, got {to_text(value)}")
    return int(value)
