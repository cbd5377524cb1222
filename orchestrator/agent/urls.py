"""Find the address of an app's server in what it prints and in what scripts store as `url`; pure text work."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from orchestrator.agent.terminal import plain

_URL = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.%]+\]|[^\s/?#\"'`<>\[\](){}|\\^,;:]+)(?::\d{1,5})?(?:[/?#][^\s\"'`<>|\\^\x00-\x1f\x7f…]*)?",
    re.IGNORECASE,
)
_TRAILING = ".,;:!?*_~'\"`"
# What servers print that give no URL: "Listening on 0.0.0.0:3000", "listening on port 3000", "Server started on :8080",
# "binding to 127.0.0.1:11434", `Listening on [::]:8000`.
_HOST_PORT = re.compile(
    r"\b(?:listening|listen|running|started|starting|serving|bound|binding|binds|available|accessible|ready)\b[^\n]{0,60}?"
    r"(?<![\w.])(?P<host>\d{1,3}(?:\.\d{1,3}){3}|localhost|\[[0-9A-Fa-f:]+\]|\*)?:(?P<port>\d{2,5})(?![\d:.])",
    re.IGNORECASE,
)
_PORT_ONLY = re.compile(
    r"\b(?:listening|listen|running|started|starting|serving|server|bound|binding|available|ready|up)\b[^\n]{0,40}?"
    r"\bport[:=]?\s*(?P<port>\d{2,5})\b(?![:.]\d)",
    re.IGNORECASE,
)

_HINT = re.compile(r"://|[.][0-9]{1,3}:[0-9]{2}|[tT\s(*\]]:[0-9]{2}|[pP][oO][rR][tT][:=]?\s*[0-9]")

# A line with one of these is a server's own announcement, which beats any other URL in the output.
_ANNOUNCING: Final = re.compile(
    "|".join(  # noqa: FLY002  # one line per framework reads better than one long text
        (
            r"Running on (?:local )?URL",  # Gradio, A1111, Forge, Fooocus
            r"Running on (?:https?://|all addresses)",  # Flask and Werkzeug, Quart, Hypercorn
            r"(?:Local|Network|External) URL",  # Streamlit
            r"You can now view your Streamlit app",
            r"Uvicorn running on",  # FastAPI, InvokeAI
            r"Application startup complete",
            r"FastAPI\W+(?:Server|Starting)",
            r"(?:Server|API|UI|App|Application|Frontend|Backend|Interface|WebUI)\b[^\n]{0,30}\b(?:started|running|listening|ready|available|live)",
            r"To see the GUI go to",  # ComfyUI
            r"Jupyter Server .* is running at",
            r"^\s*(?:or\s+)?https?://\S+[?&]token=",  # Jupyter's second line
            r"TensorBoard \S+ at",
            r"Listening (?:on|at)",  # Ollama, Gunicorn, Node
            r"Invoke(?:AI)? running on",
            r"^\s*(?:➜|->|-|▲|>)?\s*(?:Local|Network)\s*:",  # Vite, Next.js, Astro, Nuxt
            r"(?:ready|started server) on\b",  # older Next.js
            r"Starting (?:development )?server at",  # Django
            r"Serving (?:HTTP|at|on)",  # http.server
            r"(?:Open|Visit|Access|Browse|Go to|Navigate to)\b",
            r"(?:available|accessible|running|hosted|served) at\b",
        )
    ),
    re.IGNORECASE,
)

_WEB = re.compile(
    r"(?:^|\.)(?:github\.com|githubusercontent\.com|gitlab\.com|huggingface\.co|hf\.co|hf\.space|pypi\.org|pythonhosted\.org|"
    r"npmjs\.(?:com|org)|readthedocs\.io|python\.org|nodejs\.org|pytorch\.org|google\.com|youtube\.com|discord\.(?:gg|com)|"
    r"gradio\.live|gradio\.app|trycloudflare\.com|ngrok(?:-free)?\.(?:io|app|dev)|loca\.lt|localhost\.run|lhr\.life|serveo\.net|share\.zrok\.io)$",
    re.IGNORECASE,
)


HIGHEST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Found:
    """Hold one address found in output: `announced` when the line says that it is a server's own."""

    url: str
    announced: bool


