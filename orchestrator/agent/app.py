"""One app's launcher as the agent uses it: its ENVIRONMENT, its required variables, its menu and scripts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.agent.contracts import Plan, Target
from orchestrator.engine.environment import dotenv
from orchestrator.engine.environment.files import ensure_app_file, read_text, set_app_values
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.methods.parameters import to_flag

if TYPE_CHECKING:
    from orchestrator.engine.home import Home

SHARE_VARIABLE = "PINOKIO_SHARE_VAR"
TUNNEL_VARIABLE = "PINOKIO_SHARE_CLOUDFLARE"


class LauncherApp:
    """Know one app of one home; `undo` keeps a snapshot while it is updated, which an image makes needless."""

    def __init__(self, home: Home, name: str, *, undo: bool = True) -> None:
        self.home = home
        self.undo = undo
        self.name = name
        self.folder = home.app(name)

    async def prepare(self, engine: Any, target: Target | None) -> None:
        """Create the app's ENVIRONMENT (9.3), and get and store the variables that a script requires (4)."""
        await asyncio.to_thread(ensure_app_file, self.home, self.folder)
        if target is None:
            return
        required = await self._requirements(engine, target)
        if required["pre"] or required["env"]:
            values = await engine.answers.variables(self.name, self.variables(), required)
            if values:
                await asyncio.to_thread(
                    set_app_values, self.home, self.folder, {key: str(value) for key, value in values.items()}
                )

    async def _requirements(self, engine: Any, target: Target) -> dict[str, Any]:
        try:
            loaded = await engine.sidecar.load(target.path)
        except PinoctlError:
            return {"pre": [], "env": []}  # the run itself reports a script that cannot be loaded
        script = loaded if isinstance(loaded, Mapping) else {}
        return {key: script.get(key) or [] for key in ("pre", "env")}

    async def plan(self, engine: Any) -> Plan:
        """Evaluate the menu and choose the scripts (3.5)."""
        from orchestrator.launcher.launcher import read_launcher  # noqa: PLC0415  # not needed for `status`

        if not self.folder.is_dir():
            raise BadInputError(
                f"there is no app `{self.name}` in `{self.home.api}`",
                hint="`pinoctl up` takes a name, a git URL or a folder",
            )
        evaluated = await engine.menu(self.folder)
        root = self.folder / str(getattr(evaluated, "root", ""))
        launcher = await asyncio.to_thread(
            read_launcher,
            evaluated,
            self.folder,
            running=lambda path: engine.running(str(root / path)),
            gpu=getattr(getattr(engine, "profile", None), "gpu", "none"),
        )

        def target(script: Any) -> Target | None:
            return Target(str(launcher.path(script)), dict(script.args)) if script is not None else None

        scripts = launcher.scripts
        others = [each for each in map(target, (*scripts.variants, *scripts.others)) if each is not None]
        listed = {item.script for item in launcher.menu.scripts}
        return Plan(
            install=target(scripts.install),
            start=target(scripts.start),
            update=target(scripts.update),
            reset=target(scripts.reset),
            others=tuple(others),
            stage=scripts.stage,
            lists_start=scripts.start is not None and scripts.start.path in listed,
            error=str(getattr(evaluated, "error", None) or ""),
        )

    def script(self, name: str) -> str:
        """Return the path of a script of the app from its name, as menus and people write it; raises BadInputError.

        It is looked for from the launcher's folder and from the app's, and must lie inside the app.
        """
        roots = [root for root in (self.home.app_root(self.folder), self.folder) if root is not None]
        for root in roots:
            path = root / name
            if ".." in Path(name).parts or Path(name).is_absolute():
                break
            if path.is_file():
                return str(path)
        raise BadInputError(f"`{self.name}` has no script `{name}`", hint="`pinoctl menu APP` lists what it offers")

    def variables(self) -> dict[str, str]:
        """Return the app's variables: HOME/ENVIRONMENT below its own."""
        own = (self.home.app_root(self.folder) or self.folder) / "ENVIRONMENT"
        found: dict[str, str] = {}
        for path in (self.home.environment, own):
            with contextlib.suppress(PinoctlError):
                found.update(dotenv.parse(read_text(path) or ""))
        return found

    def share_variable(self) -> str:
        """Return the name of the variable that holds the URL (7.8)."""
        return self.variables().get(SHARE_VARIABLE) or "url"

    def shares(self) -> bool:
        """Tell whether the app's variables ask for a public tunnel (7.8)."""
        return to_flag(self.variables().get(TUNNEL_VARIABLE))

    async def recover(self) -> bool:
        """Put the app back when a snapshot is left, since only an interrupted update leaves one."""
        return await asyncio.to_thread(self._recover)

    def _recover(self) -> bool:
        if not self.undo:
            return False
        snapshots = self._snapshots()
        if snapshots.find(self.name) is None:
            return False
        snapshots.restore(self.name)
        snapshots.discard(self.name)
        return True

    async def save(self) -> Any:
        """Take a snapshot of the app's folder."""
        return await asyncio.to_thread(self._snapshots().take, self.name) if self.undo else None

    async def restore(self, saved: Any) -> None:
        """Put the snapshot back."""
        if saved is not None:
            await asyncio.to_thread(self._snapshots().restore, saved.name)

    async def discard(self, saved: Any) -> None:
        """Delete the snapshot."""
        if saved is not None:
            await asyncio.to_thread(self._snapshots().discard, saved.name)

    def _snapshots(self) -> Any:
        from orchestrator.snapshots.snapshot import Snapshots  # noqa: PLC0415  # only updates need it

        return Snapshots(self.home)
