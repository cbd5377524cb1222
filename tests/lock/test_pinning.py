"""Constraints and variables of a locked build: pure parts, and real installs from an index that moves on."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from orchestrator.engine.environment.assemble import inherited
from orchestrator.engine.errors import BadInputError
from orchestrator.lock import inventory, pinning
from orchestrator.lock.constraints import OTHERS, constraints, version_key
from orchestrator.lock.differences import inventory_differences
from orchestrator.lock.lock import Base, Launcher, Lock
from tests.lock import world

UV = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
LITERAL = f"by-environment${{VIRTUAL_ENV}}/{OTHERS}"


def environment(path: str, *packages: str, **more):
    held = [{"name": name, "version": version} for name, _, version in (each.partition("==") for each in packages)]
    return {"path": path, "kind": "venv", "packages": [*held, *more.pop("others", [])], **more}


def inventory_of(*environments):
    return {"environments": list(environments)}


def lock_of(facts) -> Lock:
    return Lock(datetime(2025, 3, 1, 12, tzinfo=timezone.utc), "x", Launcher(), Base("base"), inventory=facts)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_one_environment_is_held_exactly():
    files = constraints(inventory_of(environment("api/x/env", "torch==2.7.0+cu128", "numpy==1.26.4")))
    assert lines(files["uv-constraints.txt"]) == ["numpy==1.26.4", "torch==2.7.0+cu128"]
    assert files["pip-constraints.txt"] == files["uv-constraints.txt"] == files["environments/api__x__env.txt"]
    assert set(files) == {"uv-constraints.txt", "pip-constraints.txt", "environments/api__x__env.txt"}


def test_what_no_index_has_is_left_out():
    source = {"git": "https://e.org/a", "commit": "a" * 40}
    others = [
        {"name": "vcs", "version": "1", "source": source},
        {"name": "by-conda", "version": "1", "installer": "conda"},
        {"name": "in-conda", "version": "2"},
        {"name": "evil", "version": "1\n--index-url=http://evil"},
        {"name": "--evil", "version": "1"},
        {"name": "twice", "version": "1"},
        {"name": "twice", "version": "2"},
    ]
    conda = [{"name": "in-conda", "version": "2", "build": "h"}]
    files = constraints(inventory_of(environment("api/x/env", "good==1", others=others, conda=conda)))
    assert lines(files["uv-constraints.txt"]) == ["good==1"]


@pytest.mark.parametrize(("pip", "held"), [(["pip==25.3"], True), (["pip==24.0"], False), ([], False)])
def test_an_older_pip_keeps_its_hands_off_build_tools(pip, held):
    files = constraints(inventory_of(environment("api/x/env", "setuptools==65.5.0", "numpy==2.0", *pip)))
    assert ("setuptools==65.5.0" in lines(files["pip-constraints.txt"])) == held
    assert "setuptools==65.5.0" in lines(files["uv-constraints.txt"])
    assert "numpy==2.0" in lines(files["pip-constraints.txt"])


def test_environments_that_disagree_have_files_of_their_own():
    files = constraints(inventory_of(
        environment("api/x/env", "numpy==1.26.4", "same==1"),
        environment("api/x/other/env", "numpy==2.2.0", "same==1"),
    ), home=Path("/home/of"))  # fmt: skip
    assert lines(files["uv-constraints.txt"]) == ["same==1", f"-c {LITERAL}"]
    assert lines(files[f"by-environment/home/of/api/x/env/{OTHERS}"]) == ["numpy==1.26.4"]
    assert lines(files[f"by-environment/home/of/api/x/other/env/{OTHERS}"]) == ["numpy==2.2.0"]
    assert lines(files[LITERAL]) == ["numpy>=1.26.4,<=2.2.0"]


def test_two_builds_of_one_version_agree_on_that():
    files = constraints(inventory_of(environment("api/x/a", "t==2.7.0+cu128"), environment("api/x/b", "t==2.7.0")))
    assert lines(files[LITERAL]) == ["t==2.7.0"]


def test_the_environments_of_tools_never_overrule_the_apps():
    files = constraints(inventory_of(environment("api/x/env", "a==1"), environment("bin/miniforge", "a==2", "b==3")))
    assert lines(files["uv-constraints.txt"]) == ["a==1", "b==3"]


@pytest.mark.parametrize(
    ("built_by", "line"),
    [
        ("setuptools (80.9.0)", "setuptools<=80.9.0"),
        ("bdist_wheel (0.45.1)", "wheel<=0.45.1"),
        ("hatchling 1.27.0", "hatchling<=1.27.0"),
        ("flit 3.12.0", "flit-core<=3.12.0"),
        ("poetry-core 2.1.3", "poetry-core<=2.1.3"),
        ("scikit-build-core 0.11.5", "scikit-build-core<=0.11.5"),
    ],
)
def test_build_backends_are_bounded_by_what_made_wheels_here(built_by, line):
    others = [{"name": "a", "version": "1", "source": {"folder": "/a"}, "built_by": built_by}]
    assert lines(constraints(inventory_of(environment("api/x/env", others=others)))["build-constraints.txt"]) == [line]


def test_versions_sort():
    ordered = ["1.0.dev1", "1.0rc1", "1.0", "1.0.1", "1.2", "1.10", "2.0a1", "2", "1!0.1"]
    assert sorted(sorted(ordered), key=version_key) == ordered


def test_the_variables():
    facts = inventory_of(environment("api/x/env", "pip==26.0", "a==1"))
    found = pinning.environment(lock_of(facts), Path("/pins"), path="/usr/bin")
    assert found["UV_CONSTRAINT"] == "/pins/uv-constraints.txt"
    assert found["PIP_CONSTRAINT"] == "/pins/pip-constraints.txt"
    assert found["PATH"] == "/pins/bin:/usr/bin"
    assert found["npm_config_before"] == found["PIP_UPLOADED_PRIOR_TO"] == "2025-03-01T12:00:01Z"
    assert "UV_BUILD_CONSTRAINT" not in found
    bare = pinning.environment(lock_of(facts), Path("/pins"), dates=False)
    assert not {"PATH", "npm_config_before", "PIP_UPLOADED_PRIOR_TO", "XDG_CONFIG_DIRS"} & bare.keys()
    with pytest.raises(BadInputError, match="has spaces"):
        pinning.files(lock_of(facts), Path("/two words"))


def test_shells_of_scripts_keep_the_variables():
    facts = inventory_of(environment("api/x/env", "pip==26.0", "a==1"))
    found = pinning.environment(lock_of(facts), Path("/pins"), path="/usr/bin", uv="0.13.0")
    assert inherited(found) == found


@pytest.mark.parametrize("packages", [("pip==25.3",), ("pip==26.0", "torch==2.7.0+cu128"), ("a==1",)])
def test_pip_gets_no_date_that_it_would_stumble_over(packages):
    found = pinning.environment(lock_of(inventory_of(environment("api/x/env", *packages))), Path("/pins"))
    assert "PIP_UPLOADED_PRIOR_TO" not in found


@pytest.mark.parametrize(
    ("uv", "packages", "dated"),
    [("0.10.0", (), True), ("0.9.28", (), False), (None, (), False), ("0.13", ("uv==0.8.1",), False),
     ("0.13", ("uv==0.11",), True)],
)  # fmt: skip
def test_uv_gets_no_date_where_one_of_them_would_refuse_the_file(uv, packages, dated):
    lock = lock_of(inventory_of(environment("api/x/env", "a==1", *packages)))
    assert ("XDG_CONFIG_DIRS" in pinning.environment(lock, Path("/pins"), uv=uv)) == dated


class Build:
    """An app's build: a plan of installs, run freely or held by a lock."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.app = self.home / "api" / "x"
        self.pins = folder / "pins"
        self.url = url
        self.held: dict[str, str] = {}

    def begin(self) -> None:
        shutil.rmtree(self.app, ignore_errors=True)
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        self.app.mkdir(parents=True)

    def install(self, tool: str, env: str, *packages: str, activated: bool = True, fails: bool = False) -> str:
        place = self.app / env
        variables = world.plain_environment(**self.held, UV_CACHE_DIR=str(self.folder / "cache"), UV_INDEX_URL=self.url,
                                            PIP_INDEX_URL=self.url, PIP_NO_CACHE_DIR="1",
                                            PIP_DISABLE_PIP_VERSION_CHECK="1")  # fmt: skip
        if not place.exists():
            world.run(UV, "venv", "-q", place, cwd=self.app)
        if activated:
            variables["VIRTUAL_ENV"] = str(place)
        command = (UV, "pip", "install", "-q", "--python", place) if tool == "uv" else (
            sys.executable, "-m", "pip", "--python", place, "install", "-q")  # fmt: skip
        return world.run(*command, *packages, cwd=self.app, env=variables, fails=fails)

    def inventory(self) -> dict:
        return inventory.take(self.home, "x")

    def lock(self) -> dict:
        facts = self.inventory()
        lock = lock_of(facts)
        pinning.write(lock, self.pins, home=self.home)
        self.held = pinning.environment(lock, self.pins, path=os.environ["PATH"], uv="0.13.0")
        return facts

    def versions(self, env: str) -> dict[str, str]:
        [found] = [entry for entry in self.inventory()["environments"] if entry["path"] == f"api/x/{env}"]
        return {package["name"]: package["version"] for package in found["packages"]}


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    world.wheel(folder, "aa", "1.0", requires=("bb",))
    world.wheel(folder, "bb", "1.0+cu1")
    world.wheel(folder, "bb", "1.0")
    return folder


