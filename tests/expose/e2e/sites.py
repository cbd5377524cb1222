"""Other people's sites on this machine, and an HTTPS proxy as users put before the gate; real servers in threads."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import ssl
import subprocess
import threading


def certificate(folder):
    """Make a certificate for this machine and return what servers need of it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "site.key", "-out", folder / "site.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "site.crt", folder / "site.key")
    return context


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing: browsers hang up as they like."""


@contextlib.contextmanager
def serving(handler, tls=None):
    """Serve in a thread on 127.0.0.1 and give the port."""
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def site(body, tls=None):
    """Serve one page of somebody else's at every path."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    return serving(Page, tls)


def https_proxy(port, tls):
    """Serve HTTPS before a port, as a user's own proxy does: with X-Forwarded-Proto and the browser's Host."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            there = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"connection", "x-forwarded-proto"}:
                    there.putheader(name, value)
            there.putheader("X-Forwarded-Proto", "https")
            there.endheaders(body)
            answer = there.getresponse()
            said = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            there.close()

        do_POST = do_GET  # noqa: N815  # the name that the standard library looks for

        def log_message(self, *_):
            pass

    return serving(Proxy, tls)
