from __future__ import annotations

import dotenv as python_dotenv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.environment.dotenv import decode, parse, quote, set_value

CASES = {
    "plain": ("A=1", {"A": "1"}),
    "blanks around": (" A =  b c  \n", {"A": "b c"}),
    "export": ("export A=1\nexport\tB=2", {"A": "1", "B": "2"}),
    "a colon": ("A: 1\nB:2", {"A": "1"}),
    "a url": ("A=http://x:1/y", {"A": "http://x:1/y"}),
    "empty": ("A=\nB=''\nC=\n", {"A": "", "B": "", "C": ""}),
    "the last wins": ("A=1\nA=2", {"A": "2"}),
    "a comment": ("# A=1\nB=2 # c\nC=3#c", {"B": "2", "C": "3"}),
    "a hash in quotes": ("A='1 # 2' # c\nB=\"#\"", {"A": "1 # 2", "B": "#"}),
    "back quotes": ("A=`it's \"x\"`", {"A": "it's \"x\""}),
    "escapes in double quotes only": (r"""A="l1\nl2\r"
B='l1\nl2'
C=l1\nl2""", {"A": "l1\nl2\r", "B": r"l1\nl2", "C": r"l1\nl2"}),
    "over several lines": ("A='1\n2'\nB=3", {"A": "1\n2", "B": "3"}),
    "nothing is interpolated": ("A=1\nB=$A\nC=${A}", {"A": "1", "B": "$A", "C": "${A}"}),
    "line ends of other systems": ("A=1\r\nB=2\rC=3", {"A": "1", "B": "2", "C": "3"}),
    "an equals sign inside": ("A=b=c==", {"A": "b=c=="}),
    "a quote that is not closed": ("A='1\nB=2", {"A": "'1", "B": "2"}),
    "names with dots and dashes": ("a.b-c=1", {"a.b-c": "1"}),
    "no assignment at all": ("just text\n=1\n", {}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "values"), CASES.values(), ids=CASES.keys())
def test_parse(text, values):
    assert parse(text) == values


@pytest.mark.parametrize(
    "case", ["plain", "export", "empty", "the last wins", "a hash in quotes", "an equals sign inside"]
)
def test_where_python_dotenv_agrees(case, tmp_path):
    (tmp_path / "f").write_text(CASES[case][0])
    assert parse(CASES[case][0]) == python_dotenv.dotenv_values(tmp_path / "f", interpolate=False)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(encoding):
    assert parse(decode("A=é\nB=2".encode(encoding))) == {"A": "é", "B": "2"}


def test_bytes_that_are_no_text_do_no_harm():
    assert parse(decode(b"A=\xff\xfe\nB=2"))["B"] == "2"


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp", "Zs")) | st.sampled_from(" '\"`#=$\t"))


@given(TEXT.filter(lambda text: not {"'", "`", '"'} <= set(text)).map(str.strip))
def test_what_is_quoted_is_read_back(value):
    if ("'" in value and "`" in value and "\\" in value) or value.endswith("\\") or set("'`") <= set(value):
        return  # dotenv has no way to write all of these
    assert parse(f"A={quote(value)}\nB=1") == {"A": value, "B": "1"}


@given(st.lists(st.text("abc \n#'x"), min_size=1, max_size=3).map("\n".join).map(str.strip))
def test_lines_are_read_back(value):
    assert parse(f"A={quote(value)}\nB=1") == {"A": value, "B": "1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "K=v\n"),
        ("A=1", "A=1\nK=v\n"),
        ("# head\nK=old # note\n\nB=2\n", "# head\nK=v\n\nB=2\n"),
        ("A=1\r\nK=old\r\nB=2\r\n", "A=1\r\nK=v\r\nB=2\r\n"),
        ("K=1\nK=2\n", "K=1\nK=v\n"),
        ("K='1\n2'\nB=3\n", "K=v\nB=3\n"),
        ("\n\n  export K=1\nKK=2\n", "\n\n  K=v\nKK=2\n"),
        ("K=\nB=2\n", "K=v\nB=2\n"),
        ("#K=1\n", "#K=1\n\nK=v\n"),  # the desktop leaves an empty line there
    ],
)
def test_set_value_changes_one_line(text, expected):
    assert set_value(text, "K", "v") == expected


NAMES = st.sampled_from(["A", "B", "K", "KK"])
LINES = st.tuples(NAMES, st.sampled_from(["1", "", "'q # q'", "x # c", '"l\\nm"', "./p"])).map("=".join)


@given(
    st.lists(LINES | st.sampled_from(["", "# note", "text"])).map("\n".join), st.sampled_from(["v", "a # b", "", "x y"])
)
def test_set_value_keeps_every_other_value(text, value):
    changed = parse(set_value(text, "K", value))
    assert changed.pop("K") == value
    before = parse(text)
    before.pop("K", None)
    assert changed == before
