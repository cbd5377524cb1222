"""Sessions: signed cookies that say which app they open, by what, and until when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from itsdangerous import BadData, URLSafeSerializer

LASTS: Final = 30 * 86400  # seconds, unless the link that was used ends earlier
FOREVER: Final = 1 << 62  # seconds since 1970: the end of what has none of its own
SECURE_PREFIX: Final = "__Host-"  # browsers take such a cookie only over HTTPS and from this very host
CHOICE: Final = "pinoctl-app"  # which app the one port for all leads to; no secret and no right
PERSON: Final = "pinoctl-person"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is in: `way` is `token`, `share` (`who` its id) or `person` (`who` their name; `app` is empty: all theirs).

    `generation` is that of the app's token or of the person's password, `end` seconds since 1970.
    """

    app: str
    way: str
    who: str
    generation: int
    end: int


def seal(session: Session, key: bytes) -> str:
    """Sign a session as the value of a cookie."""
    parts = [session.app, session.way, session.who, session.generation, session.end]
    text = _serializer(key).dumps(parts)
    return text if isinstance(text, str) else text.decode()


@lru_cache(maxsize=128)  # a page asks for many things with one cookie, and what its signature says does not change
def unseal(text: str, key: bytes) -> Session | None:
    """Read what was signed with this key; None for anything else."""
    if not text.isascii():
        return None
    try:
        app, way, who, generation, end = _serializer(key).loads(text)
    except (BadData, ValueError, TypeError):
        return None
    return Session(app, way, who, generation, end)


def _serializer(key: bytes) -> URLSafeSerializer:
    return URLSafeSerializer(
        key,
        salt="pinoctl gate session",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


def cookie_of(app: str) -> str:
    """Name the cookie of an app: browsers keep one jar for all ports of a host, so each app needs its own."""
    return f"pinoctl_{app}"


def is_ours(name: str) -> bool:
    """Tell whether a cookie is one of the gate's: it never reaches an app, and no app may set one."""
    return name.strip().removeprefix(SECURE_PREFIX).startswith(("pinoctl_", "pinoctl-"))


def base_of(session: Session) -> str:
    """Name the cookie that a session belongs in, without the prefix that it has over HTTPS."""
    return PERSON if session.way == "person" else cookie_of(session.app)


def chosen_by(line: str) -> str | None:
    """Return the app that a Set-Cookie of ours chooses on the port for all; None when it is about something else."""
    name, _, rest = line.partition("=")
    return rest.partition(";")[0] if name.removeprefix(SECURE_PREFIX) == CHOICE else None


def set_cookie(base: str, value: str, *, seconds: int, secure: bool, framed: bool) -> str:
    """Write the value of Set-Cookie; `framed` is for apps that are shown in a page of another site."""
    name = SECURE_PREFIX + base if secure else base
    where = "SameSite=None; Secure; Partitioned" if secure and framed else "SameSite=Lax" + "; Secure" * secure
    return f"{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; {where}"
