"""What a launcher's JavaScript asks of the engine through `kernel` (spec 2.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.engine.call import METHODS, Call
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
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
            return engine.ports.is_free(int(wanted)) if wanted not in (None, UNDEFINED) else engine.ports.next_free()
        if op == "ports":
            return engine.ports.take(int(payload.get("count", 1)))
        if op == "stop":
            return await engine.stop(str(payload.get("path", "")))
        if op in {"exec", "shell.run"}:
            return await self._shell(op, payload)
        raise ScriptError(f"`kernel.{op}` is not there in a headless engine")

    async def _shell(self, op: str, payload: Mapping[str, Any]) -> Any:
        run = self._run(str(payload.get("run", "")))
        if run is None:
            raise ScriptError(f"`kernel.{op}` can only be used while a script runs", hint="menus must not start commands")
        params = payload.get("params")
        call = Call(engine=self.engine, run=run, method="exec" if op == "exec" else "shell.run", params=params)
        return await asyncio.shield(asyncio.ensure_future(METHODS[call.method](call)))

    def _run(self, run_id: str) -> Run | None:
        wanted = run_id.partition(".")[0]
        return next((run for run in self.engine.runs.values() if run.id == wanted), None)
