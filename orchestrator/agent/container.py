"""The agent as a container's program: `serve` an app, or `build` one; `images/entry` starts it.

Exit status of `serve`: 0 when it was stopped, 1 when the app of an image that runs by itself cannot be started. Of
`build`: 75 when it left for a checkpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.__main__ import take_lock
from orchestrator.agent.files import AgentFiles, read_json
from orchestrator.agent.inside import InBuild, InContainer, UpTo
from orchestrator.agent.saving import Cost
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.agent.agent import Agent, OpenEngine

DATA: Final = Path("/data")
RESERVED: Final = (42000, 42001, 42002, 42003)  # what is published before the app's own ports are known
HIGHEST: Final = 1 << 16
PORT: Final = 8080  # where an image that runs by itself answers
GRACE: Final = 3.0  # seconds in which a command may say how the app is to be started, before it starts as it did last
BUILD_IDLE: Final = 600.0
HARDWARE: Final = Path("/opt/pinoctl/pins/hardware.json")  # what scripts see as the machine where a build is held to it


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program of a container; returns the exit status."""
    parser = argparse.ArgumentParser(prog="pinoctl-container")
    parser.add_argument("what", choices=["serve", "build", "install"], nargs="?", default="serve")
    parser.add_argument("--fixed", type=float, default=Cost().fixed, help="seconds that a commit costs")
    parser.add_argument("--rate", type=float, default=Cost().rate, help="bytes that a commit writes per second")
    parser.add_argument("--until", type=int, help="`install`: stop before this step of the script, from 0")
    parser.add_argument("--answers", type=Path, help="`install`: a JSON file of answers by key")
    parser.add_argument("--beside", action="store_true", help="`build`: the app is served meanwhile, and logs as well")
    given = parser.parse_args(arguments)
    app, home = os.environ.get("PINOCTL_APP", ""), Home(Path(os.environ.get("PINOCTL_HOME") or "/pinokio"))
    if not app or not home.app(app).is_dir():
        return _complain(f"there is no app `{app}` in this image", "`pinoctl build APP` makes an image with an app")
    try:
        prepare(home, app)
    except OSError as error:
        return _complain(
            f"`{error.filename}` cannot be written: {(error.strerror or str(error)).lower()}",
            f"the volume at `{DATA}` has to belong to user 1000: `chown 1000:1000` its folder",
        )
    history = DATA / "private" / ".logs" / app
    files = AgentFiles(
        home, app, kept=home.root / "installed" / app, history=history / "build" if given.beside else history
    )
    files.prepare()
    if take_lock(files.lock) is None:
        return _complain(f"another agent of `{app}` is at work in this home", "stop its container first")
    os.chdir(home.root)
    if given.what == "install":
        return asyncio.run(_install(files, given.until, given.answers))
    work = _build(files, Cost(given.fixed, given.rate)) if given.what == "build" else _serve(files, os.environ)
    return asyncio.run(work)


def _complain(what: str, hint: str) -> int:
    sys.stderr.write(f"error: {what}\nhint: {hint}\n")
    return 1


def prepare(home: Home, app: str, data: Path = DATA) -> None:
    """Make the folders of the volumes, and keep ENVIRONMENT files there: they may hold secrets, and images must not.

    The app's own lies where no other app sees it, the home's is for all of them.
    """
    from orchestrator.agent.removing import NAME, ROOTS, remove_listed  # noqa: PLC0415  # only at a container's start

    for name in ("drive", "cache", "logs", "private"):
        (data / name).mkdir(parents=True, exist_ok=True, mode=0o700 if name == "private" else 0o755)
        with (data / name / f".{os.getpid()}.{time.time_ns()}").open("w") as probe:
            Path(probe.name).unlink()
    if home.root != data:  # the volume of volume mode is also other apps'
        remove_listed(home.root / NAME, (str(home.root), *ROOTS[1:]))
    root = home.app_root(home.app(app)) or home.app(app)
    for path, kept in (
        (home.environment, data / "ENVIRONMENT"),
        (root / "ENVIRONMENT", data / "private" / app / "ENVIRONMENT"),
    ):
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path == kept or (path.is_symlink() and path.readlink() == kept):
            continue
        if path.is_symlink():  # where an earlier version kept it
            path.unlink()
        elif path.is_file():
            text = path.read_bytes()
            path.unlink()
            if not kept.exists():
                kept.touch(mode=0o600)
                kept.write_bytes(text)
        path.symlink_to(kept)


def opener(pinned: Path = HARDWARE) -> OpenEngine:
    """Return what opens the engine of an installation: its scripts see the pinned machine, else the one that it is on.

    Raises BadInputError.
    """
    from orchestrator.agent.agent import open_real_engine  # noqa: PLC0415  # see _build
    from orchestrator.engine.hardware import load  # noqa: PLC0415

    return partial(open_real_engine, profile=load(pinned)) if pinned.exists() else open_real_engine


async def _build(files: AgentFiles, cost: Cost) -> int:
    from orchestrator.agent.agent import Agent  # noqa: PLC0415  # slow to import, and not needed to complain
    from orchestrator.agent.app import LauncherApp  # noqa: PLC0415

    home = files.home
    private = DATA / "private" / files.app
    inside = InBuild(files, cost, private=private, written=lambda: _used("/"))
    app = LauncherApp(home, files.app, undo=home.root == DATA)  # elsewhere an image is what is gone back to
    agent = Agent(files, idle=BUILD_IDLE, open_engine=opener(), app=app, inside=inside)
    inside.ask = agent.ask_for_checkpoint
    await agent.serve()
    return 0


