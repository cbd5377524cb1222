"""The hooks and the wrapper of git, run for real against repositories that move on."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from orchestrator.lock import inventory, pinning
from orchestrator.lock.git_pins import by_origin, by_package, canonical, git_variables
from orchestrator.lock.lock import Base, Launcher, Lock
from tests.lock import world

UV = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


class Place:
    """A home with an app `x`, repositories elsewhere, and what a locked build's commands are given."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.app = self.home / "api" / "x"
        self.app.mkdir(parents=True)
        self.remotes = folder / "remotes"
        self.pins = folder / "pins"

    def remote(self, name: str = "part", **files: str) -> str:
        return world.repository(self.remotes / name, **(files or {"a__txt": "1"}))

    def url(self, name: str = "part") -> str:
        return f"file://{self.remotes / name}"

    def moves_on(self, name: str = "part", **files: str) -> str:
        return world.commit(self.remotes / name, **(files or {"a__txt": "2"}))

    def lock(self) -> None:
        """Lock what is there, then take it away."""
        facts = inventory.take(self.home, "x")
        lock = Lock(datetime(2025, 1, 1, tzinfo=timezone.utc), "x", Launcher(), Base("base"), inventory=facts)
        pinning.write(lock, self.pins, home=self.home)
        shutil.rmtree(self.app)
        self.app.mkdir()

    def git(
        self, *words: str | Path, fails: bool = False, cwd: Path | None = None, hooks: bool = True, wrapper: bool = True
    ):
        path = os.environ["PATH"]
        env = world.plain_environment(
            PATH=f"{self.pins / 'bin'}:{path}" if wrapper else path, GIT_ALLOW_PROTOCOL="file"
        )
        if hooks:
            env |= git_variables(self.pins)
        return world.run("git", *words, cwd=cwd or self.app, env=env, fails=fails)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize("depth", [(), ("--depth", "1"), ("--filter=blob:none",)], ids=str)
@pytest.mark.parametrize("wrapper", [True, False])
def test_a_clone_gets_the_commit_of_the_lock_on_its_branch(place, depth, wrapper):
    first = place.remote()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    second = place.moves_on()
    place.git("clone", "-q", *depth, place.url(), "part", wrapper=wrapper)
    part = place.app / "part"
    assert world.head(part) == first != second
    assert (part / "a.txt").read_text() == "1"
    assert world.run("git", "branch", "--show-current", cwd=part) == "main"
    assert world.run("git", "status", "--porcelain", cwd=part) == ""
    assert world.run("git", "rev-parse", "--is-shallow-repository", cwd=part) == (
        "true" if "--depth" in depth else "false"
    )


@pytest.mark.parametrize(
    "command", [("pull", "-q"), ("reset", "-q", "--hard", "origin/main"), ("pull", "-q", "--rebase"),
                ("merge", "-q", "origin/main"), ("checkout", "-q", "origin/main")], ids=" ".join,
)  # fmt: skip
def test_what_moves_a_work_tree_ends_at_the_commit_of_the_lock(place, command):
    first = place.remote()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    place.git("clone", "-q", place.url(), "part")
    place.moves_on()
    part = place.app / "part"
    place.git("fetch", "-q", cwd=part)
    (part / "own.txt").write_text("kept")
    place.git("-C", "part", *command)
    assert world.head(part) == first
    assert (part / "own.txt").read_text() == "kept"
    world.run("git", *command, cwd=part)
    assert world.head(part) != first, "without the pins the command moves on, so the test can fail"


def test_a_pull_without_the_wrapper_is_put_back_by_the_hook(place):
    first = place.remote()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    place.git("clone", "-q", place.url(), "part")
    place.moves_on()
    place.git("-C", "part", "pull", "-q", wrapper=False)
    assert world.head(place.app / "part") == first


