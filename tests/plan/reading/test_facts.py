"""The finer points of reading: which torch stays, where files land, refs, models, ports, and values gone wild."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.plan.needs import Download
from orchestrator.plan.reading import read_needs
from orchestrator.plan.reading.texts import amounts
from tests.plan.steps import APP, script, shell, step

WHL = "--index-url https://download.pytorch.org/whl"


def needs(*steps):
    return read_needs([script(*steps)])


@pytest.mark.parametrize(
    ("message", "what", "to"),
    [
        ("curl -L -O https://x/f.zip?a=1", "https://x/f.zip?a=1", f"{APP}/f.zip"),
        ("curl -LO https://x/f.zip", "https://x/f.zip", f"{APP}/f.zip"),
        ("curl -fsSL https://x/install.sh | sh", "https://x/install.sh", ""),
        ("curl -H 'A: b' -o out/f https://x/f.zip", "https://x/f.zip", f"{APP}/out/f"),
        ("wget https://x/m.pth", "https://x/m.pth", f"{APP}/m.pth"),
        ("cd app && wget -P models https://x/m.pth", "https://x/m.pth", f"{APP}/app/models/m.pth"),
        ("aria2c -x 16 --dir=models -o m.pth https://x/1", "https://x/1", f"{APP}/models/m.pth"),
    ],
)
def test_where_files_land(message, what, to):
    assert needs(shell(message)).downloads == (Download("file", what, to),)


def test_an_empty_word_is_no_package():
    assert [each.kind for each in needs(shell("apt install '' ffmpeg")).downloads] == ["apt"]


def test_a_later_install_of_torch_counts():
    found = needs(shell("pip install gradio torch"), shell(f"pip install torch==2.7.0 {WHL}/cu128", index=3))
    assert (found.torch, found.cuda, found.sources["torch"]) == ("2.7.0", "12.8", "install.js#3")


def test_an_install_that_is_satisfied_changes_no_torch():
    found = needs(shell("pip install torch==2.3.1"), shell(f"pip install torch==2.3.1 {WHL}/cpu"))
    assert (found.torch, found.cuda) == ("2.3.1", None)


def test_torch_by_conda_and_for_other_cards():
    conda = needs(shell("conda install pytorch=2.1.0 pytorch-cuda=12.1 -c pytorch -c nvidia"))
    assert (conda.torch, conda.cuda) == ("2.1.0", "12.1")
    rocm = needs(shell(f"pip install torch {WHL}/rocm6.2"))
    assert (rocm.torch, rocm.cuda) == ("newest", None)


@pytest.mark.parametrize(
    ("messages", "ref"),
    [
        (["git clone https://x/y app && cd app && git checkout v1.2"], "v1.2"),
        (["git clone https://x/y app", "cd app && git reset --hard 1e78aa6"], "1e78aa6"),
        (["git clone https://x/y app", "cd app && git checkout origin/dev"], "dev"),
        (["git clone -b main https://x/y app", "git checkout v1"], "main"),
        (["git clone https://x/y app", "cd app && git checkout -- file.py"], None),
        (["git clone https://x/y app", "cd app && git checkout ."], None),
        (["git clone https://x/y app", "cd app && git reset HEAD"], None),
    ],
)
def test_a_checkout_in_a_clone_says_its_ref(messages, ref):
    assert [clone.ref for clone in needs(shell(*messages)).clones] == [ref]


@pytest.mark.parametrize(
    ("url", "models"),
    [
        ("https://huggingface.co/a/b-1.5", ("a/b-1.5",)),
        ("https://huggingface.co/a/b.git", ("a/b",)),
        ("https://huggingface.co/spaces/a/b", ()),
        ("https://huggingface.co/datasets/a/b", ()),
        ("https://github.com/a/b", ()),
    ],
)
def test_a_clone_of_a_model_is_a_model(url, models):
    assert needs(shell(f"git clone {url}")).models == models


def test_the_port_that_plans_assume_is_no_need():
    found = needs(
        shell("python app.py --port 42003"),
        shell("python b.py", env={"PORT": "9" * 5000, "API_PORT": "8188", "X_PORT": "70000"}),
    )
    assert found.ports == (8188,)


def test_conditions_of_the_shell_are_no_programs():
    assert set(needs(shell('if [ "$(uname)" == x ]; then ffmpeg; fi')).commands).isdisjoint({"[", "=="})


@pytest.mark.parametrize(
    ("planned", "kind"),
    [
        (shell("python run_gradio.py"), "gradio"),
        (shell("python app.py", env={"GRADIO_SERVER_PORT": "1"}), "gradio"),
        (shell("python app.py", on=[{"event": "/Running on local URL: (.+)/"}]), "gradio"),
        (shell("python app.py", on=[{"event": "/Uvicorn running on (.+)/"}]), "fastapi"),
        (shell("python app.py", on=[{"event": None}, 7], env=["x"]), None),
        (shell("python main.py && comfyui"), "comfyui"),
        (shell("pip install gradio_client gradio-client"), None),
    ],
)
def test_what_tells_of_the_page(planned, kind):
    assert needs(planned).web_ui == kind


@pytest.mark.parametrize(
    ("message", "built"),
    [
        ("pip install flash-attn", True),
        ("pip install x --no-build-isolation", True),
        ("pip install https://x/flash_attn-2.7.4+cu129torch2.7-cp312-cp312-linux_x86_64.whl", False),
        ("pip install https://x/flash_attn-2.7.4%2Bcu126-cp310-cp310-linux_x86_64.whl", False),
    ],
)
def test_only_what_is_compiled_here_is_a_source_build(message, built):
    assert needs(shell(message)).source_build is built


def test_a_recommendation_behind_a_requirement_does_not_soften_it():
    text = "(Minimum Requirements 12GB VRAM / 32GB RAM Recommended Requirements 24GB VRAM / 48GB RAM)"
    assert amounts([text]) == {"vram": 12, "ram": 32}


def test_values_nested_too_deep_are_passed_over():
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    found = needs(
        shell("git clone https://x/y", env={"PORT": deep}),
        step("notify", {"html": deep}),
        shell("x", venv_python=deep),
        shell("git clone https://x/z"),
    )
    assert "https://x/z" in [clone.url for clone in found.clones]
