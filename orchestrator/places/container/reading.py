"""What a build has to know of a launcher before it begins: its install script, its steps' texts, what it needs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engine.dry_run.dry_run import DryRun
from orchestrator.places.container.chain import Texts
from orchestrator.places.container.launcher import LauncherFile, Sums, about_itself, digest, files_of, left_out
from orchestrator.plan.planner import Planner
from orchestrator.plan.scripts import script_files
from orchestrator.plan.staging import Staged

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.plan.plan import AppPlan


@dataclass(frozen=True, slots=True)
class Reading:
    """Hold what was read of a launcher.

    `install` is the path of its install script below the app, None without one; `files_hash` is that of every file that
    is neither a script nor says only what the launcher is; `launcher_hash` that of all of them.
    `left_out` are files and folders of its folder that do not go into an image, those that git ignores aside.
    """

    plan: AppPlan
    files: list[LauncherFile]
    texts: Texts
    files_hash: str
    launcher_hash: str
    install: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def source_build(self) -> bool:
        """Tell whether a step compiles CUDA code."""
        return self.plan.needs.source_build

    @property
    def cuda(self) -> str | None:
        """The CUDA version that the app's packages are built for, `cpu` for none, None where nothing says so."""
        return self.plan.needs.cuda


def read_launcher(home: Home, app: str, profile: HardwareProfile) -> Reading:
    """Plan an installed launcher and take the texts of its scripts; nothing of it is executed."""
    return asyncio.run(_read(home, app, profile))


async def _read(home: Home, app: str, profile: HardwareProfile) -> Reading:
    folder = home.app(app)
    files = launcher_files(home, app)
    sums = sums_of(home)
    staged = Staged(app, app, home, folder, folder)
    plan = [plan async for plan in Planner(profile).plans([staged])][0]  # noqa: RUF015  # an asynchronous generator
    run = await DryRun.open(home, profile)
    texts: dict[str, list[str]] = {}
    try:
        for path in script_files(folder):
            found = await run.texts(folder / path)
            if found is not None:
                texts[f"{app}/{path}"] = found
    finally:
        await run.close()
    scripts = {path.partition("/")[2] for path in texts}
    return Reading(
        plan=plan,
        files=files,
        texts=Texts.of_scripts(texts, home=str(home.root)),
        files_hash=digest(files, without=scripts | about_itself(files), sums=sums),
        launcher_hash=digest(files, sums=sums),
        install=plan.roles.get("install"),
        left_out=tuple(left_out(folder, tracked_only=_ours(folder))),
    )


def launcher_hash(home: Home, app: str) -> str:
    """Return the hash of a launcher's files as they are now; nothing is evaluated."""
    return digest(launcher_files(home, app), sums=sums_of(home))


def launcher_files(home: Home, app: str) -> list[LauncherFile]:
    """Return the files of an installed launcher as they are now."""
    folder = home.app(app)
    return files_of(folder, tracked_only=_ours(folder))


def sums_of(home: Home) -> Sums:
    """Return what is known of the launchers' large files."""
    return Sums(home.root / "places" / "sums.json")


def _ours(folder: Path) -> bool:
    """Tell whether pinoctl cloned a launcher: what lies there untracked came of running it, and is nobody's source."""
    return not folder.is_symlink()
