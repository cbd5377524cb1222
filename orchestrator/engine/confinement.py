"""What the kernel can forbid a sidecar that only plans or evaluates menus, without being root (design, decision 1).

The layers: Landlock (files, TCP, signals), an empty network namespace, resource limits, a clean environment, Node's own
permission model, and the guards in `sidecar/guard.js`. A layer that this host lacks is left out and `layers` says so.
"""

from __future__ import annotations

import ctypes
import glob
import os
import resource
import signal
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIDECAR: Final = str(Path(__file__).parent / "sidecar")
SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TCP_SINCE, SCOPES_SINCE = 4, 6  # versions of Landlock
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
FILES_BY_ABI: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
LIBRARIES: Final = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/usr/share/zoneinfo",
)
FACTS: Final = ("/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/uptime", "/proc/loadavg",
         "/sys/devices/system/cpu", "/etc/localtime", "/dev/urandom", "/dev/random", "/dev/null")  # fmt: skip
LOADERS: Final = ("/lib64/ld-*.so*", "/lib/ld-*.so*", "/lib/*/ld-*.so*")
KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, slots=True)
class Layer:
    """Say whether one layer of confinement works on this host, and why."""

    name: str
    active: bool
    why: str


@dataclass(slots=True)
class Cage:
    """Hold what one confined Node process is started with; `close` after it has started."""

    env: dict[str, str]
    node_options: tuple[str, ...]
    guard: dict[str, Any]
    roots: tuple[str, ...]
    before_exec: Callable[[], None]
    descriptors: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Close the file descriptors that only the child needed."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


@dataclass(frozen=True, slots=True)
class Confinement:
    """Say how a sidecar is confined.

    `roots` are folders it may read besides the home, the apps linked from there, and Node's own files.
    `cpu_seconds` and `memory` (MiB of private writable memory) bound the whole process;
    `without` names layers to leave out, for tests.
    """

    roots: tuple[str, ...] = ()
    cpu_seconds: int = 120
    memory: int = 4096
    without: frozenset[str] = frozenset()

    def prepare(self, node: str, home: str) -> Cage:
        """Build everything that a child needs before it becomes Node; only system calls are left to do there."""
        roots = tuple(dict.fromkeys((*readable(home), *self.roots, *map(os.path.realpath, self.roots))))
        descriptors: list[int] = []
        steps: list[Callable[[], None]] = [_die_with_parent()]
        if "limits" not in self.without:
            steps.append(_limits(self.cpu_seconds, self.memory << 20))
        if "network" not in self.without:
            steps.append(_no_network())
        ruleset = None if "landlock" in self.without else _ruleset(node, roots)
        if ruleset is not None:
            descriptors.append(ruleset)
            steps.append(_restrict(ruleset))

        def before_exec() -> None:
            for step in steps:
                step()

        options: tuple[str, ...] = ("--openssl-config=/dev/null",)  # it would read /etc and end without it
        if "permission" not in self.without:
            folders = dict.fromkeys((*roots, SIDECAR, *clean_environment(home)["PATH"].split(":")))
            options += (
                "--permission",
                *(f"--allow-fs-read={folder}" for folder in folders if folder and "," not in folder),
            )
        guard: dict[str, Any] = {"roots": [*roots, SIDECAR]}
        return Cage(clean_environment(home), options, guard, roots, before_exec, descriptors)


def readable(home: str) -> list[str]:
    """List what a launcher in a home may read: the home, and the folders that apps there are links to."""
    found = [os.path.abspath(home), os.path.realpath(home)]  # noqa: PTH100  # links kept
    try:
        with os.scandir(Path(home) / "api") as entries:
            found += [os.path.realpath(entry.path) for entry in entries if entry.is_symlink() and entry.is_dir()]
    except OSError:
        pass
    return list(dict.fromkeys(found))


