"""What an inventory finds in real repositories, environments and npm trees."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from orchestrator.lock import inventory
from orchestrator.lock.checkouts import checkout, without_credentials
from orchestrator.lock.environments import environment, packages
from tests.lock import world

UV = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.fixture
def app(tmp_path):
    folder = tmp_path / "home" / "api" / "x"
    world.repository(folder, install__js="module.exports = {}", start__js="1")
    return folder


def taken(app, **more):
    return inventory.take(app.parents[1], app.name, **more)


def test_repositories_nested_ones_and_submodules_with_what_was_changed(app, tmp_path):
    part = world.repository(tmp_path / "part", a__txt="1")
    world.run("git", "clone", "-q", tmp_path / "part", app / "app", cwd=tmp_path)
    world.run("git", "remote", "set-url", "origin", "https://me:secret@example.org/part.git?token=1", cwd=app / "app")
    world.run(
        "git",
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        tmp_path / "part",
        "sub",
        cwd=app / "app",
    )
    (app / "start.js").write_text("changed")
    (app / "outputs").mkdir()
    (app / "outputs" / "image.png").write_text("not tracked")
    found = taken(app)["repositories"]
    assert [entry["path"] for entry in found] == ["api/x", "api/x/app", "api/x/app/sub"]
    assert found[0]["dirty"] == ["start.js"]
    assert found[0]["origin"] is None
    assert found[1]["origin"] == "https://example.org/part.git"
    assert found[1]["dirty"] == [".gitmodules"]
    assert found[2] == {
        "path": "api/x/app/sub", "origin": str(tmp_path / "part"), "commit": part, "branch": "main", "dirty": [],
    }  # fmt: skip


def test_renamed_and_odd_names_and_a_detached_head(app):
    (app / "two words\n.txt").write_text("1")
    world.commit(app)
    world.run("git", "checkout", "-q", "--detach", cwd=app)
    world.run("git", "mv", "start.js", "begin now.js", cwd=app)
    (app / "two words\n.txt").write_text("2")
    found = checkout(app)
    assert found["branch"] is None
    assert found["dirty"] == ["begin now.js", "start.js", "two words\n.txt"]


def test_a_commit_is_read_from_files_where_git_refuses(app, monkeypatch):
    commit = world.head(app)
    monkeypatch.setenv("PATH", "/nowhere")
    assert checkout(app)["commit"] == commit
    monkeypatch.undo()
    world.run("git", "pack-refs", "--all", cwd=app)
    monkeypatch.setenv("PATH", "/nowhere")
    assert checkout(app)["commit"] == commit
    assert checkout(app.parent) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_repository_of_another_user_is_read_too(app):
    for path in (app, app / ".git"):
        os.chown(path, 1000, 1000)
    (app / "start.js").write_text("changed")
    [found] = taken(app)["repositories"]
    assert found["dirty"] == ["start.js"]


def test_hooks_and_locks_of_git_are_not_involved(app, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    index = app / ".git" / "index"
    os.utime(app / "start.js", (1, 1))
    before = index.read_bytes()
    assert checkout(app)["dirty"] == []
    assert index.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://user:pass@github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://github.com/a/b?access_token=1#x", "https://github.com/a/b"),
        ("ssh://git:secret@github.com/a/b", "ssh://git@github.com/a/b"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("/srv/a", "/srv/a"),
        ("file:///srv/a", "file:///srv/a"),
    ],
)
def test_credentials_leave_urls(url, clean):
    assert without_credentials(url) == clean


def test_a_real_environment(app, tmp_path):
    wheels = tmp_path / "wheels"
    world.wheel(wheels, "torchy", "2.7.0+cu128", requires=("Small_Thing",))
    world.wheel(wheels, "small_thing", "1.0")
    direct = world.wheel(tmp_path / "direct", "direct", "3.0")
    commit = world.package_repository(tmp_path / "fromgit", "1")
    env = app / "env"
    world.run(UV, "venv", "-q", env, cwd=app)
    install = (UV, "pip", "install", "-q", "--no-index", "--find-links", wheels, "torchy", direct)
    into = world.plain_environment(VIRTUAL_ENV=str(env), UV_CACHE_DIR=str(tmp_path / "cache"))
    world.run(*install, f"fromgit @ git+file://{tmp_path}/fromgit@main", cwd=app, env=into)
    (app / ".python-version").write_text("3.10\n")
    facts = taken(app)
    [found] = facts["environments"]
    assert (found["path"], found["kind"]) == ("api/x/env", "venv")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    named = {package["name"]: package for package in found["packages"]}
    assert list(named) == ["direct", "fromgit", "small-thing", "torchy"]
    assert named["torchy"]["version"] == "2.7.0+cu128"
    assert named["torchy"]["installer"] == "uv"
    record = next(env.glob("lib/python*/site-packages/torchy-*.dist-info/RECORD"))
    assert named["torchy"]["record"] == hashlib.sha256(record.read_bytes()).hexdigest()
    assert "source" not in named["torchy"]
    assert "built_by" not in named["torchy"]
    assert named["direct"]["source"]["archive"] == f"file://{direct}"
    assert named["fromgit"]["source"] == {"git": f"file://{tmp_path}/fromgit", "commit": commit, "revision": "main"}
    assert named["fromgit"]["built_by"] == "setuptools (70.1.0)"
    assert facts["python_versions"] == [{"path": "api/x/.python-version", "python": "3.10"}]
    assert taken(app) == facts


def test_of_what_packages_say_of_themselves_only_the_beginning_is_read(tmp_path):
    site = tmp_path / "lib" / "python3.10" / "site-packages"
    for number in range(200):
        info = site / f"package{number}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: package{number}\nVersion: 1.0\n\n")
        os.truncate(info / "METADATA", 1 << 40)  # a hole, which takes no room on a disk, and more than any memory has
        (info / "RECORD").write_text("a/b.py,sha256=abc,1\n" * 500)
    (tmp_path / "pyvenv.cfg").write_text("version = 3.10.4.final.0\n")
    (tmp_path / "lib64").symlink_to("lib")
    found = environment(tmp_path)
    assert len(found["packages"]) == 200
    assert found["python"] == "3.10.4"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"url": 3}', '{"url": "x", "vcs_info": {"vcs": "git"}}', '{"url": "x"}']
)
def test_a_broken_direct_url_leaves_the_package(tmp_path, text):
    info = tmp_path / "lib" / "python3.11" / "site-packages" / "a-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: A.B\nVersion: 1\n")
    (info / "direct_url.json").write_text(text)
    (info.parent / "broken-2.dist-info").mkdir()
    assert packages(tmp_path) == [{"name": "a-b", "version": "1"}]


def test_conda_environments_and_those_of_the_tools(tmp_path):
    root = tmp_path / "bin" / "miniforge"
    for folder, python in ((root, "3.10.14"), (root / "envs" / "other", "3.11.9")):
        meta = folder / "conda-meta"
        meta.mkdir(parents=True)
        url = f"https://u:p@conda.anaconda.org/conda-forge/linux-64/python-{python}.conda"
        (meta / "python.json").write_text(json.dumps({"name": "python", "version": python, "build": "h1", "url": url}))
        (meta / "broken.json").write_text("{")
        (meta / "history").write_text("")
    found = inventory.take(tmp_path, "none")["environments"]
    assert [(entry["path"], entry["kind"], entry["python"]) for entry in found] == [
        ("bin/miniforge", "conda", "3.10.14"),
        ("bin/miniforge/envs/other", "conda", "3.11.9"),
    ]
    assert found[0]["conda"] == [
        {
            "name": "python",
            "version": "3.10.14",
            "build": "h1",
            "channel": "https://conda.anaconda.org/conda-forge/linux-64",
        }
    ]


def test_npm_trees(app):
    listed = {"": {}, "node_modules/a": {"version": "1.0.0", "resolved": "https://r/a.tgz", "integrity": "sha512-x"},
              "node_modules/a/node_modules/b": {"version": "2.0.0", "dev": True}}  # fmt: skip
    modules = app / "web" / "node_modules"
    modules.mkdir(parents=True)
    (modules / ".package-lock.json").write_text(json.dumps({"packages": listed}))
    (modules / "a").mkdir()
    (modules / "a" / "package-lock.json").write_text("not looked at")
    (app / "web" / "package-lock.json").write_text("{}")
    (app / "web" / "uv.lock").write_text("version = 1")
    facts = taken(app)
    assert [entry["path"] for entry in facts["npm"]] == ["api/x/web/package-lock.json", "api/x/web/node_modules"]
    assert facts["npm"][0]["sha256"] == hashlib.sha256(b"{}").hexdigest()
    assert facts["npm"][1]["packages"] == {
        "node_modules/a": {"version": "1.0.0", "resolved": "https://r/a.tgz", "integrity": "sha512-x"},
        "node_modules/a/node_modules/b": {"version": "2.0.0"},
    }
    assert [entry["path"] for entry in facts["resolved"]] == ["api/x/web/uv.lock"]


def test_downloads_that_are_still_there_printed_by_the_program(app, tmp_path):
    model = app / "models" / "x.bin"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    event = {
        "kind": "download",
        "url": "https://t:o@example.org/x.bin?sig=1",
        "path": str(model),
        "size": 1,
        "status": "done",
    }
    journal = tmp_path / "journal.jsonl"
    gone = {**event, "path": str(app / "gone.bin")}
    journal.write_text("".join(json.dumps(each) + "\n" for each in (event, gone, {"kind": "other"}, [])) + '{"torn')
    command = (sys.executable, "-m", "orchestrator.lock.inventory", "--home", app.parents[1], "--app", "x")
    printed = world.run(*command, "--journal", journal, cwd=Path(__file__).parents[2])
    facts = json.loads(printed)
    assert "\n" not in printed
    assert facts["downloads"] == [{
        "path": "api/x/models/x.bin", "url": "https://example.org/x.bin", "size": 7,
        "sha256": hashlib.sha256(b"weights").hexdigest(),
    }]  # fmt: skip
    assert facts["repositories"][0]["path"] == "api/x"


def test_links_are_not_followed_and_other_roots_are_looked_into(app, tmp_path):
    (app / "loop").symlink_to(app)
    (app / "data").symlink_to(tmp_path)
    other = tmp_path / "other"
    world.repository(other, a__txt="1")
    assert [entry["path"] for entry in taken(app)["repositories"]] == ["api/x"]
    assert [entry["path"] for entry in taken(app, roots=[other])["repositories"]] == ["api/x", str(other)]
