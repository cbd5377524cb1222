"""What an app has on volumes for itself alone: its ENVIRONMENT, files that hold secrets, logs (docs/containers.md).

Apps run as one user and share /data, so what no other app may see lies on a volume of the app's own, mounted over
/data/private.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from orchestrator.places.container import names
from orchestrator.places.container.docker import Docker, DockerError, told
from orchestrator.places.container.living import remove, start, wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.engine.home import Home

PRIVATE: Final = "/data/private"
HALF: Final = "-half"  # ends the name of an empty volume, which is there as long as the app's own is not prepared
# The mount point must not be the apps' to move away: where it goes, what is mounted there goes in every container.
# What earlier versions kept on the shared volume is moved, no links are followed.
PREPARE: Final = """
set -e
if [ -f /data/private/ENVIRONMENT ] && [ ! -e /data/ENVIRONMENT ]; then mv /data/private/ENVIRONMENT /data/; fi
move() {
  if [ -d "$1" ] && [ ! -L "$1" ]; then mkdir -p "$2"; cp -a "$1/." "$2/"; rm -rf "$1"; fi
}
if [ ! -L /data/private ]; then move "/data/private/$1" "/own/$1"; else rm /data/private; fi
if [ ! -L /data/logs ]; then move "/data/logs/$1" "/own/.logs/$1"; fi
mkdir -p /data/private
chown 0:0 /data /data/private
chmod 1777 /data /data/private
chown 1000:1000 /own
if [ -d /own/.logs ]; then chown 1000:1000 /own/.logs; fi
chmod 700 /own
"""


def logs_in(app: str, *, beside: bool = False) -> str:
    """Return where an app's agent logs in a container; `beside` is for one that builds while another serves."""
    return f"{PRIVATE}/.logs/{app}" + ("/build" if beside else "")


def labels(home: str, app: str) -> dict[str, str]:
    """Return the labels of an app's own volume; `home` is the home's key."""
    return {names.KIND: "own", names.APP: app, names.HOME: home}


def shared_labels(home: str) -> dict[str, str]:
    """Return the labels of the volume that the apps of a home share; `home` is its key."""
    return {names.KIND: "shared", names.HOME: home}


def mounts(shared: str, own: str, home: str, app: str) -> list[dict[str, Any]]:
    """Return the mounts of /data as an app sees it: what apps share, and over a part of it what is its own."""
    return [
        {
            "Type": "volume",
            "Source": shared,
            "Target": "/data",
            "VolumeOptions": {"Labels": shared_labels(home)},
        },
        {
            "Type": "volume",
            "Source": own,
            "Target": PRIVATE,
            "VolumeOptions": {"Labels": labels(home, app)},
        },
    ]


def ensure(docker: Docker, home: Home, app: str, image: str) -> str:
    """Have an app's own volume, and return its name; what earlier versions kept on the shared volume is moved there."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    name = names.own_volume(home, app)
    with told("the app's own volume cannot be made"):
        try:
            docker.api.inspect_volume(name)
        except NotFound:
            pass
        else:
            if not _is_half(docker, name):
                return name
        for each in (name + HALF, name):
            docker.api.create_volume(each, labels=labels(names.home_key(home), app))
        docker.api.create_volume(names.volume(home), labels=shared_labels(names.home_key(home)))
    given = [
        {"Type": "volume", "Source": names.volume(home), "Target": "/data"},
        {"Type": "volume", "Source": name, "Target": "/own"},
    ]
    try:
        run_as_root(
            docker,
            image,
            ["sh", "-c", PREPARE, "sh", app],
            given,
            what="the app's own volume cannot be made",
            whose=labels(names.home_key(home), app),
        )
    except BaseException:
        discard(docker, home, app)  # half prepared it would count as there
        raise
    with told("the app's own volume cannot be made"):
        docker.api.remove_volume(name + HALF, force=True)
    return name


def _is_half(docker: Docker, name: str) -> bool:
    """Tell whether a killed command made a volume and did not come to preparing it."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    try:
        docker.api.inspect_volume(name + HALF)
    except NotFound:
        return False
    return True


def discard(docker: Docker, home: Home, app: str) -> None:
    """Remove an app's own volume with all that it holds; nothing happens when there is none."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told("the app's own volume cannot be removed"):
        for end in ("", HALF):
            with contextlib.suppress(NotFound):
                docker.api.remove_volume(names.own_volume(home, app) + end, force=True)


def run_as_root(
    docker: Docker,
    image: str,
    command: Sequence[str],
    given: list[dict[str, Any]],
    *,
    what: str,
    whose: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end in a container of its own without a network; raises DockerError that begins `what`.

    `whose` are labels of the app that it is for, so that the app's next command removes what a killed one left.
    """
    body = {
        "Image": image,
        "Entrypoint": list(command),
        "Cmd": [],
        "User": "0",
        "Labels": {**(whose or {}), names.KIND: "helper"},
        "HostConfig": {"Mounts": given, "NetworkMode": "none"},
    }
    with told(what):
        helper = str(docker.api.create_container_from_config(body)["Id"])
    try:
        start(docker, helper)
        status = wait(docker, helper)
    finally:
        remove(docker, helper)
    if status:
        raise DockerError(f"{what}: a helper ended with status {status}", hint="is the daemon's disk full?")
