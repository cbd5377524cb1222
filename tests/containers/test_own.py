"""What an app has for itself alone: on a volume that no other app mounts, moved there from where it was before."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace

import pytest

from orchestrator.agent import container as entry
from orchestrator.agent.files import AgentFiles
from orchestrator.engine.home import Home
from orchestrator.places.container import names, own
from orchestrator.places.container.docker import connect


class TestFolders:
    @pytest.fixture
    def data(self, tmp_path):
        return tmp_path / "data"

    @pytest.fixture(params=["image", "volume"])
    def home(self, request, tmp_path, data):
        home = Home(tmp_path / "pinokio" if request.param == "image" else data)
        home.app("demo").mkdir(parents=True)
        return home

    def test_an_environment_lies_in_the_private_part(self, home, data):
        (home.app("demo") / "ENVIRONMENT").write_text("HF_TOKEN=x\n")
        for _ in range(2):
            entry.prepare(home, "demo", data)
        kept = data / "private" / "demo" / "ENVIRONMENT"
        assert (home.app("demo") / "ENVIRONMENT").readlink() == kept
        assert kept.read_text() == "HF_TOKEN=x\n"
        assert kept.stat().st_mode & 0o077 == 0

    def test_so_does_that_of_a_launcher_with_a_folder_of_its_own(self, home, data):
        launcher = home.app("demo") / "pinokio"
        launcher.mkdir()
        (launcher / "pinokio.js").write_text("")
        entry.prepare(home, "demo", data)
        assert (launcher / "ENVIRONMENT").readlink() == data / "private" / "demo" / "ENVIRONMENT"

    def test_that_of_the_home_is_for_all_apps(self, home, data):
        home.environment.write_text("A=1\n")
        entry.prepare(home, "demo", data)
        assert (data / "ENVIRONMENT").read_text() == "A=1\n"
        assert not (data / "ENVIRONMENT").is_symlink()

    def test_a_link_of_an_earlier_version_leads_there_now(self, tmp_path, data):
        home = Home(tmp_path / "pinokio")
        home.app("demo").mkdir(parents=True)
        home.environment.symlink_to(data / "private" / "ENVIRONMENT")
        entry.prepare(home, "demo", data)
        assert home.environment.readlink() == data / "ENVIRONMENT"

    def test_what_a_user_deleted_anywhere_in_the_home_goes_but_nothing_on_the_shared_volume(self, home, data):
        deleted = home.root / "bin" / "tool"
        deleted.parent.mkdir()
        deleted.touch()
        (home.root / ".carry-removed.json").write_text(json.dumps([str(deleted)]))
        entry.prepare(home, "demo", data)
        assert deleted.exists() == (home.root == data)

    def test_logs_can_lie_elsewhere_than_in_the_home(self, tmp_path):
        files = AgentFiles(Home(tmp_path), "demo", history=tmp_path / "elsewhere")
        assert files.terminal == tmp_path / "elsewhere" / "terminal.log"
        assert files.journal.parent == files.folder == tmp_path / "elsewhere"

    def test_who_builds_beside_an_app_logs_in_a_folder_of_its_own(self):
        assert own.logs_in("demo") != own.logs_in("demo", beside=True)


@pytest.mark.docker
class TestVolume:
    @pytest.fixture
    def docker(self, base_tag):
        made = connect()
        made.base = base_tag
        return made

    @pytest.fixture
    def home(self, docker, tmp_path):
        home = Home(tmp_path)
        yield home
        for app in ("one", "two"):
            own.discard(docker, home, app)
        docker.api.remove_volume(names.volume(home), force=True)

    def shell(self, docker, home, app, script, user="1000"):
        mounts = own.mounts(names.volume(home), names.own_volume(home, app), names.home_key(home), app)
        with_types = [{**each, "VolumeOptions": each.get("VolumeOptions")} for each in mounts]
        body = {
            "Image": docker.base, "Entrypoint": ["sh", "-c", script], "Cmd": [], "User": user,
            "HostConfig": {"Mounts": with_types, "CapDrop": ["ALL"], "NetworkMode": "none"},
        }  # fmt: skip
        made = docker.api.create_container_from_config(body, name=f"unit-{uuid.uuid4().hex[:8]}")["Id"]
        try:
            docker.api.start(made)
            status = docker.api.wait(made)["StatusCode"]
            return SimpleNamespace(status=status, said=docker.api.logs(made).decode())
        finally:
            docker.api.remove_container(made, force=True, v=True)

    def test_an_app_sees_its_own_and_cannot_take_it_from_others(self, docker, home):
        for app in ("one", "two"):
            assert own.ensure(docker, home, app, docker.base) == names.own_volume(home, app)
        wrote = self.shell(docker, home, "one", "echo secret >/data/private/x; echo for all >/data/drive/x")
        assert wrote.status == 0, wrote.said
        looked = self.shell(docker, home, "two", "ls -A /data/private; cat /data/drive/x; mv /data/private /data/gone")
        assert looked.status == 1
        assert "for all" in looked.said.splitlines()
        assert self.shell(docker, home, "one", "cat /data/private/x").said == "secret\n"
        volume = docker.api.inspect_volume(names.own_volume(home, "one"))
        assert volume["Labels"] == own.labels(names.home_key(home), "one")

    def test_what_earlier_versions_kept_on_the_shared_volume_is_moved(self, docker, home):
        shared = [{"Type": "volume", "Source": names.volume(home), "Target": "/data"}]
        script = """
            mkdir -p /data/private/one/sub /data/logs/one /data/private/two
            echo HF_TOKEN=x >/data/private/one/ENVIRONMENT; echo A=1 >/data/private/ENVIRONMENT
            echo said >/data/logs/one/terminal.log; ln -s two /data/private/three; echo y >/data/private/two/y
            chown -R 1000:1000 /data
        """
        own.run_as_root(docker, docker.base, ["sh", "-c", script], shared, what="x")
        own.ensure(docker, home, "one", docker.base)
        script = f"cat /data/private/one/ENVIRONMENT {own.logs_in('one')}/terminal.log /data/ENVIRONMENT; ls /data/logs"
        assert self.shell(docker, home, "one", script).said == "HF_TOKEN=x\nsaid\nA=1\n"
        below = [{**shared[0], "Target": "/all"}]
        own.run_as_root(docker, docker.base, ["sh", "-c", "! test -e /all/private/one"], below, what="x")
        own.run_as_root(docker, docker.base, ["sh", "-c", "test -e /all/private/two/y"], below, what="x")

    def test_it_is_prepared_again_where_a_command_was_killed_at_it(self, docker, home, monkeypatch):
        with monkeypatch.context() as killed:
            killed.setattr(own, "run_as_root", lambda *_, **__: 1 / 0)
            killed.setattr(own, "discard", lambda *_: None)  # what is killed does not tidy up
            with pytest.raises(ZeroDivisionError):
                own.ensure(docker, home, "one", docker.base)
        own.ensure(docker, home, "one", docker.base)
        assert self.shell(docker, home, "one", "stat -c '%a %u' /data").said == "1777 0\n"
        prepared = [each["Name"] for each in docker.api.volumes(filters={"label": f"{names.APP}=one"})["Volumes"]]
        assert [name for name in prepared if name.endswith(names.home_key(home) + own.HALF)] == []

    def test_it_goes_with_the_app(self, docker, home):
        own.ensure(docker, home, "one", docker.base)
        for _ in range(2):
            own.discard(docker, home, "one")
        volumes = docker.api.volumes(filters={"label": f"{names.HOME}={names.home_key(home)}"})["Volumes"]
        assert [each["Labels"][names.KIND] for each in volumes] == ["shared"]