@pytest.fixture
def build(tmp_path, wheels):
    with world.index(wheels) as url:
        yield Build(tmp_path, url)


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_an_index_that_moves_on_changes_nothing(build, wheels, tool):
    build.begin()
    build.install(tool, "env", "aa")
    before = build.lock()
    assert build.versions("env") == {"aa": "1.0", "bb": "1.0+cu1"}
    world.wheel(wheels, "aa", "2.0", requires=("bb", "cc"))
    world.wheel(wheels, "bb", "1.0+cu2")
    world.wheel(wheels, "bb", "3.0")
    world.wheel(wheels, "cc", "1.0")
    build.begin()
    build.install(tool, "env", "aa")
    assert inventory_differences(before, build.inventory()) == []
    build.held = {}
    build.begin()
    build.install(tool, "env", "aa")
    assert [str(each) for each in inventory_differences(before, build.inventory()) if each.kind == "package"] == [
        'package aa in env "api/x/env": 1.0 -> 2.0',
        'package bb in env "api/x/env": 1.0+cu1 -> 3.0',
        'package cc in env "api/x/env": added, 1.0',
    ]


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_two_environments_that_disagree_both_come_out_as_they_were(build, wheels, tool):
    world.wheel(wheels, "aa", "2.0")
    build.begin()
    build.install(tool, "old", "aa<2")
    build.install(tool, "new", "aa")
    before = build.lock()
    world.wheel(wheels, "aa", "1.5")
    world.wheel(wheels, "aa", "2.5")
    build.begin()
    build.install(tool, "old", "aa<2")
    build.install(tool, "new", "aa")
    assert inventory_differences(before, build.inventory()) == []
    build.install(tool, "new", "aa", activated=False)
    said = build.install(tool, "unheard", "aa", fails=True)
    assert "this-environment-is-not-in-the-lock" in said
    build.begin()
    build.install(tool, "old", "aa<2", activated=False)
    build.install(tool, "new", "aa", activated=False)
    assert (build.versions("old")["aa"], build.versions("new")["aa"]) == ("1.5", "2.0"), "the range that is left"


