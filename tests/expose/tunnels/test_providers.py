"""Each provider: when it is possible, what it starts, and how it reads what the real programs wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.tunnels.choosing import ALL
from orchestrator.expose.tunnels.cloudflared import Named, Quick
from orchestrator.expose.tunnels.frp import Frp
from orchestrator.expose.tunnels.localtunnel import Localtunnel
from orchestrator.expose.tunnels.ngrok import Ngrok
from orchestrator.expose.tunnels.own import PlatformUrl
from orchestrator.expose.tunnels.provider import Own, Start, Told, Wants
from orchestrator.expose.tunnels.ssh import SERVICES, own_host
from tests.expose.tunnels.common import here, read

PORT = 8080
START = Start(port=PORT)
SECRET = "SECRETSECRETSECRET"


def test_quick_tunnels_url_is_in_the_box(tmp_path: Path):
    assert read(Quick(), START, "cloudflared-quick.txt") == [
        Told(url="https://buffalo-marco-cardiff-motel.trycloudflare.com")
    ]
    assert read(Quick(), START, "cloudflared-quick-2022.txt") == [
        Told(url="https://oklahoma-solo-younger-truck.trycloudflare.com")
    ]


def test_the_api_of_quick_tunnels_is_no_tunnel():
    (told,) = read(Quick(), START, "cloudflared-no-dns.txt")
    assert told.url == ""
    assert told.problem.startswith("failed to request quick Tunnel")
    assert "no such host" in told.problem


def test_too_many_quick_tunnels():
    told = read(Quick(), START, "cloudflared-429.txt")
    assert "429" in told[0].problem
    assert not any(each.final or each.url for each in told)


def test_quick_tunnels_command(tmp_path: Path):
    start = Quick().command(PORT, here(tmp_path, {"HF_TOKEN": SECRET, "HOST": "0.0.0.0"}), "/x/cloudflared")
    assert start.argv == (
        "/x/cloudflared", "tunnel", "--no-autoupdate", "--config", "/dev/null", "--metrics", "127.0.0.1:0",
        "--url", "http://127.0.0.1:8080",
    )  # fmt: skip
    assert dict(start.env) == {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}


def test_quick_tunnels_come_last_for_apps_that_stream(tmp_path: Path):
    plain = Quick().possible(here(tmp_path))
    streams = Quick().possible(here(tmp_path, wants=Wants(streams=True)))
    others = [provider.possible(here(tmp_path)).rank for provider in SERVICES]
    assert plain.rank < min(others)
    assert streams.rank > max(others)
    assert "server-sent" in streams.caveat
    assert "server-sent" not in plain.caveat


def test_a_named_tunnel_tells_the_host_that_leads_to_our_port():
    told = read(Named(), START, "cloudflared-named.txt")
    assert told == [Told(url="https://dash.example.org")]


def test_a_named_tunnel_that_leads_elsewhere():
    (told,) = read(Named(), Start(port=4711), "cloudflared-named.txt")
    assert told.final
    assert "`dash.example.org` to `http://127.0.0.1:8080`" in told.problem
    assert "4711" in told.problem
    assert "http://127.0.0.1:4711" in told.hint


def test_a_named_tunnel_with_its_host_given(tmp_path: Path):
    machine = here(tmp_path, {"CLOUDFLARED_TOKEN": SECRET, "CLOUDFLARED_HOSTNAME": "gpu.example.org"})
    start = Named().command(4711, machine, "cloudflared")
    assert start.url == "https://gpu.example.org"
    assert start.argv[-1] == "run"
    assert SECRET not in " ".join(start.argv)
    assert start.env["TUNNEL_TOKEN"] == SECRET
    assert read(Named(), start, "cloudflared-named.txt") == [Told(url="https://gpu.example.org")]


def test_a_named_tunnels_token_is_refused():
    (told,) = read(Named(), START, "cloudflared-bad-token.txt")
    assert told.final
    assert told.hint


@pytest.mark.parametrize(
    "config", ["{}", "7", '{"ingress":7}', '{"ingress":[7]}', '{"ingress":[{"hostname":"a"}]}', "{"]
)
def test_strange_configurations_tell_nothing(config: str):
    line = f"INF Updated to new configuration config={json.dumps(config)} version=1"
    assert Named().read(line, "stderr", START) is None


def test_ngrok_tells_its_url():
    assert read(Ngrok(), START, "ngrok.txt", "stdout") == [Told(url="https://99fd-129.ngrok-free.app")]


@pytest.mark.parametrize(
    ("recording", "code"),
    [("ngrok-bad-token.txt", "105"), ("ngrok-no-token.txt", "4018"), ("ngrok-blocked.txt", "8014")],
)
def test_ngrok_refuses(recording: str, code: str):
    told = read(Ngrok(), START, recording)
    assert any(each.final and f"ERR_NGROK_{code}" in each.problem for each in told)
    assert all(each.url == "" for each in told)
    assert SECRET not in " ".join(each.problem for each in told)


def test_ngroks_token_is_nowhere_but_in_its_environment(tmp_path: Path):
    machine = here(tmp_path, {"NGROK_AUTHTOKEN": SECRET, "NGROK_DOMAIN": "me.ngrok.app"})
    assert Ngrok().possible(machine).ok
    start = Ngrok().command(PORT, machine, "/x/ngrok")
    assert start.argv[:3] == ("/x/ngrok", "http", "127.0.0.1:8080")
    assert start.argv[-2:] == ("--url", "https://me.ngrok.app")
    assert SECRET not in " ".join(start.argv)
    assert SECRET not in start.files[0][1]
    assert start.env["NGROK_AUTHTOKEN"] == SECRET
    assert start.secrets == (SECRET,)


def test_localtunnel():
    provider = Localtunnel()
    assert provider.read("your url is: https://brave-cat-1.loca.lt", "stdout", START) == Told(
        url="https://brave-cat-1.loca.lt"
    )
    told = provider.read(
        "Error: connection refused: localtunnel.me:41234 (check your firewall settings)", "stderr", START
    )
    assert told is not None
    assert "firewall" in told.problem
    line = (
        "2026-11-21T09:23:43Z localtunnel:client tunnel server offline: Request failed with status code 403, retry 1s"
    )
    told = provider.read(line, "stderr", START)
    assert told is not None
    assert told.problem.endswith(": Request failed with status code 403")


def test_localtunnels_command_leaves_the_host_header_alone(tmp_path: Path):
    machine = here(tmp_path, {"PINOCTL_LOCALTUNNEL_SERVER": "http://lt.example.org/", "HOST": "evil", "PORT": "1"})
    start = Localtunnel().command(PORT, machine, "/n/node\n/p/lt.js")
    assert start.argv == ("/n/node", "/p/lt.js", "--port", "8080", "--host", "http://lt.example.org")
    assert not {"HOST", "PORT"} & set(start.env)  # the client would take them for options


@pytest.mark.parametrize(
    ("name", "recording", "url"),
    [
        ("localhost.run", "localhost-run.txt", "https://9239ab27cc1ba2.lhr.life"),
        ("serveo", "serveo.txt", "https://3e0a85addddc9b68-203-0-113-7.serveousercontent.com"),
    ],
)
def test_ssh_services_print_their_url(name: str, recording: str, url: str):
    provider = next(each for each in SERVICES if each.name == name)
    assert read(provider, START, recording, "stdout") == [Told(url=url)]


def test_pinggy_prints_both_and_https_is_taken():
    provider = next(each for each in SERVICES if each.name == "pinggy")
    urls = [told.url for told in read(provider, START, "pinggy.txt", "stdout")]
    assert urls == ["https://randr0m.a.pinggy.link"]


def test_strangers_get_nothing_of_the_users(tmp_path: Path):
    machine = here(tmp_path, {"HOME": "/home/me", "SSH_AUTH_SOCK": "/run/agent"})
    start = SERVICES[0].command(PORT, machine, "/usr/bin/ssh")
    line = " ".join(start.argv)
    assert line.startswith("/usr/bin/ssh -F none -T ")
    assert line.endswith("-p 22 -l nokey -R 80:127.0.0.1:8080 -- localhost.run")
    assert f"UserKnownHostsFile={tmp_path}/known_hosts" in line
    assert "StrictHostKeyChecking=accept-new" in line
    assert "IdentityAgent=none" in line
    assert start.env["HOME"] == str(tmp_path)
    assert "SSH_AUTH_SOCK" not in start.env
    assert start.once[0][0] == tmp_path / "tunnel_key"


def test_a_host_of_the_users_gets_the_users_keys(tmp_path: Path):
    machine = here(tmp_path, {"HOME": "/home/me", "SSH_AUTH_SOCK": "/run/agent"})
    provider = own_host("ssh:me@gpu.example.org:2222")
    start = provider.command(PORT, machine, "ssh")
    assert start.argv[-7:] == ("-p", "2222", "-l", "me", "-R", "*:0:127.0.0.1:8080", "--", "gpu.example.org")[-7:]
    assert "-N" in start.argv
    assert start.env["HOME"] == "/home/me"
    assert start.env["SSH_AUTH_SOCK"] == "/run/agent"
    told = provider.read("Allocated port 40123 for remote forward to 127.0.0.1:8080", "stderr", start)
    assert told == Told(url="http://gpu.example.org:40123", port=40123)


def test_a_host_of_the_users_behind_a_url_of_theirs(tmp_path: Path):
    machine = here(tmp_path, {"PINOCTL_SSH_URL": "https://p{port}.example.org/"})
    provider = own_host("ssh:gpu.example.org")
    start = provider.command(PORT, machine, "ssh")
    told = provider.read("Allocated port 40123 for remote forward to 127.0.0.1:8080", "stderr", start)
    assert told == Told(url="https://p40123.example.org", port=40123)


def test_a_host_that_prints_a_url(tmp_path: Path):
    provider = own_host("ssh:me@sish.example.org:2222/80")
    start = provider.command(PORT, here(tmp_path), "ssh")
    assert "80:127.0.0.1:8080" in start.argv
    assert "-N" not in start.argv
    assert provider.read("HTTPS: https://abc.sish.example.org", "stdout", start) == Told(
        url="https://abc.sish.example.org"
    )


@pytest.mark.parametrize(
    "text", ["ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:h:0", "ssh:h:70000", "ssh:u@", "ssh:h/0"]
)
def test_no_ssh_host(text: str):
    with pytest.raises(BadInputError, match="no SSH host"):
        own_host(text)


@pytest.mark.parametrize(
    ("line", "final"),
    [
        ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", True),
        ("nokey@localhost.run: Permission denied (publickey).", True),
        ("ssh: connect to host localhost.run port 22: Connection refused", False),
        ("ssh: Could not resolve hostname localhost.run: Temporary failure in name resolution", False),
        ("Error: remote port forwarding failed for listen port 80", False),
        ("Timeout, server localhost.run not responding.", False),
        ("client_loop: send disconnect: Broken pipe", False),
    ],
)
def test_sshs_problems(line: str, *, final: bool):
    told = SERVICES[0].read(line, "stderr", START)
    assert told is not None
    assert told.problem
    assert told.final is final
    assert bool(told.hint) is final


def test_frp(tmp_path: Path):
    machine = here(
        tmp_path,
        {
            "PINOCTL_FRP_SERVER": "frp.example.org:7001",
            "PINOCTL_FRP_TOKEN": SECRET,
            "PINOCTL_FRP_URL": "https://a.b.org",
        },
    )
    assert Frp().possible(machine).ok
    start = Frp().command(PORT, machine, "frpc")
    path, text = start.files[0]
    assert start.argv == ("frpc", "-c", str(path))
    assert SECRET not in text
    assert '"{{ .Envs.PINOCTL_FRP_TOKEN }}"' in text
    assert 'customDomains = ["a.b.org"]' in text
    assert "serverPort = 7001" in text
    assert 'name = "pinoctl-a.b.org"' in text
    assert path != Frp().command(PORT + 1, machine, "frpc").files[0][0]  # another app's
    assert read(Frp(), start, "frpc.txt", "stdout") == [Told(url="https://a.b.org")]
    refused = read(Frp(), start, "frpc-bad-token.txt", "stdout")
    assert all(each.final for each in refused)


def test_frp_on_a_port(tmp_path: Path):
    machine = here(tmp_path, {"PINOCTL_FRP_SERVER": "frp.example.org", "PINOCTL_FRP_REMOTE_PORT": "6000"})
    start = Frp().command(PORT, machine, "frpc")
    assert start.url == "http://frp.example.org:6000"
    assert "remotePort = 6000" in start.files[0][1]
    assert "auth." not in start.files[0][1]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"PINOCTL_FRP_SERVER": "h"},
        {"PINOCTL_FRP_SERVER": "h:x", "PINOCTL_FRP_URL": "https://a"},
        {"PINOCTL_FRP_SERVER": "h", "PINOCTL_FRP_URL": "a.b"},
    ],
)
def test_frp_needs_to_know_more(tmp_path: Path, environ: dict[str, str]):
    answer = Frp().possible(here(tmp_path, environ))
    assert not answer.ok
    assert "PINOCTL_FRP" in answer.hint


def test_the_platforms_own(tmp_path: Path):
    provider = PlatformUrl()
    assert not provider.possible(here(tmp_path)).ok
    machine = here(tmp_path, own=Own("https://pod-8080.proxy.example/", note="Closes after 100 s"), platform="runpod")
    assert provider.possible(machine).caveat == "Closes after 100 s"
    start = provider.command(PORT, machine, "")
    assert (start.argv, start.url, start.verify) == ((), "https://pod-8080.proxy.example", True)


def test_nobody_reads_a_url_out_of_noise():
    noise = [
        "",
        "https://example.org",
        "http://localhost:8080",
        "GET /.pinoctl/nonce 200",
        "\x00",
        "x" * 5000,
        "ERROR:",
    ]
    for provider in ALL:
        for stream in ("stdout", "stderr"):
            for line in noise:
                told = provider.read(line, stream, START)
                assert told is None or not told.url, (provider.name, line)
