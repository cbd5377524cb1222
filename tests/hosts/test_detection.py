"""Each platform as its documentation describes it, and the mixtures that mislead."""

from __future__ import annotations

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.hosts.detection import CLUES, Variables, find_platform
from orchestrator.hosts.facts import PLATFORMS
from orchestrator.hosts.signs import NAMES, SECRETS

from .machines import COLAB, DISK, DOCKER, OVERLAY, RUNPOD, VAST, as_environ, machine

KAGGLE = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "KAGGLE_URL_BASE": "https://www.kaggle.com"}
FOLDERS = {"/kaggle/working": None, "/kaggle/input": None}
LIGHTNING = {"LIGHTNING_CLOUD_SPACE_ID": "01h", "LIGHTNING_CLOUDSPACE_HOST": "01h.cloudspaces.litng.ai"}
SYSTEMD = {"/proc/1/comm": "systemd\n", "/proc/self/mountinfo": DISK}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_PORT": "tcp://10.0.0.1:443"}
CASES = {
    "kaggle": (KAGGLE, FOLDERS, "kaggle", "certain"),
    "kaggle on colab's image": (KAGGLE | COLAB, FOLDERS | {"/opt/google/drive": None} | DOCKER, "kaggle", "certain"),
    "colab": (COLAB, DOCKER, "colab", "certain"),
    "colab by one variable": ({"COLAB_RELEASE_TAG": "r"}, {}, "colab", "likely"),
    "vast": (VAST, DOCKER, "vast", "certain"),
    "vast over SSH without variables": ({}, {"/proc/1/environ": as_environ(VAST)} | DOCKER, "vast", "certain"),
    "vast by /etc/environment": ({}, {"/etc/environment": 'VAST_CONTAINERLABEL="C.1"\n'} | DOCKER, "vast", "likely"),
    "vast's portal without variables": ({}, {"/etc/vast_boot.d": None, "/opt/portal-aio": None}, "vast", "guess"),
    "runpod": (RUNPOD, {}, "runpod", "certain"),
    "docker in runpod": (RUNPOD, DOCKER | {"/proc/1/cgroup": "1:cpu:/docker/1f\n"}, "runpod", "certain"),
    "runpod on kubernetes": (RUNPOD | KUBERNETES, DOCKER, "runpod", "certain"),
    "lightning": (LIGHTNING, {"/teamspace/studios/this_studio": None}, "lightning", "certain"),
    "paperspace": ({"PAPERSPACE_FQDN": "n1.paperspacegradient.com"}, {"/storage": None}, "paperspace", "certain"),
    "a laptop with a key of paperspace": ({"PAPERSPACE_API_KEY": "k"}, SYSTEMD, "local", "certain"),
    "a laptop with a key of vast": ({"VAST_API_KEY": "k"}, {}, "local", "likely"),
    "studio lab": ({}, {"/home/studio-lab-user": None}, "studiolab", "likely"),
    "lambda": ({}, {"/lambda/nfs": None} | SYSTEMD, "lambda", "guess"),
    "kubernetes": (KUBERNETES, DOCKER, "kubernetes", "certain"),
    "docker": ({}, DOCKER, "container", "guess"),
    "docker by its control group": (
        {},
        {"/.dockerenv": "", "/proc/1/cgroup": "4:x:/docker/1\n"},
        "container",
        "certain",
    ),
    "podman": ({"container": "podman"}, {"/run/.containerenv": ""}, "container", "certain"),
    "a virtual machine with /.dockerenv": ({}, {"/.dockerenv": ""} | SYSTEMD, "local", "certain"),
    "such a one on an overlay": (
        {},
        {"/.dockerenv": ""} | SYSTEMD | {"/proc/self/mountinfo": OVERLAY},
        "local",
        "certain",
    ),
    "a desktop": ({"DISPLAY": ":0"}, SYSTEMD, "local", "certain"),
    "over SSH": ({"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}, SYSTEMD, "local", "certain"),
    "nothing": ({}, {}, "local", "likely"),
    "empty variables": ({"RUNPOD_POD_ID": "", "COLAB_RELEASE_TAG": ""}, {}, "local", "likely"),
    "a server with folders like paperspace's": (
        {},
        {"/storage": None, "/notebooks": None} | SYSTEMD,
        "local",
        "certain",
    ),
    "a server with folders like kaggle's": ({}, FOLDERS | SYSTEMD, "local", "certain"),
    "paperspace's folders alone": ({}, {"/storage": None, "/notebooks": None}, "paperspace", "guess"),
    "a server with a folder /storage": ({}, {"/storage": None}, "local", "likely"),
}


@pytest.mark.parametrize(("environ", "files", "name", "confidence"), CASES.values(), ids=CASES.keys())
def test_where_this_is(environ, files, name, confidence):
    found = find_platform(machine(environ, files))
    assert (found.name, found.confidence) == (name, confidence)
    assert found.evidence or confidence == "likely"


def test_every_platform_has_a_case():
    assert {name for _, _, name, _ in CASES.values()} == set(PLATFORMS) == set(CLUES)


def test_evidence_says_what_was_seen_and_where():
    found = find_platform(machine({"VAST_TCP_PORT_7860": "33526"}, {"/proc/1/environ": as_environ(VAST)}))
    said = {each.sign: each.says for each in found.evidence}
    assert said["VAST_CONTAINERLABEL"] == "`C.31337`, from /proc/1/environ"
    assert said["VAST_TCP_PORT_*"] == "ports 22 → 33500, 7860 → 33526, 8080 → 33501"


def test_what_spoke_for_others_is_told():
    found = find_platform(machine(KAGGLE | COLAB, FOLDERS))
    assert {name for name, _ in found.against} == {"colab"}


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_platform_can_be_told(name):
    found = find_platform(machine(RUNPOD | {"PINOCTL_PLATFORM": name.upper()}, DOCKER))
    assert (found.name, found.confidence) == (name, "told")


def test_a_platform_that_is_not_known_is_refused():
    with pytest.raises(BadInputError, match="`azure`, which is no platform"):
        find_platform(machine({"PINOCTL_PLATFORM": "azure"}))


def test_the_process_comes_before_files_and_sessions_are_only_ones_own():
    files = {
        "/etc/environment": "export RUNPOD_POD_ID='file'\n# RUNPOD_DC_ID=x\nPUBLIC_IPADDR=1.1.1.1\n",
        "/proc/1/environ": as_environ({"RUNPOD_POD_ID": "first", "RUNPOD_DC_ID": "dc", "SSH_CONNECTION": "x"}),
    }
    signs = machine({}, files)
    assert (signs.get("RUNPOD_POD_ID"), signs.source("RUNPOD_POD_ID")) == ("file", "/etc/environment")
    assert (signs.get("RUNPOD_DC_ID"), signs.source("RUNPOD_DC_ID")) == ("dc", "/proc/1/environ")
    assert (signs.get("SSH_CONNECTION"), signs.source("SSH_CONNECTION")) == ("", "")
    own = machine({"RUNPOD_POD_ID": "mine"}, files)
    assert (own.get("RUNPOD_POD_ID"), own.source("RUNPOD_POD_ID")) == ("mine", "this process")


def test_only_listed_variables_are_taken_and_no_secret_is_listed():
    signs = machine({}, {"/proc/1/environ": as_environ(VAST | RUNPOD | {"HF_TOKEN": "hf", "PATH": "/bin"})})
    assert (signs.get("HF_TOKEN"), signs.get("PATH"), signs.get("CONTAINER_API_KEY")) == ("", "", "")
    assert not NAMES & SECRETS
    clues = {name for found in CLUES.values() for clue in found if isinstance(clue, Variables) for name in clue.names}
    assert clues <= NAMES


def test_keys_are_found_on_request_only_and_never_shown():
    for place in ({"environ": VAST}, {"files": {"/proc/1/environ": as_environ(VAST)}}):
        signs = machine(**place)
        assert signs.secret("CONTAINER_API_KEY") == "vast-key-0123"
        shown = repr(signs) + repr(find_platform(signs)) + str(find_platform(signs).to_json())
        assert "vast-key-0123" not in shown
    with pytest.raises(ValueError, match="PATH"):
        signs.secret("PATH")


@pytest.mark.parametrize("value", ["0", "65536", "http", "-1", ""])
def test_ports_that_make_no_sense_are_left_out(value):
    assert machine({"VAST_TCP_PORT_7860": value, "VAST_TCP_PORT_22": "5"}).ports("VAST_TCP_PORT_") == {22: 5}
