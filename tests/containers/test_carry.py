"""Carrying a user's changes into a new container: with real containers, whose images are made by commits."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from orchestrator.places.container import progress, streams
from orchestrator.places.container.archives import Side
from orchestrator.places.container.carry import Carried, carry, diff_of_users
from orchestrator.places.container.changes import roots_of
from orchestrator.places.container.docker import DockerError, RefusedError

docker = pytest.importorskip("docker")
pytestmark = [pytest.mark.docker, pytest.mark.slow]

IMAGE = "pinoctl-rootfs:bookworm"
APP = "/pinokio/api/app"
ROOTS = roots_of("app")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
KEPT = f"{APP}/.pinoctl-kept/2026-01-02T03-04-05Z"
SETUP = f"set -e; mkdir -p {APP} /home/pinokio; cd {APP}; "


class Host(str):  # a script like others, but for another machine
    """Mark a script that runs on this machine."""

    __slots__ = ()


GIT = {
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class Lab:
    """Make images and containers of one test, and remove them all."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.images: list[str] = []
        self.containers: list[str] = []

    def container(self, image: str, **more: Any) -> Any:
        made = self.client.containers.create(
            image, ["sleep", "600"], name=f"carry-{uuid.uuid4().hex[:12]}", init=True, **more
        )
        self.containers.append(made.id)
        return made

    def run(self, container: Any, script: str) -> str:
        code, said, errors = streams.run(self.client, container.id, ["bash", "-c", script])
        assert code == 0, errors.decode()
        return said.decode("utf-8", "surrogateescape")

    def work(self, container: Any, script: str) -> str:
        """Run a script in the app's folder, or on this machine in a copy that takes its place, as images lack git."""
        if not isinstance(script, Host):
            return self.run(container, SETUP + script)
        self.run(container, SETUP)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "app")
            raw = b"".join(container.get_archive(APP)[0])
            subprocess.run(["tar", "-xp", "-C", scratch], input=raw, check=True)
            command = ["bash", "-ec", script]
            said = subprocess.run(command, cwd=folder, env=GIT | dict(os.environ), check=True, stdout=subprocess.PIPE)
            packed = subprocess.run(["tar", "-c", "-C", scratch, "app"], check=True, stdout=subprocess.PIPE).stdout
        self.run(container, f"cd {APP}; find . -mindepth 1 -maxdepth 1 -exec rm -rf {{}} +")
        container.put_archive("/pinokio/api", packed)
        return said.stdout.decode()

    def image(self, script: str, start: str = IMAGE) -> str:
        container = self.container(start)
        container.start()
        self.work(container, script)
        # the daemon takes a file for unchanged when size and second are the same: images are older than their use
        self.run(container, f"find {APP} /home/pinokio -exec touch -h -d 2020-01-01 {{}} +")
        container.kill()
        image = container.commit(f"carry-test-{uuid.uuid4().hex[:12]}")
        self.images.append(image.id)
        return str(image.id)

    def used(self, image: str, script: str, **more: Any) -> Any:
        container = self.container(image, **more)
        container.start()
        self.work(container, script)
        container.kill()
        return container

    def made_from(self, container: str, image: str) -> bool:
        return bool(self.client.api.inspect_container(container)["Image"] == image)

    def close(self) -> None:
        for each in self.containers:
            self.client.api.remove_container(each, force=True, v=True)
        for each in reversed(self.images):
            self.client.api.remove_image(each, force=True)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing said of what takes long: whether it does is the machine's matter."""
    monkeypatch.setattr(progress, "QUIET", math.inf)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    made = docker.from_env(timeout=600)
    yield made
    made.close()


@pytest.fixture
def lab(client: Any) -> Iterator[Lab]:
    made = Lab(client)
    yield made
    made.close()


