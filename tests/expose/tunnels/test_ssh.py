"""Tunnels by SSH, with a real client: to OpenSSH's server and to asyncssh's, killed and cut in every way."""

# ruff: noqa: ASYNC110, ASYNC240  # /proc and small files never wait

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncssh
import pytest

from orchestrator.expose.tunnels.provider import Here
from orchestrator.expose.tunnels.ssh import Ssh
from tests.expose.tunnels.lab import SSHD, Gate, Sshd, descendants, use, watched, words
from tests.expose.world import free_port

needs_sshd = pytest.mark.skipif(SSHD is None or os.getuid() != 0, reason="needs OpenSSH's server, and root to run it")


def machine(tmp_path: Path) -> Here:
    return Here(dict(os.environ), shutil.which, tmp_path / "gate", tmp_path / "programs")


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    running = await Gate().open()
    yield running
    await running.close()


@pytest.fixture
def remote() -> int:
    return free_port()


@pytest.fixture
def sshd(tmp_path: Path, remote: int) -> Iterator[Sshd]:
    """A server that prints a URL as localhost.run does; what it forwards is found on the port of that URL."""
    (tmp_path / "gate").mkdir(mode=0o700)
    banner = (
        "Welcome to localhost.run!\nFollow us at https://twitter.example\n"
        f"abc.lhr.life tunneled with tls termination, http://127.0.0.1:{remote}\n"
    )
    server = Sshd(tmp_path, banner).prepare(tmp_path / "gate" / "tunnel_key")
    server.start()
    yield server
    server.stop()


def service(server: Sshd, remote: int) -> Ssh:
    return Ssh("lab", "127.0.0.1", server.user, server.port, remote, ends=())


def client_of(_gate: Gate) -> int:
    """Find the ssh that this process runs."""
    for pid in descendants(os.getpid()):
        if words(pid)[0].endswith(b"/ssh"):
            return pid
    raise AssertionError("there is no ssh below us")


@needs_sshd
@pytest.mark.slow
async def test_everything_works_through_it(tmp_path: Path, gate: Gate, sshd: Sshd, remote: int):
    async with watched(gate, [service(sshd, remote)], machine(tmp_path)) as tunnel:
        state = await tunnel.up()
        assert state.url == f"http://127.0.0.1:{remote}"
        await use(state.url)
        pid = client_of(gate)
        assert (tmp_path / "gate" / "known_hosts").read_text("utf-8").startswith("[127.0.0.1]:")
    assert not Path(f"/proc/{pid}").exists()


@needs_sshd
@pytest.mark.slow
async def test_a_killed_client_returns(tmp_path: Path, gate: Gate, sshd: Sshd, remote: int):
    async with watched(gate, [service(sshd, remote)], machine(tmp_path)) as tunnel:
        await tunnel.up()
        os.kill(client_of(gate), signal.SIGKILL)
        down = await tunnel.not_up()
        assert down.status == "reconnecting"
        await use((await tunnel.up()).url, size=1024)


@needs_sshd
@pytest.mark.slow
async def test_a_killed_server_returns(tmp_path: Path, gate: Gate, sshd: Sshd, remote: int):
    async with watched(gate, [service(sshd, remote)], machine(tmp_path)) as tunnel:
        await tunnel.up()
        sshd.stop()
        down = await tunnel.until(lambda state: state.status == "failed")
        assert "Connection refused" in down.reason
        sshd.start()
        await use((await tunnel.up()).url, size=1024)


@needs_sshd
@pytest.mark.slow
async def test_a_gate_that_was_away_needs_no_new_tunnel(tmp_path: Path, gate: Gate, sshd: Sshd, remote: int):
    async with watched(gate, [service(sshd, remote)], machine(tmp_path)) as tunnel:
        await tunnel.up()
        pid = client_of(gate)
        await gate.close()
        refused = "the gate does not answer: cannot connect: Connection refused"
        await tunnel.until(lambda state: state.reason == refused)
        await gate.open()
        await tunnel.up()
        assert client_of(gate) == pid


@needs_sshd
@pytest.mark.slow
async def test_a_host_with_another_key_is_refused(tmp_path: Path, gate: Gate, sshd: Sshd, remote: int):
    key = (tmp_path / "gate" / "tunnel_key.pub").read_text("utf-8").split()
    (tmp_path / "gate" / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key[0]} {key[1]}\n", "utf-8")
    async with watched(gate, [service(sshd, remote)], machine(tmp_path)) as tunnel:
        state = await tunnel.until(lambda state: state.status == "failed")
        assert "the host's key is another one than before" in state.reason
        assert "ssh-keygen -R" in state.hint


@needs_sshd
@pytest.mark.slow
async def test_a_host_of_the_users_gives_a_port(tmp_path: Path, gate: Gate):
    home = tmp_path / "home" / ".ssh"
    server = Sshd(tmp_path).prepare(home / "id_ed25519")
    server.start()
    try:
        provider = Ssh("ssh:lab", "127.0.0.1", server.user, server.port, remote=0, session=False, stranger=False)
        here = machine(tmp_path)
        # ssh takes the user's home from the password database, whatever HOME says; so an agent has the key
        agent = await asyncio.create_subprocess_exec(
            "ssh-agent", "-D", "-a", str(tmp_path / "agent"), stdout=asyncio.subprocess.DEVNULL
        )
        here = Here({**here.environ, "SSH_AUTH_SOCK": str(tmp_path / "agent")}, here.which, here.folder, here.programs)
        adding = ("ssh-add", "-q", str(home / "id_ed25519"))
        add = functools.partial(subprocess.run, adding, env=dict(here.environ), stderr=subprocess.DEVNULL, check=False)
        while (await asyncio.to_thread(add)).returncode:  # the agent's socket is there before anybody listens at it
            await asyncio.sleep(0.01)
        (tmp_path / "gate").mkdir()
        async with watched(gate, [provider], here) as tunnel:
            state = await tunnel.up()
            assert state.url.startswith("http://127.0.0.1:")
            await use(state.url, size=1024)
        agent.terminate()
        await agent.wait()
    finally:
        server.stop()


class Anyone(asyncssh.SSHServer):
    """Lets everyone in and forwards whatever they like."""

    def begin_auth(self, username: str) -> bool:
        return False

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return True


async def test_a_service_that_asks_nobody(tmp_path: Path, gate: Gate, remote: int):
    async def session(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write(f"\x1b[32mForwarding HTTP traffic from http://127.0.0.1:{remote}\x1b[0m\r\n")
        await process.stdin.read()

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Anyone,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        process_factory=session,
    )
    provider = Ssh("lab", "127.0.0.1", "nokey", server.sockets[0].getsockname()[1], remote)
    try:
        async with watched(gate, [provider], machine(tmp_path)) as tunnel:
            await use((await tunnel.up()).url, size=1024)
            assert (tmp_path / "gate" / "tunnel_key").stat().st_mode & 0o077 == 0
    finally:
        server.close()
        await server.wait_closed()
