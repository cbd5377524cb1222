"""Plan apps one after the other: menus, scripts, what they need, and whether they would run here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator.engine.dry_run.dry_run import SECONDS, DryRun
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.javascript import MenuState
from orchestrator.engine.values import UNDEFINED
from orchestrator.launcher.launcher import Launcher, read_launcher
from orchestrator.plan.plan import AppPlan, Finding
from orchestrator.plan.questions import questions_of
from orchestrator.plan.reading import read_needs
from orchestrator.plan.scripts import lifecycle, script_files
from orchestrator.plan.staging import relocated
from orchestrator.plan.verdict import Room, judge
from orchestrator.torch.advice import advise
from orchestrator.torch.builds import builds_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from orchestrator.engine.dry_run.records import ScriptPlan
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.launcher.scripts import Script
    from orchestrator.plan.staging import Staged

TEXT_LIMIT = 256 * 1024  # of a README or a requirements file
READMES = ("README.md", "readme.md", "README.MD", "Readme.md", "README.txt")


@dataclass(frozen=True, slots=True)
class Planner:
    """Plan staged targets for one machine.

    `room` is what the machine has left, None of it where nobody looked; `seconds` is what one script may take.
    """

    profile: HardwareProfile
    room: Room = field(default_factory=Room)
    every_script: bool = False
    seconds: float = SECONDS

    async def plans(self, targets: Sequence[Staged]) -> AsyncIterator[AppPlan]:
        """Yield the plan of each target, in their order; one that cannot be planned says why.

        Apps share a confined process only as long as none of them changed it for the others. Raises SidecarError only
        where Node cannot be started.
        """
        runs: dict[Path, DryRun] = {}
        try:
            for target in targets:
                if target.problem is not None:
                    yield _unplanned(target, target.problem)
                    continue
                if target.home.root not in runs:
                    real = str(target.shown.parent.parent)
                    runs[target.home.root] = await DryRun.open(
                        target.home, self.profile, seconds=self.seconds, roots=(real,)
                    )
                else:
                    await runs[target.home.root].fresh()  # one app must not change another's plan
                try:
                    plan = await self._plan(runs[target.home.root], target)
                except RecursionError:
                    plan = _unplanned(target, PinoctlError("its steps hold values that are nested too deep to be read"))
                yield plan
        finally:
            for run in runs.values():
                await run.close()

    async def _plan(self, run: DryRun, target: Staged) -> AppPlan:
        launcher, roles, problem = await self._lifecycle(run, target)
        wanted = self._wanted(target, roles)
        scripts: list[ScriptPlan] = []
        traced: list[ScriptPlan] = []
        for path, payload in wanted.items():
            plan = await run.plan(target.app / path, payload)
            if plan.no_steps and path not in {*_paths(roles), target.script}:
                continue  # a file that a launcher keeps beside its scripts
            scripts.append(_put_right(plan, target))
            plain = payload is UNDEFINED
            traced.append(scripts[-1] if plain else _put_right(await run.plan(target.app / path), target))
        used = [plan for plan in scripts if plan.script in _paths(roles)] or scripts
        texts = [launcher.metadata.title, launcher.metadata.description, *_readme(target.app)]
        needs = read_needs(used, texts=texts, read_text=_reader(target))
        questions = questions_of(used)
        verdict = judge(
            used,
            needs,
            questions,
            self.profile,
            self.room,
            missing=_missing(target, roles),
            problem=problem,
            torch=self._torch(used, target),
        )
        return AppPlan(
            name=target.name,
            folder=str(target.shown),
            title=launcher.metadata.title,
            remote=target.remote,
            commit=target.commit,
            roles=dict(zip(roles, _paths(roles), strict=True)),
            scripts=tuple(scripts),
            traced=tuple(traced),
            needs=needs,
            questions=questions,
            verdict=verdict,
        )

    def _torch(self, scripts: Sequence[ScriptPlan], target: Staged) -> list[Finding]:
        """Turn what is to be said of the torch builds into findings; the app runs, if slowly, so nothing forbids it."""
        builds = builds_of([step for script in scripts for step in script.steps], read_text=_reader(target))
        levels = {"problem": "warning", "warning": "warning", "note": "note"}
        return [
            Finding(
                levels[each.level], "torch", f"{each.text} ({each.where})" if each.where else each.text, each.remedy
            )
            for each in advise(builds, self.profile)
        ]

    async def _lifecycle(self, run: DryRun, target: Staged) -> tuple[Launcher, dict[str, tuple[str, Any]], str | None]:
        """Evaluate the menu as it is now and as it would be installed; return the launcher, the roles, and an error."""
        now, problem = await self._menu(run, target, MenuState())
        later, problem_later = await self._menu(run, target, MenuState(exists=True))
        problem = problem or problem_later
        menus = (now, later)
        fresh, installed = (read_launcher(menu, target.app, gpu=self.profile.gpu) for menu in menus)
        chosen = lifecycle(fresh, installed)
        return fresh, {role: _started(fresh, script, target) for role, script in chosen.items()}, problem

    @staticmethod
    async def _menu(run: DryRun, target: Staged, state: MenuState) -> tuple[Any, str | None]:
        try:
            menu = await run.menu(target.app, state)
        except PinoctlError as error:
            return None, str(error)
        return (menu, None) if menu.error is None else (None, menu.error)

    def _wanted(self, target: Staged, roles: dict[str, tuple[str, Any]]) -> dict[str, Any]:
        """Return the scripts to plan and what each is started with: those of the lifecycle first."""
        if target.script is not None:
            return {target.script: UNDEFINED}
        wanted = dict(roles.values())
        if self.every_script:
            for path in script_files(target.app):
                wanted.setdefault(path, UNDEFINED)
        return wanted


def _started(launcher: Launcher, script: Script, target: Staged) -> tuple[str, Any]:
    path = launcher.path(script)
    with suppress(ValueError):
        path = path.relative_to(target.app)
    return str(path), dict(script.args) or UNDEFINED


def _place(where: str) -> str:
    """Turn `torch.js#4` into what people count: step 5 of `torch.js`."""
    script, _, index = where.rpartition("#")
    return f"step {int(index) + 1} of `{script}`" if index.isdigit() else f"step `{index}` of `{script}`"


def _paths(roles: dict[str, tuple[str, Any]]) -> list[str]:
    return [path for path, _ in roles.values()]


def _missing(target: Staged, roles: dict[str, tuple[str, Any]]) -> list[str]:
    """Return what the lifecycle would need and does not find."""
    if target.script is not None:
        return []
    return [] if "start" in roles else ["start"]


def _put_right(plan: ScriptPlan, target: Staged) -> ScriptPlan:
    """Name the real home where a script was planned in a temporary one."""
    old, new = str(target.home.root), str(target.shown.parent.parent)
    if old == new:
        return plan
    return replace(
        plan,
        app=relocated(plan.app, old, new),
        error=relocated(plan.error, old, new),
        result=relocated(plan.result, old, new),
        local=relocated(plan.local, old, new),
        steps=tuple(
            replace(step, params=relocated(step.params, old, new), cwd=relocated(step.cwd, old, new),
                    step=relocated(step.step, old, new), error=relocated(step.error, old, new))
            for step in plan.steps
        ),
        trace=tuple(relocated(row, old, new) for row in plan.trace),
    )  # fmt: skip


def _unplanned(target: Staged, problem: PinoctlError) -> AppPlan:
    return AppPlan(
        name=target.name,
        folder=str(target.shown),
        remote=target.remote,
        problem=str(problem),
        hint=problem.hint,
    )


def _readme(app: Path) -> list[str]:
    found = next((text for name in READMES if (text := _text_of(app, name)) is not None), None)
    return [] if found is None else [found]


def _text_of(app: Path, name: str) -> str | None:
    """Return the beginning of a text file that is really in the app, None for anything else."""
    file = app / name
    try:
        if not file.is_file() or not file.resolve().is_relative_to(app.resolve()):
            return None
        with file.open("rb") as opened:
            return opened.read(TEXT_LIMIT).decode("utf-8", "replace")
    except OSError:
        return None


def _reader(target: Staged) -> Any:
    """Return how a requirements file of the launcher is read, by the path that its steps show."""

    def read(path: str) -> str | None:
        prefix = f"{target.shown}/"
        return _text_of(target.app, path[len(prefix) :]) if path.startswith(prefix) else None

    return read
