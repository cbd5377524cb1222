"""`net`: one HTTP request with the semantics of axios (spec 7.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from orchestrator.engine.background import in_thread
from orchestrator.engine.call import Call, method
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import given, number, optional_mapping, optional_text, wrong
from orchestrator.engine.redaction import redact_url
from orchestrator.engine.stringify import stringify
from orchestrator.engine.values import to_text
from orchestrator.engine.webclient import CONNECT_SECONDS, new_session

_SHOWN = 300  # characters of an error's body that the message shows
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


@dataclass(slots=True)
class Request:
    """Hold one request; `timeout` in seconds, None for as long as it takes."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    auth: tuple[str, str] | None = None
    timeout: float | None = None
    response_type: str = "json"
    redirects: int = 21


@method("net")
async def net(call: Call) -> Any:
    """Return the body of the response: parsed JSON, else text; a status outside 200-299 ends the script."""
    params = {"url": call.params} if isinstance(call.params, str) else call.mapping()
    request = build(call, params)
    env = dict(call.engine.base_env)
    return await in_thread(lambda: perform(request, env))


def build(call: Call, params: Mapping[str, Any]) -> Request:
    """Turn the params of a step into a request."""
    url = optional_text(call, params, "url") or ""
    base = optional_text(call, params, "baseURL")
    if base and not urlsplit(url).scheme:
        url = base.rstrip("/") + "/" + url.lstrip("/") if url else base
    if urlsplit(url).scheme.lower() not in {"http", "https"}:
        raise ScriptError(f"`{call.method}` needs an `http` or `https` URL as `url`, got `{url}`")
    query = flatten(optional_mapping(call, params, "params"))
    if query:
        parts = urlsplit(url)
        url = urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, urlencode(query)])), fragment=""))
    headers = {
        name: to_text(value) for name, value in optional_mapping(call, params, "headers").items() if value is not None
    }
    verb = (optional_text(call, params, "method") or "get").upper()
    auth = optional_mapping(call, params, "auth")
    timeout = number(call, params, "timeout")
    redirects = number(call, params, "maxRedirects")
    return Request(
        method=verb,
        url=url,
        headers=headers,
        body=_body(call, verb, given(params, "data"), headers),
        auth=(to_text(auth.get("username", "")), to_text(auth.get("password", ""))) if auth else None,
        timeout=timeout / 1000 if timeout else None,
        response_type=optional_text(call, params, "responseType") or "json",
        redirects=21 if redirects is None else int(redirects),
    )


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """List query parameters as axios writes them: `a[]=1` for arrays, `a[b]=1` for objects, null ones left out."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}[{key}]" if prefix else str(key)
        if value is None or to_text(value) == "undefined":
            continue
        if isinstance(value, Mapping):
            pairs += flatten(value, name)
        elif isinstance(value, (list, tuple)):
            pairs += [
                (f"{name}[]", stringify(item) if isinstance(item, (Mapping, list)) else to_text(item)) for item in value
            ]
        else:
            pairs.append((name, to_text(value)))
    return pairs


def _body(call: Call, verb: str, data: Any, headers: dict[str, str]) -> bytes | None:
    if data is None:
        return None
    kind = next((value.lower() for name, value in headers.items() if name.lower() == "content-type"), "")
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    if isinstance(data, Mapping) and kind.startswith("application/x-www-form-urlencoded"):
        return urlencode(flatten(data)).encode()
    if isinstance(data, Mapping) and kind.startswith("multipart/form-data"):
        return _multipart(data, headers)
    if isinstance(data, (Mapping, list)):
        if not kind:
            headers["Content-Type"] = "application/json"
        return stringify(data).encode()
    if isinstance(data, (str, int, float, bool)):
        if not kind and verb in _BODY_METHODS:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return to_text(data).encode()
    raise wrong(call, "data", "an object, a string or a Buffer", data)


def _multipart(data: Mapping[str, Any], headers: dict[str, str]) -> bytes:
    from urllib3.filepost import encode_multipart_formdata  # noqa: PLC0415  # start-up time

    def part(value: Any) -> Any:
        if isinstance(value, (bytes, bytearray)):
            return ("blob", bytes(value))
        return stringify(value) if isinstance(value, (Mapping, list)) else to_text(value)

    fields = [(name, part(value)) for name, value in data.items()]
    body, content_type = encode_multipart_formdata(fields)
    for name in [name for name in headers if name.lower() == "content-type"]:
        del headers[name]
    headers["Content-Type"] = content_type
    return bytes(body)


def perform(request: Request, env: Mapping[str, str]) -> Any:
    """Send a request and return the body; raise ScriptError for a failure or a status outside 200-299."""
    import requests  # noqa: PLC0415  # start-up time

    shown = redact_url(request.url)
    with new_session(env) as session:
        session.max_redirects = max(request.redirects, 1)
        session.headers["Accept"] = "application/json, text/plain, */*"
        try:
            response = session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                auth=request.auth,
                timeout=(min(CONNECT_SECONDS, request.timeout or CONNECT_SECONDS), request.timeout),
                allow_redirects=request.redirects > 0,
            )
        except requests.Timeout as error:
            raise ScriptError(
                f"`net` got no answer from `{shown}` in time", hint="check that the server runs, or raise `timeout`"
            ) from error
        except (requests.RequestException, ValueError) as error:
            raise ScriptError(
                f"`net` could not reach `{shown}`: {_reason(error)}",
                hint="check the URL, the network and the proxy settings",
            ) from error
        if not 200 <= response.status_code < 300:  # noqa: PLR2004  # what axios takes for success
            body = response.text.strip()[:_SHOWN]
            raise ScriptError(f"`net` got status {response.status_code} from `{shown}`" + (f": {body}" if body else ""))
        return _decode(response.content, response.encoding, request.response_type)


def _decode(content: bytes, encoding: str | None, response_type: str) -> Any:
    if response_type in {"arraybuffer", "blob", "stream"}:
        return content
    text = content.decode("utf-8" if encoding in {None, "ISO-8859-1"} else encoding or "utf-8", "replace").removeprefix(
        "\ufeff"
    )
    if response_type == "text" or not text:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _reason(error: BaseException) -> str:
    """Name the innermost cause, which says more than the wrappers round it."""
    seen: BaseException = error
    while True:
        inner = (
            seen.__cause__
            or seen.__context__
            or next((part for part in seen.args if isinstance(part, BaseException)), None)
        )
        inner = getattr(seen, "reason", None) if isinstance(getattr(seen, "reason", None), BaseException) else inner
        if inner is None or inner is seen:
            return str(seen) or type(seen).__name__
        seen = inner


__all__ = ["Request", "build", "flatten", "perform"]
