"""Building a Dockerfile with BuildKit through the daemon's API: no command line client and no plugin are needed.

docker-py's own `images.build` asks for the old builder. The same request with `version=2` asks for BuildKit, which the
daemon contains since 18.09, and answers with its log as protocol buffers; the few fields that are shown are read here.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.places.container.docker import DockerError, remedy_of, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.places.container.docker import Docker

LENGTH_DELIMITED = 2


def context(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Pack a build context: path → content and mode. The same files give the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        folders = {name.rpartition("/")[0] for name in files} - {""}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def build(
    docker: Docker,
    files: Mapping[str, tuple[bytes, int]],
    *,
    tag: str,
    arguments: Mapping[str, str],
    labels: Mapping[str, str],
    say: Callable[[str], None],
    network: str = "host",
) -> str:
    """Build the Dockerfile of a context and return the image's id; `say` gets the lines of the log as they come.

    Raises DockerError with the last lines of what failed.
    """
    api = docker.api
    parameters = {
        "version": "2",
        "t": tag,
        "networkmode": network,
        "buildargs": json.dumps(dict(arguments)),
        "labels": json.dumps(dict(labels)),
        "rm": "1",
    }
    log = Log(say)
    with told("the base image cannot be built"):
        # `_post`, `_url` and `_stream_helper` are docker-py's own ways to the API; images.build cannot ask for BuildKit
        reply = api._post(  # noqa: SLF001  # see above
            api._url("/build"),  # noqa: SLF001  # see above
            data=context(files),
            stream=True,
            headers={"Content-Type": "application/x-tar"},
            params=parameters,
        )
        api._raise_for_status(reply)  # noqa: SLF001  # see above
        for message in api._stream_helper(reply, decode=True):  # noqa: SLF001  # see above
            log.take(message)
    log.close()
    if log.error:
        lines = "; ".join(log.last[-3:])
        raise DockerError(
            f"`{tag}` cannot be built: {log.error}" + (f" ({lines})" if lines else ""),
            hint=remedy_of(log.error + " ".join(log.last)) or "its log is above",
        )
    with told("the image that was built cannot be found"):
        return log.image or str(api.inspect_image(tag)["Id"])


@dataclass
class Log:
    """Read the messages of a build: whole lines go to `say`; what cannot be read is left out, it is only shown."""

    say: Callable[[str], None]
    image: str | None = None
    error: str | None = None
    last: list[str] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)
    _rests: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def take(self, message: Mapping[str, Any]) -> None:
        """Take one message of the daemon."""
        if message.get("error"):
            self.error = str(message["error"])
        elif message.get("id") == "moby.image.id":
            about = message.get("aux")
            self.image = str(about.get("ID") or "") or None if isinstance(about, dict) else None
        elif message.get("id") == "moby.buildkit.trace":
            with contextlib.suppress(ValueError):
                self._trace(base64.b64decode(str(message.get("aux") or "")))

    def close(self) -> None:
        """Take the lines that have no end."""
        for key, rest in list(self._rests.items()):
            if rest:
                self._lines(key, b"\n")

    def _trace(self, status: bytes) -> None:
        for number, value in fields(status):
            if number == 1 and isinstance(value, bytes):  # a vertex: 1 digest, 3 name, 4 cached, 7 error
                found = dict(fields(value))
                digest, name = text(found.get(1)), text(found.get(3))
                if name and digest not in self._names:
                    self._names[digest] = name
                    self.say(f"=> {name}")
            elif number == 3 and isinstance(value, bytes):  # noqa: PLR2004  # a log: 1 vertex, 3 stream, 4 message
                found = dict(fields(value))
                stream, piece = found.get(3), found.get(4)
                if isinstance(piece, bytes):
                    self._lines((text(found.get(1)), stream if isinstance(stream, int) else 0), piece)

    def _lines(self, key: tuple[str, int], piece: bytes) -> None:
        *lines, rest = (self._rests.get(key, b"") + piece).split(b"\n")
        self._rests[key] = rest
        for line in map(text, lines):
            self.say(line)
            self.last = [*self.last[-20:], line] if line.strip() else self.last


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer message: number and value, a sub-message or text as bytes.

    Raises ValueError for what is none.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
        elif kind == LENGTH_DELIMITED:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a message ends inside a field")
            yield number, message[at : at + length]
            at += length
        elif kind in {1, 5}:
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message):
            raise ValueError("a message ends inside a number")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def text(value: Any) -> str:
    """Return a field's text, "" for a missing one."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
