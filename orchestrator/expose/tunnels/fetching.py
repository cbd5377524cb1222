"""Fetching the programs of tunnels once: pinned versions, each with its SHA-256; nothing unchecked is ever run.

A program on PATH is taken as it is. `programs.json` names the others, `localtunnel_client/` locks the npm packages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.engine.download.fetch import fetch
from orchestrator.engine.download.model import CancelledError, Order, Settings, Stop
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.tools.wheels import Wheels, find_wheels
from orchestrator.expose.tunnels import spawn
from orchestrator.expose.tunnels.provider import Here, environment

HERE: Final = Path(__file__).parent
CLIENT: Final = HERE / "localtunnel_client"
NPM_SECONDS: Final = 180.0
DOWNLOAD_TRIES: Final = 4  # other providers are waiting
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pinned:
    """Hold what is known about one file: `member` is the name of the program in it where it is an archive, else ""."""

    name: str
    version: str
    url: str
    sha256: str
    member: str = ""


def pinned(name: str, machine: str, table: Mapping[str, Any] | None = None) -> Pinned | None:
    """Look a program up in the table of pinned ones; None when there is none for this processor."""
    known = json.loads((HERE / "programs.json").read_text("utf-8")) if table is None else table
    program = known.get(name, {})
    file = program.get("files", {}).get(_MACHINES.get(machine, machine))
    if not file or not file.get("sha256"):
        return None
    version = file.get("version") or program["version"]
    return Pinned(name, version, file["url"], file["sha256"], file.get("member", ""))


@dataclass(slots=True)
class Fetching:
    """Find or fetch programs; `say` takes lines about it. The rest is replaced by tests."""

    say: Say
    table: Mapping[str, Any] | None = None
    settings: Settings | None = None
    wheels: Callable[[], Wheels] = find_wheels
    run: Callable[..., Awaitable[None]] = spawn.run
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def provide(self, name: str, here: Here) -> str:
        """Return the path of a program, fetched if need be; a line each of Node's and the script's for `localtunnel`.

        Raises PinoctlError when it cannot be had; what was downloaded so far is kept for the next time.
        """
        async with self._locks.setdefault(name, asyncio.Lock()):  # several apps may want the same at the same time
            return await (self._localtunnel(here) if name == "localtunnel" else self._program(name, here))

    async def _program(self, name: str, here: Here) -> str:
        if found := here.which(name):
            return found
        known = pinned(name, here.machine, self.table)
        if known is None:
            raise PinoctlError(
                f"there is no `{name}` on PATH, and no checked download of it for `{here.machine}`",
                hint=f"Install `{name}` yourself so that it is on PATH",
            )
        target = here.programs / f"{name}-{known.version}"
        if not target.exists():
            self.say(f"fetching {name} {known.version}")
            stop = Stop()
            job = asyncio.get_running_loop().run_in_executor(None, self._download, known, target, stop)
            try:
                await asyncio.shield(job)
            except asyncio.CancelledError:
                stop.set()
                with contextlib.suppress(CancelledError, PinoctlError):
                    await job
                raise
        return str(target)

    def _download(self, known: Pinned, target: Path, stop: Stop) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        archive = target.with_name(f"{target.name}.download")
        order = Order(known.url, path=archive, checksum=("sha256", known.sha256))
        try:
            fetch(order, settings=self.settings or Settings(tries=DOWNLOAD_TRIES), stop=stop, write=lambda _text: None)
        except PinoctlError as error:
            raise PinoctlError(
                f"cannot fetch `{known.name}` {known.version}: {error}",
                hint=f"Install `{known.name}` yourself so that it is on PATH, or choose another tunnel with `--tunnel`",
            ) from error
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            if known.member:
                _take(archive, known.member, beside)
            else:
                archive.replace(beside)
            beside.chmod(0o755)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
            archive.unlink(missing_ok=True)

    async def _localtunnel(self, here: Here) -> str:
        lock = json.loads((CLIENT / "package-lock.json").read_text("utf-8"))
        version = lock["packages"]["node_modules/localtunnel"]["version"]
        target = here.programs / f"localtunnel-{version}"
        wheels = self.wheels()
        script = target / "node_modules" / "localtunnel" / "bin" / "lt.js"
        if not script.exists():
            self.say(f"fetching localtunnel {version}")
            here.programs.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=here.programs))
            try:
                for name in ("package.json", "package-lock.json"):
                    shutil.copyfile(CLIENT / name, beside / name)
                npm = wheels.modules / "npm" / "bin" / "npm-cli.js"
                # `ci` installs what the lock says, and nothing that does not match its SHA-512.
                flags = (
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                    "--loglevel=error",
                    f"--cache={beside / '.npm'}",
                )
                env = {**environment(here), **_npm_settings(here.environ)}
                await self.run((str(wheels.node), str(npm), "ci", *flags), env, seconds=NPM_SECONDS, cwd=beside)
                shutil.rmtree(beside / ".npm", ignore_errors=True)
                _settle(beside, target)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        return f"{wheels.node}\n{script}"


def _npm_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Pick the user's settings of npm (a mirror, a certificate, HOME with its .npmrc); tokens there are npm's own."""
    return {name: value for name, value in environ.items() if name == "HOME" or name.lower().startswith("npm_config_")}


def _settle(beside: Path, target: Path) -> None:
    with contextlib.suppress(OSError):  # somebody else was faster
        beside.rename(target)


def _take(archive: Path, member: str, target: Path) -> None:
    """Write one file out of a tar archive, wherever it stands in it."""
    with tarfile.open(archive) as tar:
        for entry in tar:
            if entry.isfile() and entry.name.rpartition("/")[2] == member:
                source = tar.extractfile(entry)
                if source is not None:
                    with target.open("wb") as file:
                        shutil.copyfileobj(source, file)
                    return
    raise PinoctlError(f"there is no `{member}` in `{archive.name}`", hint=f"Install `{member}` yourself, on PATH")
