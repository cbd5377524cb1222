"""Answers to forms, required variables and file pickers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.answers import Answers, Question
from orchestrator.engine.errors import BadInputError, MissingAnswersError, ScriptError
from orchestrator.engine.redaction import is_secret, redact, redact_url

FORM: list[Any] = [
    {"key": "name", "title": "Name", "required": True},
    {"key": "steps", "type": "number", "default": 20},
    {"key": "fast", "type": "checkbox"},
    {"key": "model", "type": "select", "items": ["small", {"text": "Large one", "value": "large"}]},
    {"key": "api", "type": "password", "default": ""},
    "odd",
    {},
]


async def test_given_answers_come_before_defaults() -> None:
    answers = Answers({"name": "n", "steps": 5, "fast": "yes", "model": "Large one", "unknown": 1})
    assert await answers.form("s", 0, FORM) == {"name": "n", "steps": "5", "fast": True, "model": "large", "api": ""}
    assert await Answers({"name": "n"}).form("s", 0, FORM) == {
        "name": "n",
        "steps": "20",
        "fast": False,
        "model": "small",
        "api": "",
    }


async def test_all_missing_ones_are_listed() -> None:
    form = [
        *FORM,
        {"key": "email", "type": "email", "required": True},
        {"key": "ok", "type": "checkbox", "required": True},
    ]
    with pytest.raises(MissingAnswersError) as caught:
        await Answers().form("app/install.js", 0, form)
    assert caught.value.missing == {"name": "Name", "email": "", "ok": ""}
    assert "--answer" in (caught.value.hint or "")
    with pytest.raises(MissingAnswersError):
        await Answers({"name": "", "email": "e", "ok": False}).form("s", 0, form)


@pytest.mark.parametrize("form", [None, [], [{}]])
async def test_no_form_gives_an_empty_object(form: Any) -> None:
    assert await Answers({"a": 1}).form("s", 0, form) == {}


async def test_an_array_answers_step_by_step() -> None:
    answers = Answers([{"name": "first"}, {}, {"name": "second"}])
    assert (await answers.form("s", 0, FORM))["name"] == "first"
    assert await answers.form("s", 1, None) == {}
    assert (await answers.form("s", 2, FORM))["name"] == "second"
    with pytest.raises(MissingAnswersError):
        await answers.form("s", 3, FORM)
    pairs = Answers.from_options(["name=pair"], [{"name": "first"}])
    assert (await pairs.form("s", 0, FORM))["name"] == "pair"


@pytest.mark.parametrize(("pairs", "document"), [(["novalue"], None), (["=x"], None), ([], "text"), ([], 5), ([], [1])])
def test_bad_options(pairs: list[str], document: Any) -> None:
    with pytest.raises(BadInputError):
        Answers.from_options(pairs, document)


async def test_values_may_hold_equals_signs_and_repeat() -> None:
    assert (await Answers.from_options(["name=a=b"]).form("s", 0, FORM))["name"] == "a=b"
    assert (await Answers.from_options(["name=a", "name=b"]).form("s", 0, FORM))["name"] == "a,b"


@pytest.mark.parametrize(
    ("answer", "message"), [({"model": "huge"}, "`small`, `large`"), ({"fast": "perhaps"}, "true or false")]
)
async def test_wrong_answers(answer: dict[str, str], message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        await Answers({"name": "n", **answer}).form("s", 0, FORM)
    assert message in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("default", "expected"), [("large", "large"), ("Large one", "large"), ("gone", "small"), (None, "small")]
)
async def test_defaults_of_selects(default: Any, expected: str) -> None:
    form = [{"key": "m", "type": "select", "default": default, "items": FORM[3]["items"]}]
    assert await Answers().form("s", 0, form) == {"m": expected}


async def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\x00\xff")
    form = [{"key": "f", "type": "file"}]
    assert await Answers({"f": str(tmp_path / "f")}).form("s", 0, form) == {"f": b"\x00\xff"}
    assert await Answers().form("s", 0, form) == {"f": ""}
    with pytest.raises(ScriptError, match="does not exist"):
        await Answers({"f": str(tmp_path / "g")}).form("s", 0, form)


async def test_a_client_is_asked_for_what_is_open() -> None:
    asked: list[Question] = []

    async def client(question: Question) -> dict[str, Any]:
        asked.append(question)
        return {"name": "person", "fast": True}

    answers = Answers({"steps": 3}, client=client)
    assert await answers.form("s", 4, FORM, title="T") == {
        "name": "person",
        "steps": "3",
        "fast": True,
        "model": "small",
        "api": "",
    }
    assert [field.key for field in asked[0].fields] == ["name", "fast", "model", "api"]
    assert asked[0].to_json()["fields"][3] == {
        "key": "api",
        "type": "password",
        "title": "api",
        "description": "",
        "required": False,
        "secret": True,
        "choices": [],
    }
    await Answers({"name": "n", "steps": 1, "fast": 0, "model": "small", "api": "k"}, client=client).form("s", 0, FORM)
    assert len(asked) == 1, "nothing is open, so nobody is asked"


async def test_a_client_that_went_away_leaves_the_defaults() -> None:
    async def gone(_: Question) -> None:
        return None

    with pytest.raises(MissingAnswersError):
        await Answers(client=gone).form("s", 0, FORM)
    assert await Answers(client=gone).form("s", 0, FORM[1:]) == {
        "steps": "20",
        "fast": False,
        "model": "small",
        "api": "",
    }


async def test_required_variables() -> None:
    pre = [
        {"env": "HF_TOKEN", "title": "Token"},
        "STRING",
        {"key": "MODE", "default": "fast"},
        {"title": "nameless"},
        {"env": "SET"},
    ]
    both = {"pre": pre, "env": [{"key": "LOSES"}]}
    assert await Answers({"HF_TOKEN": "t"}).variables("app", {"SET": "x", "MODE": ""}, both) == {
        "HF_TOKEN": "t",
        "MODE": "fast",
    }
    with pytest.raises(MissingAnswersError) as caught:
        await Answers().variables("app", {"MODE": "m"}, both)
    assert caught.value.missing == {"HF_TOKEN": "Token", "SET": ""}
    assert await Answers([{"LOSES": "a"}]).variables("app", {}, {"pre": [], "env": [{"key": "LOSES"}]}) == {
        "LOSES": "a"
    }
    assert await Answers().variables("app", {}, None) == {}


async def test_file_pickers(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert await Answers({"filepicker": str(tmp_path / "a")}).files({}) == [str(tmp_path / "a")]
    assert (
        await Answers.from_options([f"filepicker={tmp_path}/a", f"filepicker={tmp_path}/a"]).files({"multiple": True})
        == [str(tmp_path / "a")] * 2
    )
    assert await Answers({"filepicker": str(tmp_path / "new")}).files({"save": True}) == [str(tmp_path / "new")]
    for given, params in (({}, {}), ({"filepicker": str(tmp_path / "no")}, {}), ({"filepicker": ["a", "b"]}, {})):
        with pytest.raises(ScriptError):
            await Answers(given).files(params)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HF_TOKEN", True),
        ("apiKey", True),
        ("OPENAI_API_KEY", True),
        ("password", True),
        ("client-secret", True),
        ("accesstoken", True),
        ("PINOKIO_SHARE_PASSCODE", True),
        ("MAX_TOKENS", False),
        ("tokenizer", False),
        ("keyboard", False),
        ("model", False),
        ("", False),
        ("monkey", False),
        ("PWD", False),
        ("OLDPWD", False),
        ("DB_PWD", True),
    ],
)
def test_secret_names(name: str, expected: bool) -> None:  # noqa: FBT001  # a case of the table
    assert is_secret(name) is expected
    assert is_secret(name, "password")


def test_redaction() -> None:
    values = {"HF_TOKEN": "abc", "n": 1, "deep": {"password": "x", "l": [{"key": "k"}]}, "EMPTY_KEY": "", "pin": "1"}
    assert redact(values, {"pin": "password"}) == {
        "HF_TOKEN": "***",
        "n": 1,
        "deep": {"password": "***", "l": [{"key": "***"}]},
        "EMPTY_KEY": "",
        "pin": "***",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h/x?a=1&token=abc#f", "https://h/x?a=1&token=***#f"),
        ("http://127.0.0.1:7860/?__theme=dark", "http://127.0.0.1:7860/?__theme=dark"),
        ("plain text", "plain text"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_urls_without_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize("text", ["1", "-2.5", "+3", ".5", "1e3", " 7 ", ""])
async def test_a_number_stays_text(text: str) -> None:
    assert await Answers({"n": text}).form("start.json", 0, [{"key": "n", "type": "number"}]) == {"n": text}


@pytest.mark.parametrize("text", ["seven", "1,5", "0x10", "1 2", "--1"])
async def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ScriptError, match=r"is no number, as `n` must be"):
        await Answers({"n": text}).form("start.json", 0, [{"key": "n", "type": "number"}])
