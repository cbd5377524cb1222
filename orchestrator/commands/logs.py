"""`pinoctl logs APP`: what an app printed, from the files that its agent writes; no agent is needed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import click

from orchestrator.commands import output
from orchestrator.commands.apps import installed_app
from orchestrator.commands.options import home_of, home_option

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.agent.files import AgentFiles

EVERY: Final = 0.1
_PIECE: Final = 64 * 1024


@click.command()
@click.argument("app")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it prints from now on, until interrupted.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--events", is_flag=True, help="Show the journal's events instead, one JSON object per line.")
@click.option(
    "--build", "build", is_flag=True, help="What the last rebuild or update beside the running app printed instead."
)
@click.option("--raw", is_flag=True, help="Keep colours and progress bars also where stdout is no terminal.")
@home_option
def logs(*, app: str, follow: bool, tail: int | None, events: bool, build: bool, raw: bool, home: Path | None) -> int:
    """Show what an app printed, the oldest that is kept first.

    On a terminal it is shown as the app printed it; elsewhere as plain lines, without colours and overwritten ones.
    """
    from orchestrator.agent.files import AgentFiles  # noqa: PLC0415  # `--help` does without
    from orchestrator.places.choosing import place_of  # noqa: PLC0415

    where = home_of(home)
    name = installed_app(where, app)
    files = AgentFiles(where, name)
    if build:
        files = AgentFiles(where, name, history=files.folder / "build")
    place = place_of(where, name)
    place.mirror_logs(name)

    def refresh() -> None:
        place.mirror_logs(name)

    look = _journal if events else _terminal
    pieces = look(files, tail, follow=follow, refresh=refresh)
    if not (events or raw or output.coloured(sys.stdout)):
        pieces = plain_lines(pieces)
    shown = False
    try:
        for piece in pieces:
            shown = True
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    if not shown and tail != 0:
        output.say(f"`{name}` has printed nothing yet")
    return 0


def _terminal(
    files: AgentFiles, tail: int | None, *, follow: bool, refresh: Callable[[], object] = lambda: None
) -> Iterator[bytes]:
    from orchestrator.agent.terminal import read_terminal  # noqa: PLC0415  # see above

    def read(offset: int) -> Iterator[tuple[int, bytes]]:
        return read_terminal(files.terminal, offset)

    yield from followed(read, start_of_tail(read, tail), follow=follow, sleep=_pause(refresh))


def _pause(refresh: Callable[[], object]) -> Callable[[float], object]:
    """Return what waits between two looks, and has the files brought up to date where they are elsewhere."""

    def pause(seconds: float) -> None:
        time.sleep(seconds)
        refresh()

    return pause


def _journal(
    files: AgentFiles, tail: int | None, *, follow: bool, refresh: Callable[[], object] = lambda: None
) -> Iterator[bytes]:
    from orchestrator.agent.journal import older  # noqa: PLC0415  # see above

    before = older(files.journal)

    def read(offset: int) -> Iterator[tuple[int, bytes]]:
        """Read both parts as one; a rotation while following shows events twice rather than never."""
        at = 0
        for part in (before, files.journal):
            try:
                content = part.read_bytes()
            except OSError:
                continue
            content = content[: content.rfind(b"\n") + 1]
            if at + len(content) > offset:
                yield max(at, offset), content[max(0, offset - at) :]
            at += len(content)

    yield from followed(read, start_of_tail(read, tail), follow=follow, sleep=_pause(refresh))


Read = Callable[[int], Iterator[tuple[int, bytes]]]


def followed(read: Read, offset: int, *, follow: bool, sleep: Callable[[float], object]) -> Iterator[bytes]:
    """Yield everything from an offset on; with `follow` for ever, looking again every tenth of a second."""
    while True:
        for begin, piece in read(offset):
            offset = begin + len(piece)
            yield piece
        if not follow:
            return
        sleep(EVERY)


def start_of_tail(read: Read, count: int | None) -> int:
    """Return the offset where the last lines begin, 0 for all; an unfinished last line counts as one."""
    if count is None:
        return 0
    ends: list[int] = []  # offsets behind the line ends seen last
    last = 0
    for begin, piece in read(0):
        last = begin + len(piece)
        at = -1
        while (at := piece.find(b"\n", at + 1)) >= 0:
            ends.append(begin + at + 1)
        del ends[: -(count + 2)]
    if count == 0:
        return last
    if not ends or ends[-1] != last:
        ends.append(last)
    return ends[-count - 1] if len(ends) > count else 0


def plain_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Turn terminal output into lines of text: no control sequences, of an overwritten line only its last state."""
    from orchestrator.agent.terminal import plain  # noqa: PLC0415  # see above

    def line(raw: bytes) -> bytes:
        text = plain(raw.decode("utf-8", "replace") + "\n")[:-1]
        return text.rstrip("\r").rpartition("\r")[2].encode() + b"\n"

    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        if whole:
            yield b"".join(line(each) for each in whole)
        if len(rest) > 16 * _PIECE:  # a line without an end must not fill the memory
            yield line(rest)
            rest = b""
    if rest:
        yield line(rest)
