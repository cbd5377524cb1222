"""Asking whether a file, port, socket or URL is there, with the names that `wait-on` requests use (spec 7.5)."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import to_text
from orchestrator.engine.webclient import new_session

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Options:
    """Hold the options of a `wait-on` request; all times in milliseconds, `timeout` None for ever."""

    resources: tuple[str, ...]
    delay: float = 0
    interval: float = 250
    timeout: float | None = None
    http_timeout: float = 5000
    tcp_timeout: float = 300
    reverse: bool = False

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Options:
        """Read the `on` of a `process.wait`; raise ScriptError when it names no resources."""
        resources = options.get("resources")
        if isinstance(resources, str):
            resources = [resources]
        if (
            not isinstance(resources, (list, tuple))
            or not resources
            or not all(isinstance(name, str) and name for name in resources)
        ):
            raise ScriptError("`process.wait` needs an array of strings as `on.resources`")
        timeout = _milliseconds(options, "timeout", 0)
        return cls(
            resources=tuple(resources),
            delay=_milliseconds(options, "delay", 0),
            interval=_milliseconds(options, "interval", 250),
            timeout=timeout or None,
            http_timeout=_milliseconds(options, "httpTimeout", 5000) or 5000,
            tcp_timeout=_milliseconds(options, "tcpTimeout", 300) or 300,
            reverse=options.get("reverse") is True,
        )


def _milliseconds(options: Mapping[str, Any], key: str, default: float) -> float:
    value = options.get(key)
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return default
    text = to_text(value).strip()
    for unit, factor in (("ms", 1.0), ("s", 1000.0), ("m", 60_000.0), ("", 1.0)):
        if text.endswith(unit):
            try:
                return max(0.0, float(text.removesuffix(unit)) * factor)
            except ValueError:
                break
    raise ScriptError(f"`process.wait` needs a number of milliseconds as `on.{key}`, got `{text}`")


def is_up(method: str, url: str, env: Mapping[str, str], timeout: float) -> bool:
    """Tell whether a URL answers with 2xx in the end, redirects followed, within `timeout` seconds a request."""
    import requests  # noqa: PLC0415  # start-up time

    with new_session(env) as session:
        try:
            with session.request(method, url, timeout=timeout, allow_redirects=True, stream=True) as response:
                return 200 <= response.status_code < 300  # noqa: PLR2004  # HTTP's own numbers
        except (requests.RequestException, ValueError, OSError):
            return False


def check(resource: str, cwd: str, env: Mapping[str, str], options: Options) -> bool:
    """Tell whether a resource is there: `http:`, `http-get:`, `tcp:`, `socket:`, `file:` or a bare file name."""
    kind, _, rest = resource.partition(":")
    if kind in {"http", "https"}:
        return is_up("HEAD", resource, env, options.http_timeout / 1000)
    if kind in {"http-get", "https-get"}:
        return is_up("GET", f"{kind.removesuffix('-get')}:{rest}", env, options.http_timeout / 1000)
    if kind == "tcp":
        host, _, port = rest.removeprefix("//").rpartition(":")
        return port.isdigit() and _connects((host or "localhost", int(port)), options.tcp_timeout / 1000)
    if kind == "socket":
        return _is_socket(os.path.join(cwd, rest)) and _connects(  # noqa: PTH118  # text in, text out
            os.path.join(cwd, rest),  # noqa: PTH118  # text in, text out
            options.tcp_timeout / 1000,  # noqa: RUF100  # text in, text out
        )  # text in, text out
    return os.path.exists(os.path.join(cwd, rest if kind == "file" else resource))  # noqa: PTH110, PTH118  # text in, text out


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116  # text in, text out
    except OSError:
        return False


def _connects(address: tuple[str, int] | str, timeout: float) -> bool:
    try:
        if isinstance(address, str):
            with socket.socket(socket.AF_UNIX) as unix:
                unix.settimeout(timeout)
                unix.connect(address)
            return True
        with socket.create_connection(address, timeout):
            return True
    except OSError:
        return False
