from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine.environment import ToolFacts, shell_environment
from orchestrator.engine.environment.assemble import LOGIN_PATH, inherited, resolved
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.home import Home
from orchestrator.engine.values import UNDEFINED

HOME = Home(Path("/h"))


def shell(process=None, *files, facts=None, **rest):
    return shell_environment(HOME, process or {}, files, facts or ToolFacts(), exists=lambda _: False, **rest)


@pytest.mark.parametrize(
    "name",
    [
        "BLUEFAIRY_X", "CONDA_PREFIX", "CONDA_PREFIX_1", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "_CE_M", "PYTHONPATH",
        "CMAKE_GENERATOR", "CUDA_VISIBLE_DEVICES", "CUDA_PATH", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "OPENSSL_CONF",
        "VIRTUAL_ENV", "PYTHONHOME", "UV_SYSTEM_PYTHON", "PINOCTL_TOKEN",
    ],
)  # fmt: skip
def test_names_that_shells_do_not_inherit(name):
    assert inherited({name: "/x", "A": "1"}, lambda _: True) == {"A": "1"}


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"]
)
def test_certificates_stay_while_they_exist(name):
    assert inherited({name: "/c"}, lambda _: True) == {name: "/c"}
    assert inherited({name: "/c"}, lambda _: False) == {}
    assert inherited({name: "relative"}, lambda _: True) == {}


@pytest.mark.parametrize(
    "name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "HTTPS_PROXY", "LD_LIBRARY_PATH", "ssh"]
)
def test_names_that_shells_inherit(name):
    assert inherited({name: "/c"}, lambda _: False) == {name: "/c"}


def test_a_key_log_is_no_certificate():
    assert inherited({"SSLKEYLOGFILE": "/log"}, lambda _: True) == {}


def test_a_notebooks_drawing_backend_goes_and_another_stays():
    assert inherited({"MPLBACKEND": "module://matplotlib_inline.backend_inline"}) == {}
    assert inherited({"MPLBACKEND": "agg"}) == {"MPLBACKEND": "agg"}


def test_without_conda_nothing_points_into_it():
    env = shell()
    assert not [value for value in env.values() if "miniforge" in value]
    assert not {"CUDA_HOME", "PYTHON", "CONDA_ENVS_PATH"} & env.keys()
    assert env["PATH"] == f"/h/bin/npm:/h/bin/npm/bin:/h/bin/base/bin:{LOGIN_PATH}:/h/bin"


def test_with_conda_its_folders_come_before_the_base():
    parts = shell(facts=ToolFacts(conda=True))["PATH"].split(":")
    assert parts.index("/h/bin/npm/bin") < parts.index("/h/bin/miniforge/bin") < parts.index("/h/bin/base/bin")


def test_the_hosts_cuda_goes_before_condas():
    assert shell(facts=ToolFacts(conda=True, cuda_home="/usr/local/cuda"))["CUDA_HOME"] == "/usr/local/cuda"
    assert shell(facts=ToolFacts(cuda_home="/usr/local/cuda"))["CUDA_HOME"] == "/usr/local/cuda"


def test_gpus_are_only_those_that_the_engine_was_given():
    assert "CUDA_VISIBLE_DEVICES" not in shell({"CUDA_VISIBLE_DEVICES": "3"})
    given = ToolFacts(visible_devices="1")
    assert shell({"CUDA_VISIBLE_DEVICES": "3"}, facts=given)["CUDA_VISIBLE_DEVICES"] == "1"
    assert shell(facts=given, step={"CUDA_VISIBLE_DEVICES": 0})["CUDA_VISIBLE_DEVICES"] == "0"
    assert shell(facts=ToolFacts(visible_devices=""))["CUDA_VISIBLE_DEVICES"] == ""


def test_tools_win_over_files_and_steps_over_tools():
    files = {"GIT_CONFIG_GLOBAL": "/mine", "A": "file"}
    assert shell(None, files)["GIT_CONFIG_GLOBAL"] == "/h/gitconfig"
    assert shell(None, files, step={"GIT_CONFIG_GLOBAL": "/step"})["GIT_CONFIG_GLOBAL"] == "/step"


