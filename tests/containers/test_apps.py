"""Apps in containers from `up` to `rollback`: the real program, a real daemon, small launchers."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from orchestrator.places.container import images, names
from tests.containers.lab import PATIENCE, ROOT, Lab, answers, eventually, held, ran, script

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SECOND = """module.exports = { daemon: true, run: [
  { method: "shell.run", params: { message: "python3 -m http.server {{port}} --bind 127.0.0.1",
    on: [{ event: "/http:\\\\/\\\\/[^ ]+/", done: true }] } },
]}
"""
START_WITH = """module.exports = { daemon: true, run: [
  { method: "shell.run", params: { message: "echo {{args.colour}} > colour.txt; python3 -m http.server {{port}} --bind 127.0.0.1",
    on: [{ event: "/http:\\\\/\\\\/[0-9.:]+/", done: true }] } },
  { method: "local.set", params: { url: "{{input.event[0]}}" } },
]}
"""  # noqa: E501  # a line as launchers have it


def inspect(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = lab.docker.api.inspect_container(lab.name)
    return found


def test_a_container_is_hardened_and_limited(lab):
    lab.write()
    url = lab.up("--memory", "600m", "--cpus", "1.5", "--shm", "128m", "--pids", "300")
    about = inspect(lab)
    host = about["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert not host["Privileged"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["ShmSize"], host["PidsLimit"]) == (
        600 << 20, 600 << 20, 1_500_000_000, 128 << 20, 300,
    )  # fmt: skip
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    bound = [each for bindings in about["NetworkSettings"]["Ports"].values() for each in bindings or []]
    assert bound
    assert {each["HostIp"] for each in bound} == {"127.0.0.1"}
    assert lab.inside("id -u").strip() == "1000"
    assert lab.exec("sudo", "-n", "true")[0] != 0
    assert "CapEff:\t0000000000000000" in lab.inside("cat /proc/self/status")
    eventually(lambda: inspect(lab)["State"]["Health"]["Status"] == "healthy")
    assert answers(url)
    lab.check_nothing_left()


def test_a_second_up_changes_nothing_and_a_new_limit_keeps_what_was_made(lab):
    lab.write()
    lab.up()
    first = inspect(lab)["Id"]
    lab.up()
    assert inspect(lab)["Id"] == first
    lab.inside("mkdir -p outputs && echo picture > outputs/a.png && echo blue > settings.json")
    lab.up("--memory", "700m")
    assert inspect(lab)["Id"] != first
    assert lab.inside("cat outputs/a.png settings.json").split() == ["picture", "blue"]
    assert lab.ran == ["one", "two", "three"]
    lab.check_nothing_left()


def test_a_change_of_the_last_step_repeats_only_that_step(lab):
    lab.write()

    def write(last: str) -> None:
        (lab.source / "install.js").write_text(script([ran("one"), ran("two"), ran(last, "touch done.txt")]))

    write("three")
    lab.up()
    write("THREE")
    lab.up()
    assert lab.ran == ["one", "two", "three", "THREE"]
    assert lab.inside("cat ran.txt").split() == ["one", "two", "THREE"]


def test_a_change_of_the_first_step_does_everything_again(lab):
    lab.write()
    lab.up()
    lab.write([ran("ONE"), ran("two"), ran("three")])
    lab.up()
    assert lab.inside("cat ran.txt").split() == ["ONE", "two", "three"]


def test_what_starts_and_serves_can_change_without_any_step(lab):
    lab.write()
    lab.up()
    lab.write(start=START_WITH)
    lab.up("--args", '{"colour": "red"}')
    assert lab.inside("cat colour.txt").strip() == "red"
    assert lab.ran == ["one", "two", "three"]


def deepen(lab: Lab, image: images.AppImage, layers: int) -> None:
    """Save an image with empty layers on top, as many as edits of a launcher would have left."""
    found = lab.docker.api.inspect_image(image.id)
    known, nothing = found["RootFS"]["Layers"], bytes(1024)
    empty = [f"sha256:{hashlib.sha256(nothing).hexdigest()}"] * (layers - len(known))
    about = {
        "architecture": found["Architecture"],
        "os": found["Os"],
        "config": found["Config"],
        "created": "2099-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": known + empty},
        "history": [{"created_by": "test"} for _ in known + empty],
    }
    files = {
        "config.json": json.dumps(about).encode(),
        "empty.tar": nothing,
        "manifest.json": json.dumps(
            [
                {
                    "Config": "config.json",
                    "RepoTags": None,
                    "Layers": ["there already"] * len(known) + ["empty.tar"] * len(empty),
                }
            ]
        ).encode(),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    list(lab.docker.api.load_image(archive.getvalue()))


def test_a_launcher_can_be_edited_more_often_than_an_image_can_have_layers(lab):
    lab.write()
    lab.up()
    saved = [each for each in images.listed(lab.docker, lab.app) if each.labels.get(names.KIND) == "checkpoint"]
    deepen(lab, next(each for each in saved if each.labels[names.INSTALLED] == "true"), images.MOST_LAYERS)
    lab.write(start=START_WITH)
    done = lab.run(*lab.up_words("--args", '{"colour": "red"}'))
    assert done.status == 0, done.said
    assert "making one layer of the many" in done.said
    assert images.layers(lab.docker, names.current(lab.home, lab.app)) < 10
    assert (lab.inside("cat colour.txt ran.txt").split(), lab.ran) == (
        ["red", "one", "two", "three"],
        ["one", "two", "three"],
    )


def test_an_app_comes_back_as_it_was_started(lab):
    lab.write(start=START_WITH)
    lab.up("--args", '{"colour": "green"}')
    lab.inside("rm colour.txt")
    lab.container().restart(timeout=10)
    eventually(lambda: lab.ps()["state"] == "ready")
    assert lab.inside("cat colour.txt").strip() == "green"


def test_several_servers_of_an_app_are_reached(lab):
    lab.write(second=SECOND)
    lab.up()
    assert lab.run("run", lab.app, "second.js").status == 0

    def published() -> list[int]:
        return [each["published"] for each in lab.settled()["ports"] if each["published"]]

    ports = eventually(lambda: len(found := published()) == 2 and found)
    assert all(answers(f"http://127.0.0.1:{port}/") for port in ports)


def test_an_update_is_made_beside_and_taken_back(lab):
    as_root = "sudo -n touch /root/x && echo root >> version.txt"
    lab.write(update=script(["echo what the image has"]))
    lab.up()
    lab.write(update=script(["echo new > version.txt", as_root, "echo program > both.txt"]))
    lab.inside("echo mine > made.txt; echo mine > both.txt")
    before = lab.docker.images.get(names.current(lab.home, lab.app)).id
    done = lab.run("update", lab.app)
    assert done.status == 0, done.said
    files = "version.txt made.txt both.txt both.txt.new"
    assert lab.inside(f"cat {files}").split() == ["new", "root", "mine", "mine", "program"]
    assert lab.docker.images.get(names.previous(lab.home, lab.app)).id == before
    lab.write(start=START_WITH)  # no step of the installation, so what was updated stays so
    lab.up()
    assert lab.inside("cat version.txt colour.txt").split()[0] == "new"
    back = lab.run("rollback", lab.app)
    assert back.status == 0, back.said
    assert lab.inside("cat made.txt both.txt").split() == ["mine", "mine"]
    assert "version.txt" not in lab.inside("ls")
    assert lab.docker.images.get(names.current(lab.home, lab.app)).id == before
    lab.check_ready(back.url)
    lab.up()  # which is content with an older image that was asked for
    assert lab.docker.images.get(names.current(lab.home, lab.app)).id == before


def test_what_an_update_brought_is_not_undone_in_silence(lab):
    lab.write(update=script(["echo new > version.txt"]))
    lab.up()
    assert lab.run("update", lab.app).status == 0
    updated = lab.docker.images.get(names.current(lab.home, lab.app)).id
    lab.write([ran("one"), ran("two"), ran("THREE")])
    changed = lab.run(*lab.up_words())
    assert changed.status == 0, changed.said
    assert f"comes with the next `pinoctl update {lab.app}`" in changed.said
    assert lab.ran == ["one", "two", "three", "one", "two", "THREE"]  # none of the checkpoints from before the update
    assert lab.docker.images.get(names.previous(lab.home, lab.app)).id == updated


@pytest.mark.parametrize("trouble", ["the script fails", "the app does not start any more"])
def test_an_update_that_goes_wrong_changes_nothing(lab, trouble):
    update = script(["rm start.js"])
    if trouble == "the script fails":
        steps = [{"method": "fs.write", "params": {"path": "half.txt", "text": "x"}}, {"method": "nothing.like.this"}]
        update = f"module.exports = {{ run: {json.dumps(steps)} }}\n"
    lab.write(update=update)
    url = lab.up()
    lab.inside("echo mine > made.txt")
    done = lab.run("update", lab.app, "--json")
    assert done.status == 1
    assert "hint:" in done.said
    told, now = json.loads(done.out), lab.settled()
    assert (told["updated"], told["state"], told["url"]) == (False, "ready", now["url"])
    assert told["failed"]["reason"]
    assert lab.home.root in Path(told["log"]).parents
    assert answers(now["url"]), url
    assert lab.ran == ["one", "two", "three"]
    assert "half.txt" not in lab.inside("ls")
    assert lab.inside("cat made.txt").strip() == "mine"
    lab.check_nothing_left()


def test_a_new_pinoctl_installs_nothing_again(lab, tmp_path):
    lab.write()
    lab.up()
    lab.run("down", lab.app)
    newer = tmp_path / "newer"
    for name in ("orchestrator", "images", "compose-templates"):
        shutil.copytree(ROOT / name, newer / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cli.py", newer)
    (newer / "orchestrator" / "agent" / "novelty.py").write_text('"""Something that older versions had not."""\n')
    done = subprocess.run(
        [sys.executable, "-m", "cli", *lab.up_words()],
        env={**lab._environ, "PYTHONPATH": str(newer)},
        cwd=newer,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert lab.ran == ["one", "two", "three"]
    assert lab.exec("ls", "/opt/pinoctl/code/orchestrator/agent/novelty.py")[0] == 0


def test_history_survives_the_container(lab):
    lab.write([ran("one", "printf 'a 10%%\\r'; sleep 0.2; printf 'a 100%%\\n'")])
    lab.up()
    assert "a 100%" in lab.run("logs", lab.app).out
    lab.container().remove(force=True)
    assert "a 100%" in lab.run("logs", lab.app).out
    kinds = [json.loads(line)["kind"] for line in lab.run("logs", lab.app, "--events").out.splitlines()]
    assert "ready" in kinds


def test_progress_bars_come_through_while_they_move(lab):
    lab.write([f'printf "step 1\\r>"; {held("one")}'])
    proc = lab.start(*lab.up_words())
    seen = ""
    assert proc.stderr is not None
    while "step 1\n" not in seen:  # text mode shows a carriage return so, once something follows it
        piece = proc.stderr.read(1)
        assert piece, seen
        seen += piece
    lab.let_go()  # now only, so it was shown while the command was at work
    assert lab.wait(proc).status == 0


def test_an_apps_shell_and_variables(lab):
    lab.write([ran("one", "echo $EARLY > early.txt")])
    lab.home.root.mkdir()
    lab.home.environment.write_text("EARLY=bird\nHF_HOME=/nowhere\n")
    lab.up()
    words = ("shell", lab.app, "--", "sh", "-c", "cat early.txt; echo $HF_HOME; exit 7")
    done = lab.run(*words)
    assert (done.status, done.out.split()) == (7, ["bird", "/pinokio/cache/HF_HOME"])
    assert lab.run("shell", lab.app, "--", "pwd").out.strip() == f"/pinokio/api/{lab.app}"
    assert lab.run("env", lab.app, "COLOUR=red", "MY_TOKEN=hidden-1234").status == 0
    shown = lab.run("env", lab.app).out
    assert "COLOUR=red" in shown
    assert "hidden-1234" not in shown
    lab.home.environment.write_text("GREETING=hello\n")
    lab.run("restart", lab.app)
    words = ("shell", lab.app, "--", "sh", "-c", "echo $COLOUR $MY_TOKEN $GREETING")
    assert lab.run(*words).out.split() == ["red", "hidden-1234", "hello"]
    lab.home.environment.unlink()
    assert lab.run(*words).out.split() == ["red", "hidden-1234"]
    assert "GRADIO_ANALYTICS_ENABLED" in lab.home.environment.read_text()


def test_volume_mode_needs_no_image(lab):
    lab.write()
    lab.up("--volume-mode")
    assert lab.images("image") == []
    assert lab.images("checkpoint") == []
    mounted = lab.exec("ls", f"/data/api/{lab.app}/ran.txt")
    assert mounted[0] == 0, mounted
    lab.run("down", lab.app)
    lab.container().remove()
    lab.up()
    assert lab.ran == ["one", "two", "three"]


def test_in_volume_mode_an_app_is_started_anew_from_what_was_installed_anew(lab):
    lab.write()
    lab.up("--volume-mode")
    lab.exec("sh", "-c", f"echo mine > /data/api/{lab.app}/mine.txt")
    before = lab.container().attrs["State"]["StartedAt"]
    lab.write([ran("four")])
    lab.up("--fresh")
    assert lab.ran == ["one", "two", "three", "four"]
    assert lab.container().attrs["State"]["StartedAt"] != before
    refused = lab.run(*lab.up_words("--image-mode"))
    assert refused.status == 1
    assert f"would be left behind: `/data/api/{lab.app}`" in refused.said
    lab.check_ready(lab.up())
    built = lab.run("build", lab.app, "--fresh", "-q")
    assert built.status == 0, built.said
    assert lab.ran[-2:] == ["four", "four"]
    there = lab.settled()
    assert answers(there["url"])  # it is up again, as it was
    assert Path(there["log"]).exists()  # nobody asked for it yet


def test_in_volume_mode_an_app_is_installed_again_where_the_volume_is_gone(lab):
    lab.write()
    lab.up("--volume-mode")
    lab.container().remove(force=True)
    lab.docker.volumes.get(names.volume(lab.home)).remove()
    lab.up()
    assert lab.ran == ["one", "two", "three"] * 2


def test_what_was_made_in_an_app_is_not_left_behind_in_its_image(lab):
    lab.write()
    lab.up()
    lab.inside("echo mine > made.txt")
    refused = lab.run(*lab.up_words("--volume-mode"))
    assert refused.status == 1
    assert f"would be left behind: `/pinokio/api/{lab.app}/made.txt`" in refused.said
    lab.up()
    assert lab.inside("cat made.txt") == "mine\n"


def test_removing_an_app_leaves_nothing_of_it(lab):
    lab.write()
    lab.up()
    lab.inside("echo mine > made.txt")
    done = lab.run("rm", lab.app, "--yes")
    assert done.status == 0, done.said
    assert lab.containers() == []
    assert lab.images("image") == []
    assert Path(lab.source, "install.js").exists()
    helper = lab.docker.containers.run(
        "pinoctl-rootfs:bookworm", ["ls", "/data/logs", "/data/private"], remove=True,
        volumes={names.volume(lab.home): {"bind": "/data", "mode": "ro"}},
    )  # fmt: skip
    assert lab.app not in helper.decode()
    assert lab.docker.volumes.list(filters={"label": f"{names.APP}={lab.app}"}) == []


def test_a_card_that_cannot_be_had_is_said_and_not_kept(lab):
    lab.write()
    done = lab.run(*lab.up_words("--gpus", "all"))
    assert done.status == 1
    assert "NVIDIA Container Toolkit" in done.said
    assert lab.up()