def test_a_requirement_that_the_lock_does_not_allow_fails_and_says_which(build, wheels):
    build.begin()
    build.install("uv", "env", "aa")
    build.lock()
    world.wheel(wheels, "aa", "2.0")
    build.begin()
    assert "aa==1.0" in build.install("uv", "env", "aa>=2", fails=True)


def test_the_date_holds_what_the_lock_does_not(build, wheels):
    """An index without dates offers nothing to uv once there is a date, but for what the lock holds exactly."""
    world.wheel(wheels, "unheard", "1.0")
    build.begin()
    build.install("uv", "env", "aa")
    build.lock()
    build.begin()
    build.install("uv", "env", "aa")
    assert "exclude-newer" in build.install("uv", "env", "unheard", fails=True)
    build.held = pinning.environment(lock_of(build.inventory()), build.pins, dates=False)
    build.install("uv", "env", "unheard")


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Describe every file and link: its mode, and a digest or the link's target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if ".git" in path.relative_to(folder).parts or path.suffix == ".pyc":
            continue
        if path.is_symlink():
            found[name] = (0, str(path.readlink()))
        elif path.is_file():
            found[name] = (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


@pytest.mark.slow
def test_building_twice_from_one_lock_gives_the_same_tree(build, wheels, tmp_path):
    remotes = tmp_path / "remotes"
    world.repository(remotes / "node", requirements__txt="aa\n")
    world.package_repository(remotes / "fromgit", "'first'")

    def steps() -> None:
        build.begin()
        env = world.plain_environment(**build.held)
        world.run("git", "clone", "-q", f"file://{remotes}/node", "node", cwd=build.app, env=env)
        build.install("uv", "env", "-r", "node/requirements.txt", f"fromgit @ git+file://{remotes}/fromgit")
        build.install("uv", "other", "bb")

    steps()
    facts = build.lock()
    first = tree(build.app)
    assert "env/bin/python" in first
    world.wheel(wheels, "bb", "9.0")
    world.wheel(wheels, "aa", "9.0")
    world.commit(remotes / "node", requirements__txt="aa\nbb==9.0\n", more__py="1")
    world.commit(remotes / "fromgit", text__txt="'second'")
    steps()
    assert inventory_differences(facts, build.inventory()) == []
    assert tree(build.app) == first
    build.held = {}
    steps()
    kinds = {each.kind for each in inventory_differences(facts, build.inventory())}
    assert {"repository", "package"} <= kinds
    assert tree(build.app) != first


def test_scripts_are_executable_and_may_be_written_for_elsewhere(tmp_path):
    files = pinning.write(lock_of(inventory_of(environment("api/x/env", "a==1"))), tmp_path, at=Path("/run/pins"))
    modes = {file.relative_to(tmp_path).as_posix(): file.stat().st_mode & 0o777 for file in files}
    assert {name for name, mode in modes.items() if mode == 0o755} == {
        "bin/git", "hooks/post-checkout", "hooks/post-merge", "hooks/post-rewrite",
    }  # fmt: skip
    assert ". /run/pins/pins.sh" in (tmp_path / "bin" / "git").read_text()
