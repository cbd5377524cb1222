"""What a `pip install` of any spelling installs, and from where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.engine.dry_run.commands import Command, program

if TYPE_CHECKING:
    from collections.abc import Iterator

_PYTHON = re.compile(r"python[0-9.]*$")
_PIP = re.compile(r"pip[0-9.]*$")
_WITH_VALUE: Final = frozenset(
    {
        *("-i", "--index-url", "--default-index", "--index", "--extra-index-url", "-f", "--find-links"),
        *("-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints", "--override", "--overrides"),
        *("--torch-backend", "--python", "-p", "--python-version", "--platform", "--prerelease", "--resolution"),
        *("--target", "-t", "--prefix", "--root", "--src", "--log", "--cache-dir", "--config-settings", "--group"),
        *("--no-binary", "--only-binary", "--index-strategy", "--upgrade-package", "-P", "--upgrade-strategy"),
        *("--progress-bar", "--timeout", "--retries", "--trusted-host", "--proxy", "--link-mode", "--exclude-newer"),
        *("--global-option", "--build-option", "--no-build-isolation-package", "--extra"),
    }
)
_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?\s*(.*)$", re.DOTALL)
_WHEEL = re.compile(r"([A-Za-z0-9_.]+)-([^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """Hold one requirement: `name` normalised (PEP 503), `version` the specifier (`==2.7.0`), `url` of direct ones."""

    name: str
    version: str = ""
    url: str = ""

    @property
    def pinned(self) -> str:
        """Return the exact version, "" when the requirement leaves it open."""
        found = re.match(r"={2,3}\s*([^,;*\s]+)$", self.version.split(";")[0].strip())
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class PipInstall:
    """Hold one install: what is named, where from; `indexes` in their order, the main one first when it was given."""

    command: Command
    requirements: tuple[Requirement, ...]
    files: tuple[str, ...] = ()
    index: str = ""
    extra_indexes: tuple[str, ...] = ()
    backend: str = ""
    pre: bool = False
    forced: bool = False
    no_deps: bool = False
    conda: bool = False


def pip_install(command: Command) -> PipInstall | None:
    """Read a command as a `pip install`, `uv pip install`, `python -m pip install`, `uv add`; None for any other."""
    arguments = _arguments(list(command.argv))
    if arguments is None:
        return None
    options: dict[str, list[str]] = {}
    names: list[str] = []
    flags: set[str] = set()
    words = iter(arguments)
    for word in words:
        if word.startswith("-"):
            option, sign, value = word.partition("=")
            if option in _WITH_VALUE:
                options.setdefault(option, []).append(value if sign else next(words, ""))
            else:
                flags.add(option)
                if option in {"-e", "--editable"}:
                    names.append(value if sign else next(words, ""))
        else:
            names.append(word)

    def values(*spelled: str) -> tuple[str, ...]:
        return tuple(value for option in spelled for value in options.get(option, []) if value)

    return PipInstall(
        command=command,
        requirements=tuple(filter(None, map(requirement, names))),
        files=values("-r", "--requirement", "--requirements"),
        index=next(iter(values("-i", "--index-url", "--default-index")), ""),
        extra_indexes=values("--extra-index-url", "--index", "-f", "--find-links"),
        backend=next(iter(values("--torch-backend")), ""),
        pre="--pre" in flags or "allow" in values("--prerelease"),
        forced=bool(flags & {"--force-reinstall", "-I", "--ignore-installed", "--reinstall"}),
        no_deps="--no-deps" in flags,
    )


def _arguments(argv: list[str]) -> list[str] | None:
    """Return what follows `install`, None when this is no install by pip."""
    while argv:
        name = program(tuple(argv))
        if _PIP.fullmatch(name) and len(argv) > 1:
            return argv[2:] if argv[1] == "install" else None
        if _PYTHON.fullmatch(name) and argv[1:3] in (["-m", "pip"], ["-m", "uv"]):
            argv = argv[2:]
        elif name == "uv" and argv[1:2] == ["pip"]:
            argv = argv[1:]
        elif name == "uv" and argv[1:2] == ["add"]:
            return argv[2:]
        elif name == "uv" and argv[1:2] == ["run"]:
            argv = argv[2:]
        else:
            return None
    return None


def requirement(text: str) -> Requirement | None:
    """Read one requirement as the command line or a requirements file has it; None for what is none."""
    text = text.strip().strip("'\"")
    if not text:
        return None
    if re.match(r"(?:git\+|https?://|file:|ssh:)", text):
        return Requirement(_name_of_url(text), url=text)
    found = _NAME.match(text)
    if found is None or text.startswith((".", "/")):
        return Requirement("", url=text) if text.startswith((".", "/")) else None
    rest = found[3].strip()
    if rest.startswith("@"):
        return Requirement(normal(found[1]), url=rest[1:].strip())
    if rest and rest[0] not in "=<>!~;":
        return None if "/" not in rest and "\\" not in rest else Requirement("", url=text)
    return Requirement(normal(found[1]), rest.split(";")[0].strip())


def _name_of_url(url: str) -> str:
    last = url.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")[2]
    wheel = _WHEEL.match(last.replace("%2B", "+").replace("%2b", "+"))
    egg = re.search(r"[#&]egg=([A-Za-z0-9._-]+)", url)
    if egg:
        return normal(egg[1])
    return normal(wheel[1]) if wheel else normal(last.partition("@")[0].removesuffix(".git"))


def normal(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements_in(text: str) -> Iterator[Requirement]:
    """Yield the requirements of a requirements file; options and comments give none."""
    for line in text.replace("\\\n", " ").splitlines():
        wanted = re.sub(r"(?:^|\s)#.*$", "", line).strip()
        if not wanted or wanted.startswith("-"):
            continue
        found = requirement(wanted)
        if found is not None:
            yield found


def index_options(text: str) -> list[str]:
    """Return the indexes that a requirements file names (`--index-url`, `--extra-index-url`, `-f`)."""
    return [found[1] for found in re.finditer(
        r"^\s*(?:-i|--index-url|--extra-index-url|-f|--find-links)[=\s]+(\S+)", text, re.MULTILINE)]  # fmt: skip
