"""Pushing an image to a registry, with its progress."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from orchestrator.engine.errors import BadInputError
from orchestrator.places.container import images
from orchestrator.places.container.base_image import inspect
from orchestrator.places.container.docker import Docker, DockerError, remedy_of, told

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCE = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9._:-]*[a-z0-9])?(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
)

UNREACHED = ("no such host", "connection refused", "i/o timeout", "no route to host", "network is unreachable")


def check_reference(text: str) -> str:
    """Return a reference with its tag, `latest` where it has none; raise BadInputError for what is none."""
    repository, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = text, "latest"
    whole = f"{repository}:{tag}"
    if "@" in text or REFERENCE.fullmatch(whole) is None:
        raise BadInputError(
            f"`{text}` cannot be the name of an image", hint="write it like `ghcr.io/me/comfyui:1`, in lower case"
        )
    return whole


def remedy(text: str) -> str:
    """Return what to do about what the daemon said of a push."""
    low = text.lower()
    if any(sign in low for sign in UNREACHED):
        return "no registry answers there: check the part of the name before the first `/`, and the network"
    if "http response to https client" in low:
        return "that registry has no HTTPS: name it in `insecure-registries` of the daemon's settings"
    return remedy_of(text) or "log in with `docker login`, and check the name"


def publish(docker: Docker, image: str, reference: str, *, say: Callable[[str], None]) -> str | None:
    """Push an image under a name of its own and return its digest; a push that fails leaves names as they were.

    A name that stayed would keep the image when the app is removed.
    """
    before = (inspect(docker, reference) or {}).get("Id")
    images.tag(docker, image, reference)
    try:
        return push(docker, reference, say=say)
    except BaseException:
        with contextlib.suppress(DockerError):
            if before is None:
                images.untag(docker, reference)
            else:
                images.tag(docker, str(before), reference)
        raise


def push(docker: Docker, reference: str, *, say: Callable[[str], None]) -> str | None:
    """Push a reference and return the digest that the registry gave it; raises DockerError with what it said."""
    repository, _, tag = check_reference(reference).rpartition(":")
    digest = None
    layers: dict[str, str] = {}
    with told(f"`{reference}` cannot be pushed"):
        for message in docker.api.push(repository, tag=tag, stream=True, decode=True):
            if message.get("error"):
                text = str(message["error"])
                raise DockerError(f"`{reference}` cannot be pushed: {text}", hint=remedy(text))
            digest = (message.get("aux") or {}).get("Digest") or digest
            status, layer = str(message.get("status") or ""), str(message.get("id") or "")
            if layer and layers.get(layer) != status:
                layers[layer] = status
                if status in {"Pushed", "Layer already exists"}:
                    say(f"{layer}: {status.lower()}")
    return digest
