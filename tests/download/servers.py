"""A real HTTP server on the loopback whose habits tests choose."""

from __future__ import annotations

import contextlib
import gzip
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Habits:
    content: bytes = b""
    ranges: bool = True
    announce: bool = True  # Accept-Ranges
    head: int = 200  # status of HEAD, 200 for an honest one
    head_length: int | None = None  # a lie
    etag: str | None = '"v1"'
    modified: str | None = None
    disposition: str | None = None
    chunked: bool = False
    zipped: bool = False
    cut_after: int | None = None  # bytes after which each connection breaks
    cuts: int = 0  # how many connections break
    statuses: list[int] = field(default_factory=list)  # given to GETs before the honest answer
    retry_after: str | None = None
    redirects: int = 0
    pause: float = 0.0  # seconds before each 64 kB
    stall_after: int | None = None
    stalls: int = 0
    together: threading.Barrier | None = None  # how many GETs are waited for before any is served
    log: list[tuple[str, str | None, int]] = field(default_factory=list)
    active: int = 0
    most_active: int = 0

    def gets(self) -> list[tuple[str | None, int]]:
        return [(asked, status) for method, asked, status in self.log if method == "GET"]

    def fetched(self) -> list[tuple[str | None, int]]:
        return [entry for entry in self.gets() if entry[0] != "bytes=0-0"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has elsewhere
        pass

    def do_HEAD(self) -> None:
        habits = self.server.habits
        if self._redirected(habits):
            return
        habits.log.append(("HEAD", None, habits.head))
        self.send_response(habits.head)
        if habits.head == 200 and not habits.chunked:
            length = len(habits.content) if habits.head_length is None else habits.head_length
            self._about(habits, length)
        self.end_headers()

    def _redirected(self, habits: Habits) -> bool:
        found = re.match(r"/hop(\d+)", self.path)
        hops = int(found.group(1)) if found else 0
        if hops >= habits.redirects:
            return False
        self.send_response(302)
        self.send_header("Location", f"/hop{hops + 1}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def _about(self, habits: Habits, length: int | None) -> None:
        if length is not None:
            self.send_header("Content-Length", str(length))
        if habits.ranges and habits.announce:
            self.send_header("Accept-Ranges", "bytes")
        for name, value in (
            ("ETag", habits.etag),
            ("Last-Modified", habits.modified),
            ("Content-Disposition", habits.disposition),
        ):
            if value is not None:
                self.send_header(name, value)

    def do_GET(self) -> None:
        habits = self.server.habits
        if self._redirected(habits):
            return
        asked = self.headers.get("Range")
        if habits.statuses and asked != "bytes=0-0":
            self._refuse(habits, asked, habits.statuses.pop(0))
            return
        content, condition = habits.content, self.headers.get("If-Range")
        start, end, status = 0, len(content), 200
        found = re.match(r"bytes=(\d+)-(\d*)$", asked or "")
        if found and habits.ranges and (condition is None or condition in {habits.etag, habits.modified}):
            start = int(found.group(1))
            end = min(int(found.group(2)) + 1, len(content)) if found.group(2) else len(content)
            status = 206
            if start >= len(content):
                self._refuse(habits, asked, 416, f"bytes */{len(content)}")
                return
        habits.log.append(("GET", asked, status))
        body = gzip.compress(content) if habits.zipped else content[start:end]
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        if habits.zipped:
            self.send_header("Content-Encoding", "gzip")
        if habits.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self._about(habits, None if habits.chunked else len(body))
        self.end_headers()
        habits.active += 1
        habits.most_active = max(habits.most_active, habits.active)
        try:
            if habits.together is not None:
                habits.together.wait(60)
            self._send(habits, body)
        except OSError:
            self.close_connection = True
        finally:
            habits.active -= 1

    def _refuse(self, habits: Habits, asked: str | None, status: int, content_range: str | None = None) -> None:
        habits.log.append(("GET", asked, status))
        self.send_response(status)
        if habits.retry_after:
            self.send_header("Retry-After", habits.retry_after)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, habits: Habits, body: bytes) -> None:
        sent = 0
        while sent < len(body):
            piece = body[sent : sent + 65536]
            if habits.cut_after is not None and habits.cuts > 0 and sent + len(piece) > habits.cut_after:
                habits.cuts -= 1
                self.wfile.write(self._framed(habits, piece[: habits.cut_after - sent]))
                self.close_connection = True
                return
            if habits.stall_after is not None and habits.stalls > 0 and sent >= habits.stall_after:
                habits.stalls -= 1
                self.server.released.wait()
                self.close_connection = True
                return
            time.sleep(habits.pause)
            self.wfile.write(self._framed(habits, piece))
            sent += len(piece)
        if habits.chunked:
            self.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def _framed(habits: Habits, piece: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(piece), piece) if habits.chunked and piece else piece


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, habits: Habits) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.habits = habits
        self.released = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving(habits: Habits) -> Iterator[Server]:
    server = Server(habits)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
