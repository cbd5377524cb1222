"""What the gate says while an app cannot answer: a page that turns into the app, and words for programs."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from orchestrator.expose.gate.contract import Answer

if TYPE_CHECKING:
    from orchestrator.expose.gate.apps import State
    from orchestrator.expose.gate.reading import Request

RETRY_SECONDS = 2
STATE_PATH = "/.pinoctl/state"

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:14vh auto;"
    "padding:0 1em}pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:.8em;border:1px solid #8888;"
    "border-radius:6px}code{font-size:.95em}"
)
_SCRIPT = f"""
const say = (id, text) => {{ const at = document.getElementById(id); if (at) at.textContent = text; }};
const look = async () => {{
  try {{
    const answer = await fetch("{STATE_PATH}", {{cache: "no-store", credentials: "same-origin",
      headers: {{accept: "application/json"}}}});
    if (answer.status === 401 || answer.status === 403) return location.reload();
    const told = await answer.json();
    if (told.state === "ready" || told.state === "failed" || told.state === "stopped") {{
      if (told.state !== document.body.dataset.state) return location.reload();
    }} else if (document.body.dataset.dead) return location.reload();
    say("state", told.state); say("detail", told.detail);
  }} catch (error) {{ say("state", "no connection, trying again"); }}
  setTimeout(look, {RETRY_SECONDS * 1000});
}};
setTimeout(look, {RETRY_SECONDS * 1000});
"""
_DEAD = frozenset({"failed", "stopped"})
_TITLES = {"failed": "{app} has failed", "stopped": "{app} is stopped", "unknown": "{app} is not known here"}
_SENTENCES = {
    "failed": "It ended by itself, or could not be started. The end of its log may say why:",
    "stopped": "It was stopped, or stopped by itself. Start it again on its machine:",
    "unknown": "There is nothing of this name on the machine, or it was removed.",
}
_COMMANDS = {"failed": "pinoctl logs {app}", "stopped": "pinoctl up {app}"}


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_POLICY = (
    f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)


def answer(
    status: int, text: str, *, kind: str = "text/plain", page: bool = False, more: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Make an answer of the gate's own; `page` allows its style and script."""
    headers = (
        ("content-type", f"{kind}; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", _POLICY if page else "default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        *more,
    )
    return Answer(status, headers, text.encode("utf-8", "replace"))


def state_answer(app: str, state: State) -> Answer:
    """Tell how an app is, for the waiting page and for programs."""
    return answer(HTTPStatus.OK, _json(app, state), kind="application/json")


def waiting_answer(app: str, state: State, request: Request) -> Answer:
    """Say that the app is not there: a page for people, which looks again by itself, JSON or text for programs."""
    retry = (("retry-after", str(RETRY_SECONDS)),)
    if request.wants_page:
        return answer(503, waiting_page(app, state), kind="text/html", page=True, more=retry)
    accepts = next((value for name, value in request.headers if name == "accept"), "").lower()
    if "application/json" in accepts:
        return answer(503, _json(app, state), kind="application/json", more=retry)
    detail = f": {state.detail}" if state.detail else ""
    return answer(503, f"`{app}` is not ready: {state.word}{detail}\n", more=retry)


def broken_answer(app: str, request: Request) -> Answer:
    """Say that the app answered with something that cannot be passed on."""
    text = f"`{app}` gave no answer that can be read; `pinoctl logs {app}` may say why"
    if not request.wants_page:
        return answer(HTTPStatus.BAD_GATEWAY, f"{text}\n")
    name = html.escape(app)
    body = (
        f"<h1>{name} gave no answer</h1><p>It listens, but what it said cannot be read. Its log may say why:</p>"
        f"<pre><code>pinoctl logs {name}</code></pre>"
    )
    return answer(HTTPStatus.BAD_GATEWAY, _document(f"{app} gave no answer", body), kind="text/html", page=True)


def waiting_page(app: str, state: State) -> str:
    """Make the page that is shown instead of the app until it is ready."""
    name = html.escape(app)
    title = _TITLES.get(state.word, "{app} is not ready yet").replace("{app}", app)
    sentence = _SENTENCES.get(state.word, "This page turns into it as soon as it is ready.")
    command = _COMMANDS.get(state.word, "").replace("{app}", name)
    shown = f"<pre><code>{command}</code></pre>" if command else ""
    status = (
        f'<p role="status">State: <strong id="state">{html.escape(state.word)}</strong></p>'
        f'<p id="detail">{html.escape(state.detail)}</p>'
    )
    body = f"<h1>{html.escape(title)}</h1>{status}<p>{sentence}</p>{shown}"
    return _document(title, body, script=True, state=state.word, dead=state.word in _DEAD)


def _document(title: str, body: str, *, script: bool = False, state: str = "", dead: bool = False) -> str:
    refresh = f'<noscript><meta http-equiv="refresh" content="{5 * RETRY_SECONDS}"></noscript>' if script else ""
    marks = f' data-state="{html.escape(state)}"' + (' data-dead="1"' if dead else "")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{refresh}<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body{marks}><main>{body}</main>{f'<script>{_SCRIPT}</script>' if script else ''}</body></html>"
    )


def _json(app: str, state: State) -> str:
    return json.dumps({"app": app, "state": state.word, "detail": state.detail}) + "\n"
