"""Options of containers on their way to settings, answers as agents take them, and the place that is chosen."""

from __future__ import annotations

import functools
import http.server
import json
import socketserver
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from orchestrator.agent.files import AgentFiles
from orchestrator.commands import options
from orchestrator.commands.building import BROUGHT, brought, chosen_settings, plain_answers, with_remembered
from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home
from orchestrator.engine.values import UNDEFINED
from orchestrator.places import choosing
from orchestrator.places.choosing import CONTAINER, HOST, choose
from orchestrator.places.container import endpoint, settings
from orchestrator.places.container.settings import Settings


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def parsed(*words):
    """Return what a command with the options of containers gets, or the error that click prints."""
    got = {}

    @click.command()
    @options.container_options
    def command(**given):
        got.update(given)

    ran = CliRunner().invoke(command, words)
    return got if ran.exit_code == 0 else ran.output


class TestOptions:
    def test_nothing_is_given_by_default(self):
        assert not any(parsed().values())

    def test_all_become_settings(self, home):
        given = parsed(
            "--volume-mode", "--gpus", "0,1", "--memory", "8g", "--cpus", "1.5", "--shm", "512m", "--pids", "99",
            "--mount", "/usr:/b", "--mount", "set:/c:ro", "--base", "debian:12",
        )  # fmt: skip
        assert chosen_settings(home, "app", "container", given) == Settings(
            place="container", mode="volume", gpus="0,1", memory=8 << 30, cpus=1.5, shm=512 << 20, pids=99,
            mounts=("/usr:/b", "set:/c:ro"), base="debian:12",
        )  # fmt: skip

    def test_what_was_chosen_before_stays(self, home):
        before = Settings(place="host", mode="volume", memory=1 << 30, mounts=("/a:/b",), answers={"a": 1})
        settings.write(home, "app", before)
        assert chosen_settings(home, "app", "container", parsed()) == before.changed(place="container")
        changed = chosen_settings(home, "app", "container", parsed("--memory", "2g", "--mount", "/usr:/d"))
        assert (changed.memory, changed.mounts, changed.mode) == (2 << 30, ("/usr:/d",), "volume")

    def test_a_limit_is_taken_back(self, home):
        settings.write(home, "app", Settings(memory=1 << 30))
        again = chosen_settings(home, "app", "container", parsed("--memory", "none"))
        assert not again.memory
        settings.write(home, "app", again)
        assert not settings.read(home, "app").memory

    @pytest.mark.parametrize("option", ["--cpus", "--pids", "--shm", "--memory"])
    def test_every_limit_is_taken_back(self, home, option):
        name = option.removeprefix("--")
        settings.write(home, "app", Settings(memory=1 << 30, cpus=2.0, shm=1 << 30, pids=99))
        settings.write(home, "app", chosen_settings(home, "app", "container", parsed(option, "none")))
        assert getattr(settings.read(home, "app"), name) is None
        left = {"memory", "cpus", "shm", "pids"} - {name}
        assert all(getattr(settings.read(home, "app"), each) for each in left)

    @pytest.mark.parametrize("wanted", ["bogus", "-1", "0", "1,x", "device="])
    def test_what_names_no_card_is_refused_before_the_daemon_is_asked(self, home, wanted):
        with pytest.raises(BadInputError, match="`--gpus` is"):
            chosen_settings(home, "app", "container", parsed("--gpus", wanted))

    @pytest.mark.parametrize(
        "target", ["/", "/data", "/data/", "/pinokio", "/opt/pinoctl", "/opt/pinoctl/code", "/data/private/x"]
    )
    def test_nothing_is_mounted_over_what_is_pinoctls(self, home, target, tmp_path):
        with pytest.raises(BadInputError, match="would hide what pinoctl has"):
            chosen_settings(home, "app", "container", parsed("--mount", f"{tmp_path}:{target}"))

    @pytest.mark.parametrize(
        "target",
        [
            "/usr", "/usr/", "//usr", "/usr/bin", "/usr/lib/x86/..", "/usr/local/bin", "/bin", "/sbin", "/lib",
            "/lib64", "/etc", "/etc/ssl/certs", "/proc", "/proc/sys", "/sys", "/dev", "/dev/shm", "/tmp", "/run",
            "/var", "/opt", "/opt/python", "/home", "/home/pinokio",
        ],
    )  # fmt: skip
    def test_nor_over_what_programs_need_of_the_system(self, home, target, tmp_path):
        with pytest.raises(BadInputError, match="would hide what the image has"):
            chosen_settings(home, "app", "container", parsed("--mount", f"{tmp_path}:{target}"))

    @pytest.mark.parametrize(
        "target",
        [
            "/usr/share/fonts",
            "/etc/app",
            "/library",
            "/home/pinokio/.cache",
            "/tmp/x",
            "/mnt",
            "/data/drive",
            "/root",
            "/sets",
        ],
    )
    def test_but_beside_and_below_it(self, home, target, tmp_path):
        mount = f"{tmp_path}:{target}"
        assert chosen_settings(home, "app", "container", parsed("--mount", mount)).mounts == (mount,)

    @pytest.mark.parametrize("words", [("none", "/usr:/d"), ("/usr:/d", "none"), ("/usr:/d",)])
    def test_mounts_take_the_place_of_those_of_before(self, home, words):
        settings.write(home, "app", Settings(mounts=("/a:/b", "/c:/e")))
        given = parsed(*(each for word in words for each in ("--mount", word)))
        assert chosen_settings(home, "app", "container", given).mounts == ("/usr:/d",)

    def test_mounts_and_a_base_are_taken_back(self, home):
        settings.write(home, "app", Settings(mounts=("/a:/b",), base="debian:12"))
        assert chosen_settings(home, "app", "container", parsed("--base", "none")).base is None
        assert chosen_settings(home, "app", "container", parsed("--mount", "none")).mounts == ()

    def test_a_folder_that_is_not_there_is_not_mounted(self, home, tmp_path, monkeypatch):
        gone = f"{tmp_path}/gone:/data/drive/models"
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        with pytest.raises(BadInputError, match=f"there is no `{tmp_path}/gone`"):
            chosen_settings(home, "app", "container", parsed("--mount", gone))
        monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")  # that machine's folders are not ours to see
        assert chosen_settings(home, "app", "container", parsed("--mount", gone)).mounts == (gone,)

    @pytest.mark.parametrize(
        "words", [("--memory", "8"), ("--memory", ""), ("--memory", "5m"), ("--shm", "x"), ("--mount", "a")]
    )
    def test_values_that_are_none_are_refused_by_us(self, home, words):
        with pytest.raises(BadInputError, match=words[0]):
            chosen_settings(home, "app", "container", parsed(*words))

    @pytest.mark.parametrize(
        "words",
        [
            ("--cpus", "0"),
            ("--cpus", "0.001"),
            ("--cpus", "x"),
            ("--pids", "15"),
            ("--pids", "1.5"),
            ("--place", "moon"),
        ],
    )
    def test_or_by_click(self, words):
        assert words[0] in parsed(*words)


