"""What the Compose schema and our own rules refuse in a project."""

from __future__ import annotations

import copy

import pytest

from orchestrator.deploy.schema import check, policy, where
from tests.deploy.projects import AWKWARD, GIB, one, refusal


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
