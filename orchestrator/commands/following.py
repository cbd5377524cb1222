"""Following the logs of an app in a container: over its agent's connection, as copying them costs more each time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.agent.client import Dropped, Event, Output
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from orchestrator.agent.client import Client
    from orchestrator.places.place import Place

PATIENCE: Final = 1.0
"""Seconds between two looks whether the app is up again, and at least between two copies of its logs."""

Read = Callable[[int], Iterator[tuple[int, bytes]]]


@dataclass(frozen=True, slots=True)
class Following:
    """Follow one app; `read` gives what its copied log has from an offset on."""

    place: Place
    app: str
    read: Read
    sleep: Callable[[float], object] = time.sleep

    def output(self, offset: int) -> Iterator[bytes]:
        """Yield what the app printed from an offset on, as it comes, for ever; the copy is brought up to date."""
        try:
            while True:
                for begin, piece in self.read(offset):
                    offset = begin + len(piece)
                    yield piece
                client = self._agent()
                if client is None:
                    self.sleep(PATIENCE)
                    continue
                with client:
                    for behind, piece in self._heard(client, offset):
                        offset = behind
                        yield piece
                self._copy()  # what came last, and what came too fast
        finally:
            self._copy()

    def events(self, offset: int) -> Iterator[bytes]:
        """Yield what the app's journal has from an offset on, for ever; it is copied when something has happened."""
        there = False
        while True:
            client = self._agent()
            with contextlib.ExitStack() as stack:
                if client is not None:
                    stack.enter_context(client)
                    with contextlib.suppress(PinoctlError):
                        client.follow(-1)
                if client is not None or there:
                    self._copy()  # now first: what happens between copy and listening would wait for the next event
                there = client is not None
                for begin, piece in self.read(offset):
                    offset = begin + len(piece)
                    yield piece
                if client is not None:
                    with contextlib.suppress(PinoctlError):
                        next((each for each in client.messages() if isinstance(each, Event)), None)
            self.sleep(PATIENCE)

    def _heard(self, client: Client, offset: int) -> Iterator[tuple[int, bytes]]:
        """Yield pieces with the offset behind each, until the agent ends or says that some were left out."""
        with contextlib.suppress(PinoctlError):
            client.follow(offset)
            for message in client.messages():
                if isinstance(message, Dropped):
                    return
                if isinstance(message, Output) and message.offset > offset:
                    offset = message.offset
                    yield offset, message.text.encode("utf-8", "replace")

    def _agent(self) -> Client | None:
        try:
            return self.place.find(self.app)
        except (PinoctlError, OSError):  # it is only starting, or ending
            return None

    def _copy(self) -> None:
        with contextlib.suppress(PinoctlError, OSError):
            self.place.mirror_logs(self.app)
