"""Planned steps and scripts for tests, as a dry run gives them."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.dry_run.records import PlannedStep, ScriptPlan
from orchestrator.engine.hardware import Gpu, HardwareProfile

APP = "/home/api/app"


def step(
    method: str | None,
    params: Any = None,
    *,
    executed: bool = True,
    index: int = 0,
    script: str = "install.js",
    **more: Any,
) -> PlannedStep:
    return PlannedStep(
        script, index, executed=executed, method=method, params={} if params is None else params, cwd=APP, **more
    )


def shell(
    *messages: str, executed: bool = True, index: int = 0, script: str = "install.js", **params: Any
) -> PlannedStep:
    return step("shell.run", {"message": list(messages), **params}, executed=executed, index=index, script=script)


def script(*steps: PlannedStep, name: str = "install.js", status: str = "end", **more: Any) -> ScriptPlan:
    return ScriptPlan(APP, name, status, steps=steps, **more)


def machine(
    card: str = "rtx 4090", target: str = "sm_89", driver: str = "570.133.20", vram: int = 24
) -> HardwareProfile:
    model = f"nvidia geforce {card}"
    return HardwareProfile(
        gpu="nvidia",
        gpus=(Gpu("nvidia corporation", model, driver),),
        gpu_model=model,
        gpu_driver=driver,
        gpu_target=target,
        vram=vram,
        ram=64,
    )


NO_GPU = HardwareProfile(ram=16)
