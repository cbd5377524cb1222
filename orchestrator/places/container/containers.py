"""How containers are made: the whole request to the daemon, as data; pure (design, decisions 4 and 6)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.saving import Cost
from orchestrator.places.container import names, own
from orchestrator.places.container.code import PLACE as CODE_PLACE
from orchestrator.places.container.settings import VOLUME, Settings, parse_mount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESERVED: Final = (42000, 42001, 42002, 42003)
LOG: Final = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
SHM: Final = 1 << 30  # PyTorch's data loaders pass tensors through it
PIDS: Final = 8192
STOP_SECONDS: Final = 30
CONTAINERD: Final = Cost(2.5, 35e6)  # it compares every file of the image (80 µs each, 28 000 in a base) and compresses


@dataclass(frozen=True, slots=True)
class Spec:
    """Hold what the daemon is asked to create: the container's name and the body of the request."""

    name: str
    body: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Return what a change of the container's making is recognised by: all but labels, pinoctl's version and ports.

        Neither a new pinoctl's code nor another port is a reason to take down what runs.
        """
        host = self.body.get("HostConfig", {})
        mounts = [
            {key: value for key, value in each.items() if key != "VolumeOptions"}
            | ({"Source": None} if each["Target"] == CODE_PLACE else {})
            for each in host.get("Mounts", ())
        ]
        counted = {key: value for key, value in self.body.items() if key != "Labels"}
        counted["HostConfig"] = {**host, "Mounts": mounts, "PortBindings": sorted(host.get("PortBindings", ()))}
        return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def code_volume(self) -> str | None:
        """Volume with pinoctl's code, None where it is in the image."""
        mounts = self.body.get("HostConfig", {}).get("Mounts", ())
        return next((str(each["Source"]) for each in mounts if each["Target"] == CODE_PLACE), None)

    def labelled(self) -> dict[str, Any]:
        """Return the body with the digest among its labels."""
        return {**self.body, "Labels": {**self.body.get("Labels", {}), names.CONFIG: self.digest}}


def home_in(settings: Settings) -> str:
    """Return the home inside a container: in volume mode it is the volume itself."""
    return "/data" if settings.mode == VOLUME else "/pinokio"


def build_spec(
    *,
    name: str,
    image: str,
    app: str,
    labels: Mapping[str, str],
    volume: str,
    own_volume: str,
    settings: Settings,
    code_volume: str,
    devices: Sequence[Mapping[str, Any]],
    containerd_store: bool,
    beside: bool = False,
) -> Spec:
    """Describe the container that an app is installed in; sudo works there, since launchers use it.

    `beside` says that another container serves the app meanwhile. What is written to /tmp and /data is not committed:
    they are volumes.
    """
    cost = CONTAINERD if containerd_store else Cost()
    if settings.mode == VOLUME:
        cost = Cost(1e9)  # nothing is committed, so no checkpoint is ever worth it
    return Spec(
        name,
        {
            "Image": image,
            "Cmd": [
                *("build", "--fixed", str(cost.fixed), "--rate", f"{cost.rate:.0f}"),
                *(["--beside"] if beside else []),
            ],
            "Env": environment(app, settings),
            "Labels": dict(labels),
            "StopTimeout": STOP_SECONDS,
            "HostConfig": {
                "Mounts": [
                    *own.mounts(volume, own_volume, labels.get(names.HOME, ""), app),
                    {"Type": "volume", "Source": code_volume, "Target": CODE_PLACE, "ReadOnly": True},
                    {"Type": "volume", "Target": "/tmp"},  # noqa: S108  # the container's
                    *[parse_mount(mount) for mount in settings.mounts],
                ],
                "Tmpfs": {f"{home_in(settings)}/run": "mode=0700,uid=1000,gid=1000"},
                "DeviceRequests": [dict(device) for device in devices],
                "ShmSize": settings.shm or SHM,
                "LogConfig": LOG,
            },
        },
    )


def run_spec(
    *,
    name: str,
    image: str,
    app: str,
    home: str,
    volume: str,
    own_volume: str,
    settings: Settings,
    devices: Sequence[Mapping[str, Any]],
    code_volume: str | None = None,
    ports: Sequence[int] = (),
) -> Spec:
    """Describe the container that an app runs in: no privileges, ports on 127.0.0.1 only, limits, rotated logs.

    `code_volume` is given in volume mode, where the image is the base image and holds no code. `ports` are those of
    this machine that lead to RESERVED, in order; without them Docker chooses anew at every start.
    """
    published = dict(zip(RESERVED, map(str, ports), strict=False))
    memory = settings.memory or 0
    return Spec(
        name,
        {
            "Image": image,
            "Cmd": ["serve"],
            "Env": [*environment(app, settings), "PINOCTL_MANAGED=1"],
            "Labels": {names.KIND: "app", names.APP: app, names.HOME: home, names.MODE: settings.mode},
            "ExposedPorts": {f"{port}/tcp": {} for port in RESERVED},
            "StopTimeout": STOP_SECONDS,
            "HostConfig": {
                "Mounts": [
                    *own.mounts(volume, own_volume, home, app),
                    *(
                        [{"Type": "volume", "Source": code_volume, "Target": CODE_PLACE, "ReadOnly": True}]
                        if code_volume
                        else []
                    ),
                    *[parse_mount(mount) for mount in settings.mounts],
                ],
                "Tmpfs": {f"{home_in(settings)}/run": "mode=0700,uid=1000,gid=1000"},
                "PortBindings": {
                    f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": published.get(port, "")}] for port in RESERVED
                },
                "DeviceRequests": [dict(device) for device in devices],
                "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"],
                "PidsLimit": settings.pids or PIDS,
                "Memory": memory,
                "MemorySwap": memory,
                "NanoCpus": int((settings.cpus or 0) * 1e9),
                "ShmSize": settings.shm or SHM,
                "LogConfig": LOG,
            },
        },
    )


def environment(app: str, settings: Settings) -> list[str]:
    """Return a container's variables; they are no secrets, for an image made from it has them."""
    return [f"PINOCTL_APP={app}", *([f"PINOCTL_HOME={home_in(settings)}"] if settings.mode == VOLUME else [])]