def test_the_path_of_a_file_does_not_count():
    assert "/file" not in shell({"PATH": "/p"}, {"PATH": "/file"})["PATH"]


def test_pinoctls_own_environment_is_not_on_the_path():
    env = shell({"PATH": "/own/venv/bin:/usr/bin", "VIRTUAL_ENV": "/own/venv"})
    assert env["PATH"].endswith(":/usr/bin:/h/bin")
    assert "/own/venv/bin" not in env["PATH"]


@pytest.mark.parametrize("value", ["/x", 5, {"a": 1}])
@pytest.mark.parametrize("name", ["PATH", "path", "Path"])
def test_a_path_must_be_a_list(name, value):
    with pytest.raises(ScriptError, match=f"`{name}` in the `env` of a step must be a list of folders"):
        shell(step={name: value})


def test_a_lists_gaps_do_not_put_the_working_folder_on_the_path():
    assert "::" not in shell(step={"PATH": ["/a", None, "", UNDEFINED, "/b"]})["PATH"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), (0.5, "0.5"), (True, "true"), (None, "null"), ("", ""), ({"a": 1}, "[object Object]"),
     ([1, None, "b"], "1::b"), ([], "")],
)  # fmt: skip
def test_values_become_text_as_in_javascript(value, text):
    assert shell(step={"X": value})["X"] == text


def test_undefined_sets_nothing():
    assert "X" not in shell(step={"X": UNDEFINED})


def test_a_list_goes_in_front_of_what_was_there():
    assert shell({"L": "old"}, step={"L": ["a", "b"]})["L"] == "a:b:old"
    assert shell(None, {"L": "file"}, step={"L": ["a"]})["L"] == "a:file"


def test_line_ends_become_blanks_except_in_arguments():
    env = shell(step={"A": "1\r\n2\n3\r4", "PINOKIO_ARG_1": "1\n2", "B": "x\0y"})
    assert (env["A"], env["PINOKIO_ARG_1"], env["B"]) == ("1 2 3 4", "1\n2", "xy")


def test_names_that_no_shell_takes_are_dropped():
    assert (
        not {"a-b", "1a", "", "BASH_FUNC_x%%"}
        & shell({"BASH_FUNC_x%%": "() {}"}, {"a-b": "1"}, step={"1a": 1, "": 2}).keys()
    )


def test_forced_ones_win_over_everything():
    names = ("PYTHONNOUSERSITE", "UV_PYTHON_PREFERENCE", "PIP_REQUIRE_VIRTUALENV")
    env = shell(dict.fromkeys(names, "p"), dict.fromkeys(names, "f"), step=dict.fromkeys(names, "s"), remove=names)
    assert [env[name] for name in names] == ["1", "only-managed", "true"]
    assert shell(facts=ToolFacts(managed_python=False))["UV_PYTHON_PREFERENCE"] == "managed"
    assert "PIP_REQUIRE_VIRTUALENV" not in shell(conda_base=False)


def test_defaults_fill_what_is_empty():
    assert shell({"HF_TOKEN_PATH": ""})["HF_TOKEN_PATH"] == "/h/cache/HF_AUTH/anonymous"
    assert shell(facts=ToolFacts(logged_in=True))["HF_TOKEN_PATH"] == "/h/cache/HF_AUTH/token"
    assert shell(None, {"HF_TOKEN_PATH": "/t"})["HF_TOKEN_PATH"] == "/t"


def test_uv_takes_the_systems_certificates_unless_told_otherwise():
    assert shell()["UV_SYSTEM_CERTS"] == "1"
    assert shell({"UV_SYSTEM_CERTS": "0"})["UV_NATIVE_TLS"] == "0"
    assert "UV_SYSTEM_CERTS" not in shell(facts=ToolFacts(system_certs=False))


def test_removed_ones_are_gone():
    assert not {"A", "HISTFILE"} & shell({"A": "1"}, remove=["A", "HISTFILE", "never there"]).keys()


def test_paths_of_files_are_resolved_and_blanks_dropped():
    values = {"A": "./m", "B": "./", "C": "../m", "D": "", "E": "  ", "F": "/x", "G": "./a/../b"}
    assert resolved(values, "/app") == {"A": "/app/m", "B": "/app", "C": "../m", "F": "/x", "G": "/app/b"}
