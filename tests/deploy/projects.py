"""Compose projects that tests begin with."""

from __future__ import annotations

import pytest

from orchestrator.deploy.compose import ComposeApp, project
from orchestrator.deploy.schema import check
from orchestrator.engine.errors import PinoctlError

GIB = 1 << 30
AWKWARD = {
    "EXPONENT": "1e3",
    "OCTAL": "0o17",
    "SEXAGESIMAL": "1:30",
    "YES": "yes",
    "NULL": "null",
    "TILDE": "~",
    "LINES": "one\ntwo: [\n",
    "HASH": "a #b",
    "TABBED": "a\tb ",
    "WORDS": "é 日本 🎈",
    "DOLLARS": "$HOME ${X:-y} $$",
    "EMPTY": "",
    "LONG": "x " * 200,
}


def one(**settings):
    return project(
        [ComposeApp(**{"name": "app", "image": "app:1", "port": 8001, **settings})], name="studio", volume="vol"
    )


def service_of(**settings):
    return one(**settings)["services"]["app"]


def refusal(made):
    with pytest.raises(PinoctlError) as refused:
        check(made)
    return str(refused.value)
