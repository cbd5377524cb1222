"""What can be seen from inside a machine: variables from three places, and files; secrets only on request."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ENVIRONMENT_FILE: Final = "/etc/environment"
FIRST_PROCESS: Final = "/proc/1/environ"
HOST_NAME: Final = "/proc/sys/kernel/hostname"
PROCESS: Final = "this process"
LARGEST: Final = 1 << 20  # bytes of a file that are looked at

# The only names that are taken from any of the three places; keys and tokens stand beside them and are left there.
NAMES: Final = frozenset(
    {
        "COLAB_BACKEND_VERSION",
        "COLAB_GPU",
        "COLAB_JUPYTER_IP",
        "COLAB_RELEASE_TAG",
        "CONTAINER_ID",
        "DATA_DIRECTORY",
        "DISPLAY",
        "JUPYTER_PORT",
        "KAGGLE_CONTAINER_NAME",
        "KAGGLE_KERNEL_RUN_TYPE",
        "KAGGLE_URL_BASE",
        "KUBERNETES_PORT",
        "KUBERNETES_SERVICE_HOST",
        "LIGHTNING_CLOUDSPACE_HOST",
        "LIGHTNING_CLOUD_PROJECT_ID",
        "LIGHTNING_CLOUD_SPACE_ID",
        "LIGHTNING_TEAMSPACE",
        "OPEN_BUTTON_PORT",
        "PAPERSPACE_CLUSTER_ID",
        "PAPERSPACE_FQDN",
        "PAPERSPACE_METRIC_WORKLOAD_ID",
        "PAPERSPACE_NOTEBOOK_REPO_ID",
        "PORTAL_CONFIG",
        "PUBLIC_IPADDR",
        "RUNPOD_DC_ID",
        "RUNPOD_POD_HOSTNAME",
        "RUNPOD_POD_ID",
        "RUNPOD_PUBLIC_IP",
        "RUNPOD_VOLUME_ID",
        "SSH_CONNECTION",
        "TBE_RUNTIME_ADDR",
        "VAST_CONTAINERLABEL",
        "VERTEX_PRODUCT",
        "WAYLAND_DISPLAY",
        "WORKSPACE",
        "container",
    }
)
PORTS: Final = re.compile(r"(?:VAST|RUNPOD)_(?:TCP|UDP)_PORT_[0-9]{1,6}")
SECRETS: Final = frozenset({"CONTAINER_API_KEY", "RUNPOD_API_KEY"})
# What belongs to a session and says nothing about the machine when another process has it.
OWN: Final = frozenset({"DISPLAY", "SSH_CONNECTION", "WAYLAND_DISPLAY", "container"})


class Signs:
    """Answer what a machine shows of itself, without keeping or printing anything secret.

    `environ` are the variables of this process, `exists` tells whether a path does, `read` returns a file's text, None
    when it cannot be read. Variables that this process lacks are looked up in `/etc/environment` and then in those of
    the first process, as sessions over SSH often lack what the machine's own services were given.
    """

    def __init__(
        self, environ: Mapping[str, str], exists: Callable[[str], bool], read: Callable[[str], str | None]
    ) -> None:
        self.environ, self.exists, self.read = environ, exists, read
        self._found: dict[str, tuple[str, str]] = {}
        for source, pairs in self._places():
            for name, value in pairs:
                if value and (name in NAMES or PORTS.fullmatch(name)) and (source == PROCESS or name not in OWN):
                    self._found.setdefault(name, (value, source))

    def __repr__(self) -> str:
        return f"Signs({', '.join(sorted(self._found))})"

    def get(self, name: str) -> str:
        """Return the value of a variable in the list of names, "" when it is nowhere set."""
        return self._found.get(name, ("", ""))[0]

    def source(self, name: str) -> str:
        """Say where a variable was found: `this process`, `/etc/environment`, `/proc/1/environ`, "" for nowhere."""
        return self._found.get(name, ("", ""))[1]

    def ports(self, prefix: str) -> dict[int, int]:
        """Return the mapped ports of variables like `VAST_TCP_PORT_8080=33526`: internal port → external port."""
        found: dict[int, int] = {}
        for name, (value, _) in self._found.items():
            inner = name.removeprefix(prefix)
            if inner != name and inner.isdigit() and value.isdigit() and 0 < int(value) < 1 << 16:
                found[int(inner)] = int(value)
        return dict(sorted(found.items()))

    def secret(self, name: str) -> str:
        """Return a key of this machine's provider, "" when there is none; whoever asks uses it and lets it go."""
        if name not in SECRETS:
            raise ValueError(name)
        for _, pairs in self._places():
            for each, value in pairs:
                if each == name and value.strip():
                    return value.strip()
        return ""

    def confirms(self, name: str, value: str) -> bool:
        """Tell whether the machine itself says so, and not only a variable of whoever started this process.

        It does in `/etc/environment`, in the variables of its first process, or by its host name, which providers make
        of the machine's number.
        """
        named = re.split(r"[^A-Za-z0-9]+", self.read(HOST_NAME) or "")
        return bool(value) and (value in self.told(name) or value in named)

    def told(self, name: str) -> frozenset[str]:
        """Return what the machine itself says that a variable is; two values where its two places differ."""
        places = (pairs for source, pairs in self._places() if source != PROCESS)
        return frozenset(value for pairs in places for each, value in pairs if each == name and value)

    def _places(self) -> Iterator[tuple[str, Iterator[tuple[str, str]]]]:
        yield PROCESS, iter(self.environ.items())
        yield ENVIRONMENT_FILE, assignments((self.read(ENVIRONMENT_FILE) or "").splitlines())
        yield FIRST_PROCESS, _pairs((self.read(FIRST_PROCESS) or "").split("\0"))


def assignments(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the variables of `/etc/environment`: `NAME=value`, quotes and `export` allowed, comments left out."""
    for line in lines:
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        if sign and not name.startswith("#"):
            yield name.strip(), value.strip().strip("\"'")


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, sign, value = line.partition("=")
        if sign:
            yield name, value


def read_text(path: str) -> str | None:
    """Return the beginning of a file, at most 1 MiB, None when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(LARGEST).decode("utf-8", "surrogateescape")
    except OSError:
        return None


def exists(path: str) -> bool:
    """Tell whether a path is there and may be looked at."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def signs_here() -> Signs:
    """Return the signs of the machine that this runs on."""
    return Signs(os.environ, exists, read_text)
