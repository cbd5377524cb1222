"""ngrok and cloudflared under real supervision, as programs that replay what the real ones wrote."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from orchestrator.expose.tunnels.choosing import choose
from orchestrator.expose.tunnels.fetching import Fetching
from orchestrator.expose.tunnels.probing import Reply, get
from orchestrator.expose.tunnels.provider import Here
from orchestrator.expose.tunnels.supervisor import Effects, State, Tunnel
from tests.expose.tunnels.common import RECORDED
from tests.expose.tunnels.lab import NONCE, QUICKLY, Gate, Watched

SECRET = "SECRETSECRETSECRET"


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    running = await Gate().open()
    yield running
    await running.close()


class Machine:
    """A PATH with fake programs, and a network where every HTTPS host is the gate."""

    def __init__(self, folder: Path, gate: Gate, environ: Mapping[str, str]) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        path = f"{self.bin}:/usr/bin:/bin"
        self.gate = gate
        self.here = Here(
            {"PATH": path, **environ},
            lambda name: shutil.which(name, path=str(self.bin)),
            folder / "gate",
            folder / "programs",
        )

    def install(
        self, name: str, recording: str, *, stream: str = "stderr", stays: bool = True, status: int = 1
    ) -> None:
        """Put a program there that replays a recording, notes how it was called, and stays or ends."""
        arrow = "" if stream == "stdout" else ">&2"
        end = "exec sleep 1000" if stays else f"exit {status}"
        notes = f'echo "$@" >> {self.bin}/{name}.calls\nenv > {self.bin}/{name}.env'
        (self.bin / name).write_text(f"#!/bin/sh\n{notes}\ncat '{RECORDED / recording}' {arrow}\n{end}\n", "utf-8")
        (self.bin / name).chmod(0o755)

    def calls(self, name: str) -> list[str]:
        return (self.bin / f"{name}.calls").read_text("utf-8").splitlines()

    async def get(self, url: str, headers: Mapping[str, str], seconds: float, *, verify: bool = True) -> Reply:
        if url.startswith("https://"):
            url = f"http://127.0.0.1:{self.gate.port}/" + url.split("/", 3)[3]
        return await get(url, headers, seconds, verify=verify)

    def tunnel(self, forced: str | None = None) -> Watched:
        states: list[State] = []
        choice = choose(self.here, forced)
        effects = Effects(provide=Fetching(say=print, table={}).provide, get=self.get)
        tunnel = Tunnel(
            self.gate.port, choice.providers, self.here, nonce=NONCE, told=states.append, effects=effects,
            timing=QUICKLY, caveats=choice.caveats,
        )  # fmt: skip
        tunnel.start()
        return Watched(tunnel, states, [])


async def test_ngrok(tmp_path: Path, gate: Gate):
    machine = Machine(tmp_path, gate, {"NGROK_AUTHTOKEN": SECRET, "HF_TOKEN": "mine"})
    machine.install("ngrok", "ngrok.txt", stream="stdout")
    watched = machine.tunnel()
    try:
        state = await watched.up()
    finally:
        await watched.tunnel.close()
    assert (state.provider, state.url) == ("ngrok", "https://99fd-129.ngrok-free.app")
    assert "warning page" in state.caveat
    (call,) = machine.calls("ngrok")
    assert call.startswith(f"http 127.0.0.1:{gate.port} --log stdout")
    seen = (machine.bin / "ngrok.env").read_text("utf-8")
    assert f"NGROK_AUTHTOKEN={SECRET}" in seen
    assert "HF_TOKEN" not in seen
    assert "web_addr: false\n" in (tmp_path / "gate" / "ngrok.yml").read_text("utf-8")


async def test_a_wrong_token_fails_over_at_once_and_is_never_told(tmp_path: Path, gate: Gate):
    machine = Machine(tmp_path, gate, {"NGROK_AUTHTOKEN": SECRET})
    machine.install("ngrok", "ngrok-bad-token.txt", stream="stdout")
    machine.install("cloudflared", "cloudflared-quick.txt")
    watched = machine.tunnel()
    try:
        state = await watched.up()
    finally:
        await watched.tunnel.close()
    assert (state.provider, state.url) == (
        "cloudflared-quick",
        "https://buffalo-marco-cardiff-motel.trycloudflare.com",
    )
    assert len(machine.calls("ngrok")) == 1
    assert SECRET not in str(watched.states)


async def test_cloudflare_has_no_more_tunnels(tmp_path: Path, gate: Gate):
    machine = Machine(tmp_path, gate, {})
    machine.install("cloudflared", "cloudflared-429.txt", stays=False)
    watched = machine.tunnel("cloudflared")
    try:
        state = await watched.until(lambda state: state.status == "failed")
    finally:
        await watched.tunnel.close()
    assert "no more quick tunnels for now (429)" in state.reason or "failed to unmarshal" in state.reason
    assert len(machine.calls("cloudflared")) == 3


async def test_a_named_tunnel_that_leads_to_another_port(tmp_path: Path, gate: Gate):
    machine = Machine(tmp_path, gate, {"TUNNEL_TOKEN": SECRET})
    machine.install("cloudflared", "cloudflared-named.txt")
    watched = machine.tunnel("cloudflared-named")
    try:
        state = await watched.until(lambda state: state.status == "failed")
    finally:
        await watched.tunnel.close()
    assert f"not to the gate at port {gate.port}" in state.reason
    assert f"http://127.0.0.1:{gate.port}" in state.hint
    assert SECRET not in machine.calls("cloudflared")[0]
