"""Constraints files for uv and pip that make environments come out with the versions of an inventory.

What stands in a package index is held by exact versions. What came from git is held by git itself (`git_pins`): uv and
pip both refuse a constraint `name @ git+URL@commit` beside a requirement `git+URL`, as two URLs for one package. What
came from an archive or a folder is named by the requirement already.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UV: Final = "uv-constraints.txt"
PIP: Final = "pip-constraints.txt"
BUILD: Final = "build-constraints.txt"
# Shown by uv and pip when they look for it in vain, so its name is the message.
OTHERS: Final = "this-environment-is-not-in-the-lock.txt"
# Both uv and pip replace the variable in the names of included files, and leave it as it is where there is none.
_BY_ENVIRONMENT: Final = "by-environment"
_VARIABLE: Final = "${VIRTUAL_ENV}"
# A pip older than this gives its constraints to isolated builds too, which then cannot have the version they ask for.
_PIP_THAT_SEPARATES: Final = (25, 3)
_BUILD_TOOLS: Final = frozenset({
    "setuptools", "wheel", "pip", "setuptools-scm", "cython", "cmake", "ninja", "pybind11", "scikit-build-core",
    "hatchling", "flit-core", "poetry-core", "pdm-backend", "meson", "meson-python", "maturin",
})  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_VERSION = re.compile(r"(?:\d+!)?\d+[A-Za-z0-9.+_-]*\Z")
_GENERATOR = re.compile(r"([A-Za-z0-9._-]+)[ (]+([0-9][A-Za-z0-9.+!-]*)\)?\Z")
_NOTE = "# made from a lock by pinoctl: do not edit\n"

Versions = dict[str, str]


def constraints(inventory: Mapping[str, Any], *, home: Path = Path("/pinokio")) -> dict[str, str]:
    """Return constraints files, name to text, names relative to one folder.

    `uv-constraints.txt` and `pip-constraints.txt` (for UV_CONSTRAINT and PIP_CONSTRAINT) hold what all environments
    agree on. Packages that they do not agree on are held by a file of each environment, which the two include by
    `${VIRTUAL_ENV}`; without that variable, they are only kept between the oldest and the newest version of the lock.
    `environments/<path>.txt` has all packages of one environment. `build-constraints.txt` bounds the build backends
    that wheels made here name; it is missing if there are none. `home` is where the build has its home.
    """
    held = {str(entry["path"]): versions(entry) for entry in inventory.get("environments", [])}
    inner = {path: packages for path, packages in held.items() if not _is_tools(path)}
    shared, disputed = agreement(inner.values())
    # the tools' own environments only say what no environment of the app says
    extra, _ = agreement(packages for path, packages in held.items() if path not in inner)
    shared = {**{name: version for name, version in extra.items() if name not in disputed}, **shared}
    left_out = frozenset() if _pip_separates(inventory) else _BUILD_TOOLS
    include = [f"-c {_BY_ENVIRONMENT}{_VARIABLE}/{OTHERS}"] if disputed else []
    files = {
        UV: _text([*_exact(shared), *include]),
        PIP: _text([*_exact(shared, left_out), *include]),
        **{f"environments/{_file_name(path)}.txt": _text(_exact(packages)) for path, packages in held.items()},
    }
    if disputed:
        for path, packages in held.items():
            chosen = {name: version for name, version in packages.items() if name in disputed}
            files[f"{_BY_ENVIRONMENT}{home / path}/{OTHERS}"] = _text(_exact(chosen, left_out))
        bounds = [
            line for name, kept in sorted(disputed.items()) if name not in left_out for line in _bounds(name, kept)
        ]
        files[f"{_BY_ENVIRONMENT}{_VARIABLE}/{OTHERS}"] = _text(bounds)
    if backends := _backends(inventory):
        files[BUILD] = _text(f"{name}<={version}" for name, version in sorted(backends.items()))
    return files


def versions(environment: Mapping[str, Any]) -> Versions:
    """Return what an environment holds from package indexes: name to exact version.

    Left out: packages from git, archives and folders, what conda installed, and what is there in two versions.
    """
    conda = {(str(package["name"]), str(package["version"])) for package in environment.get("conda", [])}
    found: dict[str, set[str]] = {}
    for package in environment.get("packages", []):
        name, version = str(package["name"]), str(package["version"])
        by_conda = package.get("installer") == "conda" or (name, version) in conda
        if not by_conda and not package.get("source") and _NAME.match(name) and _VERSION.match(version):
            found.setdefault(name, set()).add(version)
    return {name: next(iter(kept)) for name, kept in sorted(found.items()) if len(kept) == 1}


def agreement(held: Iterable[Versions]) -> tuple[Versions, dict[str, set[str]]]:
    """Split packages into those that all environments which have them hold in one version, and the others."""
    every: dict[str, set[str]] = {}
    for packages in held:
        for name, version in packages.items():
            every.setdefault(name, set()).add(version)
    shared = {name: next(iter(kept)) for name, kept in every.items() if len(kept) == 1}
    return shared, {name: kept for name, kept in every.items() if len(kept) > 1}


def version_key(version: str) -> tuple[Any, ...]:
    """Return a key that sorts versions closely enough for bounds: releases by number, what comes before one earlier."""
    epoch, _, rest = version.rpartition("!")
    release = re.match(r"\d+(?:\.\d+)*", rest)
    numbers = tuple(int(part) for part in release[0].split(".")) if release else ()
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    tail = rest[release.end() :] if release else rest
    early = re.match(r"[._-]?(?:dev|a|b|c|rc|alpha|beta|pre)", tail, re.IGNORECASE)
    return (int(epoch or 0), numbers, 0 if early else 1, tail)


def _bounds(name: str, kept: set[str]) -> list[str]:
    # a local version (`+cu128`) cannot stand beside >= or <=
    ordered = [version.partition("+")[0] for version in sorted(kept, key=version_key)]
    if ordered[0] == ordered[-1]:
        return [f"{name}=={ordered[0]}"]
    return [f"{name}>={ordered[0]},<={ordered[-1]}"]


def _exact(packages: Versions, left_out: frozenset[str] = frozenset()) -> list[str]:
    return [f"{name}=={version}" for name, version in sorted(packages.items()) if name not in left_out]


def _text(lines: Iterable[str]) -> str:
    return _NOTE + "".join(f"{line}\n" for line in lines)


def _is_tools(path: str) -> bool:
    return PurePosixPath(path).parts[:1] == ("bin",)


def _file_name(path: str) -> str:
    return path.strip("/").replace("/", "__")


def _pip_separates(inventory: Mapping[str, Any]) -> bool:
    pips = [
        version_key(str(package["version"]))[1]
        for environment in inventory.get("environments", [])
        for package in environment.get("packages", [])
        if package["name"] == "pip"
    ]
    return bool(pips) and min(pips) >= _PIP_THAT_SEPARATES


def _backends(inventory: Mapping[str, Any]) -> Versions:
    found: Versions = {}
    for environment in inventory.get("environments", []):
        for package in environment.get("packages", []):
            said = _GENERATOR.match(str(package.get("built_by", "")))
            if said is None or not _VERSION.match(said[2]):
                continue
            name = "wheel" if said[1] == "bdist_wheel" else said[1].lower().replace("_", "-")
            if name in {"flit", "poetry"}:
                name += "-core"
            if name in _BUILD_TOOLS:
                found[name] = max(said[2], found.get(name, "0"), key=version_key)
    return found