@dataclasses.dataclass
class Result:
    lab: Lab
    old: Any
    new: Any
    carried: Carried
    said: list[str]

    def sh(self, script: str) -> str:
        """Run in the new container, which starts at the first call."""
        if self.new.status != "running":
            self.new.start()
            self.new.reload()
        return self.lab.run(self.new, f"cd {APP}; {script}")

    def host(self, script: str) -> str:
        """Run on this machine in a copy of the new container's app."""
        self.sh("true")
        return self.lab.work(self.new, Host(script))

    def text(self, path: str) -> str:
        return self.sh(f"cat {path!r}")

    def removed(self) -> list[str]:
        return json.loads(self.sh("cat /pinokio/.carry-removed.json")) if self.carried.removed else []


def listing(client: Any, container: str) -> list[Any]:
    return sorted((each["Path"], each["Kind"]) for each in client.api.diff(container) or [])


@pytest.fixture
def replace(lab: Lab) -> Callable[..., Result]:
    def work(base: str, mine: str, theirs: str | None = None, **more: Any) -> Result:
        old_image = lab.image(base)
        new_image = old_image if theirs is None else lab.image(theirs, old_image)
        old, new = lab.used(old_image, mine, **more), lab.container(new_image, **more)
        before = listing(lab.client, old.id)
        made = {
            each.id
            for each in lab.client.containers.list(all=True, ignore_removed=True, filters={"ancestor": old_image})
        }
        said: list[str] = []
        carried = carry(lab.client, old.id, new.id, roots=ROOTS, say=said.append, clock=lambda: NOW)
        assert listing(lab.client, old.id) == before
        assert {
            each.id
            for each in lab.client.containers.list(all=True, ignore_removed=True, filters={"ancestor": old_image})
        } == made
        return Result(lab, old, new, carried, said)

    return work


def test_what_only_the_user_added_comes_along_as_it_is(
    replace: Callable[..., Result],
) -> None:
    result = replace(
        "echo v1 >app.py",
        """
        mkdir -p outputs/2026 /home/pinokio/.config; echo picture >outputs/2026/a.png; chmod 640 outputs/2026/a.png
        chown 1000:1000 outputs/2026/a.png; touch -d 2024-05-06T07:08:09Z outputs/2026/a.png
        ln outputs/2026/a.png outputs/2026/b.png; ln -s ../app.py outputs/link; ln -s /nowhere dangling
        mkdir outputs/empty; chmod 1770 outputs/empty; cp /bin/true outputs/tool; chmod 4755 outputs/tool
        echo one >'two words'; echo two >$'new\\nline'; echo three >'grüße 漢字'; echo four >$'outputs/bad\\xff'
        echo five >$'top\\xfe'; echo x >/home/pinokio/.config/settings; mkdir outputs/__pycache__; touch outputs/a.pyc
        printf %0300d 7 >outputs/$(printf %0200d 1)
        mkdir -p /pinokio/bin/base /pinokio/plugin /pinokio/api/other /opt/python; echo tool >/pinokio/bin/mytool
        echo ours >/pinokio/bin/base/x; echo plug >/pinokio/plugin/p; echo loose >/pinokio/api/other/o
        echo py >/opt/python/p; echo gone >/usr/local/bin/elsewhere; echo passing >/tmp/x; : >/usr/bin/nvidia-smi
        """,
        "echo v2 >app.py",
    )
    assert f"{APP}/outputs" in result.carried.copied
    assert "/home/pinokio/.config" in result.carried.copied
    assert result.carried.removed == result.carried.kept_aside == ()
    assert result.sh("stat -c '%a %u %g %Y %h' outputs/2026/a.png") == "640 1000 1000 1714979289 2\n"
    assert result.sh("stat -c %i outputs/2026/a.png") == result.sh("stat -c %i outputs/2026/b.png")
    assert result.sh("readlink outputs/link dangling") == "../app.py\n/nowhere\n"
    assert result.sh("stat -c %a outputs/empty outputs/tool") == "1770\n4755\n"
    assert result.sh("cat app.py 'two words' $'new\\nline' 'grüße 漢字' $'outputs/bad\\xff' $'top\\xfe'") == (
        "v2\none\ntwo\nthree\nfour\nfive\n"
    )
    assert result.text("/home/pinokio/.config/settings") == "x\n"
    elsewhere = "/pinokio/bin/mytool /pinokio/plugin/p /pinokio/api/other/o /opt/python/p"
    assert (
        result.sh(f"cat {elsewhere}; ls /pinokio/bin /tmp") == "tool\nplug\nloose\npy\n/pinokio/bin:\nmytool\n\n/tmp:\n"
    )
    assert result.sh("ls -d outputs/__pycache__ outputs/a.pyc outputs/0* 2>/dev/null | wc -l") == "1\n"
    (said,) = result.said
    assert said.endswith("is not carried over: `/usr/local/bin/elsewhere`")


