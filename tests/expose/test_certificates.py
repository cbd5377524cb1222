"""Certificates made by the `openssl` program, served and seen over real TLS."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from orchestrator.expose.certificates import (
    CertificateError,
    Certificates,
    Pair,
    direct_https,
    examine,
    read_file,
    server_context,
)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")

CA = """
[ca]
default_ca = here
[here]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = server
copy_extensions = none
unique_subject = no
[any]
commonName = supplied
[server]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:gpu.example,IP:203.0.113.7
[client]
extendedKeyUsage = clientAuth
"""


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def own(folder: Path, name: str, *further: str, key=("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")):
    """Make a certificate that signs itself, as `name`.crt and `name`.key."""
    files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
    openssl(folder, "req", "-x509", *key, "-nodes", *files, "-days", "30", "-subj", f"/CN={name}", *further)
    return pair(folder, name)


def pair(folder: Path, name: str, key: str | None = None) -> Pair:
    paths = str(folder / f"{name}.crt"), str(folder / f"{key or name}.key")
    return Pair(Path(paths[0]).read_bytes(), Path(paths[1]).read_bytes(), paths)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make certificates once: an authority, and what it signed for several times and uses; two that sign themselves."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "ca.cnf").write_text(CA)
    (folder / "index").touch()
    (folder / "serial").write_text("01")
    own(folder, "authority")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    openssl(folder, "req", *curve, "-nodes", "-keyout", "good.key", "-out", "ask.csr", "-subj", "/CN=gpu")
    for name, start, end, use in (
        ("good", "20200101000000Z", "20900101000000Z", "server"),
        ("old", "20200101000000Z", "20200201000000Z", "server"),
        ("young", "20890101000000Z", "20900101000000Z", "server"),
        ("client", "20200101000000Z", "20900101000000Z", "client"),
    ):
        signed = ["-cert", "authority.crt", "-keyfile", "authority.key", "-in", "ask.csr", "-out", f"{name}.crt"]
        dates = ["-startdate", start, "-enddate", end, "-extensions", use]
        openssl(folder, "ca", "-batch", "-notext", "-config", "ca.cnf", *signed, *dates)
        shutil.copy(folder / "good.key", folder / f"{name}.key") if name != "good" else None
    own(folder, "one")
    own(folder, "two", key=("-newkey", "rsa:2048"))
    return folder


def put(folder: Path, what: Pair) -> tuple[str, str]:
    paths = str(folder / "instance.crt"), str(folder / "instance.key")
    Path(paths[0]).write_bytes(what.certificate)
    Path(paths[1]).write_bytes(what.key)
    return paths


def remove(path: str) -> None:
    Path(path).unlink()


async def presented(context: ssl.SSLContext, **client) -> tuple[bytes, ssl.SSLObject]:
    """Serve with this context, connect once, and return the certificate that the client got (DER)."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        return await connect(server, **client)


async def connect(server, *, name: str = "", version=None, alpn=()):
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_alpn_protocols(list(alpn))
    if version is not None:
        trusting.minimum_version = trusting.maximum_version = version
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name)
    tls = writer.get_extra_info("ssl_object")
    writer.close()
    return tls.getpeercert(binary_form=True), tls


def der(what: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(what.certificate.decode())


def test_a_machine_without_a_certificate_has_none(tmp_path):
    assert direct_https(places=[(str(tmp_path / "a"), str(tmp_path / "b"))]) is None
    assert Certificates.find(lambda _: None) is None


def test_the_files_of_a_rented_machine_are_found():
    files = {"/etc/instance.crt": b"certificate", "/etc/instance.key": b"key"}
    found = direct_https(files.get)
    assert found == Pair(b"certificate", b"key", ("/etc/instance.crt", "/etc/instance.key"))
    assert "certificate'" not in repr(found)
    assert "b'key'" not in repr(found)


@pytest.mark.parametrize("missing", ["/etc/instance.crt", "/etc/instance.key"])
def test_half_a_pair_is_told(missing):
    files = {"/etc/instance.crt": b"1", "/etc/instance.key": b"2"}
    del files[missing]
    with pytest.raises(CertificateError, match=f"but not `{missing}`"):
        direct_https(files.get)


def test_files_that_are_none_are_told(tmp_path):
    with pytest.raises(CertificateError, match="cannot read"):
        read_file(str(tmp_path))
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(CertificateError, match="too large"):
        read_file(str(tmp_path / "large"))
    assert read_file(str(tmp_path / "large" / "below")) is None


def test_a_good_certificate_says_what_it_is_for(made):
    facts = examine(pair(made, "good"))
    assert facts.names == ("gpu.example", "203.0.113.7")
    assert facts.ends == ssl.cert_time_to_seconds("Jan  1 00:00:00 2090 GMT")
    assert (facts.issuer, facts.self_signed) == ("authority", False)


def test_one_that_signs_itself_is_as_good_and_says_so(made):
    facts = examine(pair(made, "two"))
    assert (facts.issuer, facts.self_signed) == ("two", True)
    assert 29 * 86400 < facts.ends - time.time() < 31 * 86400


def test_a_chain_in_the_file_is_served_too(made):
    chain = Pair(
        pair(made, "good").certificate + pair(made, "authority").certificate, pair(made, "good").key, ("c", "k")
    )
    assert examine(chain).issuer == "authority"


@pytest.mark.parametrize(
    ("name", "words"),
    [("old", "expired"), ("young", "not yet valid"), ("client", "purpose")],
)
def test_one_that_browsers_refuse_is_refused_with_the_reason(made, name, words):
    with pytest.raises(CertificateError, match=words) as caught:
        examine(pair(made, name))
    assert f"{name}.crt" in str(caught.value)


@pytest.mark.parametrize(("name", "key"), [("good", "one"), ("one", "two"), ("two", "good")])
def test_a_key_of_another_certificate_is_refused(made, name, key):
    with pytest.raises(CertificateError, match="do not match"):
        examine(pair(made, name, key))


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(made):
    openssl(made, "ec", "-in", "one.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key")
    with pytest.raises(CertificateError, match="protected by a passphrase"):
        examine(pair(made, "one", "locked"))


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        *((b"", None), (None, b""), (b"\xff" * 50, None), (None, b"rubbish")),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None),
    ],
)
def test_rubbish_is_refused(made, certificate, key):
    whole = pair(made, "one")
    spoilt = Pair(
        whole.certificate if certificate is None else certificate, whole.key if key is None else key, ("c", "k")
    )
    with pytest.raises(CertificateError, match="cannot be loaded"):
        examine(spoilt)


