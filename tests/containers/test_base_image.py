"""Choosing base images by driver, PyTorch and what the user gave, and what a base image is recognised by."""

from __future__ import annotations

import itertools

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.hardware import HardwareProfile
from orchestrator.places.container.base_image import FILES, Base, choose, files, recipe, table, uv_version
from orchestrator.places.container.docker import DockerError
from orchestrator.torch.matrix import matrix, numbers
from tests.plan.steps import NO_GPU

ROWS = table()
CUDAS = sorted(ROWS["cuda"], key=numbers)
# the versions that CUDA's releases came with (matrix.json of the torch package), and one on each side
DRIVERS = {
    None: "13.0", "580.65.06": "13.0", "999.1": "13.0", "575.64.03": "12.8", "570.26": "12.8", "565.57.01": "12.6",
    "550.54.14": "12.4", "550.54.13": "12.1", "535.183.01": "12.1", "525.60.13": "11.8", "520.61.05": "11.8",
}  # fmt: skip
TORCH = (None, "cpu", "11.8", "12.1", "12.4", "12.8", "12.9", "13.0", "13.2")
TOO_OLD = ("520.61.04", "470.57.02", "390.1")


def nvidia(driver):
    return HardwareProfile(gpu="nvidia", gpu_driver=driver)


def limit(torch):
    return None if torch in {None, "cpu"} else numbers(torch)


@pytest.mark.parametrize(("driver", "torch", "devel"), [*itertools.product(DRIVERS, TORCH, [False, True])])
def test_a_card_gets_the_newest_cuda_of_its_driver_that_pytorch_knows(driver, torch, devel):
    found = choose(nvidia(driver), torch_cuda=torch, source_build=devel, environ={})
    newest, most = numbers(DRIVERS[driver]), limit(torch)
    expected = max((c for c in CUDAS if numbers(c) <= newest and (most is None or numbers(c) <= most)), key=numbers)
    assert (found.cuda, found.devel) == (expected, devel)
    assert found.start == ROWS["cuda"][expected]["devel" if devel else "runtime"]
    assert found.variant == f"cuda{expected}" + ("-devel" if devel else "")
    assert f"driver {driver}" in found.why
    assert torch is None or torch in found.why


@pytest.mark.parametrize(("torch", "devel"), [*itertools.product(["11.3", "10.2"], [False, True])])
def test_pytorch_for_an_older_cuda_than_any_image_gets_the_oldest_that_the_driver_runs(torch, devel):
    found = choose(nvidia("535.1"), torch_cuda=torch, source_build=devel, environ={})
    assert (found.cuda, found.devel) == ("11.8", devel)


@pytest.mark.parametrize("driver", TOO_OLD)
@pytest.mark.parametrize("torch", [None, "12.4"])
def test_a_driver_older_than_every_image_is_an_error(driver, torch):
    with pytest.raises(DockerError, match=rf"the driver {driver} is older .*CUDA {CUDAS[0]}") as raised:
        choose(nvidia(driver), torch_cuda=torch, environ={})
    assert "--base" in raised.value.hint


@pytest.mark.parametrize("gpu", ["none", "amd", "intel"])
@pytest.mark.parametrize(("torch", "devel"), [*itertools.product([None, "cpu", "12.4"], [False, True])])
def test_without_an_nvidia_card_there_is_one_base(gpu, torch, devel):
    found = choose(HardwareProfile(gpu=gpu), torch_cuda=torch, source_build=devel, environ={})
    assert found == Base(ROWS["cpu"], "cpu", devel=False, why="no NVIDIA card")
    assert found.variant == "cpu"


