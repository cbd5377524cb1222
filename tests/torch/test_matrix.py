"""The table of PyTorch builds: consistent in itself, and with the wheels that PyPI publishes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests

import orchestrator.torch
from orchestrator.torch.matrix import capability_of, index_of, matrix, numbers, runs_on

FILE = Path(orchestrator.torch.__file__).with_name("matrix.json")


def test_every_row_names_sources_that_the_table_has_and_cuda_versions_with_a_driver():
    data = json.loads(FILE.read_text())
    for row in data["releases"]:
        assert set(row["source"]) <= set(data["sources"])
        assert row["pypi"] in row["builds"]
        assert set(row["builds"]) <= set(data["cuda"])
        assert all(re.fullmatch(r"3\.\d+", python) for python in row["python"])


def test_releases_are_in_order_and_known_once():
    names = [numbers(release.torch) for release in matrix().releases]
    assert names == sorted(set(names))


@pytest.mark.parametrize(
    ("torch", "cuda", "capability", "so"),
    [
        ("2.6", "12.4", 120, False),
        ("2.7", "12.8", 120, True),
        ("2.7", "12.6", 120, False),
        ("2.7", "12.8", 70, False),
        ("2.8", "12.8", 70, True),
        ("2.11", "12.8", 70, False),
        ("2.9", "13.0", 70, False),
        ("2.4", "12.1", 89, True),
        ("1.13", "11.7", 89, True),
        ("1.13", "11.7", 90, False),
        ("2.0", "11.8", 90, True),
    ],
)
def test_which_cards_a_build_has_code_for(torch, cuda, capability, so):
    release = matrix().release(f"{torch}.0")
    assert release is not None
    assert runs_on(release.builds[cuda], capability) is so


@pytest.mark.parametrize(
    ("driver", "cuda", "so"),
    [
        ("570.133.20", "12.8", True),
        ("535.104.05", "12.8", True),
        ("470.57", "12.1", False),
        ("570.133.20", "13.0", False),
        ("580.65.06", "13.0", True),
        ("450.80.02", "11.8", True),
        (None, "12.8", None),
        ("570", "99.0", None),
    ],
)
def test_which_drivers_run_a_cuda(driver, cuda, so):
    assert matrix().driver_runs(driver, cuda) is so


def test_the_best_build_for_a_machine():
    table = matrix()
    release = table.release("2.7.1")
    assert release is not None
    assert table.best(release, 120, "570.133.20") == "12.8"
    assert table.best(release, 70, "570.133.20") == "12.6"
    assert table.best(release, 70, "470.57") == "11.8"
    assert table.best(release, 120, "470.57") is None
    assert table.newest_for("3.10").torch == "2.14"


def test_names():
    assert (capability_of("sm_120"), capability_of("sm_90a"), capability_of("gfx1100"), capability_of(None)) == (
        120,
        90,
        None,
        None,
    )
    assert (index_of("12.8"), index_of("cpu")) == (
        "https://download.pytorch.org/whl/cu128",
        "https://download.pytorch.org/whl/cpu",
    )


@pytest.mark.network
@pytest.mark.slow
def test_the_table_agrees_with_the_wheels_on_pypi():
    """Check the Pythons by the wheels' names, and PyPI's CUDA by the runtime that their metadata requires."""
    page = requests.get("https://pypi.org/simple/torch/", timeout=60)
    page.raise_for_status()
    wheels: dict[str, dict[str, str]] = {}
    for url, name in re.findall(r'href="([^"#]+)[^"]*"[^>]*>(torch-[^<]+\.whl)<', page.text):
        found = re.match(r"torch-(\d+\.\d+)\.(\d+)-(?:\d+-)?cp3(\d+)-[^-]+-(\S*linux\S*x86_64)\.whl", name)
        if found:
            wheels.setdefault(found[1], {})[f"3.{found[3]}"] = url
    table = matrix()
    known = [release for release in table.releases if release.torch in wheels]
    assert len(known) == len(table.releases), "PyPI does not have every release of the table any more"
    checked = 0
    for release in known:
        assert set(release.python) == set(wheels[release.torch]), release.torch
        cuda = _cuda_on_pypi(wheels[release.torch].values())
        if cuda is not None:
            checked += 1
            assert cuda == release.pypi, release.torch
    assert checked >= 10, "hardly any wheel has metadata beside it: the check would prove nothing"
    newer = [name for name in wheels if numbers(name) > numbers(table.newest.torch)]
    if newer:
        pytest.skip(f"PyPI has newer releases than the table, which should learn them: {', '.join(newer)}")


def _cuda_on_pypi(urls) -> str | None:
    for url in urls:
        answer = requests.get(f"{url}.metadata", timeout=60)
        if answer.ok:
            found = re.search(
                r"Requires-Dist: (?:nvidia-cuda-runtime-cu1\d|cuda-toolkit\[[^\]]*\]) ?\(?==(\d+\.\d+)", answer.text
            )
            return found[1] if found else None
    return None
