"""What is read from steps and texts about an app's needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.needs import Clone, Download
from orchestrator.plan.reading import read_needs
from orchestrator.plan.reading.texts import amounts, nvidia_only, platforms
from tests.dry_run.test_commands import ANY
from tests.plan.steps import APP, script, shell, step


def needs(*steps, **more):
    return read_needs([script(*steps)], **more)


@pytest.mark.parametrize(
    ("message", "clone"),
    [
        ("git clone https://github.com/a/b app", Clone("https://github.com/a/b", None, f"{APP}/app")),
        ("git clone https://github.com/a/b.git", Clone("https://github.com/a/b.git", None, f"{APP}/b")),
        ("git clone -b dev --depth 1 https://github.com/a/b app", Clone("https://github.com/a/b", "dev", f"{APP}/app")),
        ("git clone --branch=v1 https://github.com/a/b", Clone("https://github.com/a/b", "v1", f"{APP}/b")),
        ("git lfs clone https://huggingface.co/a/b", Clone("https://huggingface.co/a/b", None, f"{APP}/b")),
        ("git -c http.x=1 clone https://me:secret@github.com/a/b", None),
    ],
)
def test_clones(message, clone):
    (found,) = needs(shell(message)).clones
    if clone is None:
        assert "secret" not in found.url
    else:
        assert found == clone


@pytest.mark.parametrize("message", ["git pull", "git clone", "git lfs install", "git"])
def test_what_is_no_clone(message):
    assert needs(shell(message)).clones == ()


@pytest.mark.parametrize(
    ("planned", "download"),
    [
        (
            shell("wget https://x/y/model.safetensors -O models/m.safetensors"),
            Download("file", "https://x/y/model.safetensors", f"{APP}/models/m.safetensors"),
        ),
        (shell("hf download a/b --local-dir models", path="app"), Download("huggingface", "a/b", f"{APP}/app/models")),
        (shell("ollama pull qwen2.5:7b"), Download("ollama", "qwen2.5:7b")),
        (shell("npm install", path="app"), Download("npm", "package.json", f"{APP}/app")),
        (shell("sudo apt-get install -y ffmpeg"), Download("apt", "ffmpeg")),
        (shell("conda install -y -c conda-forge ffmpeg"), Download("conda", "ffmpeg")),
        (shell("pip install -r requirements.txt", venv="env"), Download("python", "-r requirements.txt", f"{APP}/env")),
        (
            step("fs.download", {"uri": "https://x/a.ckpt", "dir": "models"}),
            Download("file", "https://x/a.ckpt", f"{APP}/models"),
        ),
    ],
)
def test_downloads(planned, download):
    assert download in needs(planned).downloads


def test_models_and_ports_and_page():
    found = needs(
        shell("wget https://x/sd_xl.safetensors", "hf download black/flux", "python app.py --port 7861"),
        shell("streamlit run app.py", env={"SERVER_PORT": "8501"}),
    )
    assert found.models == ("sd_xl.safetensors", "black/flux")
    assert found.ports == (7861, 8501)
    assert found.web_ui == "streamlit"


@pytest.mark.parametrize(
    ("message", "torch", "cuda"),
    [
        ("uv pip install torch==2.7.0 torchvision --index-url https://download.pytorch.org/whl/cu128", "2.7.0", "12.8"),
        ("pip install torch==2.1.0+cu118 -f https://download.pytorch.org/whl/torch_stable.html", "2.1.0", "11.8"),
        ("pip install torch --index-url https://download.pytorch.org/whl/cpu", "newest", "cpu"),
        ("uv pip install torch --torch-backend=cu126", "newest", "12.6"),
        ("pip install torch", "newest", None),
        ("pip install gradio", None, None),
    ],
)
def test_torch(message, torch, cuda):
    found = needs(shell(message))
    assert (found.torch, found.cuda) == (torch, cuda)


def test_a_requirements_file_of_the_launcher_is_read():
    files = {f"{APP}/requirements.txt": "torch==2.4.0\ngradio\n"}
    found = needs(shell("uv pip install -r requirements.txt"), read_text=files.get)
    assert (found.torch, found.web_ui) == ("2.4.0", "gradio")


def test_skipped_steps_count_for_nothing_but_what_their_notices_say():
    found = needs(
        shell("git clone https://x/y", executed=False),
        step("notify", {"html": "This app requires an NVIDIA GPU with at least 12GB VRAM"}, executed=False, index=1),
    )
    assert (found.clones, found.gpus, found.vram) == ((), ("nvidia",), 12)
    assert found.sources["vram"] == "install.js#1"


def test_python_conda_and_source_builds():
    found = needs(shell("python setup.py install", venv="env", venv_python="3.11"), shell("x", conda="env"))
    assert (found.python, found.conda, found.source_build) == ("3.11", True, True)


@pytest.mark.parametrize(
    ("messages", "estimate"),
    [
        (["git pull"], None),
        (["pip install gradio"], 1.0),
        (["pip install torch --index-url https://x/whl/cpu"], 2.2),
        (["pip install torch"], 7.5),
    ],
)
def test_the_disk_estimate(messages, estimate):
    found = needs(shell(*messages)).disk_estimate
    assert found == (None if estimate is None else pytest.approx(estimate))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Requires 8GB VRAM", {"vram": 8}),
        ("requires an NVIDIA GPU with at least 12 GB of VRAM", {"vram": 12}),
        ("(Minimum Requirements 12GB VRAM / 48GB RAM, Recommended Requirements 24GB VRAM)", {"vram": 12, "ram": 48}),
        ("**VRAM**: 6GB minimum", {"vram": 6}),
        ("as low as 3GB VRAM", {"vram": 3}),
        ("Needs 30 GB of free disk space", {"disk": 30}),
        ("16GB RAM required", {"ram": 16}),
        ("about 1 TB of storage space", {"disk": 1000}),
        ("RTX 4090 24GB recommended", {}),
        ("best with 16GB VRAM", {}),
        ("a 7B model of 14 GB", {}),
        ("", {}),
    ],
)
def test_what_texts_require(text, found):
    assert amounts([text]) == found


@pytest.mark.parametrize(
    ("text", "so"),
    [
        ("[NVIDIA ONLY] Fast", True),
        ("requires an NVIDIA GPU", True),
        ("CUDA-only", True),
        ("NVIDIA recommended", False),
        ("works on NVIDIA and AMD", False),
    ],
)
def test_what_texts_say_of_the_card(text, so):
    assert nvidia_only(text) is so


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Windows only", ("win32",)),
        ("[MAC ONLY] MLX", ("darwin",)),
        ("Runs on Windows and Linux", ()),
        ("only for Apple Silicon", ("darwin",)),
        ("x" * 500 + " (Only for Windows) install pywin32", ()),
    ],
)
def test_what_texts_say_of_the_platform(text, found):
    assert platforms(text) == found


@given(
    st.lists(
        st.tuples(st.sampled_from(["shell.run", "fs.download", "notify", "input", "hf.download", "x"]), ANY), max_size=4
    ),
    st.text(),
)
def test_nothing_raises(steps, text):
    read_needs([script(*(step(method, params) for method, params in steps))], texts=[text])
