"""What commands and steps clone and download."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.dry_run.commands import Command, program
from orchestrator.engine.redaction import redact_url
from orchestrator.plan.needs import Clone, Download

if TYPE_CHECKING:
    from orchestrator.engine.dry_run.records import PlannedStep

_GIT_VALUES: Final = frozenset({"-b", "--branch", "--depth", "-o", "--origin", "-c", "--config", "--filter", "-j",
                                "--jobs", "--reference", "--shallow-since", "-C"})  # fmt: skip
_URL: Final = re.compile(r"https?://\S+")
_FILE_OPTIONS: Final = {  # per program: options that name the file, options that name the folder, options with a value
    "wget": ({"-O", "--output-document"}, {"-P", "--directory-prefix"}, {"--header", "-t", "-T", "-U", "-o"}),
    "curl": ({"-o", "--output"}, {"--output-dir"}, {"-H", "--header", "-A", "-e", "-d", "--data", "-X", "-u"}),
    "aria2c": ({"-o", "--out"}, {"-d", "--dir"}, {"-x", "-s", "-k", "--header"}),
}
_MODEL_REPOSITORY: Final = re.compile(
    r"https://(?:www\.)?huggingface\.co/(?!spaces/|datasets/)([\w.-]+/[\w.-]+?)(?:\.git)?/?$"
)
_MODEL_FILE: Final = re.compile(r"[^/?#]+\.(?:safetensors|ckpt|pth|pt|gguf|bin|onnx|sft)(?=$|[?#])", re.IGNORECASE)
MANAGERS: Final = {
    "npm": {"install", "i", "ci", "add"},
    "pnpm": {"install", "i", "add"},
    "yarn": {"install", "add", ""},
    "bun": {"install", "i", "add"},
}
SYSTEM: Final = {"apt": "apt", "apt-get": "apt", "brew": "brew", "choco": "choco", "winget": "winget"}


def clone_of(command: Command) -> Clone | None:
    """Read a `git clone`; None for any other command."""
    argv = list(command.argv)
    if program(command.argv) != "git":
        return None
    at = 1
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] in _GIT_VALUES else 1
    if argv[at : at + 1] not in (["clone"], ["lfs"]) or (argv[at] == "lfs" and argv[at + 1 : at + 2] != ["clone"]):
        return None
    ref, names = None, []
    words = iter(argv[at + (2 if argv[at] == "lfs" else 1) :])
    for word in words:
        option, sign, value = word.partition("=")
        if option in _GIT_VALUES:
            value = value if sign else next(words, "")
            ref = value if option in {"-b", "--branch"} else ref
        elif not word.startswith("-"):
            names.append(word)
    if not names:
        return None
    folder = names[1] if len(names) > 1 else names[0].rstrip("/").rpartition("/")[2].removesuffix(".git")
    return Clone(redact_url(names[0]), ref, _absolute(command.cwd, folder))


def checkout_of(command: Command) -> str | None:
    """Return the ref that a `git checkout`, `git switch` or `git reset --hard` moves its folder to, None for none."""
    argv = command.argv
    if program(argv) != "git" or argv[1:2] not in (("checkout",), ("switch",), ("reset",)) or "--" in argv:
        return None
    names = [word for word in argv[2:] if not word.startswith("-")]
    if len(names) != 1 or (argv[1] == "reset" and "--hard" not in argv) or names[0] in {".", "HEAD"}:
        return None
    return names[0].removeprefix("origin/")


def models_of_clone(clone: Clone) -> str | None:
    """Return the model repository that a clone brings, None for code, spaces and data sets."""
    found = _MODEL_REPOSITORY.match(clone.url)
    return found[1] if found else None


def downloads_of(command: Command) -> Iterator[Download]:
    """Yield what a command fetches that is neither a clone nor a Python package."""
    argv, name = list(command.argv), program(command.argv)
    if name in _FILE_OPTIONS:
        yield from _files_of(command, name)
    elif name in {"hf", "huggingface-cli"} and argv[1:2] == ["download"]:
        repositories = [word for word in argv[2:3] if not word.startswith("-")]
        target = next((argv[at + 1] for at, word in enumerate(argv[:-1]) if word == "--local-dir"), "")
        yield from (
            Download("huggingface", each, _absolute(command.cwd, target) if target else "") for each in repositories
        )
    elif name == "ollama" and argv[1:2] and argv[1] in {"pull", "run"} and len(argv) > 2:  # noqa: PLR2004  # verb and model
        yield Download("ollama", argv[2])
    elif name in MANAGERS and (argv[1] if len(argv) > 1 else "") in MANAGERS[name]:
        packages = " ".join(word for word in argv[2:] if not word.startswith("-"))
        yield Download("npm", packages or "package.json", command.cwd)
    elif name in SYSTEM and "install" in argv:
        yield Download(SYSTEM[name], " ".join(word for word in argv[argv.index("install") + 1 :] if word[:1] != "-"))
    elif name in {"conda", "mamba", "micromamba"} and {"install", "create"} & set(argv[1:3]):
        yield Download("conda", " ".join(_conda_packages(argv)))


def _files_of(command: Command, name: str) -> Iterator[Download]:
    files, folders, valued = _FILE_OPTIONS[name]
    urls, target, folder = [], "", ""
    words = iter(command.argv[1:])
    for word in words:
        option, sign, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option in files | folders | valued:
            value = value if sign else next(words, "")
            target = value if option in files else target
            folder = value if option in folders else folder
        elif _URL.match(word):
            urls.append(word)
    if name == "curl" and not target and not any(_keeps_name(word) for word in command.argv):
        yield from (Download("file", redact_url(url)) for url in urls)  # what goes to a pipe lands nowhere
        return
    for url in urls:
        last = target or url.partition("?")[0].partition("#")[0].rpartition("/")[2]
        yield Download("file", redact_url(url), _absolute(_absolute(command.cwd, folder), last))


def _keeps_name(word: str) -> bool:
    """Tell whether an option of curl says to name the file as the address does: `-O`, also among others (`-LO`)."""
    return word == "--remote-name" or re.fullmatch(r"-[A-Za-z#]*O[A-Za-z#]*", word) is not None


def _conda_packages(argv: list[str]) -> list[str]:
    packages, words = [], iter(argv[2:])
    for word in words:
        if word in {"-c", "--channel", "-n", "--name", "-p", "--prefix", "-f", "--file"}:
            next(words, "")
        elif not word.startswith("-") and word not in {"install", "create"}:
            packages.append(word)
    return packages


def downloads_of_step(step: PlannedStep) -> Iterator[Download]:
    """Yield what a step fetches by a method of its own (`fs.download`)."""
    params = step.params
    if step.method != "fs.download" or not isinstance(params, Mapping):
        return
    given = params.get("uri", params.get("url"))
    target = params.get("path") or params.get("dir") or ""
    for url in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(url, str):
            yield Download("file", redact_url(url), _absolute(step.cwd, target) if isinstance(target, str) else "")


def models_of(download: Download) -> str | None:
    """Return the model that a download brings, None when it brings none."""
    if download.kind in {"huggingface", "ollama"}:
        return download.what
    found = _MODEL_FILE.search(download.what) if download.kind == "file" else None
    return found[0] if found else None


def _absolute(folder: str, path: Any) -> str:
    return os.path.normpath(os.path.join(folder, path)) if isinstance(path, str) and "\0" not in path else folder  # noqa: PTH118  # nothing on disk is meant
