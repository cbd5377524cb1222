"""Which providers are chosen, in which order, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.tunnels.choosing import choose, names, settings_of
from orchestrator.expose.tunnels.provider import Own, Wants
from tests.expose.tunnels.common import here

TOKENS = {"NGROK_AUTHTOKEN": "t", "CLOUDFLARED_TOKEN": "t"}
FREE = ["cloudflared-quick", "localtunnel", "localhost.run", "pinggy", "serveo"]


def chosen(*arguments, **more) -> list[str]:
    return [provider.name for provider in choose(*arguments, **more).providers]


def test_the_order(tmp_path: Path):
    everything = here(
        tmp_path,
        {**TOKENS, "PINOCTL_FRP_SERVER": "h", "PINOCTL_FRP_URL": "https://h", "PINOCTL_SSH_TUNNEL": "me@host"},
        own=Own("https://x"),
    )
    assert chosen(everything) == ["own", "ngrok", "cloudflared-named", "frp", "ssh:me@host", *FREE]
    assert choose(everything).left == ()


def test_on_a_bare_machine(tmp_path: Path):
    choice = choose(here(tmp_path))
    assert [provider.name for provider in choice.providers] == FREE
    assert {left.name: bool(left.hint) for left in choice.left} == {
        "own": False,
        "ngrok": True,
        "cloudflared-named": True,
        "frp": True,
    }
    assert "200 requests" in choice.caveats["cloudflared-quick"]


def test_apps_that_stream_avoid_quick_tunnels(tmp_path: Path):
    assert chosen(here(tmp_path, wants=Wants(streams=True)))[-1] == "cloudflared-quick"


def test_without_ssh(tmp_path: Path):
    choice = choose(here(tmp_path, which=lambda _name: None))
    assert [provider.name for provider in choice.providers] == FREE[:2]
    assert {left.hint for left in choice.left if left.name in FREE} == {"Install it: `apt-get install openssh-client`"}


def test_excluded(tmp_path: Path):
    choice = choose(here(tmp_path), excluded={"localtunnel"})
    assert "localtunnel" not in [provider.name for provider in choice.providers]
    assert "left out on request" in [left.why for left in choice.left if left.name == "localtunnel"]


def test_an_address_that_strangers_share_comes_after_what_the_user_set_up(tmp_path: Path):
    machine = here(tmp_path, TOKENS, own=Own("https://9.9.9.9:33526", shared=True))
    names = [provider.name for provider in choose(machine).providers]
    assert names.index("ngrok") < names.index("cloudflared-named") < names.index("own") < names.index("localtunnel")
    assert choose(here(tmp_path, own=machine.own)).providers[0].name == "own"


def test_a_platform_that_forbids_tunnels(tmp_path: Path):
    machine = here(tmp_path, TOKENS, own=Own("https://frame"), forbids="Colab's free tier forbids it")
    choice = choose(machine)
    assert [provider.name for provider in choice.providers] == ["own"]
    assert all(left.why == "Colab's free tier forbids it" for left in choice.left)
    forced = choose(machine, "ngrok")
    assert forced.caveats["ngrok"].startswith("Colab's free tier forbids it")


@pytest.mark.parametrize(
    ("forced", "environ", "expected"),
    [
        ("cloudflared", {}, ["cloudflared-quick"]),
        ("cloudflared", TOKENS, ["cloudflared-named", "cloudflared-quick"]),
        ("Localtunnel", TOKENS, ["localtunnel"]),
        ("ssh", {}, ["localhost.run", "pinggy", "serveo"]),
        ("ssh:me@host:22", {}, ["ssh:me@host:22"]),
    ],
)
def test_forced(tmp_path: Path, forced: str, environ: dict[str, str], expected: list[str]):
    assert chosen(here(tmp_path, environ), forced) == expected


def test_forced_and_impossible(tmp_path: Path):
    with pytest.raises(BadInputError, match="`NGROK_AUTHTOKEN` is not set") as caught:
        choose(here(tmp_path), "ngrok")
    assert "dashboard.ngrok.com" in (caught.value.hint or "")


def test_forced_and_unknown(tmp_path: Path):
    with pytest.raises(BadInputError, match="no tunnel called `bore`") as caught:
        choose(here(tmp_path), "bore")
    assert all(f"`{name}`" in (caught.value.hint or "") for name in names())


def test_an_ssh_host_that_is_none_keeps_nobody_else_away(tmp_path: Path):
    choice = choose(here(tmp_path, {"PINOCTL_SSH_TUNNEL": "a b"}))
    assert [provider.name for provider in choice.providers] == FREE
    (left,) = [left for left in choice.left if left.name == "PINOCTL_SSH_TUNNEL"]
    assert (left.why, "ssh:user@host" in left.hint) == ("`a b` is no SSH host", True)


def test_a_platform_without_a_url_says_what_would_give_it_one(tmp_path: Path):
    with pytest.raises(BadInputError, match="no URL of its own") as caught:
        choose(here(tmp_path, remedy="no port is declared as HTTP"), "own")
    assert caught.value.hint == "no port is declared as HTTP"


@pytest.mark.parametrize(
    ("tunnel", "settings"),
    [
        ("NGROK", (("NGROK_AUTHTOKEN",),)),
        ("cloudflared-named", (("CLOUDFLARED_TOKEN", "TUNNEL_TOKEN"),)),
        ("frp", (("PINOCTL_FRP_SERVER",), ("PINOCTL_FRP_URL", "PINOCTL_FRP_REMOTE_PORT"))),
        ("cloudflared", ()),
        ("auto", ()),
        ("ssh:me@host", ()),
    ],
)
def test_what_a_tunnel_cannot_do_without(tunnel: str, settings: tuple[tuple[str, ...], ...]):
    assert settings_of(tunnel) == settings
