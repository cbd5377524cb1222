"""Machines as their documentation describes them: variables, files, and what stands in other processes."""

from __future__ import annotations

from orchestrator.hosts.signs import Signs

OVERLAY = "652 551 0:54 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b\n"
DISK = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
DOCKER = {"/.dockerenv": "", "/proc/self/mountinfo": OVERLAY, "/proc/1/cgroup": "0::/\n"}
VAST = {
    "CONTAINER_ID": "31337",
    "CONTAINER_API_KEY": "vast-key-0123",
    "PUBLIC_IPADDR": "65.130.162.74",
    "VAST_CONTAINERLABEL": "C.31337",
    "VAST_TCP_PORT_22": "33500",
    "VAST_TCP_PORT_8080": "33501",
    "VAST_TCP_PORT_7860": "33526",
}
RUNPOD = {
    "RUNPOD_POD_ID": "abc123xyz",
    "RUNPOD_API_KEY": "rpa_pod-key",
    "RUNPOD_DC_ID": "EU-RO-1",
    "RUNPOD_PUBLIC_IP": "213.173.109.39",
    "RUNPOD_TCP_PORT_22": "13007",
}
COLAB = {"COLAB_RELEASE_TAG": "release-colab-1", "COLAB_BACKEND_VERSION": "next", "COLAB_JUPYTER_IP": "172.28.0.12"}


def machine(environ=None, files=None):
    """Return the signs of a machine; a file whose text is None is a folder or cannot be read."""
    texts = files or {}
    folders = {path for path in texts if not path.startswith("/proc/")}
    return Signs(environ or {}, folders.__contains__, texts.get)


def rented(environ):
    """Return the signs of a machine whose first process was given the same variables as this one."""
    return machine(environ, {"/proc/1/environ": as_environ(environ)})


def as_environ(variables):
    """Return variables as `/proc/<pid>/environ` has them."""
    return "".join(f"{name}={value}\0" for name, value in variables.items())
