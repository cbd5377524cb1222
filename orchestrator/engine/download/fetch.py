"""One download from the order to the finished file (spec 7.2, `fs.download`)."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.engine.disk import disk_error
from orchestrator.engine.download.model import ChangedError, Order, Outcome, Remote, Settings, Stop, TransientError
from orchestrator.engine.download.partial import Partial, Segment, split
from orchestrator.engine.download.persistence import persistently
from orchestrator.engine.download.probe import ask_one_byte, probe
from orchestrator.engine.download.progress import Progress, amount
from orchestrator.engine.download.transfer import DiskError, Transfer, describe
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.redaction import redact_url
from orchestrator.engine.webclient import new_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import requests

_RESTARTS = 3  # how often a file may turn out to be another one
_KEPT = "what was downloaded stays beside it as `.part`; run it again to go on from there"


def fetch(order: Order, *, settings: Settings, stop: Stop, write: Callable[[str], None]) -> Outcome:
    """Download a file, going on from what an earlier attempt left; blocks.

    `write` takes terminal text from any thread. Raises ScriptError, or CancelledError after `stop.set()`.
    """
    if urlsplit(order.url).scheme.lower() not in {"http", "https"}:
        raise ScriptError(f"cannot download `{redact_url(order.url)}`: only `http` and `https` URLs can be")
    with new_session(settings.env, connections=settings.connections + 1) as session:
        return _Download(order, session, settings, stop, write).run()


class _Download:
    def __init__(
        self, order: Order, session: requests.Session, settings: Settings, stop: Stop, write: Callable[[str], None]
    ) -> None:
        self._order = order
        self._session = session
        self._settings = settings
        self._stop = stop
        self._shown = redact_url(order.url)
        self._progress = Progress(self._shown.rpartition("/")[2] or self._shown, write, settings.clock)
        self._write = write
        self._received = 0

    def run(self) -> Outcome:
        try:
            remote = self._ask(probe)
            target = self._order.path or self._folder() / remote.name
            self._progress = Progress(target.name, self._write, self._settings.clock)
            return self._to(target, remote)
        except TransientError as error:
            raise ScriptError(
                f"cannot download `{self._shown}`: {error}, {self._settings.tries} times in a row",
                hint=f"check the network and the URL; {_KEPT}",
            ) from error
        finally:
            self._progress.end()

    def _folder(self) -> Path:
        if self._order.folder is None:
            raise ScriptError(f"nobody said where to put `{self._shown}`")
        return self._order.folder

    def _ask(self, question: Callable[[requests.Session, str, Settings], Remote]) -> Remote:
        import requests  # noqa: PLC0415  # start-up time

        def once() -> Remote:
            try:
                return question(self._session, self._order.url, self._settings)
            except (
                requests.exceptions.InvalidURL,
                requests.exceptions.InvalidSchema,
                requests.TooManyRedirects,
                requests.exceptions.SSLError,
            ) as error:
                raise ScriptError(f"cannot download `{self._shown}`: {error}", hint="check the URL") from error
            except (requests.RequestException, OSError) as error:
                raise TransientError(describe(error)) from error

        return persistently(once, settings=self._settings, stop=self._stop, note=self._progress.line)

    def _to(self, target: Path, remote: Remote) -> Outcome:
        partial = Partial(target)
        try:
            if target.is_dir():
                raise ScriptError(
                    f"cannot download to `{target}`: it is a folder", hint="give it as `dir`, or name a file as `path`"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.open(self._busy)
            if self._is_there(target, remote):
                partial.close()
                self._progress.line(f"{target.name}: there already")
                return Outcome(target, "skipped", target.stat().st_size)
            self._prepare(partial, remote)
            self._fill(partial, remote)
            size = partial.done
            partial.finish(size)
        except OSError as error:
            raise self._disk(error, target) from error
        except DiskError as error:
            raise self._disk(error.error, target) from error
        finally:
            partial.close()
        self._progress.show(size, size)
        self._progress.line(f"{target.name}: {amount(size)} downloaded")
        return Outcome(target, "downloaded", size, self._received)

    def _busy(self) -> None:
        self._stop.check()
        (self._settings.sleep or self._stop.wait)(0.2)

    def _disk(self, error: OSError, target: Path) -> ScriptError:
        described = disk_error("download to", target, error)
        return ScriptError(str(described), hint=f"{described.hint}; {_KEPT}")

    def _is_there(self, target: Path, remote: Remote) -> bool:
        """Tell whether the file is complete; raise ScriptError when it is longer than the one on the server."""
        if not target.exists():
            return False
        size = target.stat().st_size
        if self._order.checksum is not None and self._digest(target) == self._order.checksum[1]:
            return True
        if remote.size is not None and size > remote.size:
            told = self._ask(ask_one_byte).size  # HEAD may have lied
            if told is not None and size > told:
                raise ScriptError(
                    f"cannot download to `{target}`: it has {size} bytes, the file on the server only {told} (416)",
                    hint="remove it first if it is not wanted",
                )
            return size == told and self._order.checksum is None
        return size == remote.size and self._order.checksum is None

    def _prepare(self, partial: Partial, remote: Remote) -> None:
        """Decide what is missing: the rest of an earlier download, of a shorter file at the target, or everything."""
        if partial.resume(remote):
            self._progress.line(f"{partial.target.name}: going on from {amount(partial.done)}")
        else:
            kept = 0
            target = partial.target
            if (
                remote.size is not None
                and target.is_file()
                and not target.is_symlink()
                and 0 < target.stat().st_size < remote.size
            ):
                kept = partial.adopt(target)
                self._progress.line(f"{target.name}: going on from {amount(kept)}")
            partial.begin(remote, self._segments(remote, kept))
        self._check_space(partial, remote)
        self._progress.restart(partial.done)

    def _segments(self, remote: Remote, kept: int) -> list[Segment]:
        if remote.size is None:
            return [Segment(0, None)]
        if remote.size - kept < self._settings.parallel_from or not remote.ranges:
            return [Segment(0, remote.size, kept)]
        parts = split(remote.size - kept, self._settings.connections)
        head = [Segment(0, kept, kept)] if kept else []
        return head + [Segment(kept + part.start, kept + (part.end or 0)) for part in parts]

    def _check_space(self, partial: Partial, remote: Remote) -> None:
        missing = (remote.size or 0) - partial.done
        free = self._settings.free(partial.target.parent)
        if missing > free:
            raise ScriptError(
                f"cannot download `{self._shown}`: {amount(missing)} are missing, "
                f"and `{partial.target.parent}` has room for {amount(free)}",
                hint=f"free some space or use a larger disk; {_KEPT}",
            )

    def _fill(self, partial: Partial, remote: Remote) -> None:
        """Fetch what is missing and check it, starting over when it turns out to be another file."""
        for restart in range(_RESTARTS + 1):
            resumed = partial.done > 0
            transfer = Transfer(
                self._session,
                self._order.url,
                remote,
                partial,
                settings=self._settings,
                stop=self._stop,
                progress=self._progress,
            )
            try:
                transfer.run()
            except ChangedError:
                if restart == _RESTARTS:
                    raise ScriptError(
                        f"cannot download `{self._shown}`: the server keeps answering with another file",
                        hint="try another mirror of the file",
                    ) from None
                self._progress.line("the server gives no parts of this file, or it has changed: starting over")
                remote = dataclasses.replace(self._ask(ask_one_byte), ranges=False)
                partial.begin(remote, [Segment(0, remote.size)])
                continue
            finally:
                self._received += transfer.received
            if self._is_right(partial, resumed=resumed):
                return
            partial.begin(remote, [Segment(0, remote.size)])
        raise ScriptError(
            f"the checksum of `{self._shown}` is never the expected one", hint="check the checksum in the script"
        )

    def _is_right(self, partial: Partial, *, resumed: bool) -> bool:
        """Tell whether the checksum is right; a wrong one ends the download unless a part was from an earlier time."""
        if self._order.checksum is None:
            return True
        algorithm, expected = self._order.checksum
        found = self._digest(partial.part)
        if found == expected:
            return True
        if resumed:
            self._progress.line("the checksum is wrong: starting over")
            return False
        partial.discard()
        raise ScriptError(
            f"the {algorithm} of `{self._shown}` is `{found}`, expected `{expected}`",
            hint="the file on the server is another one, or the checksum in the script is wrong",
        )

    def _digest(self, path: Path) -> str:
        algorithm = self._order.checksum[0] if self._order.checksum else "sha256"
        digest = hashlib.new(algorithm)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                self._stop.check()
                digest.update(block)
        return digest.hexdigest()
