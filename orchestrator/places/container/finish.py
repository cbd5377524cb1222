"""The last thin layer of an app's image: pinoctl's own code, over what was installed (decision 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.places.container import code, files, images, names
from orchestrator.places.container.docker import Docker, told
from orchestrator.places.container.living import remove

if TYPE_CHECKING:
    from collections.abc import Mapping


# What the base image has; in an image that serves nobody becomes root, whoever runs it with whatever options.
SUDOERS: Final = "/etc/sudoers.d/pinokio"
SUDO: Final = "pinokio ALL=(ALL) NOPASSWD:ALL\n"
NO_SUDO: Final = "# sudo works only while an app is installed or updated\n"


def set_sudo(docker: Docker, container: str, *, allowed: bool) -> None:
    """Say whether the app's user may become root in a container that is not started yet."""
    text = SUDO if allowed else NO_SUDO
    files.write(docker, container, SUDOERS, text.encode(), below="/etc", mode=0o440, folders=0o750, user=0)


def finish(docker: Docker, installed: str, reference: str, labels: Mapping[str, str]) -> str:
    """Make the image that serves from one in which an app is installed, and return its id.

    A container that is never started gets the code, and sudo is taken away. Nothing of the installation is done again,
    so this is all that a new version of pinoctl costs.
    """
    with told("the image cannot be finished"):
        made = docker.api.create_container_from_config(
            {
                "Image": installed,
                "Cmd": ["serve"],
                "Labels": {
                    **{name: labels[name] for name in (names.APP, names.HOME) if name in labels},
                    names.KIND: "helper",
                },
            }
        )
    container = str(made["Id"])
    try:
        code.put(docker, container)
        set_sudo(docker, container, allowed=False)
        return images.commit(
            docker,
            container,
            reference,
            {**labels, names.KIND: "image", names.CODE: code.digest(), names.INSTALLED: "true"},
        )
    finally:
        remove(docker, container)