def test_a_setting_that_only_the_user_changed_stays_and_one_that_only_the_update_changed_is_new(
    replace: Callable[..., Result],
) -> None:
    result = replace(
        "for n in mine theirs both mode touched same; do echo 1 >$n; done; ln -s a link; mkdir d",
        "echo 2 >mine; echo 2 >both; chmod 755 mode; touch touched; echo 3 >same; ln -sfn b link; chmod 700 d",
        "echo 2 >theirs; echo 3 >both; echo 3 >same; echo 5 >touched",
    )
    assert sorted(result.carried.copied) == [f"{APP}/{name}" for name in ("both", "d", "link", "mine", "mode")]
    assert result.carried.kept_aside == (f"{APP}/both.new",)
    assert result.sh("cat mine theirs both both.new touched same; readlink link") == "2\n2\n2\n3\n5\n3\nb\n"
    assert result.sh("stat -c %a mode d") == "755\n700\n"
    assert len(result.said) == 1


def test_program_files_changed_on_both_sides_are_the_updates_and_the_users_are_kept_aside(
    replace: Callable[..., Result],
) -> None:
    installed = "env/bin/tool env/lib/site-packages/m.py"
    result = replace(
        Host(
            f"""git init -q .; mkdir -p lib env/bin env/lib/site-packages; touch env/pyvenv.cfg
            for each in app.py lib/own.py settings.json {installed}; do echo 1 >$each; done
            git add app.py lib; git commit -qm one"""
        ),
        f"""for each in app.py lib/own.py settings.json {installed}; do echo mine >$each; done
        echo new >env/lib/site-packages/added.py""",
        Host(f"for each in app.py settings.json {installed}; do echo 2 >$each; done; git commit -qam two"),
    )
    assert set(result.carried.kept_aside) == {
        *(f"{KEPT}/{name}" for name in ("app.py", *installed.split())),
        f"{APP}/settings.json.new",
    }
    names = f"app.py lib/own.py {installed} settings.json settings.json.new"
    assert result.sh(f"cat {names}") == "2\nmine\n2\n2\nmine\n2\n"
    assert result.sh(f"cd {KEPT} && cat app.py {installed}") == "mine\n" * 3
    assert result.text("env/lib/site-packages/added.py") == "new\n"
    assert result.host("git log --format=%s; git status --short -uno") == "two\none\n M lib/own.py\n"


PLUGIN = Host("git init -q plugin; cd plugin; for n in a b c; do echo 1 >$n; done; git add .; git commit -qm 1")


def test_an_extension_that_only_the_user_updated_is_the_users(
    replace: Callable[..., Result],
) -> None:
    result = replace(
        PLUGIN,
        Host("cd plugin; echo 2 >a; git rm -q b; git commit -qam 2; git clone -q . ../clone; cd ../clone; echo w >c"),
        Host("touch plugin/*; cd plugin; git status >../other"),
    )
    assert result.carried.removed == (f"{APP}/plugin/b",)
    assert result.host("rm plugin/b; cd plugin; git log --format=%s; git status --short; cat a") == "2\n1\n2\n"
    assert result.host("cd clone; git status --short; git log --format=%s") == " M c\n2\n1\n"


def test_an_extension_that_both_updated_is_wholly_the_new_images(replace: Callable[..., Result]) -> None:
    result = replace(
        PLUGIN,
        Host("cd plugin; echo 2 >a; echo 2 >b; git rm -q c; git commit -qam mine; echo note >untracked"),
        Host("cd plugin; echo 3 >a; git commit -qam theirs"),
    )
    assert result.carried.removed == ()
    said = result.host("cd plugin; git fsck 2>&1; git log --format=%s; git status --short; cat a b c")
    assert said.endswith("theirs\n1\n?? untracked\n3\n1\n1\n")
    assert result.sh(f"cat {KEPT}/plugin/a {KEPT}/plugin/b") == "2\n2\n"


