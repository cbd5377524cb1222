"""`fs.write`, `fs.append`, `fs.read`, `fs.cat`, `fs.rm`, `fs.remove`, `fs.copy`, `fs.make`, `fs.open` (spec 7.2)."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.copying import CopyOptions, copy
from orchestrator.engine.disk import append, disk, remove, write_whole
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import optional_mapping, optional_text, plain_path, wrong
from orchestrator.engine.stringify import stringify
from orchestrator.engine.values import UNDEFINED, truthy

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT = {
    "utf8": "utf-8",
    "utf-8": "utf-8",
    "utf16le": "utf-16-le",
    "utf-16le": "utf-16-le",
    "ucs2": "utf-16-le",
    "ucs-2": "utf-16-le",
    "latin1": "latin-1",
    "binary": "latin-1",
}


@method("fs.write")
async def write(call: Call) -> Any:
    """Replace whatever is at `path` by the payload; a falsy payload leaves nothing there."""
    params = call.mapping()
    path = _own(call, call.path("path", params.get("path")))
    payload = _payload(call, params)

    def work() -> None:
        with disk("write", path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            if payload is None:
                remove(path)
            else:
                write_whole(path, payload)

    await asyncio.to_thread(work)
    return UNDEFINED


@method("fs.append")
async def add(call: Call) -> Any:
    """Append the payload to `path`, made if missing; a falsy payload does nothing."""
    params = call.mapping()
    path = call.path("path", params.get("path"))
    payload = _payload(call, params)

    def work() -> None:
        with disk("append to", path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            if payload is not None:
                append(path, payload)

    await asyncio.to_thread(work)
    return UNDEFINED


@method("fs.read")
async def read(call: Call) -> Any:
    """Return the file's text when `encoding` is given, else its bytes."""
    params = call.mapping()
    path = call.path("path", params.get("path"))
    encoding = optional_text(call, params, "encoding")
    return _decode(call, await asyncio.to_thread(_read, path), encoding)


@method("fs.cat")
async def cat(call: Call) -> Any:
    """Print the file."""
    path = call.path("path", call.mapping().get("path"))
    call.print((await asyncio.to_thread(_read, path)).decode("utf-8", "replace"))
    return UNDEFINED


@method("fs.rm", "fs.remove")
async def rm(call: Call) -> Any:
    """Remove a file or folder with all it holds; an absent one is fine, names with `*` are names."""
    path = _own(call, call.path("path", call.mapping().get("path")))

    def work() -> None:
        with disk("remove", path):
            remove(path)

    await asyncio.to_thread(work)
    return UNDEFINED


@method("fs.copy")
async def copy_(call: Call) -> Any:
    """Copy `src` to `dest` as Node's `fs.cp` does; a folder needs `options: {recursive: true}`."""
    params = call.mapping()
    source, target = call.path("src", params.get("src")), call.path("dest", params.get("dest"))
    options = CopyOptions.parse(optional_mapping(call, params, "options"))

    def work() -> None:
        with disk("copy", f"{source}` to `{target}"):
            copy(Path(source), Path(target), options)

    await asyncio.to_thread(work)
    return UNDEFINED


@method("fs.make")
async def make(call: Call) -> Any:
    """Make a folder and its parents."""
    path = call.path("path", call.mapping().get("path"))

    def work() -> None:
        with disk("make the folder", path):
            Path(path).mkdir(parents=True, exist_ok=True)

    await asyncio.to_thread(work)
    return UNDEFINED


@method("fs.open")
async def open_(call: Call) -> Any:
    """Print the path that the desktop would open in its file manager."""
    params = call.mapping()
    for key in ("action", "command", "mode"):
        optional_text(call, params, key)
    call.print(f"open {plain_path(call, 'path', params.get('path'))}")
    return UNDEFINED


def _own(call: Call, path: str) -> str:
    """Refuse to remove what holds every app: the home, its `api` folder, or a folder above them."""
    whole = os.path.realpath(path) if not os.path.islink(path) else os.path.abspath(path)  # noqa: PTH100, PTH114  # text in, text out
    for kept in (call.engine.home.root, call.engine.home.api):
        if Path(os.path.realpath(kept)).is_relative_to(whole):
            raise ScriptError(
                f"`{call.method}` may not remove `{path}`: it holds the whole Pinokio home",
                hint="check the `path` of the step; a template in it may have come out empty",
            )
    return path


def _payload(call: Call, params: Mapping[str, Any]) -> list[bytes] | None:
    """Return what a step writes: the first truthy one of `json`, `json2`, `buffer`, `text`; None when all are falsy."""
    for key in ("json", "json2", "buffer", "text"):
        value = params.get(key, UNDEFINED)
        if not truthy(value):
            continue
        if key in {"json", "json2"}:
            return [stringify(value, indent=2 if key == "json2" else None).encode()]
        if isinstance(value, (str, bytes, bytearray)):
            return [_bytes(value)]
        # An array is written piece by piece, as Node does; `join` has no effect.
        if isinstance(value, list) and all(isinstance(item, (str, bytes, bytearray)) for item in value):
            return [_bytes(item) for item in value]
        raise wrong(call, key, "a string" if key == "text" else "a Buffer", value)
    return None


def _bytes(value: str | bytes | bytearray) -> bytes:
    # JavaScript writes lone surrogates as the replacement character.
    return (
        value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
        if isinstance(value, str)
        else bytes(value)
    )


def _read(path: str) -> bytes:
    with disk("read", path):
        return Path(path).read_bytes()


def _decode(call: Call, data: bytes, encoding: str | None) -> Any:
    if not encoding:
        return data
    name = encoding.lower()
    if name in _TEXT:
        return data.decode(_TEXT[name], "replace")
    if name == "ascii":
        return bytes(byte & 0x7F for byte in data).decode("ascii")
    if name == "hex":
        return data.hex()
    if name == "base64":
        return base64.b64encode(data).decode("ascii")
    if name == "base64url":
        return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")
    raise ScriptError(
        f"`{call.method}` does not know the `encoding` `{encoding}`", hint="use `utf8`, `latin1`, `base64` or `hex`"
    )
