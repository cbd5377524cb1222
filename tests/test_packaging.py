"""What is packaged: the wheel's content, that it works by itself, and the lock of the development environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from orchestrator import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = ROOT / "requirements-dev.txt"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def locked() -> list[Requirement]:
    lines = [
        line for line in LOCK.read_text("utf-8").splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    return [Requirement(line) for line in lines]


def on(python: str) -> dict[str, str]:
    """Return a marker environment of Linux with this Python."""
    machine = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}
    return {**default_environment(), **machine, "python_version": python, "python_full_version": f"{python}.9"}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_the_project(python):
    environment = on(python)
    pins = {
        canonicalize_name(pin.name): pin for pin in locked() if pin.marker is None or pin.marker.evaluate(environment)
    }
    wanted = [Requirement(text) for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]
    for need in (need for need in wanted if need.marker is None or need.marker.evaluate(environment)):
        pin = pins.get(canonicalize_name(need.name))
        assert pin is not None, f"`{need}` is not in requirements-dev.txt: run `make lock`"
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert need.specifier.contains(specifier.version), f"`{pin}` does not satisfy `{need}`: run `make lock`"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_each_package_once(python):
    names = [canonicalize_name(pin.name) for pin in locked() if pin.marker is None or pin.marker.evaluate(on(python))]
    assert len(names) == len(set(names))


def test_the_lock_names_no_place():
    """No index, host, file or folder of the machine that wrote it."""
    assert not re.findall(r"https?://|file:|--\w|(?<![\w.])/\w", LOCK.read_text("utf-8"))


def test_the_version_stands_in_one_place():
    assert PROJECT["version"] == __version__
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy, so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "examples/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "uv",
        "build",
        "--quiet",
        "--wheel",
        "--out-dir",
        str(out),
        "--python",
        sys.executable,
        str(source),
    ]
    subprocess.run(command, check=True, env={**os.environ, "UV_SYSTEM_CERTS": "1"})
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.slow
@pytest.mark.network
def test_the_wheel_holds_the_program_and_only_that(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    inside = {name for name in names if ".dist-info/" not in name}
    source = {path.relative_to(ROOT).as_posix() for path in (ROOT / "orchestrator").rglob("*") if path.is_file()}
    source = {name for name in source if "__pycache__" not in name and not name.endswith((".pyc", "/.gitkeep"))}
    assert inside == source | {"cli.py"}
    assert any("/sidecar/" in name and name.endswith(".js") for name in inside)
    assert any(name.endswith("LICENSE") for name in names)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(300)
def test_the_wheel_works_by_itself(wheel, tmp_path):
    """Install it as a user does, and run a script that needs the sidecar and a shell."""
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "HOME": str(tmp_path)}
    environment.pop("PYTHONPATH", None)
    folder = tmp_path / "an environment"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True, env=environment)
    python = str(folder / "bin" / "python")
    subprocess.run(
        [*uv, "pip", "install", "--quiet", "--python", python, "--constraint", str(LOCK), str(wheel)],
        check=True,
        env=environment,
    )
    pinoctl = str(folder / "bin" / "pinoctl")

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [pinoctl, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert call("--version").strip() == f"pinoctl, version {PROJECT['version']}"
    app = tmp_path / "app"
    app.mkdir()
    (app / "hello.json").write_text('{"run": [{"method": "shell.run", "params": {"message": "echo sum {{40 + 2}}"}}]}')
    assert "sum 42" in call("script", "run", str(app / "hello.json"), "--home", str(tmp_path / "home"), "--json")
