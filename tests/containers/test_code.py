"""pinoctl's own code in containers: complete enough to run there, and always the same bytes."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from orchestrator.places.container import code, names
from orchestrator.places.container.containers import Spec
from orchestrator.places.container.docker import connect
from orchestrator.places.container.living import create, remove


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    with tarfile.open(fileobj=io.BytesIO(code.archive())) as tar:
        tar.extractall(folder, filter="tar")
    return folder


def entries():
    with tarfile.open(fileobj=io.BytesIO(code.archive())) as tar:
        return list(tar)


def test_everything_is_the_containers_users_and_readable():
    assert {(entry.uid, entry.gid, entry.mode) for entry in entries() if entry.isfile()} == {(1000, 1000, 0o644)}
    assert {(entry.uid, entry.gid, entry.mode) for entry in entries() if entry.isdir()} == {(1000, 1000, 0o755)}


def test_the_same_code_gives_the_same_bytes():
    assert code.archive() == code.archive()
    assert {entry.mtime for entry in entries()} == {0}


def test_every_folder_comes_before_what_is_in_it():
    seen = {""}
    for entry in entries():
        assert entry.name.rpartition("/")[0] in seen
        seen.add(entry.name)
    assert len(seen) == 1 + len(entries())


def test_what_only_commands_need_stays_here():
    found = [name for name, _ in code.files()]
    assert not [name for name in found if "/commands/" in name or "/images/" in name or name.endswith(".pyc")]
    assert "orchestrator/agent/__main__.py" in found


@pytest.mark.parametrize("module", ["orchestrator.agent.container", "orchestrator.agent.__main__"])
def test_agents_start_from_it_alone(unpacked, module):
    script = f"import {module}, sys; print(sys.modules['{module}'].__file__)"
    ran = subprocess.run(
        [sys.executable, "-B", "-c", script], cwd=unpacked, env={"PYTHONPATH": str(unpacked)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(unpacked))


def test_every_module_in_it_finds_what_it_imports(unpacked):
    script = (
        "import importlib.util, ast, pathlib, sys\n"
        "for file in sorted(pathlib.Path('orchestrator').rglob('*.py')):\n"
        "    for node in ast.walk(ast.parse(file.read_text())):\n"
        "        wanted = [node.module] if isinstance(node, ast.ImportFrom) else []\n"
        "        wanted += [each.name for each in node.names] if isinstance(node, ast.Import) else []\n"
        "        for name in wanted:\n"
        "            if name and name.startswith('orchestrator.'):\n"
        "                at = pathlib.Path(*name.split('.'))\n"
        "                if not (at.is_dir() or at.with_suffix('.py').is_file()):\n"
        "                    print(file, name)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=unpacked, capture_output=True, text=True, check=True)
    assert ran.stdout == ""


def test_the_hash_is_the_contents():
    assert code.digest() == code.digest()
    assert len(code.digest()) == 64
    assert len(entries()) > len(code.files()) > 100


def test_only_old_volumes_of_other_versions_are_removed():
    now = time.time()

    def volume(name, hours):
        made = datetime.fromtimestamp(now - hours * 3600, timezone.utc)
        return {"Name": name, "CreatedAt": made.isoformat()[:19] + "Z"}

    ours, old, young = (f"pinoctl-code-{letter * 12}" for letter in "abc")
    rows = [volume(ours, 99), volume(old, 99), volume(young, 20), volume("pinoctl-code-of-mine", 99)]
    removed = []
    api = SimpleNamespace(volumes=lambda filters: {"Volumes": rows if filters else []}, remove_volume=removed.append)
    code._forget_older(SimpleNamespace(api=api), ours, now=now)
    assert removed == [old]


def test_a_volume_that_another_command_fills_meanwhile_is_not_written_again(monkeypatch):
    """Agents run from it by then, and to write files again is to take them away for a moment."""
    looked, written, complete = threading.Event(), [], threading.Event()
    container = SimpleNamespace(id="c", remove=lambda **_: None)
    api = SimpleNamespace(
        create_volume=lambda *_, **__: None,
        put_archive=lambda *_: written.append("code"),
        volumes=lambda **_: {"Volumes": []},
    )
    docker = SimpleNamespace(
        api=api, client=SimpleNamespace(containers=SimpleNamespace(create=lambda *_, **__: container))
    )
    monkeypatch.setattr(code, "is_complete", lambda *_: complete.is_set() or looked.set())
    with code.alone():
        second = threading.Thread(target=code.volume, args=(docker, "image"))
        second.start()
        assert looked.wait(60)
        complete.set()
    second.join(60)
    assert not second.is_alive()
    assert written == []


@pytest.mark.docker
def test_a_container_has_the_code_though_its_volume_was_removed_before_it_was_made(base_image, monkeypatch):
    docker = connect()
    digest = uuid.uuid4().hex
    monkeypatch.setattr(code, "digest", lambda: digest)
    name = code.volume(docker, base_image)
    try:
        assert docker.api.inspect_volume(name)["Labels"] == {names.KIND: "code", names.CODE: code.digest()}
        docker.api.remove_volume(name)
        mount = {"Type": "volume", "Source": name, "Target": code.PLACE, "ReadOnly": True}
        body = {"Image": base_image, "Cmd": ["true"], "HostConfig": {"Mounts": [mount]}}
        container = create(docker, Spec(f"{name}-test", body))
        try:
            assert code.is_complete(docker, container)
        finally:
            remove(docker, container)
    finally:
        docker.api.remove_volume(name)
        docker.close()
