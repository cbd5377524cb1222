"""Detection fed with what the real tools print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine import hardware
from orchestrator.engine.hardware import Card, Gpu, detect

if TYPE_CHECKING:
    from pathlib import Path

RAM = 134_940_672_000  # what a 128 GB machine reports: 125.7 GiB
SMI = """NVIDIA GeForce RTX 4090, 550.54.15, 24564, 8.9
NVIDIA GeForce RTX 3060, 550.54.15, 12288, 8.6
"""
SMI_OLD = "Tesla T4, 460.32.03, 15109\n"
PROC_INFORMATION = """Model: \t\t NVIDIA GeForce RTX 5090
IRQ:   \t\t 112
GPU UUID: \t GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77
Video BIOS: \t 98.02.2e.00.01
Bus Type: \t PCIe
"""
PROC_VERSION = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build  (dvs-builder@U16)
GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)
"""
LSPCI_AMD = """0000:00:02.0 VGA compatible controller: Intel Corporation AlderLake-S GT1 (rev 0c)
0000:00:1f.3 Audio device: Intel Corporation Alder Lake-S HD Audio Controller (rev 11)
0000:0a:00.0 VGA compatible controller: Advanced Micro Devices, Inc. [AMD/ATI] Navi 33 [Radeon RX 7600] (rev cf)
0000:0b:00.0 Display controller: Advanced Micro Devices, Inc. [AMD/ATI] Navi 31 [Radeon RX 7900 XT/7900 XTX] (rev c8)
"""
LSPCI_SERVER = "0000:03:00.0 VGA compatible controller: ASPEED Technology, Inc. ASPEED Graphics Family (rev 41)\n"
LSPCI_NVIDIA = "0000:01:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3090] (rev a1)\n"


def nothing(command):
    return None


def put(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_machine_without_a_card(tmp_path):
    profile = detect(root=tmp_path, run=nothing, ram=RAM, machine="x86_64")
    assert profile == hardware.HardwareProfile(ram=126)


def test_nvidia_by_its_library(tmp_path):
    put(tmp_path, "dev/nvidia0")
    cards = [Card("nvidia corporation", "NVIDIA GeForce RTX 5090", "570.86.10", 32607, "sm_120")]
    profile = detect(root=tmp_path, run=nothing, nvml=lambda: cards, ram=RAM, machine="x86_64")
    assert profile.gpu == "nvidia"
    assert profile.gpus == (Gpu("nvidia corporation", "nvidia geforce rtx 5090", "570.86.10"),)
    assert re.search(r" 50.+", profile.gpu_model)
    assert (profile.gpu_target, profile.vram) == ("sm_120", 32)


def test_nvidia_by_smi_counts_the_first_card(tmp_path):
    put(tmp_path, "dev/nvidia0")
    profile = detect(root=tmp_path, run=lambda _: SMI, nvml=list, ram=RAM, machine="aarch64")
    assert [gpu.model for gpu in profile.gpus] == ["nvidia geforce rtx 4090", "nvidia geforce rtx 3060"]
    assert (profile.gpu_driver, profile.gpu_target, profile.vram, profile.arch) == ("550.54.15", "sm_89", 24, "arm64")


def test_an_old_smi_that_does_not_know_the_capability(tmp_path):
    put(tmp_path, "dev/nvidia0")

    def run(command):
        return None if "compute_cap" in command[1] else SMI_OLD

    profile = detect(root=tmp_path, run=run, nvml=list, ram=RAM)
    assert (profile.gpu, profile.gpu_model, profile.gpu_target, profile.vram) == ("nvidia", "tesla t4", None, 15)


def test_memory_that_smi_does_not_tell(tmp_path):
    put(tmp_path, "dev/nvidia0")
    profile = detect(root=tmp_path, run=lambda _: "NVIDIA GB10, 580.95.05, [N/A], 12.1\n", nvml=list, ram=RAM)
    assert (profile.vram, profile.gpu_target) == (0, "sm_121")


def test_nvidia_by_what_the_driver_shows(tmp_path):
    put(tmp_path, "dev/nvidia0")
    put(tmp_path, "proc/driver/nvidia/gpus/0000:01:00.0/information", PROC_INFORMATION)
    put(tmp_path, "proc/driver/nvidia/version", PROC_VERSION)
    profile = detect(root=tmp_path, run=nothing, nvml=list, ram=RAM)
    assert (profile.gpu, profile.gpu_model, profile.gpu_driver) == ("nvidia", "nvidia geforce rtx 5090", "570.86.10")


def test_a_container_that_sees_the_driver_but_was_given_no_card(tmp_path):
    put(tmp_path, "proc/driver/nvidia/gpus/0000:01:00.0/information", PROC_INFORMATION)
    put(tmp_path, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de")
    profile = detect(root=tmp_path, run=lambda command: LSPCI_NVIDIA if command[0] == "lspci" else None, ram=RAM)
    assert (profile.gpu, profile.gpus) == ("none", ())


def test_amd_counts_the_card_with_the_most_memory(tmp_path):
    for address, memory in (("0000:0a:00.0", 8 * 2**30), ("0000:0b:00.0", 25_753_026_560)):
        put(tmp_path, f"sys/bus/pci/devices/{address}/mem_info_vram_total", f"{memory}\n")
    put(tmp_path, "sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 16\ngfx_target_version 0\n")
    put(tmp_path, "sys/class/kfd/kfd/topology/nodes/1/properties", "simd_count 192\ngfx_target_version 110000\n")
    profile = detect(root=tmp_path, run=lambda command: LSPCI_AMD if command[0] == "lspci" else None, ram=RAM)
    assert profile.gpu == "amd"
    assert profile.gpu_model == "navi 31 [radeon rx 7900 xt/7900 xtx]"
    assert [gpu.name for gpu in profile.gpus] == ["intel corporation", *["advanced micro devices, inc. [amd/ati]"] * 2]
    assert (profile.vram, profile.gpu_target) == (24, "gfx1100")


@pytest.mark.parametrize(("version", "name"), [("90010", "gfx90a"), ("100300", "gfx1030"), ("90402", "gfx942")])
def test_amd_instruction_sets(tmp_path, version, name):
    put(tmp_path, "sys/class/kfd/kfd/topology/nodes/1/properties", f"gfx_target_version {version}\n")
    put(tmp_path, "sys/bus/pci/devices/0000:0b:00.0/vendor")
    assert detect(root=tmp_path, run=lambda _: LSPCI_AMD, ram=RAM).gpu_target == name


def test_a_server_whose_only_controller_is_for_the_console(tmp_path):
    put(tmp_path, "sys/bus/pci/devices/0000:03:00.0/vendor")
    profile = detect(root=tmp_path, run=lambda _: LSPCI_SERVER, ram=RAM)
    assert (profile.gpu, profile.gpu_model) == ("aspeed technology, inc.", "aspeed graphics family")


def test_a_number_without_its_blank_gets_one():
    assert hardware._spaced("NVIDIA GeForce RTX5090") == "NVIDIA GeForce RTX 5090"


def test_the_real_machine_answers():
    assert detect().ram > 0
