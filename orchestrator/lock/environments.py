"""What a Python environment consists of, read from its files: nothing of it is imported or run."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from orchestrator.lock.checkouts import without_credentials

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = 65536  # bytes of METADATA that are read; name and version stand in its first lines
_INFO = re.compile(r"\.(?:dist|egg)-info\Z")


def environment(folder: Path) -> dict[str, Any]:
    """Describe one environment: `kind` (`venv` or `conda`), `python`, `packages`, and `conda` packages if there are.

    Packages are sorted by normalised name, then version.
    """
    conda = conda_packages(folder)
    facts: dict[str, Any] = {
        "kind": "conda" if (folder / "conda-meta").is_dir() else "venv",
        "python": _python(folder, conda),
        "packages": packages(folder),
    }
    return {**facts, "conda": conda} if conda else facts


def normalised(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(folder: Path) -> list[dict[str, Any]]:
    """List what is installed below an environment's `site-packages` folders."""
    found = []
    sites = {path.resolve() for lib in ("lib", "lib64") for path in folder.glob(f"{lib}/python*/site-packages")}
    for site in sorted(sites):
        for entry in site.iterdir():
            if _INFO.search(entry.name) and (fact := _package(entry)):
                found.append(fact)  # noqa: PERF401  # a comprehension would hide the assignment
    return sorted(found, key=lambda fact: (fact["name"], fact["version"]))


def _package(info: Path) -> dict[str, Any] | None:
    metadata = info if info.is_file() else info / ("METADATA" if info.suffix == ".dist-info" else "PKG-INFO")
    try:
        with metadata.open("rb") as file:
            head = file.read(_HEADER).decode("utf-8", "replace").partition("\n\n")[0]
    except OSError:
        return None
    fields = dict(re.findall(r"^(Name|Version):[ \t]*(\S+)[ \t\r]*$", head, re.MULTILINE))
    if "Name" not in fields or "Version" not in fields:
        return None
    fact: dict[str, Any] = {"name": normalised(fields["Name"]), "version": fields["Version"]}
    if info.is_file():
        return fact
    if installer := _text(info / "INSTALLER"):
        fact["installer"] = installer.strip()
    with suppress(OSError):
        fact["record"] = hashlib.sha256((info / "RECORD").read_bytes()).hexdigest()
    if source := _source(info / "direct_url.json"):
        fact["source"] = source
        if "archive" not in source or not source["archive"].endswith(".whl"):
            generator = re.search(r"^Generator:[ \t]*(.+?)[ \t\r]*$", _text(info / "WHEEL") or "", re.MULTILINE)
            if generator:
                fact["built_by"] = generator[1]
    return fact


def _source(file: Path) -> dict[str, Any] | None:
    """Read where a package came from if not from an index (PEP 610): `git` with `commit`, `archive` or `folder`."""
    try:
        said = json.loads(_text(file) or "null")
        source: dict[str, Any]
        url = without_credentials(str(said["url"]))
        if vcs := said.get("vcs_info"):
            source = {str(vcs["vcs"]): url, "commit": str(vcs["commit_id"])}
            if wanted := vcs.get("requested_revision"):
                source["revision"] = str(wanted)
        elif (archive := said.get("archive_info")) is not None:
            sums = archive.get("hashes") or {}
            digest = sums.get("sha256") or str(archive.get("hash") or "").partition("sha256=")[2]
            source = {"archive": url, **({"sha256": str(digest)} if digest else {})}
        elif (local := said.get("dir_info")) is not None:
            source = {"folder": url, **({"editable": True} if local.get("editable") else {})}
        else:
            return None
        if said.get("subdirectory"):
            source["subdirectory"] = str(said["subdirectory"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return source


def conda_packages(folder: Path) -> list[dict[str, str]]:
    """List the packages that conda put into an environment, with build and channel."""
    found = []
    for file in (folder / "conda-meta").glob("*.json"):
        try:
            said = json.loads(file.read_bytes())
            fact = {name: str(said[name]) for name in ("name", "version", "build")}
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if url := said.get("url") or said.get("channel"):
            fact["channel"] = without_credentials(str(url).rpartition("/")[0] if said.get("url") else str(url))
        if digest := said.get("sha256") or said.get("md5"):
            fact["digest"] = str(digest)
        found.append(fact)
    return sorted(found, key=lambda fact: (fact["name"], fact["version"], fact["build"]))


def _python(folder: Path, conda: list[dict[str, str]]) -> str | None:
    for line in (_text(folder / "pyvenv.cfg") or "").splitlines():
        key, _, value = line.partition("=")
        if key.strip().lower() in {"version", "version_info"}:
            # virtualenv writes 3.10.4.final.0
            found = re.match(r"\d+\.\d+(?:\.\d+)?(?:(?:a|b|rc)\d+)?", value.strip())
            return found[0] if found else value.strip()
    return next((fact["version"] for fact in conda if fact["name"] == "python"), None)


def _text(file: Path) -> str | None:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return None
