"""The Docker daemon as pinoctl uses it: one connection, and errors that say what to do."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import PinoctlError
from orchestrator.places.container.endpoint import Endpoint, Look, containerd_store, look_round

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import DockerClient

WAIT = 600  # seconds that one request may take: commits of gigabytes do


class DockerError(PinoctlError):
    """Report what the daemon refused, or that it cannot be reached."""


class RefusedError(DockerError):
    """Report what cannot be had as it was asked for: asked again it would be refused again."""


class Docker:
    """Hold a connection to a daemon; `look` says which, `info` what it told of itself."""

    def __init__(self, client: DockerClient, look: Look) -> None:
        self.client = client
        self.look = look
        self.info: Mapping[str, Any] = look.info or client.info()

    @property
    def api(self) -> Any:
        """Return docker-py's low level client."""
        return self.client.api

    @property
    def containerd_store(self) -> bool:
        """Tell whether commits are slow here."""
        return containerd_store(self.info)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def connect(environ: Mapping[str, str] | None = None, *, look: Look | None = None, wait: float = WAIT) -> Docker:
    """Connect to the machine's daemon; raise DockerError with a remedy where there is none that can be used.

    `wait` is how many seconds each request may take.
    """
    import docker  # noqa: PLC0415  # slow to import, and hosts without a daemon never need it

    environ = os.environ if environ is None else environ
    found = look or look_round(environ)
    if not found.usable:
        raise DockerError(f"Docker cannot be used: {found.problem}", hint=found.remedy)
    with told():
        if found.endpoint.source == "DOCKER_HOST":
            client = docker.from_env(timeout=wait, environment=dict(environ), use_ssh_client=True)
        else:
            client = docker.DockerClient(
                base_url=found.endpoint.url, timeout=wait, tls=_tls(found.endpoint, environ), use_ssh_client=True
            )
        return Docker(client, found)


def _tls(endpoint: Endpoint, environ: Mapping[str, str]) -> Any:
    """Return the certificates that a context has for its daemon, False where it has none."""
    from docker.tls import TLSConfig  # noqa: PLC0415  # see connect

    name = endpoint.source.partition("`")[2].rstrip("`")
    config = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/") / ".docker")
    folder = config / "contexts" / "tls" / hashlib.sha256(name.encode()).hexdigest() / "docker"
    if not name or not (folder / "ca.pem").exists():
        return False
    own = tuple(str(folder / f"{part}.pem") for part in ("cert", "key"))
    return TLSConfig(client_cert=own if Path(own[0]).exists() else None, ca_cert=str(folder / "ca.pem"), verify=True)


@contextlib.contextmanager
def told(what: str = "Docker refused") -> Iterator[None]:
    """Turn whatever docker-py raises in the block into a DockerError that says what to do."""
    from docker.errors import APIError, DockerException  # noqa: PLC0415  # see connect
    from requests.exceptions import RequestException  # noqa: PLC0415

    try:
        yield
    except APIError as error:
        text = str(error.explanation or error)
        raise RefusedError(f"{what}: {text.strip()}", hint=remedy_of(text)) from error
    except (DockerException, RequestException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, RequestException):
            raise
        raise DockerError(
            f"the Docker daemon does not answer any more: {_last(error)}",
            hint="see that it runs (`docker info`), then run the same command again: it goes on where it stopped",
        ) from error


NO_TOOLKIT = "install the NVIDIA Container Toolkit and restart Docker, or leave the GPU out with `--gpus none`"
OLD_DRIVER = "the card's driver is too old for the image's CUDA: update it, or build on an older base with `--base`"
REMEDIES = (
    ("could not select device driver", NO_TOOLKIT),
    ("unknown runtime", NO_TOOLKIT),
    ("unsatisfied condition", OLD_DRIVER),
    ("no space left", "free some: `pinoctl image list` shows what images take, `pinoctl image rm` removes old ones"),
    ("port is already allocated", "run it again: another port is taken then"),
    ("max depth exceeded", "build it anew with `--fresh`"),
    ("toomanyrequests", "the registry limits downloads: log in with `docker login`, or name another with `--base`"),
    ("failed to resolve source metadata", "check network and name, or give an image that is here with `--base`"),
    ("pull access denied", "check the image's name, or log in with `docker login`"),
    ("manifest unknown", "check the image's tag, or give another base with `--base`"),
    ("error mounting", "a folder can be mounted over a folder only, a file over a file; `--mount none` mounts nothing"),
    ("is already in use by container", "run it again: another command was at work at the same time"),
)  # fmt: skip  # a table


def remedy_of(text: str) -> str | None:
    """Return what to do about an error of the daemon, None when nothing special is known."""
    low = text.lower()
    return next((remedy for sign, remedy in REMEDIES if sign in low), None)


def _last(error: BaseException) -> str:
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__
