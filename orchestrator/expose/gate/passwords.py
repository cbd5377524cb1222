"""Passwords of people: hashed with scrypt and a salt, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from typing import Final

from orchestrator.engine.errors import BadInputError

SHORTEST: Final = 8  # characters
LONGEST: Final = 256
COST: Final = (1 << 15, 8, 1)  # n, r, p: 32 MiB and some 80 ms for each try

_SALT_BYTES: Final = 16
_MEMORY: Final = 128 << 20  # bytes that scrypt may take


def check_strength(password: str) -> None:
    """Raise BadInputError for a password that is too short to keep guessers out, or absurdly long."""
    if len(password) < SHORTEST:
        raise BadInputError(
            f"the password has fewer than {SHORTEST} characters, and the gate may stand on the open internet",
            hint="choose a longer one; a few random words do well",
        )
    if len(password) > LONGEST:
        raise BadInputError(f"the password has more than {LONGEST} characters", hint="choose a shorter one")


def hashed(password: str) -> str:
    """Return salt, cost and hash as one text of ASCII."""
    salt = secrets.token_bytes(_SALT_BYTES)
    n, r, p = COST
    return f"scrypt${n}${r}${p}${salt.hex()}${_scrypt(password, salt, COST).hex()}"


def matches(password: str, stored: str | None) -> bool:
    """Tell whether this is the password that was stored; without one it takes as long and is wrong."""
    if stored is None:
        _scrypt(password, bytes(_SALT_BYTES), COST)
        return False
    try:
        name, n, r, p, salt, expected = stored.split("$")
        cost = (int(n), int(r), int(p))
        return name == "scrypt" and hmac.compare_digest(
            _scrypt(password, bytes.fromhex(salt), cost), bytes.fromhex(expected)
        )
    except ValueError:  # what the file holds is no hash of ours
        return False


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    # The same letters typed on two keyboards may come as different code points.
    text = unicodedata.normalize("NFKC", password[:LONGEST]).encode("utf-8", "surrogatepass")
    n, r, p = cost
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)