def clean_environment(home: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a confined process: where programs are, and the language."""
    environ = os.environ if environ is None else environ
    kept = {name: environ[name] for name in KEPT_VARIABLES if name in environ}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **kept,
        "HOME": home,
        "PINOKIO_HOME": home,
        "NODE_DISABLE_COMPILE_CACHE": "1",
    }


def landlock_abi() -> int:
    """Return the version of Landlock, 0 where the kernel has none or forbids it."""
    version = _libc().syscall(SYS_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return max(0, int(version))


def layers() -> list[Layer]:
    """Report which layers confine a sidecar on this host."""
    abi = landlock_abi()
    reach = [name for since, name in ((1, "files"), (TCP_SINCE, "TCP"), (SCOPES_SINCE, "signals")) if abi >= since]
    landlock = f"ABI {abi} restricts {', '.join(reach)}" if abi else "the kernel has no Landlock, or forbids it"
    network = _works(_no_network(strict=True))
    always = {
        "limits": "CPU time, memory, file size and core dumps",
        "watchdog": "resident memory and wall clock",
        "environment": "only PATH, language and time zone are passed on",
        "permission": "Node's permission model: no child processes, workers or addons",
        "guards": "JavaScript refuses what leaves the app and the home",
    }
    return [
        Layer("landlock", abi > 0, landlock),
        Layer(
            "network", network, "an empty network namespace" if network else "the host does not allow new namespaces"
        ),
        *(Layer(name, active=True, why=why) for name, why in always.items()),
    ]


def _works(step: Callable[[], None]) -> bool:
    try:
        return subprocess.run(["/bin/true"], preexec_fn=step, check=False).returncode == 0  # one system call
    except (OSError, subprocess.SubprocessError):
        return False


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _die_with_parent() -> Callable[[], None]:
    prctl = _libc().prctl
    return lambda: _checked(prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl")


def _limits(cpu_seconds: int, memory: int) -> Callable[[], None]:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_DATA: memory,
    }

    def apply() -> None:
        for limit, value in wanted.items():
            _, hard = resource.getrlimit(limit)
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (bound, bound))

    return apply


def _no_network(*, strict: bool = False) -> Callable[[], None]:
    """Leave the network, and with it the privileges of root, by way of a user namespace where that is allowed."""
    unshare = _libc().unshare

    def apply() -> None:
        if unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 and unshare(CLONE_NEWNET) != 0 and strict:
            raise OSError(ctypes.get_errno(), "unshare")

    return apply


def _restrict(ruleset: int) -> Callable[[], None]:
    libc = _libc()
    prctl, syscall = libc.prctl, libc.syscall

    def apply() -> None:
        _checked(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
        _checked(syscall(SYS_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")

    return apply


def _ruleset(node: str, roots: tuple[str, ...]) -> int | None:
    """Make a Landlock ruleset: read `roots`, Node and its libraries; None where there is no Landlock."""
    abi = landlock_abi()
    if abi == 0:
        return None
    libc = _libc()
    files = FILES_BY_ABI[min(abi, max(FILES_BY_ABI))]
    attributes = struct.pack("=Q", files)
    if abi >= TCP_SINCE:
        attributes += struct.pack("=Q", 0b11)
    if abi >= SCOPES_SINCE:
        attributes += struct.pack("=Q", 0b11)
    ruleset = int(libc.syscall(SYS_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    if ruleset < 0:
        return None
    os.set_inheritable(ruleset, True)  # noqa: FBT003  # positional only
    programs = [
        os.path.realpath(node),
        *(os.path.realpath(found) for pattern in LOADERS for found in glob.glob(pattern)),  # noqa: PTH207  # absolute
    ]
    for path in (*roots, SIDECAR, *LIBRARIES, *FACTS):
        _allow(libc, ruleset, path, READ_FILE | READ_DIR | (WRITE_FILE if path == "/dev/null" else 0))
    for path in programs:
        _allow(libc, ruleset, path, READ_FILE | EXECUTE)
    return ruleset


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112  # a folder's rights are refused on files
            access &= ~READ_DIR
        rule = struct.pack("=Qi", access, descriptor)
        libc.syscall(SYS_ADD_RULE, ruleset, 1, rule, 0)
    finally:
        os.close(descriptor)
