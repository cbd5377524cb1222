"""Git's index, read by our parser and by git itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.places.container.git_index import IndexUnreadableError, Tracked, parse_index
from orchestrator.places.container.repositories import commit_of


def git(folder: Path, *arguments: str) -> bytes:
    env = os.environ | {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, stdout=subprocess.PIPE).stdout


def listed(folder: Path) -> list[Tracked]:
    found = []
    for line in git(folder, "ls-files", "--stage", "-z").split(b"\0")[:-1]:
        about, name = line.split(b"\t", 1)
        mode, sha, stage = about.decode().split()
        found.append(Tracked(name.decode("utf-8", "surrogateescape"), int(mode, 8), sha, int(stage)))
    return found


@pytest.fixture(params=["sha1", "sha256"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    git(tmp_path, "init", "-q", f"--object-format={request.param}", ".")
    for name in ["a", "two words", "grüße/漢字", "new\nline", "long/" + "x" * 200, "long/" + "/".join(["y" * 250] * 3)]:
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    for number in range(60):  # names of every length, so of every padding
        (tmp_path / ("n" * (number + 1))).write_text(str(number))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")).touch()
    (tmp_path / "run.sh").touch(mode=0o755)
    (tmp_path / "link").symlink_to("a")
    git(tmp_path, "add", ".")
    return tmp_path


@pytest.mark.parametrize("version", [2, 3, 4])
def test_entries_are_those_that_git_lists(repository: Path, version: int) -> None:
    if version == 3:
        (repository / "later").touch()
        git(repository, "add", "--intent-to-add", "later")  # an extended flag makes git write version 3
    else:
        git(repository, "update-index", f"--index-version={version}")
    raw = (repository / ".git/index").read_bytes()
    assert raw[7] == version
    assert list(parse_index(raw)) == listed(repository)


def test_a_merge_under_way_gives_stages(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "one", ".")
    for branch, text in (("one", "1"), ("two", "2"), ("three", "3")):
        if branch != "one":
            git(tmp_path, "checkout", "-q", "-b", branch, "one")
        (tmp_path / "f").write_text(text)
        git(tmp_path, "add", "f")
        git(tmp_path, "commit", "-qm", branch)
    with pytest.raises(subprocess.CalledProcessError):
        git(tmp_path, "merge", "-q", "two")
    found = parse_index((tmp_path / ".git/index").read_bytes())
    assert list(found) == listed(tmp_path)
    assert [each.stage for each in found] == [1, 2, 3]


def test_an_empty_index(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", ".")
    git(tmp_path, "read-tree", "--empty")
    assert parse_index((tmp_path / ".git/index").read_bytes()) == ()


@pytest.mark.parametrize("raw", [b"", b"DIRC", b"PACK" + bytes(40), b"DIRC\0\0\0\x05" + bytes(40)])
def test_something_else_is_refused(raw: bytes) -> None:
    with pytest.raises(IndexUnreadableError):
        parse_index(raw)


def test_a_cut_index_is_refused(repository: Path) -> None:
    raw = (repository / ".git/index").read_bytes()
    end = raw.index(b"two words")
    for length in (13, 60, 75, 200, end, end + 10):
        with pytest.raises(IndexUnreadableError):
            parse_index(raw[:length])


def test_where_a_repository_stands() -> None:
    packed = "# pack-refs with: peeled\nabc refs/heads/main\n^fff\ndef refs/tags/v1\n"
    assert commit_of("123\n", None, packed) == "123"
    assert commit_of("ref: refs/heads/main\n", "456\n", packed) == "456"
    assert commit_of("ref: refs/heads/main\n", None, packed) == "abc"
    assert commit_of("ref: refs/heads/unborn\n", None, packed) == ""
