"""What only a desktop can do: pages are recorded, the rest leaves one line in the log (spec 7.3, 7.6, 7.7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from orchestrator.engine.call import Call, method
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods import script
from orchestrator.engine.methods.parameters import given, optional_text
from orchestrator.engine.redaction import redact_url
from orchestrator.engine.values import UNDEFINED, to_text

_CLIPBOARDS: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # one clipboard per engine


@method("web.open", "browser.open", "tab.open")
async def open_page(call: Call) -> Any:
    """Record the page that the desktop would open."""
    _record(call)
    return UNDEFINED


@method("uri.open")
async def open_uri(call: Call) -> Any:
    """Record the URI and return it."""
    uri = _record(call)
    return {"uri": uri, "result": UNDEFINED}


@method("web.close", "browser.close", "web.expose", "browser.expose", "proxy.stop", "cloudflare.stop")
async def nothing_to_do(call: Call) -> Any:
    """Do nothing: there is no window or proxy to handle."""
    call.print(f"{call.method}: nothing to do without a desktop")
    return UNDEFINED


@method("key.set", "key.get")
async def key(call: Call) -> Any:
    """Do nothing: the desktop's key store belongs to its windows; values are never shown."""
    call.print(f"{call.method}: the desktop's key store does not exist here; use `env.set` for secrets")
    return UNDEFINED


@method("clipboard.copy")
async def clipboard_copy(call: Call) -> Any:
    """Keep a text in memory, for `clipboard.paste`."""
    text = given(call.mapping(), "text")
    if text is None:
        raise ScriptError("`clipboard.copy` needs a string as `text`")
    _CLIPBOARDS[call.engine] = to_text(text)
    return UNDEFINED


@method("clipboard.paste")
async def clipboard_paste(call: Call) -> Any:
    """Return the text copied last, empty when there was none."""
    return _CLIPBOARDS.get(call.engine, "")


@method("cloudflare.tunnel")
async def tunnel(call: Call) -> Any:
    """Return the URI as it is: tunnels are opened by `pinoctl`, with its gate in front."""
    uri = optional_text(call, call.mapping(), "uri")
    call.print("cloudflare.tunnel: pinoctl's own gate and tunnel stand in for it")
    return {"uri": UNDEFINED if uri is None else uri}


@method("app.download")
async def app_download(call: Call) -> Any:
    """Clone the repository below `<HOME>/api`, as `script.download` does (7.6)."""
    params = call.mapping()
    uri = next((params[name] for name in ("uri", "url") if isinstance(params.get(name), str)), None)
    if uri is None:
        raise ScriptError("`app.download` needs the URL of a git repository as `uri`")
    return await script.download(replace(call, params={**params, "uri": uri}))


_UNSUPPORTED = (
    "app.launch",
    "app.info",
    "app.search",
    "app.refresh",
    "app.install",
    "github.create",
    "github.fork",
    "terminal.upload",
)


@method(*_UNSUPPORTED)
async def unsupported(call: Call) -> Any:
    """End the script: the result of a desktop integration cannot be made up."""
    raise ScriptError(
        f"`{call.method}` needs the Pinokio desktop", hint="do this step by hand, or leave it out of the script"
    )


def _record(call: Call) -> str:
    """Tell the journal which page a step opens; a path of the desktop's own pages is recorded as it is."""
    params = {"uri": call.params} if isinstance(call.params, str) else call.mapping()
    uri = next((params[name] for name in ("uri", "url", "href") if isinstance(params.get(name), str)), None)
    if uri is None:
        raise ScriptError(f"`{call.method}` needs a URL as `uri`")
    shown = redact_url(uri)
    call.print(f"open {shown}")
    target = params.get("target")
    call.run.event("open", {"url": shown, **({"target": target} if isinstance(target, str) else {})})
    return uri
