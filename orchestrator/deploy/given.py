"""What an app was given on this machine: the variables that an image of its own does not bring along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engine.environment import dotenv
from orchestrator.engine.environment.assemble import resolved
from orchestrator.engine.environment.defaults import app_file_text, system_file_text
from orchestrator.places.container.variables import chosen_in

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Given:
    """Hold the variables that an app was given; `fixed` names those that the image itself has another value for.

    The image's files of variables count before those of its container, so the latter cannot be given there.
    """

    variables: Mapping[str, str]
    fixed: tuple[str, ...] = ()


def given(system: str, template: str, own: str, *, home: str, app: str) -> Given:
    """Return what somebody set of an app's variables, in the texts of HOME/ENVIRONMENT and of the app's ENVIRONMENT.

    `template` is the text of the launcher's `_ENVIRONMENT`; `home` and `app` are the folders in the image that values
    beginning with `./` mean.
    """
    usual = dotenv.parse(system_file_text())
    new = {name: value for name, value in dotenv.parse(app_file_text(template, usual)).items() if value.strip()}
    chosen = {**resolved(chosen_in(system), home), **resolved(_other_than(new, own), app)}
    present = {name for name, value in usual.items() if value.strip()} | set(new)
    return Given(
        {name: value for name, value in chosen.items() if name not in present}, tuple(sorted(present & set(chosen)))
    )


def _other_than(new: Mapping[str, str], text: str) -> dict[str, str]:
    return {name: value for name, value in dotenv.parse(text).items() if value != new.get(name)}
