"""What an agent in a container says, as it is seen from this machine: ports that were published instead of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

LOCAL: Final = re.compile(r"https?://(?:localhost|127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[::1?\])(?::\d{1,5})?(?![\w.:@-])")


def outside(
    url: str | None, forwards: Mapping[str, int], published: Mapping[int, int], *, host: str = "127.0.0.1"
) -> str | None:
    """Return a URL of the app as this machine reaches it, None when its port leads nowhere.

    `forwards` maps the app's ports (as text) to reserved ones, `published` those to ports of this machine.
    """
    if not url:
        return None
    try:
        split = urlsplit(url)
        port = split.port or (443 if split.scheme == "https" else 80)
    except ValueError:
        return None  # the app printed it, so it may be anything
    found = published.get(forwards.get(str(port), -1))
    return None if found is None else split._replace(netloc=f"{host}:{found}").geturl()


def translated(answer: Mapping[str, Any], published: Mapping[int, int], *, host: str = "127.0.0.1") -> dict[str, Any]:
    """Return an agent's answer with its URL and ports as this machine reaches them."""
    forwards = answer.get("forwards") if isinstance(answer.get("forwards"), Mapping) else {}
    found = {**answer, "url": outside(answer.get("url"), forwards or {}, published, host=host)}
    if isinstance(answer.get("ports"), list):
        found["ports"] = [
            {**each, "published": published.get((forwards or {}).get(str(each.get("port")), -1))}
            for each in answer["ports"]
        ]
    return found


def reachable(text: str, forwards: Mapping[str, int], published: Mapping[int, int]) -> str:
    """Return a text with the URLs of the app's own servers as this machine reaches them; others stay as they are."""
    return LOCAL.sub(lambda found: outside(found[0], forwards, published) or found[0], text)
