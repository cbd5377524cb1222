"""`fs.link` and `fs.share`: folders shared between apps (spec 10)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.drive import Link, share
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import given, optional_text, variables_of, wrong
from orchestrator.engine.repositories import remote_of
from orchestrator.engine.values import UNDEFINED


@method("fs.link", "fs.share")
async def link(call: Call) -> Any:
    """Share folders with other apps (`drive`, `peers`), or note that packages are shared anyway (`venv`)."""
    params = call.mapping()
    drive, venv = given(params, "drive"), optional_text(call, params, "venv")
    if drive is not None:
        if not isinstance(drive, Mapping):
            raise wrong(call, "drive", "an object of routes", drive)
        await _share(call, drive, _peers(call, params))
    if venv:
        config = call.path("venv", os.path.join(venv, "pyvenv.cfg"))  # noqa: PTH118  # text in, text out
        if not await asyncio.to_thread(os.path.isfile, config):
            raise ScriptError(
                f"`{call.method}` needs a Python environment as `venv`, and `{config}` does not exist",
                hint="check the path, and that an earlier step makes the environment",
            )
        call.print(f"{call.method}: packages of {venv} are shared through uv's cache already, nothing to do")
    if drive is None and not venv:
        call.print(f"{call.method}: neither `drive` nor `venv` is given, nothing to do")
    return UNDEFINED


async def _share(call: Call, drive: Mapping[str, Any], peers: list[str]) -> None:
    links = [found for route, value in drive.items() if (found := _link(call, route, value)) is not None]
    if not links:
        return
    root, app = drive_root(call), call.run.app or Path(call.cwd)
    loop = asyncio.get_running_loop()

    def say(text: str) -> None:
        loop.call_soon_threadsafe(call.print, text)

    await asyncio.to_thread(lambda: share(root, links, remote=remote_of(app), peers=peers, say=say))
    await asyncio.sleep(0)  # lets the last lines out before the step ends


def drive_root(call: Call) -> Path:
    """Return the folder of the drive: PINOKIO_DRIVE, relative to the app, else `<HOME>/drive` (spec 10)."""
    setting = variables_of(call).get("PINOKIO_DRIVE")
    if not setting:
        return call.engine.home.drive
    return Path(
        os.path.abspath(os.path.join(call.run.app or call.engine.home.root, setting))  # noqa: PTH100, PTH118  # text in, text out
    )  # resolve() would follow links


def _link(call: Call, route: str, value: Any) -> Link | None:
    names = value if isinstance(value, (list, tuple)) else [value]
    paths = []
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise wrong(call, f"drive.{route}", "a path or an array of paths", value)
        if name.startswith("."):
            # The desktop resolves these against the folder it was itself started in, so they never reach the app.
            call.warn(
                f"`{call.method}` does not link `{name}`: a path that begins with `.` is not looked for in the app"
            )
            continue
        paths.append(Path(os.path.abspath(os.path.join(call.cwd, name))))  # noqa: PTH100, PTH118  # resolve() would follow links
    return Link(route, tuple(paths)) if paths or not names else None


def _peers(call: Call, params: Mapping[str, Any]) -> list[str]:
    peers = given(params, "peers")
    if peers is None:
        return []
    if not isinstance(peers, (list, tuple)) or not all(isinstance(peer, str) for peer in peers):
        raise wrong(call, "peers", "an array of git URLs", peers)
    return [peer for peer in peers if peer]
