"""One app's launcher as a whole: metadata, menu and scripts from what the sidecar evaluated (spec 3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.launcher.menu import Menu, read_menu
from orchestrator.launcher.metadata import Metadata, launcher_root, read_metadata
from orchestrator.launcher.scripts import Script, Scripts, choose_scripts, files_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Launcher:
    """Hold what a launcher offers in its present state; `folder` is where its scripts are."""

    app: Path
    folder: Path
    metadata: Metadata
    menu: Menu
    scripts: Scripts

    def path(self, script: Script) -> Path:
        """Return the file of one of its scripts."""
        return self.folder / script.path


def read_launcher(
    evaluated: Any,
    app: Path,
    *,
    running: Callable[[str], bool] | None = None,
    gpu: str = "nvidia",
) -> Launcher:
    """Read what `Sidecar.menu` returned for an app; None where it could not be evaluated.

    `evaluated` has `root` ("" or "pinokio"), `meta` (merged) and `items`, as attributes or as keys of its JSON.
    `running` tells of a path below the launcher's folder whether that script runs; only menus that the sidecar did not
    resolve need it. Without a usable menu the choice rests on the files alone.
    """
    root = _part(evaluated, "root")
    if not isinstance(root, str):
        root = launcher_root(app) or ""
    folder = app / root
    metadata = _part(evaluated, "meta")
    menu = read_menu(_part(evaluated, "items"), app=app.name, root=root, running=running)
    return Launcher(
        app=app,
        folder=folder,
        metadata=read_metadata(metadata if isinstance(metadata, Mapping) else {}),
        menu=menu,
        scripts=choose_scripts(menu, files_of(folder), gpu=gpu),
    )


def _part(evaluated: Any, name: str) -> Any:
    return evaluated.get(name) if isinstance(evaluated, Mapping) else getattr(evaluated, name, None)