class TestAnswers:
    @pytest.mark.parametrize(
        ("text", "pairs", "expected"),
        [
            (None, (), (None, None)),
            ('{"a": 1}', (), ({"a": 1}, None)),
            (' [{"a": 1}, {}]', (), ([{"a": 1}, {}], None)),
            (None, ("a=1", "b=x=y", "c="), (None, {"a": "1", "b": "x=y", "c": ""})),
            (None, ("a=1", "a=2", "a=3"), (None, {"a": ["1", "2", "3"]})),
        ],
    )
    def test_are_taken_as_they_are_given(self, text, pairs, expected):
        assert options.given_answers(text, pairs) == expected

    def test_may_be_in_a_file(self, tmp_path):
        (tmp_path / "a.json").write_text('{"a": "ü"}', "utf-8")
        assert options.parse_answers(str(tmp_path / "a.json")) == {"a": "ü"}

    @pytest.mark.parametrize("text", ["{", "[1]", "[{}, 2]", "/nonexistent", "/", ""])
    def test_others_are_refused(self, text):
        with pytest.raises(BadInputError, match="answers"):
            options.parse_answers(text)

    @pytest.mark.parametrize("content", [b"3", b"\xff", b'"text"'])
    def test_files_of_others_are_refused(self, tmp_path, content):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(BadInputError, match="answers"):
            options.parse_answers(str(tmp_path / "a"))

    @pytest.mark.parametrize("pair", ["a", "=b", ""])
    def test_pairs_have_a_key(self, pair):
        with pytest.raises(BadInputError, match="KEY=VALUE"):
            options.given_answers(None, (pair,))

    @pytest.mark.parametrize(
        ("answers", "pairs", "expected"),
        [
            (None, None, {}),
            ({"model": "x", "HF_TOKEN": "hf"}, None, {"model": "x"}),
            ([{"a": 1}, {"a": 2, "apiKey": "x"}], {"b": "3", "password": "p"}, {"a": 2, "b": "3"}),
            ({"a": 1}, {"a": "2"}, {"a": "2"}),
            (["x", None], {}, {}),
        ],
    )
    def test_secrets_are_not_remembered(self, answers, pairs, expected):
        assert plain_answers(answers, pairs) == expected

    def test_those_of_before_stand_below_those_given_now(self):
        saved = {"model": "small", "language": "de", "port": 1}
        known = with_remembered(saved, {"model": "large"}, {"port": 2, "token": "x"})
        assert known == {"language": "de", "port": 2, "token": "x"}
        assert with_remembered({}, None, None) is None


