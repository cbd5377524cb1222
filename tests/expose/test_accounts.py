"""Tokens for tunnels: brought, kept for us only, taken away; and the list of what counts as one."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose import accounts, tunnels

READ = re.compile(r"""environ(?:\.get\(|\[)["']([A-Z_]+)["']""")


def test_what_is_brought_is_kept_and_read_again(tmp_path):
    path = tmp_path / "accounts.json"
    environ = {"NGROK_AUTHTOKEN": "2abc", "NGROK_DOMAIN": "", "PATH": "/bin", "RUNPOD_API_KEY": "secret"}
    assert accounts.brought(environ) == {"NGROK_AUTHTOKEN": "2abc", "NGROK_DOMAIN": ""}, "an empty one takes away"
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


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        ({"CLOUDFLARED_TOKEN": "old", "TUNNEL_TOKEN": "new"}, "old"),
        ({"TUNNEL_TOKEN": "new"}, "new"),
        ({"CLOUDFLARED_TOKEN": "", "TUNNEL_TOKEN": "new"}, "new"),
        ({"TUNNEL_TOKEN": ""}, ""),
    ],
)
def test_two_names_of_one_token_are_kept_as_one(tmp_path, environ, token):
    path = tmp_path / "accounts.json"
    for before in accounts.SAME:
        accounts.keep(path, {before: "kept"})
        kept = accounts.keep(path, accounts.brought(environ))
        assert kept == ({"CLOUDFLARED_TOKEN": token} if token else {})


def test_a_token_may_stand_in_a_file_of_its_own(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("2abc\n")
    for file, name in accounts.FILES.items():
        kept = "CLOUDFLARED_TOKEN" if name in accounts.SAME else name
        assert accounts.brought({file: str(secret)})[kept] == "2abc"
        assert accounts.brought({file: str(secret), name: "mine"})[kept] == "mine", "the variable comes first"
        assert accounts.brought({file: str(secret), name: ""})[kept] == "2abc"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two words", b"\xff\xfe"])
def test_a_file_without_a_token_is_named(tmp_path, content):
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    with pytest.raises(BadInputError, match=f"`NGROK_AUTHTOKEN_FILE` names `{secret}`, which ") as caught:
        accounts.brought({"NGROK_AUTHTOKEN_FILE": str(secret)})
    assert "the token alone" in caught.value.hint


def test_an_ssh_host_that_is_none_is_refused_by_the_command_that_brings_it():
    with pytest.raises(BadInputError, match="`bad host` is no SSH host"):
        accounts.brought({"PINOCTL_SSH_TUNNEL": "bad host"})


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ('version: "3"\nagent:\n    authtoken: 2abc_DEF\n', "2abc_DEF"),
        ('authtoken: "2abc" # mine\nversion: 2\n', "2abc"),
        ("version: 2\n# authtoken: 2abc\n", ""),
    ],
)
def test_ngroks_own_settings_are_read(tmp_path, text, token):
    assert accounts.of_ngrok({"HOME": str(tmp_path)}) == ""
    folder = tmp_path / ".config" / "ngrok"
    folder.mkdir(parents=True)
    (folder / "ngrok.yml").write_text(text)
    assert accounts.of_ngrok({"HOME": str(tmp_path)}) == token
