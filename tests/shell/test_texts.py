"""Messages, activation, guard and reports: text in, text out."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.shell.activation import command_line, conda_commands, conda_target, venv_commands
from orchestrator.engine.shell.guard import forbidden
from orchestrator.engine.shell.message import Line, lines, operator, words
from orchestrator.engine.shell.reports import Report, ReportParser
from orchestrator.engine.values import UNDEFINED


@pytest.mark.parametrize(
    ("message", "chain", "expected"),
    [
        ("echo a", None, ["echo a"]),
        ("echo a\necho b", None, ["echo a\necho b"]),
        ("", None, [""]),
        (UNDEFINED, None, [""]),
        ([], None, []),
        (["a", "", None, False, " ", "b"], None, ["a", " ", "b"]),
        (["a", "", " ", "b"], "&", ["a && b"]),
        (["a", "b"], "|", ["a || b"]),
        (["a", "b"], "*", ["a ; b"]),
        (["a", "b"], True, ["a && b"]),
        ({"_": ["ls", "a b"], "all": True}, None, ["'ls' 'a b' '--all'"]),
        ([{"_": ["it's"]}], None, ["'it'\\''s'"]),
    ],
)
def test_forms(message: object, chain: object, expected: list[str]) -> None:
    assert [line.text for line in lines(message, chain)] == expected


def test_flags() -> None:
    command = {
        "_": ["x", None, 3],
        "yes": True,
        "no": False,
        "v": 1.0,
        "--kept": "k",
        "many": ["a", None, "b"],
        "deep": {"er": "d"},
        "gone": None,
        "open": "{{missing}}",
    }
    assert words(command) == [
        "x",
        "3",
        "--yes",
        "--no-no",
        "-v",
        "1",
        "--kept",
        "k",
        "--many",
        "a",
        "--many",
        "b",
        "--deep.er",
        "d",
    ]


def test_newlines_go_through_variables() -> None:
    assert lines({"_": ["echo", "a\nb", "c\nd"]}) == [
        Line('\'echo\' "$PINOKIO_ARG_0" "$PINOKIO_ARG_1"', {"PINOKIO_ARG_0": "a\nb", "PINOKIO_ARG_1": "c\nd"})
    ]


@given(st.lists(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_quoted_words_come_back(items: list[str]) -> None:
    kept = [item for item in items if not (item.startswith("{{") and item.endswith("}}"))]
    assert shlex.split(lines({"_": items})[0].text) == kept


@pytest.mark.parametrize("message", [True, [lambda: 1], "a\0b"])
def test_bad_messages(message: object) -> None:
    with pytest.raises(ScriptError):
        lines(message)


BASE = 'eval "$(conda shell.bash hook)" ; conda deactivate ; conda deactivate ; conda deactivate ; conda activate base'


def conda(value: object, python: object = UNDEFINED, *, there: bool = False) -> str:
    target = conda_target(value, python, cwd="/a b")
    return " ; ".join(conda_commands(target, envs="/m/envs", exists=lambda _: there))


def test_conda() -> None:
    hook = BASE.replace(" ; conda activate base", "")
    assert conda(None) == BASE
    assert conda({"name": "base"}) == BASE
    assert conda("env", there=True) == f"{hook} ; conda activate '/a b/env'"
    assert conda("env") == f"{hook} ; conda create -y -p '/a b/env' python=3.10.20 ; conda activate '/a b/env'"
    assert conda({"name": "x", "python": "3.11", "args": "-c conda-forge"}) == (
        f"{hook} ; conda create -y -n x python=3.11 -c conda-forge ; conda activate x"
    )
    assert "python>=3.9 " in conda("env", "python>=3.9") + " "
    assert conda({"path": "x", "activate": "minimal"}) == 'eval "$(conda shell.bash hook)" ; conda activate base'
    assert conda({"path": "x", "activate": ["one", "two"]}) == "one ; two"
    assert conda({"skip": True}) == ""
    for wrong in ({}, {"python": "3.11"}, 7, ["env"]):
        with pytest.raises(ScriptError):
            conda(wrong)


def venv(value: object, python: object = UNDEFINED, *, there: bool = False, cwd: str = "/app") -> str:
    return " ; ".join(venv_commands(value, python, cwd=cwd, exists=lambda _: there))


def test_venv() -> None:
    source = "source /app/env/bin/activate /app/env"
    assert venv(None) == venv("") == venv({}) == ""
    assert venv("env", there=True) == source
    assert venv("env") == f"python -m venv /app/env ; {source} ; deactivate ; {source}"
    assert venv("env", "3.11") == f"uv venv /app/env --python 3.11 ; {source} ; deactivate ; {source}"
    assert venv({"path": "env", "python": 3.12}).startswith("uv venv /app/env --python 3.12 ; ")
    assert venv("env", there=True, cwd="/my app") == "source '/my app/env/bin/activate' '/my app/env'"
    with pytest.raises(ScriptError):
        venv(["env"])


def test_joining() -> None:
    assert command_line(["a", "b"], "c", operator("|")) == "a ; b || c"
    assert command_line([], "c", "&&") == "c"
    assert command_line(["a"], "", "&&") == "a"


@pytest.mark.parametrize(
    ("message", "blocked"),
    [
        ("conda install -y python=3.11", True),
        ("conda install -y conda", True),
        ("conda update --all", True),
        ("cd x && conda update -n base conda", True),
        ("conda install -y -c conda-forge conda-forge::python", True),
        ("conda env update -f environment.yml", True),
        ("conda install --file requirements.txt", True),
        ("conda install -y --revision 1", True),
        ("conda create -y -n base python=3.11", True),
        ("conda env remove -n base", True),
        ("/m/bin/conda install python", True),
        ("conda activate x && conda install -y python", False),
        ("conda activate x && conda install -n base -y python", True),
        ("conda install -y ffmpeg", False),
        ("conda install -y -c python ffmpeg", False),
        ("conda install --dry-run python", False),
        ("conda install -p ./env -y python=3.11", False),
        ("conda install -p /m -y python=3.11", True),
        ("conda create -y -p ./env python=3.11", False),
        ("conda list python", False),
        ("echo conda install python", False),
        ("pip install conda", False),
        ("echo 'unbalanced conda install python", False),
    ],
)
def test_guard(message: str, *, blocked: bool) -> None:
    assert forbidden(message, in_base=True, base_prefix="/m") is blocked


def test_guard_outside_base() -> None:
    assert not forbidden("conda install -y python", in_base=False, base_prefix="/m")
    assert forbidden("conda install -n base -y python", in_base=False, base_prefix="/m")


STREAM = b"out\x1b[0m\x1b_K;p;3;(env) \x01\x1b[32m\x02> ;K\x1b\\rest"
STREAM += b"\x1b_K;c;1;K\x1b\\> \x1b_K;c;1;K\x1b\\> \x1b_other\x1b\\end\x1b"


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_reports_split_anywhere(cuts: list[int]) -> None:
    parser, found = ReportParser("K"), []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in zip(edges[:-1], edges[1:], strict=True):  # noqa: RUF007  # pairwise cannot be strict
        found += parser.feed(STREAM[start:end])
    found.append(parser.flush())
    assert [item for item in found if isinstance(item, Report)] == [Report("prompt", 3, "(env) > "), Report("more")]
    assert b"".join(item for item in found if isinstance(item, bytes)) == b"out\x1b[0mrest> > \x1b_other\x1b\\end\x1b"


def test_a_report_that_never_ends_is_output() -> None:
    parser = ReportParser("K")
    data = b"\x1b_K;p;" + b"x" * 10000
    assert b"".join(item for item in [*parser.feed(data), parser.flush()] if isinstance(item, bytes)) == data