class TestArguments:
    def test_are_an_object(self):
        assert options.parse_args(None) is UNDEFINED
        assert options.parse_args("null") is None
        assert options.parse_args('{"a": 1}') == {"a": 1}

    @pytest.mark.parametrize("text", ["[]", "1", '"x"', "{", ""])
    def test_others_are_refused(self, text):
        with pytest.raises(BadInputError, match="`--args`"):
            options.parse_args(text)


def test_what_scripts_read_of_the_environment_is_brought_along():
    environ = {"HF_TOKEN": "hf", "https_proxy": "", "HOME": "/root", "AWS_SECRET_ACCESS_KEY": "x", "PATH": "/bin"}
    assert brought(environ) == {"HF_TOKEN": "hf"}
    assert brought(dict.fromkeys(BROUGHT, "x")).keys() == BROUGHT


class Daemon(http.server.BaseHTTPRequestHandler):
    """Answer `/info` as a Docker daemon does."""

    info: dict[str, object]

    def do_GET(self):
        body = json.dumps(self.info).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "here"

    def log_message(self, *_):
        pass


class Server(socketserver.UnixStreamServer):
    def get_request(self):
        return super().get_request()[0], ("", 0)


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """Return a function that starts a daemon and returns the environment in which it is found, however late."""
    started = []
    monkeypatch.setattr(endpoint, "look_round", functools.partial(endpoint.look_round, patience=60.0))

    def start(**info):
        path = tmp_path / f"{len(started)}.sock"
        handler = type("Handler", (Daemon,), {"info": {"ServerVersion": "20.10.24", "OSType": "linux", **info}})
        server = Server(str(path), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return {"DOCKER_HOST": f"unix://{path}"}

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def card(monkeypatch):
    """Return a function that says whether this machine has a card."""

    def say(*, there):
        monkeypatch.setattr(choosing, "_has_card", lambda: there)

    say(there=False)
    return say


@pytest.mark.usefixtures("card")
class TestPlace:
    NOWHERE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}  # noqa: RUF012  # never changed

    @pytest.mark.parametrize("name", [HOST, CONTAINER])
    def test_is_what_is_wanted_now(self, home, name):
        settings.write(home, "app", Settings(place=HOST if name == CONTAINER else CONTAINER))
        assert choose(home, "app", name, {}) == choosing.Choice(name, given=True)
        assert choose(home, "app", None, {"PINOCTL_PLACE": name}).name == name
        assert choose(home, "app", name, {"PINOCTL_PLACE": "moon"}).name == name  # the option goes first

    @pytest.mark.parametrize(("wanted", "environ"), [("moon", {}), (None, {"PINOCTL_PLACE": "moon"})])
    def test_is_one_that_there_is(self, home, wanted, environ):
        with pytest.raises(BadInputError, match="`moon` is no place"):
            choose(home, "app", wanted, environ)

    @pytest.mark.parametrize("name", [HOST, CONTAINER])
    def test_is_what_was_wanted_before(self, home, daemon, name):
        settings.write(home, "app", Settings(place=name))
        assert choose(home, "app", None, daemon()) == choosing.Choice(name)
        assert choose(home, "app", None, self.NOWHERE).name == name

    def test_is_where_the_app_is_installed(self, home, daemon):
        files = AgentFiles(home, "app")
        files.prepare()
        files.state.write_text("{}")
        assert choose(home, "app", None, daemon()) == choosing.Choice(HOST, "it is installed there")

    def test_is_a_container_where_docker_is_usable(self, home, daemon):
        assert choose(home, "app", None, daemon()) == choosing.Choice(CONTAINER, "Docker 20.10.24 is usable")

    def test_is_the_host_without_docker(self, home):
        found = choose(home, "app", None, self.NOWHERE)
        assert found.name == HOST
        assert "/nonexistent/docker.sock" in found.why

    def test_is_the_host_where_docker_is_too_old(self, home, daemon):
        found = choose(home, "app", None, daemon(ServerVersion="19.03.1"))
        assert (found.name, "19.03.1" in found.why) == (HOST, True)

    @pytest.mark.parametrize(
        ("info", "expected"),
        [
            ({}, HOST),
            ({"Runtimes": {"nvidia": {}}}, CONTAINER),
            ({"DiscoveredDevices": ["nvidia.com/gpu=0"]}, CONTAINER),
        ],
    )
    def test_with_a_card_is_where_apps_can_use_it(self, home, daemon, card, info, expected):
        card(there=True)
        assert choose(home, "app", None, daemon(**info)).name == expected

    def test_of_an_app_that_never_was_up_is_the_host(self, home):
        assert choosing.place_of(home, "app").name == HOST
        settings.write(home, "app", Settings(place=CONTAINER))
        assert choosing.place_of(home, "app").name == CONTAINER


def test_a_home_may_be_given_anyhow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert options.home_of(Path("a/../b")).root == tmp_path / "b"
    assert options.home_of(Path("~/pinokio")).root == Path("/home/someone/pinokio")
