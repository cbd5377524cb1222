"""Tokens for tunnels: brought, kept for us only, taken away; and the list of what counts as one."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose import accounts, tunnels

READ = re.compile(r"""environ(?:\.get\(|\[)["']([A-Z_]+)["']""")


def test_what_is_brought_is_kept_and_read_again(tmp_path):
    path = tmp_path / "accounts.json"
    environ = {"NGROK_AUTHTOKEN": "2abc", "NGROK_DOMAIN": "", "PATH": "/bin", "RUNPOD_API_KEY": "secret"}
    assert accounts.brought(environ) == {"NGROK_AUTHTOKEN": "2abc"}
    assert accounts.keep(path, accounts.brought(environ)) == {"NGROK_AUTHTOKEN": "2abc"}
    assert accounts.keep(path, {"NGROK_DOMAIN": "a.example"}) == {
        "NGROK_AUTHTOKEN": "2abc",
        "NGROK_DOMAIN": "a.example",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert accounts.keep(path, {"NGROK_AUTHTOKEN": ""}) == accounts.read(path) == {"NGROK_DOMAIN": "a.example"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"PATH": "x", "NGROK_AUTHTOKEN": 3}'])
def test_a_torn_file_holds_nothing(tmp_path, text):
    (tmp_path / "accounts.json").write_text(text)
    assert accounts.read(tmp_path / "accounts.json") == {}


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(PinoctlError, match="cannot be written"):
        accounts.keep(tmp_path / "taken" / "accounts.json", {"NGROK_AUTHTOKEN": "x"})


def test_every_variable_that_a_provider_reads_is_among_them():
    folder = Path(tunnels.__file__).parent
    read = {name for path in folder.glob("*.py") for name in READ.findall(path.read_text("utf-8"))}
    assert read, "the providers read some"
    assert read <= set(accounts.NAMES)
