"""A launcher at a lock's commit: the way back from a locked build, also a killed one, and exports beside the app."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from click.testing import CliRunner

from orchestrator.agent.container import HARDWARE
from orchestrator.commands.export import export
from orchestrator.commands.going_back import at_commit, go_back, trial
from orchestrator.commands.locking import MovedError, _refuse_without, given_names, machine_of
from orchestrator.deploy.dockerfile import PINS
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.home import Home
from orchestrator.lock import lock as locks
from orchestrator.places.container import settings
from orchestrator.places.container.reading import launcher_hash
from tests.lock.world import commit, head, repository, run

APP = "shop"
MENU = "module.exports = { title: 'shop', menu: [{ default: true, text: 'Install', href: 'install.js' }] }\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    made = Home(tmp_path / "home")
    made.api.mkdir(parents=True)
    origin = tmp_path / "origin"
    install = "module.exports = { run: [{ method: 'log', params: { text: 'VERSION' } }] }\n"
    repository(origin, pinokio__js=MENU, install__js=install.replace("VERSION", "the first"))
    run("git", "clone", "-q", origin, made.app(APP), cwd=tmp_path)
    commit(origin, install__js=install.replace("VERSION", "the second"))
    run("git", "pull", "-q", cwd=made.app(APP))
    return made


@pytest.fixture
def held(home):
    first = run("git", "rev-parse", "HEAD~1", cwd=home.app(APP))
    with at_commit(home, APP, first) as beside:
        tree = launcher_hash(beside, APP)
    return locks.Lock(
        date=datetime(2025, 3, 1, tzinfo=timezone.utc), app=APP, launcher=locks.Launcher(None, first, tree),
        base=locks.Base("debian:11"), hardware={"gpu": "nvidia", "vram": 24}, captured={"color": "green"},
    )  # fmt: skip


def branch(home):
    return run("git", "symbolic-ref", "--short", "HEAD", cwd=home.app(APP))


def test_a_locked_build_that_is_killed_leaves_the_way_back_for_the_next_command(home, held):
    settings.write(home, APP, settings.Settings(answers={"color": "red"}))
    now, ref = head(home.app(APP)), branch(home)
    child = os.fork()
    if child == 0:
        with trial(home, APP, held, now, say=print):
            settings.write(home, APP, settings.Settings(answers={"color": "green"}))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert head(home.app(APP)) == held.launcher.commit
    go_back(home)
    assert (head(home.app(APP)), branch(home)) == (now, ref)
    assert settings.read(home, APP).answers == {"color": "red"}
    run("git", "checkout", "-q", str(held.launcher.commit), cwd=home.app(APP))
    go_back(home)  # only once: where it is now somebody put it
    assert head(home.app(APP)) == held.launcher.commit


def test_a_locked_build_at_work_is_left_alone_and_one_that_came_to_something_stays(home, held):
    now = head(home.app(APP))
    with trial(home, APP, held, now, say=print) as work:
        go_back(home)
        assert head(home.app(APP)) == held.launcher.commit
        work.keep()
    go_back(home)
    assert head(home.app(APP)) == held.launcher.commit


def exported(home, tmp_path, held, *more):
    file, folder = tmp_path / "lock.json", tmp_path / "export"
    locks.write(file, held)
    words = ["dockerfile", APP, "--lock", str(file), "--output", str(folder), "--home", str(home.root), *more]
    done = CliRunner().invoke(export, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return folder


def test_an_export_has_what_its_lock_says_and_not_what_is_here_now(home, held, tmp_path):
    settings.write(home, APP, settings.Settings(answers={"color": "red"}, base="debian:12"))
    now = head(home.app(APP))
    folder = exported(home, tmp_path, held)
    assert "green" in (folder / "answers.json").read_text()
    machine = folder / "pins" / HARDWARE.relative_to(PINS)
    assert '"nvidia"' in machine.read_text()
    assert "ARG BASE=debian:11\n" in (folder / "Dockerfile").read_text()
    packed = run("tar", "-xOf", folder / "launcher.tar", f"{APP}/install.js", cwd=tmp_path)
    assert "the first" in packed
    assert head(home.app(APP)) == now


def test_an_export_of_another_app_or_launcher_or_with_a_secret_answer_is_refused(home, held, tmp_path):
    with pytest.raises(BadInputError, match="that of `other`"):
        exported(home, tmp_path, replace(held, app="other"))
    with pytest.raises(MovedError):
        exported(home, tmp_path, replace(held, launcher=replace(held.launcher, tree="0" * 64)))
    with pytest.raises(PinoctlError, match="secret answer, `phrase`"):
        exported(home, tmp_path, replace(held, secrets=("phrase",)))
    assert not (tmp_path / "export").exists()


def test_a_secret_that_the_locks_build_had_is_asked_for_before_a_build(held, monkeypatch):
    monkeypatch.setattr("orchestrator.commands.locking.can_ask", lambda: False)
    secret = replace(held, secrets=("phrase",))
    with pytest.raises(BadInputError, match="phrase") as told:
        _refuse_without(secret, given_names([{"color": "green"}], None))
    assert "--answer phrase=VALUE" in str(told.value.hint)
    _refuse_without(secret, given_names([{}, {"phrase": "x"}], None))
    _refuse_without(secret, given_names(None, {"phrase": "x"}))


def test_a_locks_machine_that_cannot_be_is_bad_input(held):
    assert machine_of(held).vram == 24
    with pytest.raises(BadInputError, match="hardware"):
        machine_of(replace(held, hardware={"vram": "much"}))