def test_deletions_are_listed_for_the_agent_unless_the_update_brings_something_new(
    replace: Callable[..., Result],
) -> None:
    result = replace(
        Host("""git init -q .; mkdir -p gone part; for each in f1 gone/x gone/y part/a part/b; do echo 1 >$each; done
        echo 1 >prog; echo 1 >conf; echo 1 >absent; echo 1 >'a b'; mkdir anew; echo 1 >anew/old; git add prog"""),
        "rm -rf f1 gone part prog conf absent 'a b' anew; mkdir anew; echo 2 >anew/young",
        "echo 2 >part/b; echo 2 >part/c; echo 2 >prog; echo 2 >conf; rm absent",
    )
    expected = ["a b", "anew/old", "conf", "f1", "gone", "part/a", "part/b"]
    assert sorted(result.carried.removed) == [f"{APP}/{name}" for name in expected]
    assert sorted(result.removed()) == sorted(result.carried.removed)
    assert result.sh("cat conf.new part/b.new part/c prog anew/young; stat -c %u /pinokio/.carry-removed.json") == (
        "2\n2\n2\n2\n2\n1000\n"
    )


def test_deletions_that_were_never_done_are_carried_on(lab: Lab) -> None:
    image = lab.image("echo 1 >a; echo 1 >b")
    old, middle, new = lab.used(image, "rm a"), lab.container(image), lab.container(image)
    say: list[str] = []
    first = carry(lab.client, old.id, middle.id, roots=ROOTS, say=say.append)
    second = carry(lab.client, middle.id, new.id, roots=ROOTS, say=say.append)
    assert first.removed == second.removed == (f"{APP}/a",)


def test_files_and_folders_take_each_others_places(replace: Callable[..., Result]) -> None:
    result = replace(
        """for each in d1 d2 d3 d4; do mkdir $each; echo 1 >$each/x; done
        for each in f1 f2 f3; do echo 1 >$each; done; mkdir models; echo base >models/base""",
        """rm -rf d1 d2 f1 f2; echo file >d1; echo file >d2; mkdir f1 f2; echo in >f1/y; echo in >f2/y
        echo mine >d3/y; echo mine >d4/y; echo mine >models/own; echo 2 >f3""",
        "echo 2 >d2/x; echo 2 >f2; rm -rf d3; rm -rf d4 models f3; ln -s /tmp models; echo now-a-file >d4; mkdir f3",
    )
    assert (
        result.sh("cat d1 d2 d2.new/x f1/y f2/y f2.new d3/y d4 f3") == "file\nfile\n2\nin\nin\n2\nmine\nnow-a-file\n2\n"
    )
    assert result.sh(f"ls d3; readlink models; ls /tmp; cat {KEPT}/models/own {KEPT}/d4/y") == "y\n/tmp\nmine\nmine\n"
    assert result.sh("stat -c %F f3.new") == "directory\n"


def test_folders_that_both_made_are_merged(replace: Callable[..., Result]) -> None:
    result = replace(
        "echo 1 >a",
        "mkdir -p ext/deep; echo mine >ext/deep/m; echo mine >ext/both; echo same >ext/same",
        "mkdir -p ext/deep; echo theirs >ext/deep/t; echo theirs >ext/both; echo same >ext/same",
    )
    assert result.sh("cat ext/deep/m ext/deep/t ext/both ext/both.new ext/same") == "mine\ntheirs\nmine\ntheirs\nsame\n"
    assert result.carried.kept_aside == (f"{APP}/ext/both.new",)


