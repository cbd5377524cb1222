"""Compose projects: what is built and how it is written."""

from __future__ import annotations

import copy

import pytest
import yaml

from orchestrator.deploy.compose import ComposeApp, folders, merge, project, service_names, to_yaml
from orchestrator.deploy.schema import check
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.places.container.containers import run_spec
from orchestrator.places.container.gpus import requests
from orchestrator.places.container.settings import Settings
from tests.deploy.projects import AWKWARD, GIB, one, service_of

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
