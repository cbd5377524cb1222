"""What an app's launcher offers now: its menu, and which script is which (spec 3)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import BadInputError
from orchestrator.launcher.launcher import Launcher, read_launcher
from orchestrator.launcher.names import listing

if TYPE_CHECKING:
    from orchestrator.agent.client import Client
    from orchestrator.engine.home import Home
    from orchestrator.launcher.scripts import Script


@dataclass(frozen=True, slots=True)
class Offers:
    """Hold a launcher in its present state, the names of its scripts that run, and what its menu threw."""

    launcher: Launcher
    running: tuple[str, ...] = ()
    error: str = ""

    @property
    def scripts(self) -> list[Script]:
        """All scripts that the launcher offers, each way to start one counted."""
        scripts = self.launcher.scripts
        named = [
            scripts.install,
            scripts.start,
            *scripts.variants,
            scripts.update,
            scripts.reset,
            scripts.link,
            *scripts.others,
        ]
        found: list[Script] = []
        for script in named:
            if script is not None and script not in found:
                found.append(script)
        return found

    def find(self, text: str) -> Script | None:
        """Return the script that a user means, by its path or by its label; None when the menu has none.

        Raises BadInputError where the menu offers several.
        """
        key = text.casefold()
        for matching in (
            [each for each in self.scripts if each.path == text],
            [each for each in self.scripts if each.text.casefold() == key],
        ):
            if len(matching) == 1 or (matching and len({each.text for each in matching}) == 1):
                return matching[0]
            if matching and self.launcher.scripts.start in matching:
                return self.launcher.scripts.start
            if matching:
                raise BadInputError(
                    f"the menu offers `{text}` in several ways",
                    hint=f"name one by its label: {listing(each.text for each in matching)}",
                )
        return None


def read_offers(home: Home, name: str, client: Client | None) -> Offers:
    """Evaluate an app's menu: by its agent where it has one, else in a confined sidecar of this command's own."""
    if client is not None:
        evaluated: Any = client.menu()
        running = tuple(str(script).removeprefix(f"{name}/") for script in client.status().get("running") or ())
    else:
        import asyncio  # noqa: PLC0415  # an app with an agent is asked without

        evaluated, running = asyncio.run(_evaluate(home, name)), ()
    launcher = read_launcher(evaluated, home.app(name), running=lambda path: path in running, gpu=_gpu())
    return Offers(launcher, running, str(_part(evaluated, "error") or ""))


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _gpu() -> str:
    from orchestrator.engine.hardware import detect  # noqa: PLC0415  # asks the machine, which takes a moment

    return detect().gpu


async def _evaluate(home: Home, name: str) -> Any:
    from orchestrator.engine.environment import Environment  # noqa: PLC0415  # as in `read_offers`
    from orchestrator.engine.hardware import detect  # noqa: PLC0415
    from orchestrator.engine.javascript import MenuState, Sidecar, SidecarConfig  # noqa: PLC0415

    app = home.app(name)
    sidecar = await Sidecar.start(SidecarConfig.confined_for(str(home.root), detect()))
    try:
        sidecar.set_env(str(app), Environment(home, os.environ).template(app / "pinokio.js"))
        return await sidecar.menu(str(app), state=MenuState())
    finally:
        await sidecar.close()