def test_local_changes_survive_or_are_told_of(place):
    first = place.remote(a__txt="1", b__txt="1")
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    place.git("clone", "-q", place.url(), "part")
    place.moves_on(a__txt="2")
    part = place.app / "part"
    (part / "b.txt").write_text("patched")
    place.git("-C", "part", "pull", "-q")
    assert world.head(part) == first
    assert (part / "b.txt").read_text() == "patched"
    world.run("git", "pull", "-q", cwd=part)
    (part / "a.txt").write_text("patched too")
    assert "files in it were changed" in place.git("-C", "part", "reset", "--soft", "HEAD", fails=True)
    assert (part / "a.txt").read_text() == "patched too"


def test_another_commit_that_a_script_checks_out_is_the_one_of_the_lock(place):
    old = place.remote()
    world.run("git", "tag", "v1", cwd=place.remotes / "part")
    place.moves_on()
    place.git("clone", "-q", place.url(), "part")
    place.git("-C", "part", "checkout", "-q", "v1")
    place.lock()
    place.git("clone", "-q", place.url(), "part")
    place.git("-C", "part", "checkout", "-q", "v1")
    assert world.head(place.app / "part") == old


def test_submodules_follow_and_those_updated_from_afar_are_put_back(place):
    inner = place.remote("inner")
    place.remote("outer")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "-b", "main", place.url("inner"), "inner")
    world.run("git", *add, cwd=place.remotes / "outer")
    outer = place.moves_on("outer")
    clone = ("-c", "protocol.file.allow=always", "clone", "-q", "--recurse-submodules", place.url("outer"), "outer")
    place.git(*clone)
    place.lock()
    newer = place.moves_on("inner")
    world.run("git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--remote",
              cwd=place.remotes / "outer")  # fmt: skip
    place.moves_on("outer")
    place.git(*clone)
    assert world.head(place.app / "outer") == outer
    assert world.head(place.app / "outer" / "inner") == inner != newer
    place.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--remote", cwd=place.app / "outer")
    assert world.head(place.app / "outer" / "inner") == inner


def test_a_commit_that_was_pushed_away_is_still_fetched_by_its_name(place):
    first = place.remote()
    old = place.moves_on()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    world.run("git", "reset", "-q", "--hard", first, cwd=place.remotes / "part")
    place.moves_on(a__txt="3")
    place.git("clone", "-q", place.url(), "part")
    assert world.head(place.app / "part") == old


def test_a_commit_that_is_gone_fails_the_clone_and_says_so(place):
    first = place.remote()
    old = place.moves_on()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    remote = place.remotes / "part"
    world.run("git", "reset", "-q", "--hard", first, cwd=remote)
    world.run("git", "reflog", "expire", "--expire=now", "--all", cwd=remote)
    world.run("git", "gc", "-q", "--prune=now", cwd=remote)
    for wrapper in (True, False):
        shutil.rmtree(place.app / "part", ignore_errors=True)
        said = place.git("clone", "-q", place.url(), "part", fails=True, wrapper=wrapper)
        assert f"`{place.app}/part` cannot be put at commit {old}, which the lock names" in said
        assert "build without the lock" in said


def test_what_the_lock_does_not_name_is_left_alone(place):
    place.remote()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    place.remote("other")
    newest = place.moves_on("other")
    place.git("clone", "-q", place.url("other"), "elsewhere")
    assert world.head(place.app / "elsewhere") == newest
    assert place.git("--version").startswith("git version")
    assert place.git("rev-parse", "--git-dir", cwd=place.app / "elsewhere") == ".git"
    assert "not a git command" in place.git("nonsense", fails=True)
    assert place.git("-C", "elsewhere", "diff", "--exit-code") == ""


def test_a_clone_that_is_moved_to_its_place_is_known_by_its_url(place):
    first = place.remote()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    newest = place.moves_on()
    place.git("clone", "-q", place.url() + "/", "temporary")
    assert world.head(place.app / "temporary") == first
    place.git("clone", "-q", place.url(), place.home / "outside")
    assert world.head(place.home / "outside") == newest


