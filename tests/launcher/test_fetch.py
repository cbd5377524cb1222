"""Cloning, re-using, linking and removing launchers with a real git."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.repositories import remote_of
from orchestrator.launcher import git
from orchestrator.launcher.fetch import clear_leftovers, fetch, remove
from orchestrator.launcher.names import installed
from orchestrator.launcher.target import parse_target


def up(text, home, **options):
    return fetch(parse_target(text, cwd="/", known=installed(home)), home, **options)


def beside(home):
    return sorted(entry.name for entry in home.api.iterdir() if entry.name.startswith("."))


def test_commands_are_silent_and_separated():
    assert git.clone_command("URL", "/x") == ["git", "clone", "--progress", "--origin", "origin", "--", "URL", "/x"]
    assert git.checkout_command("/x", "v1")[-2:] == ["v1", "--"]
    env = git.git_environment({"GIT_DIR": "/elsewhere", "GIT_CONFIG_GLOBAL": "/mine", "LANG": "de_DE"})
    assert env["GIT_TERMINAL_PROMPT"] == "0"
    assert env["GIT_CONFIG_GLOBAL"] == "/mine"
    assert "GIT_DIR" not in env


def test_clone_then_reuse(home, repository):
    remote = repository()
    lines: list[str] = []
    first = up(remote.url, home, progress=lines.append)
    assert (first.name, first.created, first.ref, first.origin) == ("app", True, "main", remote.url)
    assert first.commit == remote.git("rev-parse", "HEAD")
    assert (home.app("app") / "pinokio.js").is_file()
    assert any("objects" in line for line in lines)
    (home.app("app") / "mine.txt").write_text("kept")
    again = up(remote.url, home)
    assert not again.created
    assert (home.app("app") / "mine.txt").read_text() == "kept"
    assert beside(home) == []


def test_an_installed_app_needs_no_remote(home, repository):
    remote = repository()
    up(remote.url, home)
    remote.path.rename(remote.path.with_name("gone"))
    assert up("APP", home).name == "app"
    assert up(remote.url, home).created is False


def test_refs(home, repository):
    remote = repository()
    first = remote.git("rev-parse", "HEAD")
    remote.git("tag", "v1")
    second = remote.commit("start.js", "")
    remote.git("checkout", "--quiet", "-b", "feature/one")
    third = remote.commit("other.js", "")
    remote.git("checkout", "--quiet", "main")
    assert up(f"{remote.url}@feature/one", home).commit == third
    assert up(f"{remote.url}@v1", home).commit == first
    assert up(f"{remote.url}@main", home).commit == second
    assert up(f"app@{third}", home).commit == third
    assert up(f"app@{third[:8]}", home).commit == third
    fourth = remote.commit("later.js", "")
    assert up(f"app@{fourth}", home).commit == fourth
    assert up("app", home).commit == fourth
    with pytest.raises(BadInputError, match=r"`app` has no branch, tag or commit `nope`"):
        up(f"{remote.url}@nope", home)


def test_an_unknown_ref_leaves_nothing_behind(home, repository):
    with pytest.raises(BadInputError, match="`app` has no branch"):
        up(f"{repository().url}@nope", home)
    assert installed(home) == beside(home) == []


def test_a_checkout_never_overwrites_local_changes(home, repository):
    remote = repository()
    remote.git("tag", "v1")
    remote.commit("pinokio.js", "two")
    up(remote.url, home)
    (home.app("app") / "pinokio.js").write_text("mine")
    with pytest.raises(git.GitError, match="cannot be put at `v1`"):
        up("app@v1", home)
    assert (home.app("app") / "pinokio.js").read_text() == "mine"


def test_another_app_has_the_name(home, repository):
    up(repository("one/app").url, home)
    other = repository("two/App")
    with pytest.raises(BadInputError, match="`app` is taken by the app from") as caught:
        up(other.url, home)
    assert "--name" in (caught.value.hint or "")
    assert up(other.url, home, name="second").name == "second"
    assert up(other.url, home).name == "second"
    assert up(other.url, home, name="third").name == "third"
    assert installed(home) == ["app", "second", "third"]


def test_an_installed_app_once_more_under_another_name(home, repository):
    up(repository().url, home)
    again = up("app", home, name="copy")
    assert (again.name, again.created) == ("copy", True)
    assert installed(home) == ["app", "copy"]


def test_bad_names_are_refused_before_anything_happens(home, repository):
    remote = repository("odd name")
    with pytest.raises(BadInputError, match="can be an app's name"):
        up(remote.url, home)
    with pytest.raises(BadInputError, match="cannot be the name"):
        up(remote.url, home, name="../x")
    assert not home.api.exists()
    assert up(remote.url, home, name="fine").name == "fine"


def test_unknown_names_are_answered_with_close_ones(home, repository):
    up(repository("my-app").url, home)
    with pytest.raises(BadInputError, match="neither installed nor in the catalogue") as caught:
        up("my-apq", home)
    assert "`my-app`" in (caught.value.hint or "")
    with pytest.raises(BadInputError) as caught:
        up("flux-webu", home)
    assert "`flux-webui`" in (caught.value.hint or "")


def test_catalogue_names_are_cloned_through_the_users_configuration(home, repository, own_git_configuration):
    remote = repository("pinokiofactory/flux-webui")
    with own_git_configuration.open("a") as file:
        file.write(f'[url "file://{remote.path.parent.parent}/"]\n\tinsteadOf = https://github.com/\n')
    got = up("Flux-WebUI@main", home)
    assert (got.name, got.origin) == ("flux-webui", "https://github.com/pinokiofactory/flux-webui")
    assert up("git@github.com:PinokioFactory/flux-webui.git", home).created is False
    assert up("pinokiofactory/flux-webui", home).name == "flux-webui"


def test_only_the_owner_may_read_a_token_of_the_url(home, repository, own_git_configuration):
    remote = repository("owner/app")
    with own_git_configuration.open("a") as file:
        file.write(f'[url "{remote.url}"]\n\tinsteadOf = https://me:token@host.invalid/app.git\n')
    fetched = up("https://me:token@host.invalid/app.git", home)
    assert fetched.origin == "https://host.invalid/app.git"
    config = home.app(fetched.name) / ".git" / "config"
    assert "token" in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600


def test_a_missing_repository_is_explained(home, tmp_path):
    with pytest.raises(git.GitError, match="cannot be cloned: there is no such repository"):
        up(f"file://{tmp_path}/nothing", home)
    assert beside(home) == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("fatal: unable to access 'https://x/': Could not resolve host: x", "cannot be reached"),
        ("fatal: could not read Username for 'https://x': terminal prompts disabled", "needs a login"),
        ("remote: Repository not found.\nfatal: repository 'https://x/' not found", "no such repository"),
        ("Cloning...\nfatal: something new from https://me:pw@host/x.", "something new from https://host/x"),
        ("", "git failed"),
    ],
)
def test_reasons(said, why):
    assert why in git.explain(said)[0]


def test_a_missing_git_is_explained(home, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(git.GitError, match="`git` is not on PATH"):
        git.run_git(["git", "version"])


def test_linking_a_folder(home, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    first = up(str(folder), home)
    assert (first.name, first.created, first.source) == ("mine", True, folder)
    inode = home.app("mine").lstat().st_ino
    assert up(str(folder), home).created is False
    assert home.app("mine").lstat().st_ino == inode
    (folder / "start.js").write_text("")
    assert (home.app("mine") / "start.js").is_file()
    assert up(str(folder), home, name="other").name == "other"
    assert up(str(home.app("mine")), home).name == "mine"


def test_a_linked_folder_that_moved_is_linked_again(home, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    up(str(folder), home)
    (tmp_path / "new").mkdir()
    folder.rename(tmp_path / "new" / "mine")
    with pytest.raises(BadInputError, match="which is gone"):
        up("mine", home)
    assert up(str(tmp_path / "new" / "mine"), home).source == tmp_path / "new" / "mine"


def test_folders_that_cannot_be_linked(home, tmp_path):
    for place in ("a/Same", "b/same", "odd name!"):
        (tmp_path / place).mkdir(parents=True)
    up(str(tmp_path / "a" / "Same"), home)
    with pytest.raises(BadInputError, match="`Same` is taken by the folder"):
        up(str(tmp_path / "b" / "same"), home)
    with pytest.raises(BadInputError, match="cannot be the name"):
        up(str(tmp_path / "odd name!"), home)
    assert up(str(tmp_path / "odd name!"), home, name="odd").name == "odd"
    for around in (home.root, tmp_path):
        with pytest.raises(BadInputError, match="holds the Pinokio home"):
            up(str(around), home)


def test_a_folder_inside_the_home_is_used_as_it_is(home):
    (home.app("Own") / "sub").mkdir(parents=True)
    got = up(str(home.app("Own")), home)
    assert (got.app, got.created, got.source) == (home.app("Own"), False, None)
    with pytest.raises(BadInputError, match="inside the app `Own`"):
        up(str(home.app("Own") / "sub"), home)
    with pytest.raises(BadInputError, match="is installed as `Own`"):
        up(str(home.app("Own")), home, name="else")


def test_remotes_are_never_those_of_a_repository_around(home, repository):
    outer = repository("outer")
    outer.git("remote", "add", "origin", "https://example.org/outer")
    (outer.path / "inner").mkdir()
    assert remote_of(outer.path / "inner") is None
    assert git.commit_of(outer.path / "inner") is None


def test_remove(home, repository, tmp_path):
    up(repository().url, home)
    locked = home.app("app") / "cache" / "pkg"
    locked.mkdir(parents=True)
    (locked / "file").write_text("")
    locked.chmod(0o555)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "keep").write_text("")
    up(str(folder), home)
    assert remove(home, "APP")
    assert remove(home, "mine")
    assert not remove(home, "mine")
    assert (folder / "keep").exists()
    assert list(home.api.iterdir()) == []


def test_leftovers_of_the_dead_are_cleared_and_those_of_the_living_kept(home):
    for name in (".fetch-app-11", ".removed-app-x-12", ".fetch-app-13", ".other"):
        (home.api / name / "deep").mkdir(parents=True)
    clear_leftovers(home, alive=lambda pid: pid == 13)
    assert beside(home) == [".fetch-app-13", ".other"]


SLOW_UPLOAD = '#!/bin/sh\nsleep 1000\nexec git-upload-pack "$@"\n'


def test_a_killed_clone_leaves_no_app_and_the_next_one_works(home, repository, tmp_path):
    remote = repository()
    slow = tmp_path / "slow-upload-pack"
    slow.write_text(SLOW_UPLOAD)
    slow.chmod(0o755)
    code = (
        "import sys; from pathlib import Path; from orchestrator.launcher import fetch, git\n"
        "from orchestrator.engine.home import Home\n"
        "from orchestrator.launcher.target import parse_target\n"
        "git.clone_command = lambda url, to: ['git', 'clone', '--upload-pack', sys.argv[3], '--', url, str(to)]\n"
        "fetch.fetch(parse_target(sys.argv[1], cwd='/'), Home(Path(sys.argv[2])))\n"
    )
    command = [sys.executable, "-c", code, remote.url, str(home.root), str(slow)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (home.api.exists() and beside(home)):
            assert time.monotonic() < deadline, "the clone never began"
            time.sleep(0.02)
        temporary = home.api / beside(home)[0]
        assert installed(home) == []
    finally:
        process.kill()
        process.wait()
        _kill_those_in(str(slow))
    assert temporary.exists() or beside(home) == []
    got = up(remote.url, home)
    assert got.created
    assert beside(home) == []


def test_an_interrupt_ends_git(home, repository, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\necho waiting >&2\nsleep 1000\n")
    slow.chmod(0o755)

    def interrupt(_line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        git.run_git([str(slow)], progress=interrupt)


def _kill_those_in(word: str) -> None:
    """Kill what the killed command left running, found by the word only its command line has, until all is gone."""
    while found := _those_in(word):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                group = os.getpgid(pid)
                assert group != os.getpgid(0)
                os.killpg(group, signal.SIGKILL)


def _those_in(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word in (entry / "cmdline").read_bytes().decode("utf-8", "replace"):
                found.append(int(entry.name))
    return found
