"""An app's menu: items flattened and normalised from the JSON that the sidecar evaluated (spec 3.1 to 3.3)."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from orchestrator.engine.values import UNDEFINED, truthy

Kind = Literal["script", "url", "file", "terminal", "menu", "stop", "other"]

SHOWS_FILE = frozenset({"fs", "raw"})
DEEPEST = 8
THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "0.0.0.0", "::1"})  # noqa: S104  # compared with, not bound to


@dataclass(frozen=True, slots=True)
class MenuItem:
    """Hold one item that a user could press.

    `kind`: `script` (its path below the launcher's folder in `script`, what it gets in `args`, as strings), `url`
    (in `href`), `file` (shown, not run), `terminal` (`shell` and `run` items), `menu` (only holds others), `stop`.
    `depth` is 0 for the top level, `default` whether the launcher marked it, `confirm` what to ask before.
    """

    kind: Kind
    text: str
    href: str | None = None
    script: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    default: bool = False
    depth: int = 0
    confirm: str = ""
    under: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Menu:
    """Hold a menu, flattened depth first in the order of the document."""

    items: tuple[MenuItem, ...] = ()

    @property
    def default(self) -> MenuItem | None:
        """The item that the launcher wants taken now: the first marked at the top, else the first marked below."""
        marked = [item for item in self.items if item.default]
        top = next((item for item in marked if item.depth == 0), None)
        if top is not None and top.href is not None:
            return top
        return next((item for item in marked if item.href is not None and item.depth > 0), None)

    @property
    def scripts(self) -> list[MenuItem]:
        """The items that start a script."""
        return [item for item in self.items if item.kind == "script"]

    @property
    def url(self) -> str | None:
        """The app's web page, when the menu offers one: the app is running then.

        It is the default item, or in menus that mark none, a page of this machine in the first place.
        """
        default = self.default
        if default is not None:
            return default.href if default.kind == "url" else None
        first = self.items[0] if self.items else None
        local = first is not None and first.kind == "url" and _host(first.href or "") in THIS_MACHINE
        return first.href if first is not None and local else None


def read_menu(raw: Any, *, app: str = "", root: str = "", running: Callable[[str], bool] | None = None) -> Menu:
    """Read the evaluated menu; whatever is no list of objects counts as an empty menu.

    `app` is the app's name and `root` the launcher's folder in it ("" or "pinokio"), for hrefs such as
    `/api/<app>/start.js`; `running` tells of a script below the launcher's folder whether it runs, for old menus with
    `when`, `on` and `off`. Items without anything to press are dropped, as the desktop does.
    """
    prefix = posixpath.join("/api", app, root).rstrip("/") + "/" if app else ""
    return Menu(tuple(_items(raw, prefix, running or (lambda _: False), ())))


def _items(raw: Any, prefix: str, running: Callable[[str], bool], under: tuple[str, ...]) -> Iterator[MenuItem]:
    if not isinstance(raw, list) or len(under) > DEEPEST:
        return
    for entry in raw:
        if not isinstance(entry, Mapping):
            continue
        item = _item(entry, prefix, running, under)
        if item is not None:
            yield item
            yield from _items(entry.get("menu"), prefix, running, (*under, item.text))


def _item(
    entry: Mapping[str, Any], prefix: str, running: Callable[[str], bool], under: tuple[str, ...]
) -> MenuItem | None:
    shown = _label(entry, running)
    filtered = entry.get("filter", True)
    if shown is None or entry.get("type") == "label" or filtered in (False, None, 0, ""):
        return None
    href = entry.get("href")
    href = href if isinstance(href, str) and href else None
    kind, script, args = _target(entry, href, prefix)
    if kind == "other":
        return None
    return MenuItem(
        kind=kind,
        text=shown,
        href=href,
        script=script,
        args=args,
        default=_true(entry.get("default")),
        depth=len(under),
        confirm=_plain(entry.get("confirm")),
        under=under,
    )


def _target(entry: Mapping[str, Any], href: str | None, prefix: str) -> tuple[Kind, str | None, dict[str, str]]:
    action = entry.get("action")
    if isinstance(action, Mapping) and action.get("method") == "stop":
        return "stop", None, {}
    if href is not None:
        return _href(entry, href, prefix)
    if _true(entry.get("shell")) or _true(entry.get("run")):
        return "terminal", None, {}
    return ("menu" if isinstance(entry.get("menu"), list) else "other"), None, {}


def _href(entry: Mapping[str, Any], href: str, prefix: str) -> tuple[Kind, str | None, dict[str, str]]:
    if re.match(r"[a-z][a-z0-9+.-]*:", href, re.IGNORECASE):
        return "url", None, {}
    base = entry.get("base")
    if isinstance(base, str) and base.startswith("/"):
        href = base.rstrip("/") + "/" + href.lstrip("/")
    if href.startswith("/"):
        if not prefix or not href.startswith(prefix):
            return "file", None, {}
        href = href[len(prefix) :]
    parts = urlsplit(href)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    path = posixpath.normpath(unquote(parts.path)) if parts.path else ""
    shows = SHOWS_FILE & query.keys() or query.get("mode") == "source" or parts.fragment
    if shows or _true(entry.get("fs")) or _true(entry.get("command")) or not re.search(r"\.(js|json)$", path):
        return "file", None, {}
    if isinstance(entry.get("query"), Mapping):  # resolved by the sidecar
        return "script", path, _strings(entry["query"])
    params = entry.get("params")
    return "script", path, {**query, **(_strings(params) if isinstance(params, Mapping) else {})}


def _strings(params: Mapping[str, Any]) -> dict[str, str]:
    """Turn params into what URLSearchParams makes of them (spec 3.2): every value a string."""
    return {str(key): _string(value) for key, value in params.items()}


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if value is UNDEFINED:
        return "undefined"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ",".join("" if each is None or each is UNDEFINED else _string(each) for each in value)
    return "[object Object]" if isinstance(value, Mapping) else str(value)


def _label(entry: Mapping[str, Any], running: Callable[[str], bool]) -> str | None:
    """Return the label without HTML, or None for an old-style item that shows nothing in this state."""
    when = entry.get("when")
    if isinstance(when, str) and ("on" in entry or "off" in entry) and "link" not in entry:
        label = entry.get("on" if running(posixpath.normpath(urlsplit(when).path)) else "off")
        return _plain(label) if isinstance(label, str) and label else None
    if isinstance(when, str) and "link" in entry and not (entry.get("text") or entry.get("html")):
        return None  # the sidecar chose between `on` and `off`, and there was nothing to show
    for key in ("text", "html"):
        if isinstance(entry.get(key), str) and entry[key].strip():
            return _plain(entry[key])
    return ""


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _plain(value: Any) -> str:
    """Strip HTML from a label, as a line of text; the first line of a title with an explanation below it."""
    if not isinstance(value, str):
        return ""
    title = re.search(r"<strong>(.*?)</strong>", value, re.DOTALL | re.IGNORECASE)
    text = re.sub(r"<[^>]*>", " ", title[1] if title else value)
    return " ".join(html.unescape(text).split())


def _true(value: Any) -> bool:
    if isinstance(value, Mapping) and value.get("$undefined") is True:
        return False
    return truthy(value)