def test_many_files_of_one_folder_come_together_and_a_large_neighbour_is_not_fetched(
    replace: Callable[..., Result],
) -> None:
    result = replace(
        "mkdir few many; head -c 90000000 /dev/zero >few/0big; touch many/.keep",
        "for n in $(seq 100); do echo $n >many/$n; done; for n in $(seq 7); do echo $n >few/$n; done; ln many/1 many/z",
        "echo 2 >v",
    )
    assert result.sh("cat many/* | sort -n | md5sum") == result.sh("(seq 100; echo 1) | sort -n | md5sum")
    assert result.sh("cat few/[1-7]") == "1\n2\n3\n4\n5\n6\n7\n"
    assert len(result.carried.copied) == 108


def test_many_changed_files_are_compared_together(replace: Callable[..., Result]) -> None:
    each = "for n in $(seq 12); do echo {} >lib/{}/$n; done;"
    result = replace(
        "mkdir -p lib/a lib/b; head -c 200000000 /dev/zero >lib/big;" + each.format(1, "a") + each.format(1, "b"),
        each.format(2, "a") + "touch lib/b/*; echo 5 >lib/b/1",
        "echo 3 >lib/a/1; echo 3 >lib/b/2",
    )
    assert sorted(result.carried.copied) == sorted([*(f"{APP}/lib/a/{n}" for n in range(1, 13)), f"{APP}/lib/b/1"])
    assert result.carried.kept_aside == (f"{APP}/lib/a/1.new",)
    assert result.sh("cat lib/a/1 lib/a/2 lib/a/1.new lib/b/1 lib/b/2 lib/b/3") == "2\n2\n3\n5\n3\n1\n"


def test_a_large_file_arrives_whole(replace: Callable[..., Result]) -> None:
    made = "head -c 200000000 /dev/urandom >models/big.safetensors"
    result = replace("mkdir models", made, "echo 2 >v")
    with_old = result.old
    with_old.start()
    sums = [result.lab.run(each, f"sha1sum {APP}/models/big.safetensors") for each in (with_old,)]
    assert sums == [result.sh(f"sha1sum {APP}/models/big.safetensors")]


def test_what_is_mounted_is_not_touched(lab: Lab, client: Any) -> None:
    image = lab.image("echo 1 >a")
    volume = client.volumes.create(f"carry-test-{uuid.uuid4().hex[:8]}")
    try:
        mounts = {volume.name: {"bind": f"{APP}/own/mounted", "mode": "rw"}}
        old = lab.used(
            image, "echo secret >own/mounted/f; echo mine >own/g", volumes=mounts, tmpfs={"/pinokio/run": ""}
        )
        new = lab.container(image)
        carried = carry(client, old.id, new.id, roots=ROOTS, say=lambda _: None)
        new.start()
        assert lab.run(new, f"cd {APP}; cat own/g; find own -name f; ls /pinokio") == "mine\napi\n"
        assert f"{APP}/own/g" in carried.copied
    finally:
        lab.close()
        lab.containers.clear()
        lab.images.clear()
        volume.remove()


def test_a_container_that_was_started_is_refused_and_a_second_try_gives_the_same(lab: Lab) -> None:
    image = lab.image("echo 1 >a")
    old, first, second = lab.used(image, "echo 2 >a; echo 3 >b"), lab.container(image), lab.container(image)
    one = carry(lab.client, old.id, first.id, roots=ROOTS, say=lambda _: None)
    first.start()
    with pytest.raises(DockerError, match="was started before"):
        carry(lab.client, old.id, first.id, roots=ROOTS, say=lambda _: None)
    assert carry(lab.client, old.id, second.id, roots=ROOTS, say=lambda _: None) == one


def test_where_the_old_image_is_gone_nothing_of_the_users_is_lost(lab: Lab) -> None:
    image = lab.image("echo 1 >conf; echo 1 >gone; mkdir out")
    newer = lab.image("echo 2 >conf", image)
    apart = lab.image("mkdir out; echo 2 >conf; echo 1 >gone")
    old, new = lab.used(image, "echo 3 >conf; echo 3 >out/own; rm gone"), lab.container(apart)
    for each in (newer, image):
        for name in [c for c in lab.containers if c != old.id and lab.client.api.inspect_container(c)["Image"] == each]:
            lab.client.api.remove_container(name, force=True)
            lab.containers.remove(name)
        lab.client.api.remove_image(each, force=True)
        lab.images.remove(each)
    carried = carry(lab.client, old.id, new.id, roots=ROOTS, say=lambda _: None)
    assert set(carried.copied) == {f"{APP}/conf", f"{APP}/out/own"}
    assert carried.removed == (f"{APP}/gone",)
    assert set(carried.kept_aside) == {f"{APP}/conf.new", f"{APP}/gone.new"}