async def _install(files: AgentFiles, until: int | None, answers: Path | None) -> int:
    """Install in the foreground, up to a step, as a Dockerfile's RUN does; the next one goes on there."""
    from orchestrator.agent.agent import Agent  # noqa: PLC0415  # see _build
    from orchestrator.agent.app import LauncherApp  # noqa: PLC0415
    from orchestrator.agent.outcome import UpOptions  # noqa: PLC0415
    from orchestrator.engine.answers import Answers  # noqa: PLC0415

    inside = UpTo(until)
    app = LauncherApp(files.home, files.app, undo=False)
    agent = Agent(files, idle=float("inf"), open_engine=opener(), app=app, inside=inside)
    agent.answers = Answers(read_json(answers) if answers is not None else None)
    inside.flush = agent.sink.flush
    result = await agent.lifecycle.install(UpOptions(trusted=True))
    await agent.lifecycle.down()
    agent.sink.close()
    failed = result.get("failed")
    return (
        _complain(f"`{files.app}` cannot be installed: {failed.get('reason')}", str(failed.get("hint")))
        if failed
        else 0
    )


def _used(path: str) -> int:
    about = os.statvfs(path)
    return (about.f_blocks - about.f_bfree) * about.f_frsize


async def _serve(files: AgentFiles, environ: Mapping[str, str]) -> int:
    from orchestrator.agent.agent import Agent  # noqa: PLC0415  # slow to import, and not needed to complain
    from orchestrator.agent.app import LauncherApp  # noqa: PLC0415
    from orchestrator.agent.forward import Forwarder, gateway_of, only_from  # noqa: PLC0415

    managed = environ.get("PINOCTL_MANAGED") == "1"
    run = files.home.run
    if managed:
        routes = await asyncio.to_thread(Path("/proc/net/route").read_text, "utf-8")
        forwarder = await Forwarder.listen(RESERVED, allowed=only_from(gateway_of(routes)))
        inside = InContainer(run, forwarder)
    else:
        inside = InContainer(run)
    agent = Agent(files, idle=float("inf"), app=LauncherApp(files.home, files.app, undo=False), inside=inside)
    beginning: set[asyncio.Task[Any]] = set()
    work = _come_back(agent) if managed else _stand_alone(agent, inside, environ)

    def begin() -> None:
        beginning.add(asyncio.ensure_future(work))

    await agent.serve(begin)
    failed = any(
        task.done() and not task.cancelled() and task.exception() is None and task.result() for task in beginning
    )
    for task in beginning:
        task.cancel()
    return 1 if failed else 0


async def _come_back(agent: Agent) -> bool:
    """Start the app as it was started last, unless a command had the container started: then nobody but that asks."""
    await asyncio.sleep(GRACE)
    while agent.server.channels and not agent.asked:  # noqa: ASYNC110  # once, at a start: somebody may be about to ask
        await asyncio.sleep(GRACE / 10)
    if not agent.asked:
        await agent.start_again()
    return False


def _port(text: str) -> int:
    """Return the port that the user's PORT says, else the usual one."""
    return int(text) if text.isdigit() and 0 < int(text) < HIGHEST else PORT


async def _stand_alone(agent: Agent, inside: InContainer, environ: Mapping[str, str]) -> bool:
    """Serve the app behind the gate on one port; tells whether it failed."""
    from orchestrator.agent.alone import open_gate, proxies_of  # noqa: PLC0415  # only where an image runs by itself
    from orchestrator.expose.gate.audit import Audit  # noqa: PLC0415  # as above

    port = _port(environ.get("PORT") or "")
    app = agent.files.app
    given = environ.get("PINOCTL_TOKEN") or None
    try:
        token = await open_gate(
            app,
            port,
            token=given,
            public=environ.get("PINOCTL_PUBLIC") == "1",
            target=inside.target,
            state=lambda: agent.lifecycle.condition.word,
            proxies=proxies_of(agent.files.home, environ),
            audit=Audit(agent.files.folder / "gate.jsonl"),
        )
    except PinoctlError as error:
        _complain(f"the gate of `{app}` cannot be opened: {error}", error.hint or "")
        agent.end("failed")
        return True
    if token is not None:
        agent.redactor.add([token])
    shown = f"?token={token}" if token is not None and given is None else ""
    sys.stderr.write(
        f"`{app}` answers on port {port}: http://localhost:{port}/{shown}\n"
        + ("" if token is not None else "warning: PINOCTL_PUBLIC=1: everybody who reaches this port may use the app\n")
    )
    result = await agent.start_again()
    failed = result.get("failed")
    if not failed:
        sys.stderr.write(f"`{app}` is {result.get('state')}\n")
        return False
    sys.stderr.write(f"error: `{app}` did not start: {failed.get('reason')}\n")
    agent.end("failed")
    return True


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        try:
            sys.exit(main())
        except PinoctlError as error:
            sys.exit(_complain(str(error), error.hint or ""))
