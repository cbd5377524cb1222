"""The process server of the shells: forks one keeper per shell, and each keeper answers for all that its shell starts.

Run as `python -I -S -X utf8 keeper.py FD`, not imported: it has to start in milliseconds and stay small, so it knows
nothing of the rest. FD is one end of a stream socket pair. Each request is one byte with three descriptors: the control
socket of the new shell, the terminal (slave side), and a pipe that the shell finds as descriptor 9.

A keeper is a child subreaper (Linux `prctl`), so processes that daemonise, change session or drop their environment
still become its children when their parents die, and it can find and kill them all. On its control socket it reads

- first a request: 4 bytes of length, then JSON `{"argv": [...], "env": {...}, "cwd": "..."}`;
- `q`: does any process other than the shell itself live? Answered `others 0` or `others 1`;
- `e`: end the shell and all below it, as the desktop does after a step; what has cut itself loose (a daemon) stays for
  the steps to come and is ours to kill later. Answered `kept` if anything stays, else `gone`;
- `k`: kill everything; the end of the socket (the engine is gone, even by SIGKILL) means the same;

and writes lines: `started PID`, `failed MESSAGE`, `exit STATUS` (of the shell, negative for a signal), `others N`, and
`gone` when no process is left. `left PID...` names processes that it may not kill.
"""

# No imports but cheap ones (pathlib and contextlib are not): it has to start in milliseconds.
# ruff: noqa: PTH112, PTH123, PTH208, SIM105, PERF203, FBT003

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import sys
import termios
import time
from typing import NoReturn

RC_FD = 9
ABOVE = 20  # our descriptors stay clear of what the shell gets
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 5.0  # seconds to go on killing what does not die, for instance processes of another user
TAKEN, ENGINE_GONE = b"t", b"e"
IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ", "SIGXFZ")


def main(server: socket.socket) -> None:
    """Keep one keeper ready, ahead of the request that it will take, until the engine closes its end."""
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are nobody's zombies
    while True:
        listening, telling = os.pipe()
        if os.fork() == 0:
            os.close(listening)
            keep(libc, server, telling)
        os.close(telling)
        said = os.read(listening, 1)
        os.close(listening)
        if said == ENGINE_GONE:
            return


def keep(libc: ctypes.CDLL, server: socket.socket, telling: int) -> NoReturn:
    """Take one request and be the keeper of its shell: start it, report, obey, and leave nothing behind."""
    try:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        waker, wakes = socket.socketpair()
        waker.setblocking(False)
        wakes.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        data, descriptors, _, _ = socket.recv_fds(server, 1, 3)  # Python 3.11 drops the flags it is given
        low, descriptors = descriptors, [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, ABOVE) for each in descriptors]
        for descriptor in low:
            os.close(descriptor)
        server.close()
        try:
            os.write(telling, TAKEN if data else ENGINE_GONE)
        except OSError:
            pass  # the server is gone: the engine will start another
        os.close(telling)
        if len(descriptors) == 3:  # noqa: PLR2004  # the three of the module's docstring
            keeper = Keeper(socket.socket(fileno=descriptors[0]), wakes)
            keeper.start(libc, descriptors[1], descriptors[2])
            keeper.serve()
    finally:
        os._exit(0)


