"""Whose repository a folder is, read without git; and the names of cloned folders."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.home import Home
from orchestrator.engine.repositories import Repositories, folder_name, remote_of, split_git_uri

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://forge.test/owner/app.git"


def git(*words: str, at: Path) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t.test", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *words], cwd=at, check=True, capture_output=True)


@pytest.fixture
def cloned(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "api" / "app"
    folder.mkdir(parents=True)
    git("init", "-q", at=folder)
    git("remote", "add", "origin", URL, at=folder)
    git("commit", "-q", "--allow-empty", "-m", "first", at=folder)
    return folder


def test_the_remote_of_a_clone_a_worktree_and_a_submodule(cloned: Path, tmp_path: Path) -> None:
    assert remote_of(cloned) == URL
    git("worktree", "add", "-q", str(tmp_path / "tree"), at=cloned)
    assert remote_of(tmp_path / "tree") == URL
    outer = tmp_path / "outer"
    outer.mkdir()
    git("init", "-q", at=outer)
    git("submodule", "add", "-q", str(cloned), "inner", at=outer)
    assert remote_of(outer / "inner") == str(cloned)
    assert remote_of(outer) is None


@pytest.mark.parametrize("text", ["", "gitdir: /no/such", "\0", "[broken"])
def test_what_is_no_repository_has_no_remote(tmp_path: Path, text: str) -> None:
    assert remote_of(tmp_path) is None
    (tmp_path / ".git").write_text(text)
    assert remote_of(tmp_path) is None


def test_folders_by_remote_follow_changes(cloned: Path) -> None:
    repositories = Repositories(Home(cloned.parents[1]))
    assert repositories.folders() == {URL: str(cloned)}
    cloned.rename(cloned.with_name("other"))
    assert repositories.folders() == {URL: str(cloned.with_name("other"))}
    assert Repositories(Home(cloned.parents[1] / "none")).folders() == {}


def test_names_and_parts_of_git_uris() -> None:
    assert folder_name(URL) == "forge_test_owner_app_git"
    assert split_git_uri(f"{URL}/sub/start.js") == (URL, "sub/start.js")
    assert split_git_uri(URL) == (URL, "")
    with pytest.raises(ScriptError, match="does not name a git repository"):
        split_git_uri("https://forge.test/owner/app/start.js")
