"""The last thin layer of an app's image: pinoctl's own code, over what was installed (decision 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.places.container import code, images, names
from orchestrator.places.container.docker import Docker, told
from orchestrator.places.container.living import remove

if TYPE_CHECKING:
    from collections.abc import Mapping


def finish(docker: Docker, installed: str, reference: str, labels: Mapping[str, str]) -> str:
    """Make the image that serves from one in which an app is installed, and return its id.

    A container that is never started gets the code. Nothing of the installation is done again, so this is all that a
    new version of pinoctl costs.
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
        return images.commit(
            docker,
            container,
            reference,
            {**labels, names.KIND: "image", names.CODE: code.digest(), names.INSTALLED: "true"},
        )
    finally:
        remove(docker, container)
