"""Which build install commands end in, and what is wrong with it on a machine."""

from __future__ import annotations

import pytest

from orchestrator.engine.hardware import HardwareProfile
from orchestrator.torch.advice import advise
from orchestrator.torch.builds import builds_of, cuda_of
from orchestrator.torch.matrix import matrix
from tests.plan.steps import APP, NO_GPU, machine, shell

WHL = "https://download.pytorch.org/whl"


def builds(*messages, read_text=lambda _: None, **params):
    return builds_of([shell(*messages, venv="env", **params)], read_text=read_text)


@pytest.mark.parametrize(
    ("messages", "version", "cuda"),
    [
        ([f"uv pip install torch==2.7.0 --index-url {WHL}/cu128"], "2.7.0", "12.8"),
        ([f"pip install torch --index-url {WHL}/cpu"], "", "cpu"),
        (["pip install torch==2.1.0+cu118"], "2.1.0", "11.8"),
        (["uv pip install torch --torch-backend=auto"], "", "auto"),
        ([f"pip install torch==2.4.0 --index-url {WHL}/rocm6.0"], "2.4.0", "rocm"),
        (["pip install torch==2.6.0"], "2.6.0", "12.4"),
        (["pip install https://x/torch-2.6.0%2Bcu126-cp310-cp310-linux_x86_64.whl"], "2.6.0", "12.6"),
        (["conda install -y pytorch==2.1.0 pytorch-cuda=12.1 -c pytorch -c nvidia"], "2.1.0", "12.1"),
        (["conda install pytorch cpuonly -c pytorch"], "", "cpu"),
        # what is installed already and satisfies the requirement stays
        ([f"pip install torch==2.7.0 --index-url {WHL}/cu128", "pip install torch"], "2.7.0", "12.8"),
        ([f"pip install torch==2.7.0 --index-url {WHL}/cu128", "pip install torch==2.7.0"], "2.7.0", "12.8"),
        # what pins another version, forces or upgrades does not
        ([f"pip install torch==2.7.0 --index-url {WHL}/cu128", "pip install torch==2.6.0"], "2.6.0", "12.4"),
        (
            [
                f"pip install torch==2.7.0 --index-url {WHL}/cu128",
                f"pip install torch --index-url {WHL}/cpu --force-reinstall",
            ],
            "",
            "cpu",
        ),
    ],
)
def test_where_commands_end(messages, version, cuda):
    (found,) = builds(*messages)
    assert (found.version, cuda_of(found), found.environment) == (version, cuda, f"{APP}/env")


def test_environments_are_kept_apart_and_skipped_steps_do_not_count():
    steps = [
        shell(f"pip install torch --index-url {WHL}/cpu", venv="one"),
        shell(f"pip install torch --index-url {WHL}/cu128", venv="two", index=1),
        shell("pip install torch==1.13.1", venv="two", index=2, executed=False),
        shell("pip install gradio", venv="three"),
    ]
    assert [(each.environment.rpartition("/")[2], each.cuda, each.where) for each in builds_of(steps)] == [
        ("one", "cpu", "install.js#0"),
        ("two", "12.8", "install.js#1"),
    ]


def test_a_requirements_file_with_its_own_index():
    text = f"--extra-index-url {WHL}/cu118\ntorch==2.1.0\n"
    (found,) = builds("pip install -r requirements.txt", read_text={f"{APP}/requirements.txt": text}.get)
    assert (found.version, found.cuda) == ("2.1.0", "11.8")


def advice(*messages, profile=None, **params):
    return advise(builds(*messages, **params), profile or machine())


@pytest.mark.parametrize(
    ("messages", "profile", "words", "remedy"),
    [
        ([f"pip install torch==2.7.0 --index-url {WHL}/cpu"], machine(), "CPU build", "cu128"),
        (
            [
                f"pip install torch==2.7.0 --index-url {WHL}/cu128",
                f"pip install torch==2.7.0 --index-url {WHL}/cpu --force-reinstall",
            ],
            machine(),
            "replaces the build for CUDA 12.8",
            "cu128",
        ),
        (
            [f"pip install torch==2.4.0 --index-url {WHL}/cu121"],
            machine("rtx 5090", "sm_120"),
            "no code for",
            "torch 2.7",
        ),
        ([f"pip install torch==2.9.0 --index-url {WHL}/cu130"], machine(driver="550.54"), "needs driver 580", "cu128"),
        (["pip install torch"], machine(driver="550.54"), "PyPI's choice", "cu12"),
        ([f"pip install torch==2.7.0 --index-url {WHL}/cu128"], machine("v100", "sm_70"), "no code for", "cu126"),
        ([f"pip install torch==2.7.0 --index-url {WHL}/cu124"], machine(), "there is no build", "cu128"),
        ([f"pip install torch==2.4.0 --index-url {WHL}/rocm6.0"], machine(), "ROCm", "cu12"),
        ([f"pip install torch==2.4.0 --index-url {WHL}/cu121"], HardwareProfile(gpu="amd"), "AMD", "ROCm"),
    ],
)
def test_what_is_wrong(messages, profile, words, remedy):
    (found,) = advice(*messages, profile=profile)
    assert found.level == "problem"
    assert words in found.text
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("messages", "profile"),
    [
        ([f"pip install torch==2.7.0 --index-url {WHL}/cu128"], machine()),
        (["uv pip install torch --torch-backend=auto"], machine()),
        ([f"pip install --pre torch --index-url {WHL}/nightly/cu128"], machine("rtx 5090", "sm_120")),
        ([f"pip install torch --index-url {WHL}/cpu"], NO_GPU),
        ([f"pip install torch==2.7.0 --index-url {WHL}/cu128"], NO_GPU),
        (["pip install gradio"], machine()),
        (["pip install torch==99.0"], machine()),
    ],
)
def test_what_is_well(messages, profile):
    assert advice(*messages, profile=profile) == []


def test_a_python_without_wheels_and_a_package_for_one_torch():
    texts = [
        each.text
        for each in advice(
            f"pip install torch==2.1.0 --index-url {WHL}/cu121", "pip install xformers", venv_python="3.12"
        )
    ]
    assert any("no wheel for Python 3.12" in text for text in texts)
    assert any("`xformers`" in text for text in texts)


def test_the_remedy_names_the_nearest_release():
    (found,) = advice(f"pip install torch==2.5.1 --index-url {WHL}/cu121", profile=machine("rtx 5090", "sm_120"))
    assert "with torch 2.7" in found.remedy
    assert matrix().release("2.7.0") is not None
