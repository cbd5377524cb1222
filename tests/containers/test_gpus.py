"""Which GPUs a container is given, by what was wanted, the machine and the daemon."""

from __future__ import annotations

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.places.container.docker import DockerError
from orchestrator.places.container.gpus import requests, unused

RUNTIME = {"Runtimes": {"runc": {}, "nvidia": {"path": "nvidia-container-runtime"}}}
CDI = {"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}
NEITHER = {"Runtimes": {"runc": {}}}


def one(wanted, info):
    (found,) = requests(wanted, info, card=True)
    return found


@pytest.mark.parametrize("info", [RUNTIME, CDI, NEITHER])
@pytest.mark.parametrize(("wanted", "card"), [("none", True), ("none", False), (None, False)])
def test_nothing_is_asked_for_without_a_card_or_where_none_is_wanted(wanted, card, info):
    assert requests(wanted, info, card=card) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, {"Count": -1}),
        ("all", {"Count": -1}),
        ("2", {"Count": 2}),
        ("0,1", {"DeviceIDs": ["0", "1"]}),
        ("device=0", {"DeviceIDs": ["0"]}),
        (" GPU-1a2b , 3 ", {"DeviceIDs": ["GPU-1a2b", "3"]}),
    ],
)
def test_the_runtime_takes_counts_and_identifiers(wanted, expected):
    assert one(wanted, RUNTIME) == {"Driver": "", "Capabilities": [["gpu"]], "Options": {}, **expected}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, ["nvidia.com/gpu=all"]),
        ("all", ["nvidia.com/gpu=all"]),
        ("2", ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        ("1,3", ["nvidia.com/gpu=1", "nvidia.com/gpu=3"]),
        ("device=GPU-1a", ["nvidia.com/gpu=GPU-1a"]),
        ("nvidia.com/gpu=0:1", ["nvidia.com/gpu=0:1"]),
    ],
)
def test_cdi_takes_names_only(wanted, expected):
    assert one(wanted, CDI) == {"Driver": "cdi", "Capabilities": [], "Options": {}, "DeviceIDs": expected}


@pytest.mark.parametrize("wanted", ["0", "", ",", "device=", " , "])
def test_what_names_no_card_is_refused(wanted):
    with pytest.raises(BadInputError, match="`--gpus` is `all`, `none`"):
        requests(wanted, RUNTIME, card=True)


@pytest.mark.parametrize("wanted", ["\u00b2", "ALL", "-1", "bogus", "0,bogus"])
def test_other_words_are_refused(wanted):
    with pytest.raises(BadInputError, match="`--gpus` is"):
        requests(wanted, RUNTIME, card=True)


@pytest.mark.parametrize("wanted", ["MIG-1a2b", "MIG-GPU-1a/0/0", "nvidia.com/gpu=0"])
def test_identifiers_have_several_forms(wanted):
    assert one(wanted, RUNTIME)["DeviceIDs"] == [wanted]


@pytest.mark.parametrize("wanted", ["all", "1", "0,1"])
@pytest.mark.parametrize("card", [True, False])
def test_a_card_that_was_asked_for_and_cannot_be_had_is_an_error(wanted, card):
    with pytest.raises(DockerError, match="offers no NVIDIA card") as raised:
        requests(wanted, NEITHER, card=card)
    assert "--gpus none" in raised.value.hint


def test_a_card_that_nobody_asked_for_is_left_out_with_a_warning():
    assert requests(None, NEITHER, card=True) == []
    assert "NVIDIA Container Toolkit" in unused(None, NEITHER, card=True)


@pytest.mark.parametrize(
    ("wanted", "info", "card"),
    [(None, RUNTIME, True), (None, CDI, True), (None, NEITHER, False), ("none", NEITHER, True), ("all", NEITHER, True)],
)
def test_there_is_nothing_to_warn_of_otherwise(wanted, info, card):
    assert unused(wanted, info, card=card) is None
