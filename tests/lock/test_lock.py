"""The lock as a document, and what two of them differ in."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.lock import lock as document
from orchestrator.lock.differences import Difference, differences, inventory_differences, wanting
from orchestrator.lock.lock import Base, Launcher, Lock

A, B = "a" * 40, "b" * 40
VCS = "1 from git https://e.org/v at"
INVENTORY = {
    "repositories": [
        {"path": "api/x/app", "origin": "https://e.org/a", "commit": A, "branch": "main", "dirty": ["a.py"]}
    ],
    "environments": [
        {
            "path": "api/x/env",
            "kind": "venv",
            "python": "3.10.4",
            "packages": [
                {"name": "torch", "version": "2.7.0", "record": "c" * 64, "installer": "uv"},
                {"name": "vcs", "version": "1", "source": {"git": "https://e.org/v", "commit": A}, "built_by": "x (1)"},
            ],
            "conda": [{"name": "ffmpeg", "version": "7", "build": "h1", "channel": "conda-forge"}],
        }
    ],
    "npm": [
        {"path": "api/x/package-lock.json", "sha256": "d" * 64},
        {"path": "api/x/node_modules", "sha256": "e" * 64, "packages": {"node_modules/a": {"version": "1.0.0"}}},
    ],
    "resolved": [{"path": "api/x/uv.lock", "sha256": "f" * 64}],
    "python_versions": [{"path": "api/x/.python-version", "python": "3.10"}],
    "downloads": [{"path": "models/x.bin", "url": "https://e.org/x.bin", "size": 1, "sha256": "1" * 64}],
}
LOCK = Lock(
    date=datetime(2025, 3, 1, 12, 0, 5, 999, tzinfo=timezone.utc),
    app="x",
    launcher=Launcher(origin="https://e.org/x", commit=A),
    base=Base("pinoctl-base:1", "sha256:" + "2" * 64, "recipe1"),
    hardware={"gpu": "nvidia", "vram": 24},
    captured={"port": 7860},
    scripts=("k1", "k2"),
    inventory=INVENTORY,
)


def test_a_lock_survives_its_file_and_the_file_is_stable(tmp_path):
    file = tmp_path / "deep" / document.FILE_NAME
    document.write(file, LOCK)
    first = file.read_bytes()
    read = document.read(file.parent)
    assert read == LOCK
    assert read.date == datetime(2025, 3, 1, 12, 0, 5, tzinfo=timezone.utc)
    document.write(file, read)
    assert file.read_bytes() == first
    assert first.endswith(b"}\n")
    assert json.loads(first)["date"] == "2025-03-01T12:00:05Z"
    assert [path.name for path in file.parent.iterdir()] == [document.FILE_NAME]


@pytest.mark.parametrize("where", ["", "file/lock.json", "/proc/nope/lock.json"])
def test_where_no_lock_can_be_written_that_is_told_before_the_work(tmp_path, where):
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be written") as told:
        document.check_target(tmp_path / where)
    assert "--lock FILE" in str(told.value.hint)
    document.check_target(tmp_path / "deep" / "lock.json")
    assert list((tmp_path / "deep").iterdir()) == []


def test_what_is_nested_too_deeply_is_no_lock(tmp_path):
    (tmp_path / "lock.json").write_text("[" * 200_000)
    with pytest.raises(BadInputError, match="is not JSON"):
        document.read(tmp_path / "lock.json")


def test_the_names_of_secret_answers_are_texts():
    assert Lock.from_json(replace(LOCK, secrets=("phrase",)).to_json()).secrets == ("phrase",)
    with pytest.raises(BadInputError, match="`secrets`"):
        Lock.from_json({**LOCK.to_json(), "secrets": {"phrase": "x"}})


def test_dates_become_utc():
    east = LOCK.date.astimezone(timezone(timedelta(hours=5)))
    assert replace(LOCK, date=east).to_json() == LOCK.to_json()
    with pytest.raises(ValueError, match="time zone"):
        replace(LOCK, date=datetime(2025, 1, 1))  # noqa: DTZ001  # that is the point


def altered(*path, to):
    data = copy.deepcopy(LOCK.to_json())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "not a JSON object"),
        (altered("version", to=9), "version `9`"),
        (altered("version", to=None), "version `None`"),
        (altered("date", to="yesterday"), "`date` of the lock is `yesterday`"),
        (altered("date", to="2025-01-01T00:00:00"), "not a time such as"),
        (altered("app", to=None), "`app` of the lock is missing"),
        (altered("base", to={}), "`base.reference` of the lock is missing"),
        (altered("launcher", "commit", to=1), "`launcher.commit` of the lock is not a text"),
        (altered("scripts", to="k"), "`scripts`"),
        (altered("hardware", to=[]), "`hardware` of the lock is not an object"),
        (altered("inventory", "repositories", to={}), "`inventory.repositories` of the lock is not a list"),
        (altered("inventory", "repositories", 0, to=1), "`inventory.repositories[0]` of the lock is not an object"),
        (altered("inventory", "repositories", 0, "commit", to="main"), "not a commit: `main`"),
        (altered("inventory", "repositories", 0, "origin", to=4), "repositories[0].origin"),
        (altered("inventory", "repositories", 0, "path", to="api/../../etc"), "leads out of the home"),
        (altered("inventory", "environments", 0, "packages", to=3), "packages` of the lock is not a list"),
        (altered("inventory", "environments", 0, "packages", 0, to=3), "packages[0]` of the lock is not an object"),
        (altered("inventory", "environments", 0, "packages", 0, "version", to=3), "packages[0].version` of the lock"),
        (altered("inventory", "environments", 0, "packages", 1, "source", to="u"), "packages[1].source` of the lock"),
        (altered("inventory", "npm", 1, "packages", to=[]), "npm[1].packages` of the lock"),
        (altered("inventory", "downloads", 0, "sha256", to=None), "downloads[0].sha256` of the lock is missing"),
    ],
)
def test_what_is_wrong_with_a_lock_is_named(data, says):
    with pytest.raises(BadInputError) as caught:
        Lock.from_json(data)
    assert says in str(caught.value)
    assert caught.value.hint


def test_files_that_are_no_locks(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read"):
        document.read(tmp_path)
    (tmp_path / document.FILE_NAME).write_text("{")
    with pytest.raises(BadInputError, match="is not JSON"):
        document.read(tmp_path)
    (tmp_path / document.FILE_NAME).write_text("{}")
    with pytest.raises(BadInputError, match=r"cannot be used: the lock has version"):
        document.read(tmp_path)


def changed(*path, to):
    return Lock.from_json(altered(*path, to=to))


def test_the_same_lock_at_another_time_differs_in_nothing():
    assert differences(LOCK, replace(LOCK, date=LOCK.date + timedelta(days=1))) == []


@pytest.mark.parametrize(
    ("new", "lines"),
    [
        (changed("app", to="y"), ["app: x -> y"]),
        (changed("base", "recipe", to="recipe2"), ["base image: pinoctl-base:1 (recipe1) -> pinoctl-base:1 (recipe2)"]),
        (changed("base", "id", to="another engine"), []),
        (changed("launcher", "commit", to=B), [f"launcher commit: {A[:12]} -> {B[:12]}"]),
        (changed("hardware", "vram", to=8), ["hardware vram: 24 -> 8"]),
        (changed("captured", to={}), ["captured value port: removed, was 7860"]),
        (changed("scripts", to=["k1", "other", "k3"]), ["step 2: k2 -> other"]),
        (changed("scripts", to=["k1"]), ["number of steps: 2 -> 1"]),
        (changed("inventory", "repositories", 0, "commit", to=B),
         [f"repository api/x/app: commit: {A[:12]} -> {B[:12]}"]),
        (changed("inventory", "repositories", 0, "branch", to="dev"), ["repository api/x/app: branch: main -> dev"]),
        (changed("inventory", "repositories", 0, "branch", to=None), []),
        (changed("inventory", "repositories", to=[]), [f"repository api/x/app: removed, was commit {A[:12]}"]),
        (changed("inventory", "repositories", 0, "dirty", to=["b.py"]),
         ["repository api/x/app: a.py: changed -> as committed",
          "repository api/x/app: b.py: as committed -> changed"]),
        (changed("inventory", "environments", 0, "python", to="3.11"),
         ['python of env "api/x/env": 3.10.4 -> 3.11']),
        (changed("inventory", "environments", to=[]), ['environment "api/x/env": removed, was Python 3.10.4']),
        (changed("inventory", "environments", 0, "packages", 0, "version", to="2.7.1"),
         ['package torch in env "api/x/env": 2.7.0 -> 2.7.1']),
        (changed("inventory", "environments", 0, "packages", 0, "record", to="9" * 64),
         [f'package torch in env "api/x/env": files: {"c" * 12} -> {"9" * 12}']),
        (changed("inventory", "environments", 0, "packages", 1, "source", "commit", to=B),
         [f'package vcs in env "api/x/env": {VCS} {A[:12]} -> {VCS} {B[:12]}']),
        (changed("inventory", "environments", 0, "packages", 1, "built_by", to="x (2)"),
         ['package vcs in env "api/x/env": built by: x (1) -> x (2)']),
        (changed("inventory", "environments", 0, "conda", 0, "build", to="h2"),
         ['conda package ffmpeg in env "api/x/env": 7 h1 from conda-forge -> 7 h2 from conda-forge']),
        (changed("inventory", "npm", 1, "packages", "node_modules/a", "version", to="1.1.0"),
         ["npm package in api/x/node_modules node_modules/a: 1.0.0 -> 1.1.0"]),
        (changed("inventory", "npm", 0, "sha256", to="0" * 64),
         [f"api/x/package-lock.json: sha256 {'d' * 12} -> sha256 {'0' * 12}"]),
        (changed("inventory", "resolved", to=[]), [f"api/x/uv.lock: removed, was {'f' * 12}"]),
        (changed("inventory", "python_versions", 0, "python", to="3.12"), ["api/x/.python-version: 3.10 -> 3.12"]),
        (changed("inventory", "downloads", 0, "sha256", to="3" * 64),
         [f"download models/x.bin: sha256 {'1' * 12} -> sha256 {'3' * 12}"]),
    ],
)  # fmt: skip
def test_differences_are_named(new, lines):
    found = differences(LOCK, new)
    assert [str(each) for each in found] == lines
    back = differences(new, LOCK)
    assert [(each.old, each.new) for each in back] == [(each.new, each.old) for each in found]


def test_added_packages_and_two_copies_of_one():
    new = copy.deepcopy(INVENTORY)
    packages = new["environments"][0]["packages"]
    packages += [{"name": "added", "version": "1"}, {"name": "torch", "version": "2.6.0"}]
    assert inventory_differences(INVENTORY, new) == [
        Difference("package", 'package added in env "api/x/env"', None, "1"),
        Difference("package", 'package torch in env "api/x/env"', "2.7.0", "2.7.0, 2.6.0"),
    ]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("there is no version of torch==2.7.0 and you require torch==2.7.0, so", ["package torch==2.7.0"]),
        ("No matching distribution found for torch==2.7.0 (from versions: 2.8)", ["package torch==2.7.0"]),
        (
            f"`/pinokio/api/x/app` cannot be put at commit {A}, which the lock names",
            ["repository api/x/app: commit aaaaaaaaaaaa"],
        ),
        ("torch==2.7.0.post1 and ntorch==2.7.0 are others", []),
        ("", []),
    ],
)
def test_what_a_failed_step_asked_for_in_vain_is_named(said, named):
    assert wanting(LOCK, said) == named
