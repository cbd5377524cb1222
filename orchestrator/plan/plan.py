"""The plan of one app, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.plan.needs import Needs

if TYPE_CHECKING:
    from orchestrator.engine.dry_run.records import ScriptPlan


@dataclass(frozen=True, slots=True)
class Finding:
    """Say one thing about running an app on a machine.

    `level` is `cannot` (it will not run here), `needs` (something has to be there or be done first), `warning` or
    `note`; `what` a short code such as `platform`, `gpu`, `vram`, `disk`, `torch`, `method`, `file`; `text` one
    sentence without a full stop; `remedy` what to do about it, "" when there is nothing to do.
    """

    level: str
    what: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Describe a question the app will ask: `key` as for `--answer`, and what is answered without one."""

    script: str
    key: str
    title: str = ""
    kind: str = "text"
    default: Any = None
    choices: tuple[Any, ...] = ()
    required: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Say whether the app runs: `state` is `runs here`, `needs` or `cannot run`; findings hold every reason."""

    state: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class AppPlan:
    """Hold all that a plan says of an app.

    `name` is the app's folder name, `folder` where it stands or would stand (`<HOME>/api/<name>`), `roles` maps
    `install` and `start` to the script that the lifecycle would use, `problem` says why there is no plan at all (then
    `scripts` is empty), `commit` and `remote` are those of the launcher's repository, None outside git.

    `scripts` are started with what the menu gives them, `traced` are the same without arguments, as traces have them.
    """

    name: str
    folder: str
    title: str = ""
    remote: str | None = None
    commit: str | None = None
    roles: dict[str, str] = field(default_factory=dict)
    scripts: tuple[ScriptPlan, ...] = ()
    traced: tuple[ScriptPlan, ...] = ()
    needs: Needs = field(default_factory=Needs)
    questions: tuple[Question, ...] = ()
    verdict: Verdict = field(default_factory=lambda: Verdict("cannot run"))
    problem: str | None = None
    hint: str | None = None
