"""Git for launchers: pure functions that build command lines, and the one that runs them.

Git sees the caller's configuration and environment (`insteadOf`, proxies, credential helpers, `GIT_CONFIG_GLOBAL`), but
never asks anything. URLs and refs were checked before they come here, and stand behind `--` wherever git allows it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.launcher.target import hide_secrets

if TYPE_CHECKING:
    from pathlib import Path

Progress = Callable[[str], None]

SHORT_COMMIT = 7
UNKNOWN_REF = re.compile(
    r"invalid reference|did not match any|unknown revision|not a tree|unable to read tree|not a valid"
)
# Set by git while it runs a hook; they would turn our git to the repository of that hook.
LEAKED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
REASONS = (
    (r"could not resolve host|could not resolve hostname|network is unreachable|connection (refused|timed out)",
     "the server cannot be reached", "check the address and the network"),
    (r"could not read username|authentication failed|permission denied|terminal prompts disabled|host key verification",
     "it does not exist or needs a login", "check the URL; for a private repository set up git's credentials first"),
    (r"not found|does not exist|does not appear to be a git repository|error: 404",
     "there is no such repository", "check the URL"),
    (r"no space left", "the disk is full", "free some space"),
)  # fmt: skip


class GitError(PinoctlError):
    """Carry what git said when a command failed; `output` is its standard error."""

    def __init__(self, message: str, *, hint: str | None = None, output: str = "") -> None:
        super().__init__(message, hint=hint)
        self.output = output


def clone_command(url: str, folder: str | os.PathLike[str]) -> list[str]:
    """Build the command that clones a repository into a folder that does not exist yet."""
    return ["git", "clone", "--progress", "--origin", "origin", "--", url, os.fspath(folder)]


def in_folder(folder: str | os.PathLike[str], *arguments: str) -> list[str]:
    """Build a command that works on the repository in a folder."""
    return ["git", "-C", os.fspath(folder), *arguments]


def checkout_command(folder: str | os.PathLike[str], ref: str) -> list[str]:
    """Build the command that puts a work tree at a branch (also one only the remote has), tag or commit."""
    return in_folder(folder, "-c", "advice.detachedHead=false", "checkout", "--quiet", ref, "--")


def git_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment git runs in: the caller's, made silent and English so that failures can be told apart."""
    kept = {key: value for key, value in env.items() if key not in LEAKED}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", "LANGUAGE": ""}


def explain(output: str) -> tuple[str, str | None]:
    """Tell from git's standard error why it failed, and what to do."""
    for pattern, why, hint in REASONS:
        if re.search(pattern, output, re.IGNORECASE):
            return why, hint
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    said = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "git failed")
    return hide_secrets(re.sub(r"^(fatal|error): ", "", said)).rstrip("."), None


def run_git(command: Sequence[str], *, env: Mapping[str, str] | None = None, progress: Progress | None = None) -> str:
    """Run git and return its standard output without the last line end.

    `progress` gets each line (or redrawn part of one) of standard error as it comes. Git runs without a controlling
    terminal, so nothing can ask; when we are interrupted, it and its helpers are ended first. Raises GitError.
    """
    try:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=git_environment(os.environ if env is None else env), start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise GitError("`git` is not on PATH, and launchers are git repositories",
                       hint="install it, for example with `apt-get install git`") from None  # fmt: skip
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018  # asked for with PIPE above
    seen = bytearray()
    try:
        with process.stdout, process.stderr:
            pending = b""
            while chunk := os.read(process.stderr.fileno(), 65536):
                seen += chunk
                *lines, pending = re.split(rb"[\r\n]+", pending + chunk)
                for line in lines:
                    if progress is not None and line.strip():
                        progress(hide_secrets(line.decode("utf-8", "replace").rstrip()))
            output = process.stdout.read()
        status = process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if status != 0:
        text = seen.decode("utf-8", "replace")
        why, hint = explain(text)
        raise GitError(f"`git {_verb(command)}` failed: {why}", hint=hint, output=text)
    return output.decode("utf-8", "surrogateescape").rstrip("\n")


def _verb(command: Sequence[str]) -> str:
    known = {"clone", "checkout", "fetch", "pull", "merge", "rev-parse"}
    return next((word for word in command[1:] if word in known), command[-1])


def is_repository(folder: Path) -> bool:
    """Tell whether a folder is the top of a work tree of its own (a folder inside another repository is not)."""
    return (folder / ".git").exists()


def commit_of(folder: Path) -> str | None:
    """Return the commit that a work tree is at, or None when it is no repository or has no commit."""
    return _quiet(in_folder(folder, "rev-parse", "--verify", "--quiet", "HEAD")) if is_repository(folder) else None


def ref_of(folder: Path) -> str | None:
    """Return the branch that a work tree is on, or None."""
    return _quiet(in_folder(folder, "symbolic-ref", "--quiet", "--short", "HEAD")) if is_repository(folder) else None


def check_out(
    folder: Path,
    ref: str,
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Put a work tree at a ref, asking the remote when it is not known here; local changes are never overwritten.

    Nothing happens when the work tree is there already. `name` is the app's for messages. Raises BadInputError when
    nobody knows the ref, GitError when local changes or the network are in the way.
    """
    if ref_of(folder) == ref or (len(ref) >= SHORT_COMMIT and (commit_of(folder) or "").startswith(ref.lower())):
        return
    if _try_checkout(folder, ref, name or folder.name, env):
        return
    run_git(in_folder(folder, "fetch", "--progress", "--tags", "origin"), env=env, progress=progress)
    if re.fullmatch(r"[0-9a-fA-F]{40}", ref):
        with suppress(GitError):  # the server may refuse to hand out single commits; checkout then says so
            run_git(in_folder(folder, "fetch", "--progress", "origin", ref), env=env, progress=progress)
    if not _try_checkout(folder, ref, name or folder.name, env):
        raise BadInputError(
            f"the repository of `{name or folder.name}` has no branch, tag or commit `{ref}`",
            hint="leave the `@ref` out for the default branch",
        )


def _try_checkout(folder: Path, ref: str, name: str, env: Mapping[str, str] | None) -> bool:
    """Check a ref out; tell whether it is known here."""
    try:
        run_git(checkout_command(folder, ref), env=env)
    except GitError as error:
        if UNKNOWN_REF.search(error.output):
            return False
        raise GitError(
            f"`{name}` cannot be put at `{ref}`: {explain(error.output)[0]}",
            hint=f"commit or undo the changes in `{folder}`",
            output=error.output,
        ) from None
    return True


def pull(folder: Path, *, env: Mapping[str, str] | None = None, progress: Progress | None = None) -> bool:
    """Bring a launcher's branch up to date by fast-forward only; tell whether its commit changed."""
    before = commit_of(folder)
    run_git(in_folder(folder, "pull", "--ff-only", "--progress"), env=env, progress=progress)
    return commit_of(folder) != before


def _quiet(command: Sequence[str]) -> str | None:
    try:
        return run_git(command) or None
    except GitError:
        return None
