"""Fetching the missing bytes of a file, each segment over a connection of its own."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from orchestrator.engine.download.model import ChangedError, Remote, Settings, Stop, TransientError
from orchestrator.engine.download.persistence import persistently
from orchestrator.engine.download.probe import IDENTITY, check_status, range_of, total_of
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.redaction import redact_url

if TYPE_CHECKING:
    import requests

    from orchestrator.engine.download.partial import Partial, Segment
    from orchestrator.engine.download.progress import Progress

_KEPT = (".gz", ".tgz", ".gzip")  # servers label these as encoded, but they are wanted as they are


class DiskError(Exception):
    """Carry an OSError of writing, so that it is not taken for one of the network."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Transfer:
    """Fetch what `partial` lacks; all its threads are gone when `run` returns or raises."""

    def __init__(
        self,
        session: requests.Session,
        url: str,
        remote: Remote,
        partial: Partial,
        *,
        settings: Settings,
        stop: Stop,
        progress: Progress,
    ) -> None:
        self._session = session
        self._url = url
        self._remote = remote
        self._partial = partial
        self._settings = settings
        self._outer = stop
        self._stop = Stop()
        self._progress = progress
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._working = 0
        self._decoded = False
        self.received = 0

    def run(self) -> None:
        """Fetch it all; raise ScriptError, DiskError, ChangedError, CancelledError, or TransientError at the end."""
        missing = [segment for segment in self._partial.segments if not segment.complete]
        forget = self._outer.on_set(self._stop.set)
        threads = [
            threading.Thread(target=self._work, args=(segment,), daemon=True, name="pinoctl-download")
            for segment in missing
        ]
        self._working = len(threads)
        try:
            for thread in threads:
                thread.start()
            self._watch()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            forget()
            if not isinstance(self._failure, ChangedError):
                self._save(quietly=True)
        if self._failure is not None:
            raise self._failure

    @property
    def total(self) -> int | None:
        """Length of the whole file, None while it is unknown."""
        return self._partial.segments[-1].end

    def _watch(self) -> None:
        """Report and save until all threads are done or one has failed."""
        clock = self._settings.clock
        saved = clock()
        while True:
            with self._idle:
                if self._working == 0 or self._failure is not None:
                    return
                self._idle.wait(self._settings.report_every)
            self._progress.show(self._partial.done, self.total)
            if clock() - saved >= self._settings.save_every:
                self._save(quietly=False)
                saved = clock()

    def _save(self, *, quietly: bool) -> None:
        try:
            self._partial.save()
        except OSError as error:
            if not quietly and self._failure is None:
                self._failure = DiskError(error)

    def _work(self, segment: Segment) -> None:
        failure: BaseException | None = None
        try:
            persistently(
                lambda: self._fetch(segment),
                settings=self._settings,
                stop=self._stop,
                note=self._progress.line,
                position=lambda: segment.done,
            )
        except BaseException as error:  # noqa: BLE001  # handed on to the thread that waits
            failure = error
        with self._idle:
            self._working -= 1
            if failure is not None and self._failure is None:
                self._failure = failure
            self._idle.notify_all()

    def _fetch(self, segment: Segment) -> None:
        """Ask once for the rest of a segment and write what comes."""
        import requests  # noqa: PLC0415  # start-up time
        import urllib3  # noqa: PLC0415  # start-up time

        if segment.complete:
            return
        if self._decoded:
            segment.done = 0  # offsets in a decoded stream mean nothing to the server
        try:
            response = self._session.get(
                self._url,
                headers=self._headers(segment),
                stream=True,
                timeout=(self._settings.connect_timeout, self._settings.stall),
            )
            with response:
                self._accept(segment, response)
                self._copy(segment, response)
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.TooManyRedirects,
            requests.exceptions.SSLError,
        ) as error:
            raise ScriptError(f"cannot download `{redact_url(self._url)}`: {error}", hint="check the URL") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self._stop.check()
            raise TransientError(describe(error)) from error
        self._stop.check()

    def _headers(self, segment: Segment) -> dict[str, str]:
        headers = dict(IDENTITY)
        whole = len(self._partial.segments) == 1 and segment.position == 0
        if not whole:
            headers["Range"] = f"bytes={segment.position}-" + ("" if segment.end is None else str(segment.end - 1))
            condition = self._remote.etag or self._remote.modified
            if condition:
                headers["If-Range"] = condition
        return headers

    def _accept(self, segment: Segment, response: requests.Response) -> None:
        """Check that an answer is the bytes asked for; adjust the segment to a file of another length than told."""
        check = response.status_code
        if check == 416:  # noqa: PLR2004  # range not satisfiable
            raise ChangedError
        check_status(response, self._url)
        if check == 206:  # noqa: PLR2004  # partial content
            bounds, total = (
                range_of(response.headers.get("Content-Range")),
                total_of(response.headers.get("Content-Range")),
            )
            if (
                bounds is None
                or bounds[0] != segment.position
                or (total is not None and self._remote.size not in {None, total})
            ):
                raise ChangedError
            return
        if check != 200:  # noqa: PLR2004  # nothing else carries the file
            raise ScriptError(
                f"cannot download `{redact_url(self._url)}`: the server answered status {check}", hint="check the URL"
            )
        if len(self._partial.segments) > 1 or segment.position > 0:
            raise ChangedError  # the whole file instead of a part: no ranges, or another file by now
        encoded = response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}
        self._decoded = encoded and not self._partial.target.name.lower().endswith(_KEPT)
        length = response.headers.get("Content-Length", "")
        segment.end = int(length) if length.isdigit() and not self._decoded else None

    def _copy(self, segment: Segment, response: requests.Response) -> None:
        raw = response.raw
        read = getattr(raw, "read1", None) or raw.read  # what is there at once, instead of waiting for a full chunk
        if self._decoded:
            read = raw.read
        forget = self._stop.on_set(lambda: _cut(raw))
        try:
            while not segment.complete:
                self._stop.check()
                data = read(self._settings.chunk, decode_content=self._decoded)
                if not data:
                    break
                if segment.end is not None:
                    data = data[: segment.end - segment.position]
                try:
                    self._partial.write(segment, data)
                except OSError as error:
                    raise DiskError(error) from error
                with self._lock:
                    self.received += len(data)
        finally:
            forget()
        if segment.end is None:
            segment.end = segment.position
        elif not segment.complete:
            raise TransientError("the connection was closed before the end")


def _cut(raw: object) -> None:
    """Wake a thread that waits for the network: newer versions of urllib3 can, elsewhere the stall limit does it."""
    shutdown = getattr(raw, "shutdown", None)
    if shutdown is not None:
        with contextlib.suppress(Exception):
            shutdown()


def describe(error: BaseException) -> str:
    """Say in a few words what failed in the network."""
    text = str(error)
    for sign, words in (
        ("timed out", "nothing came for too long"),
        ("Name or service not known", "the server's name is unknown"),
        ("Temporary failure in name resolution", "the server's name cannot be looked up"),
        ("Connection refused", "the server refused the connection"),
        ("reset by peer", "the connection was reset"),
        ("IncompleteRead", "the connection was closed before the end"),
        ("RemoteDisconnected", "the connection was closed"),
        ("Missing dependencies for SOCKS", "SOCKS proxies need the package `PySocks`"),
    ):
        if sign in text:
            return words
    return text[:200] or type(error).__name__
