"""Certificates for direct HTTPS: those that a rented machine brings, checked before use, and loaded again when changed.

What is checked is done by a TLS handshake in memory, client and server being this process: it shows that certificate
and key belong together, that the time of validity has begun and not ended, and which names the certificate is for,
as a browser would find it; and it needs nothing beyond the standard library.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PLACES: Final = (("/etc/instance.crt", "/etc/instance.key"),)  # Vast.ai
LARGEST: Final = 1 << 20
ALPN: Final = ("http/1.1",)


class CertificateError(PinoctlError):
    """A certificate is there and cannot be used."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold a certificate (with what signed it, if that is in the file too) and its key, as PEM, and their paths."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    paths: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Say what a usable certificate is for: its names and addresses, its end (seconds since 1970), who signed it."""

    names: tuple[str, ...]
    ends: float
    issuer: str
    self_signed: bool


def read_file(path: str) -> bytes | None:
    """Read a file; None if there is none. Raises CertificateError when it may not be read or is too large."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CertificateError(
            f"cannot read `{path}`: {error.strerror or error}", hint="Let this user read it, or run as its owner"
        ) from error
    if len(data) > LARGEST:
        raise CertificateError(f"`{path}` is too large for a certificate or a key")
    return data


def direct_https(
    read: Callable[[str], bytes | None] = read_file, places: Sequence[tuple[str, str]] = PLACES
) -> Pair | None:
    """Find the certificate that this machine brings for direct HTTPS; None where it brings none.

    `places` are pairs of paths, of a certificate and its key. The pair is not checked yet. Raises CertificateError when
    half of one is missing, or it cannot be read.
    """
    for certificate_path, key_path in places:
        certificate, key = read(certificate_path), read(key_path)
        if certificate is not None and key is not None:
            return Pair(certificate, key, (certificate_path, key_path))
        if certificate is not None or key is not None:
            there, missing = (certificate_path, key_path) if key is None else (key_path, certificate_path)
            raise CertificateError(f"there is `{there}`, but not `{missing}`")
    return None


def server_context(pair: Pair) -> ssl.SSLContext:
    """Make the context of a server (TLS 1.2 and later, HTTP/1.1); raises CertificateError when it cannot be loaded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(ALPN))
    _load(context, pair)
    return context


def examine(pair: Pair) -> Facts:
    """Check that a pair can serve now and say what it is for; raises CertificateError with the reason why not."""
    server = server_context(pair)
    path = pair.paths[0]
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    # The certificate itself is what is trusted here: who signed it is between the browser and its user.
    client.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(cadata=_first(pair.certificate, path))
        found = _handshake(client, server)
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(
            f"the certificate `{path}` cannot be used: {error.verify_message}", hint=_HINTS.get(error.verify_code)
        ) from error
    except (ssl.SSLError, ValueError) as error:
        raise CertificateError(f"the certificate `{path}` cannot be used: {_short(error)}") from error
    issuer, subject = _name(found.get("issuer", ())), _name(found.get("subject", ()))
    named = tuple(value for kind, value in found.get("subjectAltName", ()) if kind in {"DNS", "IP Address"})
    return Facts(
        names=named, ends=ssl.cert_time_to_seconds(found["notAfter"]), issuer=issuer, self_signed=issuer == subject
    )


class Certificates:
    """The certificate of a server that runs on: `context` stays the same while what it presents is replaced.

    Made by `find`. `facts` says what is presented, `problem` why the newest files are not ("" when they are).
    """

    def __init__(self, pair: Pair, read: Callable[[str], bytes | None] = read_file) -> None:
        """Check and load a pair; raises CertificateError."""
        self._read = read
        self._pair = pair
        self._tried = pair
        self.facts = examine(pair)
        self.problem = ""
        self.context = self._current = server_context(pair)
        # Asked at every handshake, also of clients that name no server; a connection that stands keeps what it has.
        self.context.sni_callback = self._choose

    @classmethod
    def find(
        cls, read: Callable[[str], bytes | None] = read_file, places: Sequence[tuple[str, str]] = PLACES
    ) -> Certificates | None:
        """Take the certificate that this machine brings, None where it brings none; raises CertificateError."""
        pair = direct_https(read, places)
        return None if pair is None else cls(pair, read)

    def refresh(self) -> bool:
        """Look at the files again and present what is new; return whether something changed and can be used.

        Files that are half written, do not match or have expired leave everything as it was.
        """
        try:
            pair = direct_https(self._read, (self._pair.paths,))
            if pair is None:
                raise CertificateError(f"`{self._pair.paths[0]}` is gone")  # noqa: TRY301  # one place that notes problems
            if pair in (self._pair, self._tried):
                self.problem = "" if pair == self._pair else self.problem
                return False
            self._tried = pair
            facts, context = examine(pair), server_context(pair)
        except CertificateError as error:
            self.problem = str(error)
            return False
        self._pair, self.facts, self._current, self.problem = pair, facts, context, ""
        return True

    def ends_in(self, now: Callable[[], float] = time.time) -> float:
        """Say for how many seconds the certificate is still valid; negative when it has expired."""
        return self.facts.ends - now()

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    certificate_path, key_path = pair.paths
    try:
        with _as_file(pair.certificate) as certificate, _as_file(pair.key) as key:
            # Without an answer to the question for a passphrase the library would ask on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        if b"ENCRYPTED" in pair.key:
            raise CertificateError(f"the key `{key_path}` is protected by a passphrase") from error
        if error.reason in _MISMATCH:
            raise CertificateError(
                f"the certificate `{certificate_path}` and the key `{key_path}` do not match"
            ) from error
        raise CertificateError(
            f"the certificate `{certificate_path}` and the key `{key_path}` cannot be loaded: {_short(error)}",
            hint="Both have to be PEM files, whole and readable",
        ) from error


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Lend these bytes a path, as the library reads nothing else; what was checked is so what is loaded.

    They lie in memory only, where the kernel can do that.
    """
    try:
        descriptor = os.memfd_create("certificate")
    except (OSError, AttributeError):
        with tempfile.NamedTemporaryFile(prefix="pinoctl-") as file:  # only its owner can read it
            file.write(data)
            file.flush()
            yield file.name
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _first(pem: bytes, path: str) -> bytes:
    """Return the first certificate of a file, the server's own, in DER."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    start, stop = pem.find(begin), pem.find(end)
    if not 0 <= start < stop:
        raise CertificateError(f"there is no certificate in `{path}`")
    return ssl.PEM_cert_to_DER_cert(pem[start : stop + len(end)].decode("ascii", "replace"))


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> dict[str, Any]:
    """Let both shake hands in memory; return the certificate as the client sees it. Raises ssl.SSLError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(back, there, server_side=False)
    answers = server.wrap_bio(there, back, server_side=True)
    waiting = [asks, answers]
    for _ in range(10):  # each side speaks three times at most
        for side in list(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                waiting.remove(side)
    return asks.getpeercert() or {}


def _name(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    return ", ".join(value for part in parts for _, value in part)


def _short(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if isinstance(reason, str) else str(error)


# The last is what is said of a key of another kind (RSA, elliptic curve) than the certificate's.
_MISMATCH: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
_EXPIRED, _NOT_YET = 10, 9  # X509_V_ERR_* of OpenSSL
_HINTS: Final = {
    _EXPIRED: "Get a new one from the provider, or go without it",
    _NOT_YET: "Is the clock of this machine right?",
}