@pytest.mark.parametrize("how", ["option", "variable", "both"])
@pytest.mark.parametrize(
    ("driver", "torch", "devel"), [*itertools.product([*DRIVERS, *TOO_OLD], ["12.4"], [False, True])]
)
def test_a_given_image_is_begun_with_whatever_the_driver(how, driver, torch, devel):
    start = None if how == "variable" else "mine:1"
    environ = {} if how == "option" else {"PINOCTL_BASE_IMAGE": "mine:1" if how == "variable" else "other:1"}
    found = choose(nvidia(driver), torch_cuda=torch, source_build=devel, start=start, environ=environ)
    assert (found.start, found.devel) == ("mine:1", devel)
    if driver in TOO_OLD:
        assert found.cuda == "cpu"
    else:
        assert found.cuda == choose(nvidia(driver), torch_cuda=torch, environ={}).cuda


@pytest.mark.parametrize("start", ["UPPER CASE", "debian:", "a b", "debian:12\n", "-v", "a@sha256:1"])
def test_what_is_no_name_is_refused_before_anybody_is_asked_for_it(start):
    with pytest.raises(BadInputError, match="cannot be the name of an image") as refused:
        choose(NO_GPU, start=start)
    assert refused.value.hint


@pytest.mark.parametrize(
    "start",
    ["debian", "debian:12.11-slim", "nvcr.io/nvidia/cuda:12.8.1-runtime", "127.0.0.1:5000/me/x_y:A.b", "1a2b3c4d5e6f",
     f"sha256:{'0' * 64}", f"debian@sha256:{'f' * 64}", f"debian:12@sha256:{'f' * 64}"],
)  # fmt: skip
def test_every_form_of_a_name_is_taken(start):
    assert choose(NO_GPU, start=start).start == start


def test_a_given_image_is_begun_with_without_a_card():
    found = choose(HardwareProfile(), start="mine:1", environ={})
    assert found == Base("mine:1", "cpu", devel=False, why="given")
    assert choose(HardwareProfile(), environ={"PINOCTL_BASE_IMAGE": ""}).start == ROWS["cpu"]


def test_every_cuda_of_the_table_has_both_images_and_a_known_driver():
    for cuda, images in ROWS["cuda"].items():
        assert cuda in matrix().cuda
        assert images["runtime"].startswith(f"nvidia/cuda:{cuda}.")
        assert images["devel"] == images["runtime"].replace("-runtime-", "-devel-")


def test_the_context_holds_what_the_dockerfile_copies(tmp_path):
    found = files(tmp_path)
    assert set(found) == {*FILES, "certificates/.keep"}
    assert found["entry"][1] == found["health"][1] == 0o755
    copied = [line.split()[1:-1] for line in found["Dockerfile"][0].decode().splitlines() if line.startswith("COPY ")]
    for source in (word.rstrip("/") for words in copied for word in words if not word.startswith("--")):
        assert any(name == source or name.startswith(f"{source}/") for name in found), source


def test_the_sites_certificates_go_along(tmp_path):
    (tmp_path / "site.crt").write_text("PEM")
    (tmp_path / "other.txt").write_text("x")
    found = files(tmp_path)
    assert found["certificates/site.crt"] == (b"PEM", 0o644)
    assert "certificates/other.txt" not in found


def test_a_recipe_changes_with_everything_that_goes_in():
    content = {"Dockerfile": (b"FROM x", 0o644)}
    known = recipe("a", "1", content, "x86_64")
    others = [
        recipe("b", "1", content, "x86_64"),
        recipe("a", "2", content, "x86_64"),
        recipe("a", "1", content, "aarch64"),
        recipe("a", "1", {"Dockerfile": (b"FROM y", 0o644)}, "x86_64"),
        recipe("a", "1", {"Dockerfile": (b"FROM x", 0o755)}, "x86_64"),
        recipe("a", "1", {"Dockerfil": (b"FROM x", 0o644)}, "x86_64"),
        recipe("a", "1", {**content, "entry": (b"", 0o755)}, "x86_64"),
    ]
    assert len({known, *others}) == 1 + len(others)
    assert recipe("a", "1", dict(reversed(content.items())), "x86_64") == known


def test_uv_has_a_version():
    assert numbers(uv_version()) > (0, 8)
