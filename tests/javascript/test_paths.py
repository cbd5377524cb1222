"""Paths and URIs, in Python and in JavaScript, which must agree."""

# JavaScript stands on one line; small files are read in place

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.engine import paths
from orchestrator.engine.errors import JavaScriptError, ScriptError
from orchestrator.engine.javascript import Sidecar

from .conftest import rows, write

HOME = "/H"
SKIPPED_FUNCTIONS = {"url": "addresses of the desktop's own pages, which a headless engine does not serve"}
DIFFERING = {
    "paths.12": (
        "/H/api/other/start.js",
        "a remote recorded without `.git` breaks the desktop's lookup; spec 5.9 and 15 say: normalise",
    )
}
THROWS = {
    "Error: a git repository URI must end with .git": "must contain `.git`",
    "Error: uri must be either an http uri or start with ~/": "no folder that it starts from",
    "Error: resolving relative paths require an additional cwd argument": "no folder that it starts from",
}


def evaluate(function: str, args: list[Any], folders: dict[str, str]) -> Any:
    match function:
        case "filePath":
            return paths.resolve(args[0], args[1] if len(args) > 1 else None, HOME, folders)
        case "resolvePath":
            return paths.resolve_path(args[0], args[1])
        case "getGitURI":
            return paths.git_uri(args[0])
        case "api_path":
            return paths.api_path(args[0], HOME)
        case "script.resolve":
            return paths.script_path(HOME, *args, git_folders=folders) or False
    raise AssertionError(function)


@pytest.mark.parametrize("row", rows("paths"))
def test_rows(row: dict[str, Any]) -> None:
    given_, expect = row["input"], row["expect"]
    if given_["fn"] in SKIPPED_FUNCTIONS:
        pytest.skip(SKIPPED_FUNCTIONS[given_["fn"]])
    folders = given_["gitPath"]
    if row["id"] in DIFFERING:
        assert evaluate(given_["fn"], given_["args"], folders) == DIFFERING[row["id"]][0]
    elif "throws" in expect:
        with pytest.raises(ScriptError, match=THROWS[expect["throws"]]):
            evaluate(given_["fn"], given_["args"], folders)
    elif expect["result"] == {"$undefined": True}:  # the desktop goes on with no path; a script here ends
        with pytest.raises(ScriptError, match="is not installed"):
            evaluate(given_["fn"], given_["args"], folders)
    else:
        assert evaluate(given_["fn"], given_["args"], folders) == expect["result"]


@pytest.mark.parametrize("row", [row for row in rows("paths") if row.values[0]["input"]["fn"] == "filePath"])
@pytest.mark.asyncio(loop_scope="module")
async def test_rows_in_javascript(shared: Sidecar, row: dict[str, Any]) -> None:
    given_, expect = row["input"], row["expect"]
    uri, cwd = [*given_["args"], None][:2]
    ask = shared.ask(
        "file_path",
        uri=uri.replace("~/", f"{shared.config.home}/") if uri.startswith("~/") else uri,
        cwd=cwd,
        folders=given_["gitPath"],
    )
    if row["id"] in DIFFERING:
        assert await ask == DIFFERING[row["id"]][0]
    elif "throws" in expect:
        with pytest.raises(JavaScriptError, match=expect["throws"].removeprefix("Error: ")):
            await ask
    else:
        result = await ask
        expected = expect["result"]
        if uri.startswith("~/"):
            expected = expected.replace(HOME, shared.config.home, 1)
        assert result == expected or (not result and expected == {"$undefined": True})


SEGMENT = st.text(alphabet="ab.~ C:\\-é", min_size=1, max_size=5)
URIS = st.one_of(
    st.lists(SEGMENT, min_size=1, max_size=5).map("/".join),
    st.lists(SEGMENT, max_size=3).map(lambda parts: "/" + "/".join(parts)),
    st.lists(SEGMENT, max_size=3).map(lambda parts: "~/" + "/".join(parts)),
    st.lists(SEGMENT, max_size=3).map(lambda parts: "https://github.com/u/repo.git/" + "/".join(parts)),
)
FOLDERS = {"https://github.com/u/repo": "/H/api/repo"}


@pytest.mark.asyncio(loop_scope="module")
async def test_both_languages_agree(shared: Sidecar) -> None:
    examples: list[str] = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(URIS)
    def collect(uri: str) -> None:
        examples.append(uri)

    collect()
    for uri in examples:
        ours = paths.resolve(uri, "/H/api/app", shared.config.home, FOLDERS)
        assert await shared.ask("file_path", uri=uri, cwd="/H/api/app", folders=FOLDERS) == ours


async def test_kernel_script_resolve(sidecar: Sidecar, home: Path) -> None:
    write(
        home / "api" / "other",
        {".git/config": '[core]\n\tbare = false\n[remote "origin"]\n\turl = https://github.com/u/other\n'},
    )
    assert (
        await sidecar.ask("script_path", base="https://github.com/u/other.git", parts=["start.js"])
        == f"{home}/api/other/start.js"
    )
    assert await sidecar.ask("script_path", base="~/api/app", parts=["start.json"]) == f"{home}/api/app/start.json"
    assert await sidecar.ask("script_path", base="https://github.com/u/nosuch.git", parts=["x"]) is False
    with pytest.raises(JavaScriptError, match="uri must be either an http uri or start with ~/"):
        await sidecar.ask("script_path", base="rel", parts=["start.json"])


def test_home_is_not_the_users(tmp_path: Path) -> None:
    assert paths.resolve("~/x", None, str(tmp_path), {}) == os.fspath(tmp_path / "x")
