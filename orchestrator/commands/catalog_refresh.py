"""Fetch every launcher of the catalogue, plan it, and make the table of what was learnt."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orchestrator.catalog.planned import FAILS, PLANS, Planned, kept
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.launcher.shallow import fetch_newest
from orchestrator.launcher.target import name_of_url
from orchestrator.plan.planner import Planner
from orchestrator.plan.staging import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.catalog.catalog import App
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.plan.plan import AppPlan
    from orchestrator.plan.staging import Staged

AGAINST = 4  # findings of a verdict that a row keeps


def fetch_all(apps: Sequence[App], folder: Path, *, jobs: int, say: Callable[[str], None]) -> dict[str, str]:
    """Fetch each app's launcher into `FOLDER/<key>/<repository's name>`; return key → why it cannot be had."""
    problems: dict[str, str] = {}

    def one(app: App) -> App:
        try:
            fetch_newest(app.repo, place_of(app, folder))
        except PinoctlError as error:
            problems[app.key] = str(error)
        return app

    pool = ThreadPoolExecutor(jobs)
    try:
        for count, app in enumerate(pool.map(one, apps), start=1):
            say(
                f"{count} of {len(apps)} fetched: {app.name}"
                + (f": {problems[app.key]}" if app.key in problems else "")
            )
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted refresh begins no further fetch
    return problems


def place_of(app: App, folder: Path) -> Path:
    """Return where an app's launcher is kept; the last part is the name that the app would be installed under."""
    return folder / app.key / (name_of_url(app.repo) or app.key)


def plan_all(
    apps: Sequence[App], folder: Path, problems: Mapping[str, str], profile: HardwareProfile, old: Mapping[str, Planned]
) -> dict[str, Planned]:
    """Plan the launchers that were fetched and return a row for every app."""
    rows = {
        app.key: kept(old.get(app.key), app.key, app.repo, problems[app.key]) for app in apps if app.key in problems
    }
    here = [app for app in apps if app.key not in problems]
    stage = Stage(Home(folder / "home"))
    try:
        staged = stage.put([str(place_of(app, folder)) for app in here], cwd=folder)
        plans = asyncio.run(_plans(Planner(profile), staged))
    finally:
        stage.close()
    rows.update({app.key: row_from(app, plan) for app, plan in zip(here, plans, strict=True)})
    return rows


async def _plans(planner: Planner, staged: Sequence[Staged]) -> list[AppPlan]:
    return [plan async for plan in planner.plans(staged)]


def row_from(app: App, plan: AppPlan) -> Planned:
    """Turn a plan into a row; deterministic, without anything of the machine that it was made on."""
    needs = plan.needs
    failed = plan.problem or next(
        (f"{each.status}: {each.error}" for each in plan.scripts if each.status in {"load-error", "error"}), ""
    )
    return Planned(
        key=app.key,
        repo=app.repo,
        outcome=FAILS if failed else PLANS,
        reason=failed,
        commit=plan.commit or "",
        verdict="" if plan.problem else plan.verdict.state,
        against=tuple(each.text for each in plan.verdict.findings if each.level in {"cannot", "needs"})[:AGAINST],
        install=plan.roles.get("install", ""),
        start=plan.roles.get("start", ""),
        web_ui=needs.web_ui or "",
        python=needs.python or "",
        torch=needs.torch or "",
        cuda=needs.cuda or "",
        gpus=needs.gpus,
        platforms=needs.platforms,
        vram=needs.vram,
        ram=needs.ram,
        disk=needs.disk,
        disk_estimate=needs.disk_estimate,
        conda=needs.conda,
        source_build=needs.source_build,
        asks=tuple(each.key for each in plan.questions if each.required),
    )