class Keeper:
    """Hold what one keeper knows: its control socket, what wakes it when a child ends, and its shell."""

    def __init__(self, control: socket.socket, wakes: socket.socket) -> None:
        self.control = control
        self.wakes = wakes
        self.shell = 0

    def start(self, libc: ctypes.CDLL, terminal: int, rc: int) -> None:
        """Fork and execute the shell on its terminal."""
        request = json.loads(self.receive(int.from_bytes(self.receive(4), "big")))
        argv = [os.fsencode(word) for word in request["argv"]]
        env = {os.fsencode(name): os.fsencode(value) for name, value in request["env"].items()}
        self.shell = os.fork()
        if self.shell == 0:
            self.become(libc, (terminal, rc), argv, env, os.fsencode(request["cwd"]))
        os.close(terminal)
        os.close(rc)
        self.tell(f"started {self.shell}")

    def become(
        self, libc: ctypes.CDLL, descriptors: tuple[int, int], argv: list[bytes], env: dict[bytes, bytes], cwd: bytes
    ) -> NoReturn:
        """Turn this child into the shell; report why if that fails."""
        terminal, rc = descriptors
        try:
            os.setsid()
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            for descriptor in (0, 1, 2):
                os.dup2(terminal, descriptor)
            os.dup2(rc, RC_FD)
            signal.set_wakeup_fd(-1)
            for name in (*IGNORED_BY_PYTHON, "SIGCHLD", "SIGINT", "SIGHUP", "SIGTERM"):
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # should the keeper itself be killed
            os.chdir(cwd)
            os.execve(argv[0], argv, env)  # noqa: S606  # a shell is what is being started
        except BaseException as error:  # noqa: BLE001  # whatever it is, the engine has to hear of it
            self.tell(f"failed {error}".replace("\n", " "))
        os._exit(127)

    def serve(self) -> None:
        """Answer and reap until nothing lives or the engine wants that."""
        while self.reap():
            ready, _, _ = select.select([self.control, self.wakes], [], [])
            if self.wakes in ready:
                self.wakes.recv(4096)
            if self.control in ready:
                try:
                    commands = self.control.recv(64)
                except OSError:
                    commands = b""
                if not commands or b"k" in commands:
                    self.kill()
                    break
                if b"e" in commands:
                    self.end()
                    if self.reap():
                        self.tell("kept")
                for _ in range(commands.count(b"q")):
                    self.reap()
                    self.tell(f"others {int(self.others())}")
        self.tell("gone")

    def reap(self) -> bool:
        """Collect what died; False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.shell:
                self.tell(f"exit {os.waitstatus_to_exitcode(status)}")

    def others(self) -> bool:
        """Tell whether a process other than the shell lives below us."""
        mine = children(os.getpid())
        if mine is None:
            return any(pid != self.shell for pid in descendants(os.getpid()))
        below = [pid for pid in mine if pid != self.shell] + (children(self.shell) or [])
        return any(alive(pid) for pid in below)

    def kill(self) -> None:
        """Kill everything below, again and again until nothing is left: a process may fork while we look."""
        delay, end = 0.0005, time.monotonic() + PATIENCE
        while self.reap():
            stubborn: list[int] = []
            for pid in descendants(os.getpid()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                except OSError:
                    stubborn.append(pid)
            if time.monotonic() > end:
                self.tell("left " + " ".join(map(str, stubborn)))
                return
            if not self.reap():
                return
            if select.select([self.wakes], [], [], delay)[0]:
                self.wakes.recv(4096)
            delay = min(delay * 2, 0.05)

    def end(self) -> None:
        """Kill the shell and what is below it; each is stopped first, so that none can fork while we look."""
        seen: list[int] = []
        while new := [pid for pid in [self.shell, *descendants(self.shell)] if pid not in seen and alive(pid)]:
            seen += new
            for pid in new:
                self.signal(pid, signal.SIGSTOP)
        for pid in seen:
            self.signal(pid, signal.SIGKILL)
        delay, end = 0.0005, time.monotonic() + PATIENCE
        while self.reap() and any(map(alive, seen)) and time.monotonic() < end:
            if select.select([self.wakes], [], [], delay)[0]:
                self.wakes.recv(4096)
            delay = min(delay * 2, 0.05)

    @staticmethod
    def signal(pid: int, number: int) -> None:
        """Send a signal to a process that may be gone, or not ours to signal."""
        try:
            os.kill(pid, number)
        except OSError:
            pass

    def receive(self, count: int) -> bytes:
        """Read exactly that many bytes."""
        parts = b""
        while len(parts) < count:
            part = self.control.recv(count - len(parts))
            if not part:
                os._exit(0)  # the engine died before there was anything to keep
            parts += part
        return parts

    def tell(self, line: str) -> None:
        """Send a line, unless nobody listens any more."""
        try:
            self.control.sendall(line.encode("utf-8", "replace") + b"\n")
        except OSError:
            pass


def children(pid: int) -> list[int] | None:
    """Return the children of a process, None where the kernel does not list them."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
        except FileNotFoundError:
            if task == str(pid) and os.path.isdir(f"/proc/{pid}/task/{pid}"):
                return None
        except OSError:
            continue
    return found


def alive(pid: int) -> bool:
    """Tell whether a process is more than a zombie."""
    fields = status_of(pid)
    return fields is not None and fields[0] not in (b"Z", b"X")


def status_of(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat from the state on, None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def descendants(root: int) -> list[int]:
    """Return the living processes below one, children before grandchildren."""
    found, look = [], [root]
    while look:
        more = children(look.pop())
        if more is None:
            return scanned_descendants(root)
        more = [pid for pid in more if alive(pid)]
        found += more
        look += more
    return found


def scanned_descendants(root: int) -> list[int]:
    """Return the same from a look at all of /proc."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = status_of(int(name))
            if fields is not None and fields[0] not in (b"Z", b"X"):
                below.setdefault(int(fields[1]), []).append(int(name))
    # a zombie's children have been handed on to us already, so leaving zombies out loses nobody
    found, look = [], [root]
    while look:
        more = below.get(look.pop(), [])
        found += more
        look += more
    return found


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