def _clean(url: str) -> str:
    url = url.rstrip(_TRAILING)
    while url and url[-1] in ")]}" and url.count(url[-1]) > url.count({")": "(", "]": "[", "}": "{"}[url[-1]]):
        url = url[:-1].rstrip(_TRAILING)
    return url


def cut_url(value: object) -> str | None:
    """Return the first http(s) URL inside a value, None when it holds none (a literal template, a number, a flag)."""
    if not isinstance(value, str):
        return None
    for match in _URL.finditer(plain(value)):
        url = _clean(match[0])
        if is_url(url):
            return url
    return None


def is_url(url: str) -> bool:
    """Tell whether text is a whole http(s) URL with a host and, if any, a port that exists."""
    try:
        split = urlsplit(url)
        return (
            split.scheme.lower() in {"http", "https"}
            and bool(split.hostname)
            and (split.port is None or 0 < split.port <= HIGHEST_PORT)
        )
    except ValueError:
        return False


def is_web(url: str) -> bool:
    """Tell whether a URL leads to the web or to a sharing service, so never to a server on this machine."""
    host = urlsplit(url).hostname or ""
    return _WEB.search(host) is not None


def find_addresses(text: str) -> list[Found]:
    """Return the addresses in a piece of output, in order: URLs, and `host:port` or `port N` where a server listens.

    The text may hold ANSI sequences. Links to the web are left out; whether a host is here, `candidates` decides.
    """
    found: dict[str, Found] = {}

    def add(url: str, *, announced: bool) -> None:
        if is_url(url) and not is_web(url) and (url not in found or (announced and not found[url].announced)):
            found[url] = Found(url, announced)

    for line in plain(text).splitlines():
        announced = _ANNOUNCING.search(line) is not None
        urls = [_clean(match[0]) for match in _URL.finditer(line)]
        for url in urls:
            add(url, announced=announced)
        if urls:
            continue
        bare = _HOST_PORT.search(line) or _PORT_ONLY.search(line)
        if bare:
            host = bare.groupdict().get("host") or "127.0.0.1"
            add(f"http://{'0.0.0.0' if host == '*' else host}:{bare['port']}", announced=True)  # noqa: S104  # text, nothing is bound
    return list(found.values())


def with_hint(text: str) -> str:
    """Return only those lines that may hold an address, since this looks at every byte that a starting app prints."""
    lines: list[str] = []
    end = 0
    while match := _HINT.search(text, end):
        begin = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.end())
        if end < 0:
            end = len(text)
        lines.append(text[begin:end])
    return "\n".join(lines)


IsHere = Callable[[str], bool]


def candidates(url: str, *, is_here: IsHere) -> list[str]:
    """Return the URLs to try for one that was found: names for "any address" become loopback ones, path and query stay.

    `is_here` tells whether a host is an address of this machine; for any other host the list is empty.
    """
    split = urlsplit(url)
    host = (split.hostname or "").lower()
    if host in {"0.0.0.0", "localhost", ""} or host.endswith(".localhost"):  # noqa: S104  # compared, nothing is bound
        hosts = ["127.0.0.1", "[::1]"]
    elif host in {"::", "0:0:0:0:0:0:0:0"}:
        hosts = ["[::1]", "127.0.0.1"]
    elif _is_loopback(host):
        hosts = [f"[{host}]" if ":" in host else host]
    elif is_here(host):
        hosts = ["127.0.0.1", f"[{host}]" if ":" in host else host]
    else:
        return []
    port = f":{split.port}" if split.port else ""
    return [split._replace(scheme=split.scheme.lower(), netloc=f"{host}{port}").geturl() for host in hosts]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
