"""QR codes: the right modules, dark on white, with the whole quiet zone."""

from __future__ import annotations

import io
import re
import struct
import zlib
from xml.etree import ElementTree as ET

import pytest
import segno

from orchestrator.expose import qr

URL = "https://3e0a85addddc9b68.example.org/?token=0123456789abcdefghijklmnopqrstuvwxyz0123456789"
LINE = re.compile(r"\x1b\[38;2;0;0;0;48;2;255;255;255m([ ▀▄█]+)\x1b\[0m")
UPPER, LOWER = "▀█", "▄█"


def expected() -> list[list[bool]]:
    return [[bool(module) for module in row] for row in segno.make(URL, error="l", micro=False).matrix]


def without_border(rows: list[list[bool]]) -> list[list[bool]]:
    size = len(expected())
    inside = [row[4 : 4 + size] for row in rows[4 : 4 + size]]
    assert sum(map(sum, rows)) == sum(map(sum, inside)), "something is drawn in the quiet zone"
    assert len(rows[0]) == size + 8
    assert len(rows) >= size + 8
    return inside


def modules(lines: list[str]) -> list[list[bool]]:
    rows = []
    for line in lines:
        rows += [[sign in UPPER for sign in line], [sign in LOWER for sign in line]]
    return rows


def test_in_colour_it_is_black_on_white_everywhere():
    found = [LINE.fullmatch(line) for line in qr.terminal(URL).splitlines()]
    assert all(found)
    assert without_border(modules([line[1] for line in found if line])) == expected()


def test_without_colour_the_white_is_drawn():
    text = qr.terminal(URL, colour=False)
    assert "\x1b" not in text
    rows = [[not module for module in row] for row in modules(text.splitlines())]
    assert without_border(rows) == expected()


def test_it_fits_a_terminal():
    lines = qr.terminal(URL, colour=False).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_png():
    data = qr.png(URL, scale=3)
    assert data.startswith(b"\x89PNG")
    width, height, depth, colours = struct.unpack(">IIBB", data[16:26])
    size = (len(expected()) + 8) * 3
    assert (width, height, depth, colours) == (size, size, 1, 0)
    at = data.index(b"IDAT")
    pixels = zlib.decompress(data[at + 4 : at + 4 + struct.unpack(">I", data[at - 4 : at])[0]])
    stride = 1 + (width + 7) // 8
    rows, line = [], bytes(stride - 1)
    for y in range(height):
        kind, *raw = pixels[y * stride : (y + 1) * stride]
        assert kind in {0, 2}  # as it is, or added to the line above
        line = bytes((each + (above if kind else 0)) & 255 for each, above in zip(raw, line, strict=True))
        if y % 3 == 1:
            rows.append([not line[x // 8] >> (7 - x % 8) & 1 for x in range(1, width, 3)])
    assert without_border(rows) == expected()


def test_svg():
    text = qr.svg(URL)
    root = ET.fromstring(text)  # noqa: S314  # our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "#fff" in text
    assert "#000" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_only_on_terminals(*, is_terminal: bool):
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

    assert qr.wanted(Stream()) is is_terminal
