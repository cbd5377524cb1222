"""The text of ENVIRONMENT files: reading, quoting and editing in place (spec 9.4, `env.set` of 7.3)."""

from __future__ import annotations

import codecs
import re
from typing import Final

_BLANK: Final = r"[^\S\x1c-\x1f\x85]"  # what JavaScript's \s matches; Python's takes a few control characters more
_ASSIGNMENT: Final = re.compile(
    rf"""^{_BLANK}*
    (?:export{_BLANK}+)?
    (?P<key>[A-Za-z0-9_.-]+)
    (?:{_BLANK}*={_BLANK}*?|:{_BLANK}+?)
    (?P<value>
        {_BLANK}*'(?:\\'|[^'])*'
      | {_BLANK}*"(?:\\"|[^"])*"
      | {_BLANK}*`(?:\\`|[^`])*`
      | [^\#\n]+
    )?
    {_BLANK}*(?:\#.*)?$""",
    re.MULTILINE | re.VERBOSE,
)
_NEEDS_QUOTES: Final = re.compile(r"""[#\n\r'"`]|^\s|\s$""")
_ESCAPED: Final = re.compile(r"\\[nr]|\\$")
_LINE_END: Final = re.compile(r"\r\n|\r")


def decode(data: bytes) -> str:
    """Turn the bytes of an ENVIRONMENT file into text: UTF-16 if its mark says so, else UTF-8, never failing."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if data[1:2] == b"\0":
        return data.decode("utf-16-le", errors="replace")
    return data.decode("utf-8-sig", errors="replace")


def parse(text: str) -> dict[str, str]:
    r"""Read dotenv text; the last definition of a name wins, nothing is interpolated (spec 9.4).

    `KEY=VAL`, `KEY: VAL` and `export KEY=VAL` are taken. Values may stand in single, double or back quotes and then
    span lines; ` #` starts a comment outside quotes; `\n` and `\r` are expanded in double quotes. Other lines are
    ignored.
    """
    values: dict[str, str] = {}
    for found in _ASSIGNMENT.finditer(_LINE_END.sub("\n", text)):
        value = (found["value"] or "").strip()
        quote = value[:1]
        if len(value) > 1 and quote in {"'", '"', "`"} and value.endswith(quote):
            value = value[1:-1]
        if quote == '"':
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        values[found["key"]] = value
    return values


def quote(value: str) -> str:
    """Write a value so that `parse` gives it back: plain where that is enough, else in quotes that it does not hold.

    What dotenv cannot write at all (all three quotes at once, say) loses the least: its double quotes become single.
    """
    if not _NEEDS_QUOTES.search(value):
        return value
    one_line = "\n" not in value and "\r" not in value
    if one_line:
        for mark in ("'", "`"):
            if mark not in value and not value.endswith("\\"):
                return f"{mark}{value}{mark}"
    elif "\r" not in value and _ESCAPED.search(value):  # escapes would be mixed up with what the value holds already
        for mark in ("'", "`"):
            if mark not in value:
                return f"{mark}{value}{mark}"
    text = value.replace('"', "'").replace("\r", "\\r").replace("\n", "\\n")
    return f'"{text}"'


def set_value(text: str, key: str, value: str) -> str:
    """Replace the line that defines a name, or append one; every other line stays as it is (spec 7.3, `env.set`).

    Where several lines define the name, the last one, which counts, is replaced.
    """
    line = f"{key}={quote(value)}"
    last = None
    for found in _ASSIGNMENT.finditer(text.replace("\r", "\n")):  # one for one, so that positions hold
        if found["key"] == key:
            last = found
    if last is None:
        gap = "\n" if text else ""  # the desktop leaves an empty line where the text ends with a newline
        return f"{text}{gap}{line}\n"
    start = last.start() + len(last.group()) - len(last.group().lstrip())
    end = last.end()
    while end > start and text[end - 1] in "\r\n":
        end -= 1
    return text[:start] + line + text[end:]
