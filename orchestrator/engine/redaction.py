"""Which names hold secrets, and how their values are kept out of output, events and messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

HIDDEN = "***"
_WORDS = frozenset(
    {
        "token",
        "key",
        "secret",
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "credential",
        "credentials",
        "pat",
        "pwd",
        "signature",
        "sig",
        "authorization",
        "cookie",
    }
)
# Every shell has these: the folder that it is in, and the one before.
_FOLDERS = frozenset({"PWD", "OLDPWD"})
_ENDINGS = (
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "apikey",
    "secretkey",
    "accesskey",
    "privatekey",
)


def is_secret(name: str, type: str | None = None) -> bool:  # noqa: A002  # the word that forms use
    """Tell whether a field or variable holds a secret: type `password`, or a name such as `HF_TOKEN` or `apiKey`.

    Names are compared word by word, so `MAX_TOKENS`, `tokenizer` and `keyboard` are no secrets.
    """
    if isinstance(type, str) and type.lower() == "password":
        return True
    if name in _FOLDERS:
        return False
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower()
    return any(word in _WORDS or word.endswith(_ENDINGS) for word in re.split(r"[^a-z0-9]+", words))


def redact(values: Mapping[str, Any], types: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the values with `***` in place of every secret one that is not empty; objects inside are treated alike."""
    types = types or {}
    return {key: _hide(value) if is_secret(key, types.get(key)) else _inner(value) for key, value in values.items()}


def _hide(value: Any) -> Any:
    return value if value is None or value is False or value == "" else HIDDEN


def _inner(value: Any) -> Any:
    if isinstance(value, Mapping):
        return redact(value)
    if isinstance(value, (list, tuple)):
        return [_inner(item) for item in value]
    return redact_url(value) if isinstance(value, str) and "://" in value else value


def redact_url(url: str) -> str:
    """Return a URL without its password and the values of secret query parameters; other text comes back as it is."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return url
    if not parts.scheme or not parts.netloc:
        return url
    secret = [is_secret(name) for name, _ in query]
    if host == parts.netloc and not any(secret):
        return url
    shown = [(name, HIDDEN if hidden else value) for (name, value), hidden in zip(query, secret, strict=True)]
    return urlunsplit(parts._replace(netloc=host, query=urlencode(shown, quote_via=quote, safe="*/:")))