def test_hooks_of_the_repository_itself_still_run(place):
    place.remote()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    place.git("clone", "-q", place.url(), "part")
    hook = place.app / "part" / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\necho "ran $3" > ran.txt\nexit 7\n')
    hook.chmod(0o755)
    place.git("checkout", "-q", "-b", "more", cwd=place.app / "part", fails=True)
    assert (place.app / "part" / "ran.txt").read_text() == "ran 1\n"


def test_odd_names_stay_names(place, tmp_path):
    odd = "it's $(touch pwned) `here`;*"
    first = place.remote()
    place.git("clone", "-q", place.url(), odd)
    place.lock()
    place.moves_on()
    place.git("clone", "-q", place.url(), odd)
    assert world.head(place.app / odd) == first
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://user:pass@github.com/a/b.git", "https://github.com/a/b"),
        ("git+https://github.com/a/b.git", "https://github.com/a/b"),
        ("https://github.com/a/b/", "https://github.com/a/b"),
        ("https://github.com/a/b.git?x=1#y", "https://github.com/a/b"),
        ("ssh://git:x@github.com/a/b.git", "ssh://git@github.com/a/b"),
        ("git@github.com:a/b.git", "git@github.com:a/b"),
        ("file:///srv/a b", "file:///srv/a b"),
    ],
)
def test_urls_have_one_form_in_python_and_in_the_scripts(place, url, same):
    place.remote()
    place.git("clone", "-q", place.url(), "part")
    place.lock()
    assert canonical(url) == same
    script = '. "$1"; pinned_canonical "$2"'
    assert world.run("sh", "-c", script, "sh", place.pins / "pins.sh", url, cwd=place.home) == same


def test_urls_at_two_commits_are_held_by_their_place_only():
    one, two = ({"path": f"api/x/{at}", "origin": "https://e.org/a.git", "commit": at * 40} for at in "ab")
    assert by_origin({"repositories": [one, two]}) == {}
    assert by_origin({"repositories": [one, one]}) == {"https://e.org/a": "a" * 40}
    source = {"git": "https://e.org/a", "commit": "c" * 40}
    packages = [
        {"name": "n", "version": "1", "source": source},
        {"name": "m", "version": "1", "source": {**source, "revision": "v1"}},
    ]
    assert by_package({"environments": [{"packages": packages}]}) == {
        "https://e.org/a ": "c" * 40,
        "https://e.org/a v1": "c" * 40,
    }


@pytest.mark.parametrize("revision", ["", "@main", "@side"])
@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_packages_from_git_come_at_the_commit_of_the_lock(place, tool, revision, tmp_path):
    world.package_repository(place.remotes / "fromgit", "'first'")
    world.run("git", "branch", "side", cwd=place.remotes / "fromgit")
    env = place.app / "env"

    def install(**more: str) -> str:
        caches = {"UV_CACHE_DIR": str(tmp_path / "cache"), "PIP_CACHE_DIR": str(tmp_path / "pip")}
        variables = world.plain_environment(**caches, VIRTUAL_ENV=str(env), PIP_DISABLE_PIP_VERSION_CHECK="1", **more)
        world.run(UV, "venv", "-q", "--clear", env, cwd=place.home, env=world.plain_environment())
        target = f"git+{place.url('fromgit')}{revision}"
        if tool == "uv":
            world.run(UV, "pip", "install", "-q", target, cwd=place.home, env=variables)
        else:
            world.run(
                sys.executable, "-m", "pip", "--python", env, "install", "-q", target, cwd=place.home, env=variables
            )
        [package] = next(iter(inventory.take(place.home, "x")["environments"]))["packages"]
        return package

    before = install()
    place.lock()
    branch = revision.removeprefix("@") or "main"
    world.run("git", "checkout", "-q", branch, cwd=place.remotes / "fromgit")
    place.moves_on("fromgit", text__txt="'second'")
    world.run("git", "checkout", "-q", "main", cwd=place.remotes / "fromgit")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    path = f"{place.pins / 'bin'}:{os.environ['PATH']}"
    assert install(**git_variables(place.pins), PATH=path) == before
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert install()["source"]["commit"] != before["source"]["commit"]
