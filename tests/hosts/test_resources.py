"""Disks, the room an app needs, cards by name, and which services answer."""

from __future__ import annotations

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.hosts.resources.cards import CARDS, find_card, load_hardware, names
from orchestrator.hosts.resources.network import head, look_round
from orchestrator.hosts.resources.resources import detect_resources, disk_of, free_at
from orchestrator.hosts.resources.room import INSTALLED, NEW, check_room, size
from orchestrator.torch.matrix import capability_of


def stat(path):
    free = 7 if str(path).endswith("big") else 3
    return SimpleNamespace(f_bavail=free, f_frsize=1 << 30, f_blocks=free * 2)


def test_the_mount_that_holds_a_folder(tmp_path):
    (tmp_path / "big").mkdir()
    mounts = {"/": "ext4", str(tmp_path): "overlay", str(tmp_path / "big"): "xfs", str(tmp_path / "bi"): "wrong"}
    found = disk_of(tmp_path / "big" / "not" / "yet", mounts, stat)
    assert found is not None
    assert (found.path, found.kind, found.free >> 30, found.total >> 30) == (str(tmp_path / "big"), "xfs", 7, 14)


def test_a_disk_nobody_can_ask(tmp_path):
    def refuse(_):
        raise OSError(5, "input/output error")

    assert disk_of(tmp_path, {}, refuse) is None


def test_disks_of_this_machine(tmp_path):
    found = detect_resources(tmp_path, others=(tmp_path / "same", Path("/proc")))
    assert found.disks[0].free == pytest.approx(os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize, rel=0.05)
    assert [disk.path for disk in found.disks].count(found.disks[0].path) == 1
    assert found.to_json()["disks"][0]["total"] >= found.disks[0].free
    assert free_at(tmp_path / "not there") == pytest.approx(found.disks[0].free, rel=0.05)


@pytest.mark.parametrize(
    ("free", "installed", "needed", "enough"),
    [
        (NEW, False, None, True),
        (NEW - 1, False, None, False),
        (NEW, False, 8 * 10**9, False),
        (9 * 10**9, False, 8 * 10**9, True),
        (INSTALLED, True, 8 * 10**9, True),
        (INSTALLED - 1, True, None, False),
        (None, False, 8 * 10**9, True),
    ],
)
def test_room(free, installed, needed, enough):
    if enough:
        check_room(Path("/home"), free, app="app", installed=installed, needed=needed)
        return
    with pytest.raises(PinoctlError, match=r"there is not enough disk to (install|start) `app`") as caught:
        check_room(Path("/home"), free, app="app", installed=installed, needed=needed)
    assert "--home" in (caught.value.hint or "")


@pytest.mark.parametrize(("number", "text"), [(7.5e9, "7.5 GB"), (200e6, "200.0 MB"), (0, "0 kB")])
def test_sizes(number, text):
    assert size(number) == text


@pytest.mark.parametrize("name", ["rtx4090", "RTX 4090", "4090", "geforce rtx-4090", "NVIDIA GeForce RTX 4090"])
def test_a_card_in_any_spelling(name):
    found = find_card(name)
    assert found is not None
    assert (found.gpu, found.vram, found.gpu_target, found.gpus[0].name) == (
        "nvidia",
        24,
        "sm_89",
        "nvidia corporation",
    )
    assert found.gpu_model == "nvidia geforce rtx 4090"


@pytest.mark.parametrize("name", names())
def test_every_card_of_the_table(name):
    found = find_card(name)
    assert found is not None
    if name != "none":
        assert capability_of(found.gpu_target) is not None
        assert found.vram == CARDS[name].vram


def test_the_cards_that_are_rented_most_are_there():
    for name in ("T4", "V100", "A10", "L4", "A100", "H100", "RTX 3090", "RTX 4090", "RTX 5090", "none"):
        assert find_card(name) is not None


def test_hardware_by_name_by_file_or_not_at_all(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"vram": 3}')
    assert load_hardware("t4").vram == 16
    assert load_hardware(str(file)).vram == 3
    with pytest.raises(BadInputError, match="neither a file nor a card") as caught:
        load_hardware("voodoo")
    assert "`T4`" in (caught.value.hint or "")
    with pytest.raises(BadInputError, match="cannot be read"):
        load_hardware(str(tmp_path / "none.json"))


class Refuser(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_any_answer_counts_and_silence_does_not():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuser)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    try:
        assert head(f"http://127.0.0.1:{port}/", 60) is None
    finally:
        server.shutdown()
        server.server_close()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        port = silent.getsockname()[1]
        assert head(f"http://127.0.0.1:{port}/", 60) == "it refuses the connection"


def test_services_are_asked_at_the_same_time():
    waiting = threading.Barrier(3, timeout=60)  # passes only when all three are asked together

    def ask(url, seconds):
        waiting.wait()
        return "no" if url == "b" else None

    found = look_round(ask, {"A": "a", "B": "b", "C": "c"})
    assert [(each.name, each.problem) for each in found] == [("A", ""), ("B", "no"), ("C", "")]