def test_an_error_half_way_leaves_nothing_behind_and_all_can_be_repeated(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = lab.image("echo 1 >a")
    newer = lab.image("echo 2 >v", image)
    old, broken, new = (
        lab.used(image, "mkdir b c; echo 2 >a; echo 3 >b/b; echo 4 >c/c"),
        *map(lab.container, [newer] * 2),
    )
    before = listing(lab.client, old.id)
    archive = Side.archive

    def failing(side: Side, path: str) -> Any:
        if path == f"{APP}/c":
            raise DockerError("broke off")
        return archive(side, path)

    with monkeypatch.context() as patch:
        patch.setattr(Side, "archive", failing)
        with pytest.raises(DockerError, match="broke off"):
            carry(lab.client, old.id, broken.id, roots=ROOTS, say=lambda _: None)
    assert listing(lab.client, old.id) == before
    assert {
        each.id for each in lab.client.containers.list(all=True, ignore_removed=True, filters={"ancestor": image})
    } == {each for each in lab.containers if each in {old.id, broken.id, new.id} or lab.made_from(each, image)}
    lab.client.api.remove_container(broken.id)
    lab.containers.remove(broken.id)
    assert len(carry(lab.client, old.id, new.id, roots=ROOTS, say=lambda _: None).copied) == 3


def test_what_the_new_container_would_mount_over_is_refused(lab: Lab) -> None:
    image = lab.image("mkdir data")
    old, new = lab.used(image, "echo 1 >data/own"), lab.container(image, tmpfs={f"{APP}/data": ""})
    with pytest.raises(RefusedError, match=re.escape(f"{APP}/data/own")):
        carry(lab.client, old.id, new.id, roots=ROOTS, say=pytest.fail)


def test_nothing_to_carry_does_nothing(replace: Callable[..., Result]) -> None:
    assert replace("echo 1 >a", "true", "echo 2 >a").carried == Carried()


def test_what_is_made_until_the_stop_comes_along_and_what_tracks_can_be_given(lab: Lab) -> None:
    image = lab.image("echo 1 >a; echo 1 >b")
    newer = lab.image("echo 2 >a; echo 2 >b", image)
    old, new = lab.used(image, "echo 3 >a; echo 4 >b"), lab.container(newer)

    def stop() -> None:  # until then the app goes on writing
        old.start()
        lab.run(old, f"cd {APP}; echo 3 >b; echo late >c")
        old.kill()

    carried = carry(
        lab.client,
        old.id,
        new.id,
        roots=ROOTS,
        say=lambda _: None,
        stop=stop,
        tracked=lambda path: path == f"{APP}/a",
        clock=lambda: NOW,
    )
    assert carried == Carried((f"{APP}/b", f"{APP}/c"), (), (f"{KEPT}/a", f"{APP}/b.new"))
    new.start()
    assert lab.run(new, f"cd {APP}; cat b c b.new {KEPT}/a") == "3\nlate\n2\n3\n"


def test_what_a_user_would_lose_is_told_in_few_lines(lab: Lab) -> None:
    image = lab.image("mkdir outputs code; echo 1 >conf; echo 1 >old")
    old = lab.used(
        image,
        "mkdir -p outputs/a/b; echo 1 >outputs/a/b/c; echo 2 >conf; rm old; mkdir -p code/__pycache__; echo 1 >/x",
    )
    found = [(each.path.removeprefix(APP), each.what) for each in diff_of_users(lab.client, old.id, ROOTS)]
    assert found == [("/conf", "changed"), ("/old", "deleted"), ("/outputs/a", "added")]
