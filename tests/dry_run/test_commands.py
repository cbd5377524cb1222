"""Taking typed commands apart, and reading pip installs of every spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.dry_run.commands import Command, commands_of, messages_of, split
from orchestrator.engine.dry_run.pip import index_options, pip_install, requirement, requirements_in
from orchestrator.engine.dry_run.records import PlannedStep
from orchestrator.engine.values import UNDEFINED


def step(**params) -> PlannedStep:
    return PlannedStep("a.js", 0, executed=True, method="shell.run", params=params, cwd="/home/api/app")


def install(text: str):
    return pip_install(Command(tuple(split(text)[0]), "/app", text))


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("git clone x app", [["git", "clone", "x", "app"]]),
        (
            "cd app && pip install -r 'my file.txt'; echo done",
            [["cd", "app"], ["pip", "install", "-r", "my file.txt"], ["echo", "done"]],
        ),
        ("a | b || c &", [["a"], ["b"], ["c"]]),
        ("python x > out.txt 2>&1", [["python", "x"]]),
        ('echo "unclosed', [["echo", '"unclosed']]),
        ("one\ntwo \\\n three", [["one"], ["two", "three"]]),
        ("", []),
    ],
)
def test_splitting(text, commands):
    assert split(text) == commands


def test_commands_know_their_folder_environment_and_python():
    found = commands_of(
        step(message=["cd sub && FOO=1 sudo pip install x", "ls"], path="app", venv="../env", venv_python="3.11")
    )
    assert [(each.argv, each.cwd, dict(each.env)) for each in found] == [
        (("pip", "install", "x"), "/home/api/app/app/sub", {"FOO": "1"}),
        (("ls",), "/home/api/app/app", {}),
    ]
    assert {(each.venv, each.python, each.where) for each in found} == {("/home/api/app/env", "3.11", "a.js#0")}


def test_hf_download_is_a_command_like_the_others():
    planned = PlannedStep(
        "a.js",
        2,
        executed=True,
        method="hf.download",
        params={"_": ["a/b"], "local-dir": "models", "path": "x"},
        cwd="/app",
    )
    assert messages_of(planned) == ["hf download 'a/b' '--local-dir' 'models'"]


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(UNDEFINED)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["message", "path", "venv", "conda", "env", "on"]), ANY),
    st.sampled_from(["shell.run", "hf.download", "fs.download", None]),
)
def test_nothing_that_a_launcher_yields_raises(params, method):
    planned = PlannedStep("a.js", 0, executed=True, method=method, params=params, cwd="/app")
    for command in commands_of(planned):
        pip_install(command)


@given(st.text())
def test_no_text_raises(text):
    for words in split(text):
        pip_install(Command(tuple(words), "/app", text))
    list(requirements_in(text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("pip install torch==2.7.0 torchvision", ["torch", "torchvision"]),
        ("pip3 install -U 'numpy<2'", ["numpy"]),
        ("uv pip install torch_x[extra]>=1,<2 --index-url https://x/whl/cu128 -r a.txt", ["torch-x"]),
        ("python -m pip install git+https://github.com/a/Some_Name.git@main", ["some-name"]),
        ("python3.10 -m uv pip install x", ["x"]),
        ("uv add gradio", ["gradio"]),
        ("env/bin/pip install -e .", [""]),
        ("pip install https://x/y/torch-2.6.0%2Bcu128.nv-cp310-cp310-linux_x86_64.whl", ["torch"]),
        ("pip install 'a @ https://x/y.zip'", ["a"]),
    ],
)
def test_installs_of_every_spelling(text, names):
    found = install(text)
    assert found is not None
    assert [each.name for each in found.requirements] == names


@pytest.mark.parametrize(
    "text", ["pip list", "pip", "python app.py", "conda install x", "uv venv", "uv sync", "pip uninstall torch"]
)
def test_what_is_no_install(text):
    assert install(text) is None


def test_options_of_an_install():
    found = install(
        "uv pip install --pre torch --index-url https://a --extra-index-url=https://b "
        "--force-reinstall --no-deps --torch-backend=auto -r r.txt"
    )
    assert found is not None
    assert (found.index, found.extra_indexes, found.backend, found.files) == (
        "https://a",
        ("https://b",),
        "auto",
        ("r.txt",),
    )
    assert (found.pre, found.forced, found.no_deps) == (True, True, True)


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("a==1.2", "1.2"),
        ("a===1.2", "1.2"),
        ("a>=1.2", ""),
        ("a==1.*", ""),
        ("a==1.2,>1", ""),
        ("a==2.1.0+cu118", "2.1.0+cu118"),
    ],
)
def test_pins(text, pinned):
    found = requirement(text)
    assert found is not None
    assert found.pinned == pinned


def test_a_requirements_file():
    text = (
        "--extra-index-url https://x/whl/cu121\n# nothing\n"
        "torch==2.1.0 ; sys_platform == 'linux'  # pinned\n-e .\n\ngradio\n"
    )
    assert [(each.name, each.version) for each in requirements_in(text)] == [("torch", "==2.1.0"), ("gradio", "")]
    assert index_options(text) == ["https://x/whl/cu121"]