def test_half_written_files_are_refused(made):
    whole = pair(made, "two")
    for part in (0.3, 0.7, 0.98):
        with pytest.raises(CertificateError):
            examine(Pair(whole.certificate[: int(len(whole.certificate) * part)], whole.key, whole.paths))
        with pytest.raises(CertificateError):
            examine(Pair(whole.certificate, whole.key[: int(len(whole.key) * part)], whole.paths))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_browsers_get_it_over_http_1(made, version):
    good = pair(made, "good")
    shown, tls = await presented(server_context(good), version=version, alpn=["h2", "http/1.1"])
    assert shown == der(good)
    assert tls.selected_alpn_protocol() == "http/1.1"


def test_a_client_of_yesterday_is_refused(made):
    """Say hello in TLS 1.1 by hand: today's clients cannot."""
    context = server_context(pair(made, "good"))
    hello = bytes.fromhex("0302") + bytes(32) + b"\x00" + bytes.fromhex("0004c013002f0100")
    hello = b"\x01" + len(hello).to_bytes(3, "big") + hello
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
        with pytest.raises(ssl.SSLError) as caught:
            context.wrap_socket(here, server_side=True)
    assert caught.value.reason == "UNSUPPORTED_PROTOCOL"


@pytest.mark.parametrize("name", ["", "gpu.example"])
async def test_a_new_certificate_is_presented_by_the_server_that_runs(made, tmp_path, name):
    one, two = pair(made, "one"), pair(made, "two")
    certificates = Certificates.find(places=[put(tmp_path, one)])
    assert certificates is not None
    async with await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificates.context
    ) as server:
        assert (await connect(server, name=name))[0] == der(one)
        assert not certificates.refresh()
        put(tmp_path, two)
        assert certificates.refresh()
        assert certificates.facts.issuer == "two"
        shown, tls = await connect(server, name=name, alpn=["http/1.1"])
        assert (shown, tls.selected_alpn_protocol()) == (der(two), "http/1.1")
        assert not certificates.refresh()


async def test_what_cannot_be_used_leaves_the_old_one_and_says_why(made, tmp_path):
    one = pair(made, "one")
    paths = put(tmp_path, one)
    certificates = Certificates.find(places=[paths])
    for bad, words in (
        (pair(made, "old"), "expired"),
        (pair(made, "one", "two"), "do not match"),
        (Pair(one.certificate[:100], one.key, paths), "cannot be loaded"),
    ):
        put(tmp_path, bad)
        assert not certificates.refresh()
        assert words in certificates.problem
        assert not certificates.refresh()  # and is not forgotten when looked at again
        assert words in certificates.problem
    remove(paths[0])
    assert not certificates.refresh()
    assert "but not" in certificates.problem
    remove(paths[1])
    assert not certificates.refresh()
    assert "is gone" in certificates.problem
    assert (await presented(certificates.context))[0] == der(one)
    put(tmp_path, one)
    assert not certificates.refresh()
    assert certificates.problem == ""
    put(tmp_path, pair(made, "old"))
    certificates.refresh()
    put(tmp_path, pair(made, "two"))
    assert certificates.refresh()
    assert (await presented(certificates.context))[0] == der(pair(made, "two"))


def test_the_end_is_told(made):
    good = pair(made, "good")
    certificates = Certificates(good)
    assert certificates.ends_in(lambda: certificates.facts.ends - 60) == 60
    assert certificates.ends_in(lambda: certificates.facts.ends + 1) == -1


def test_a_bad_pair_at_the_start_is_an_error(made, tmp_path):
    with pytest.raises(CertificateError, match="expired"):
        Certificates.find(places=[put(tmp_path, pair(made, "old"))])


def test_without_memory_files_a_file_of_its_owner_serves(made, monkeypatch):
    monkeypatch.delattr("os.memfd_create")
    assert examine(pair(made, "good")).issuer == "authority"
