"""The gate's own pages: small, without scripts or anything from elsewhere, and shown nowhere they may not be."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from orchestrator.expose.gate.contract import Answer, Headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE: Final = """
:root { color-scheme: light dark; --line: #767676; --accent: #0b57d0; --on: #fff }
@media (prefers-color-scheme: dark) { :root { --accent: #a8c7fa; --on: #062e6f } }
* { box-sizing: border-box }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; padding: 1rem; min-height: 100vh; display: grid;
  place-items: center }
main { width: min(100%, 24rem) }
h1 { font-size: 1.4rem; margin: 0 0 1rem; overflow-wrap: anywhere }
h2 { font-size: 1rem; margin: 1.5rem 0 0 }
label { display: block; margin-top: .75rem }
input { font: inherit; width: 100%; padding: .5rem; border: 1px solid var(--line); border-radius: .3rem }
button { font: inherit; margin-top: 1rem; padding: .5rem 1rem; border: 0; border-radius: .3rem; cursor: pointer;
  background: var(--accent); color: var(--on) }
a { color: var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
li { margin: .5rem 0; overflow-wrap: anywhere }
.wrong { border-left: .3rem solid #d93025; padding-left: .7rem }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class Look:
    """How pages are sent: `title` stands above them, `frames` are the origins that may show them in a frame.

    None for no frame at all, empty for any.
    """

    title: str = "pinoctl"
    frames: tuple[str, ...] | None = None


def fixed_headers(look: Look | None = None, *, form: bool = False) -> Headers:
    """Say what every answer of the gate carries; `look` adds what pages need.

    A page with a form names its origin (and nothing more of its address): with `no-referrer` a browser would send the
    form with `Origin: null`, which we refuse.
    """
    fixed = (
        ("cache-control", "no-store"),
        ("referrer-policy", "strict-origin" if form else "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex, nofollow"),
    )
    if look is None:
        return fixed
    policy = f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'"
    if look.frames is None:
        return (
            *fixed,
            ("content-security-policy", f"{policy}; frame-ancestors 'none'"),
            ("x-frame-options", "DENY"),
        )
    if look.frames:
        policy += f"; frame-ancestors 'self' {' '.join(look.frames)}"
    return (*fixed, ("content-security-policy", policy))


def page(status: int, heading: str, body: str, look: Look, *, form: bool = False) -> Answer:
    """Make a page; `heading` is text, `body` is HTML."""
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)} - {escape(look.title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(heading)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )
    headers = (("content-type", "text/html; charset=utf-8"), *fixed_headers(look, form=form))
    return Answer(status, headers, text.encode())


def login(status: int, look: Look, *, goes_to: str, people: bool, wrong: str = "") -> Answer:
    """Ask for a token, and for name and password when `people` have some; `wrong` says what was wrong before."""
    onwards = f'<input type="hidden" name="next" value="{escape(goes_to)}">'
    message = f'<p class="wrong" role="alert">{escape(wrong)}</p>\n' if wrong else ""
    body = (
        f"{message}<p>This app is closed to strangers. Open it with the link you were given, or enter its token.</p>\n"
        f'<form method="post" action="/.pinoctl/login">{onwards}\n'
        '<label for="token">Token</label>\n'
        '<input id="token" name="token" type="password" autocomplete="off" autocapitalize="none" spellcheck="false"'
        " required autofocus>\n<button>Open</button>\n</form>"
    )
    if people:
        body += (
            f'\n<h2>Or with a password</h2>\n<form method="post" action="/.pinoctl/login">{onwards}\n'
            '<label for="user">Name</label>\n'
            '<input id="user" name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required>\n'
            '<label for="password">Password</label>\n'
            '<input id="password" name="password" type="password" autocomplete="current-password" required>\n'
            "<button>Log in</button>\n</form>"
        )
    return page(status, "Who are you?", body, look, form=True)


def once(look: Look, *, token: str, goes_to: str) -> Answer:
    """Ask before a link is used up that opens one browser only: programs that preview links press no buttons."""
    body = (
        "<p>This link opens the app in one browser only, the first one that uses it.</p>\n"
        '<form method="post" action="/.pinoctl/login">'
        f'<input type="hidden" name="token" value="{escape(token)}">'
        f'<input type="hidden" name="next" value="{escape(goes_to)}">\n'
        "<button autofocus>Open it here</button>\n</form>"
    )
    return page(200, "Open the app here?", body, look, form=True)


def logout(look: Look) -> Answer:
    """Ask before leaving, so that no other page can do it for the visitor."""
    body = (
        '<form method="post" action="/.pinoctl/logout"><p>You will need the link, the token or your password to come '
        "back.</p>\n<button autofocus>Log out</button>\n</form>"
    )
    return page(200, "Log out?", body, look, form=True)


def apps(look: Look, names: Sequence[str]) -> Answer:
    """List the apps that a visitor may enter."""
    items = "\n".join(f'<li><a href="/.pinoctl/go/{escape(name)}">{escape(name)}</a></li>' for name in names)
    listing = f"<ul>\n{items}\n</ul>" if names else "<p>None is open to you.</p>"
    ways = '<a href="/.pinoctl/login">Enter another token</a>, or <a href="/.pinoctl/logout">log out</a>'
    return page(200, "Apps", f"{listing}\n<p>{ways}</p>", look)


def listed(names: Sequence[str]) -> Answer:
    """List for a program the apps that it may use."""
    return plain(200, json.dumps({"apps": list(names)}) + "\n", kind="application/json")


def message(
    status: int, text: str, *, html: Look | None, as_json: bool = False, more: Iterable[tuple[str, str]] = ()
) -> Answer:
    """Say one sentence, as a page where one is asked for, else as JSON or plain text."""
    if html is not None:
        answer = page(status, text, "", html)
    elif as_json:
        answer = plain(status, json.dumps({"error": text}) + "\n", kind="application/json")
    else:
        answer = plain(status, text + "\n")
    return Answer(answer.status, (*answer.headers, *more), answer.body)


def plain(status: int, text: str, kind: str = "text/plain; charset=utf-8") -> Answer:
    """Answer with a text."""
    return Answer(status, (("content-type", kind), *fixed_headers()), text.encode())


def redirect(address: str, cookies: Iterable[str] = ()) -> Answer:
    """Send a browser to another address of this server, with these cookies."""
    lines = tuple(("set-cookie", each) for each in cookies)
    return Answer(303, (("location", address), *fixed_headers(), *lines))
