"""`pinoctl logs APP`: what an app printed, from the files that its agent writes; no agent is needed."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Final

import click

from orchestrator.commands import output
from orchestrator.commands.apps import installed_app
from orchestrator.commands.options import home_of, home_option
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orchestrator.agent.files import AgentFiles
    from orchestrator.commands.following import Read
    from orchestrator.places.place import Place

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
    from orchestrator.commands.following import Following  # noqa: PLC0415
    from orchestrator.places.choosing import HOST, place_of  # noqa: PLC0415

    where = home_of(home)
    name = installed_app(where, app)
    files = AgentFiles(where, name)
    if build:
        files = AgentFiles(where, name, history=files.folder / "build")
    place = place_of(where, name)
    _bring(place, name, None if follow else files.journal if events else files.terminal)

    read = _journal(files) if events else _terminal(files)
    offset = start_of_tail(read, tail)
    if not follow or place.name == HOST:
        pieces = followed(read, offset, follow=follow, sleep=time.sleep)
    elif build:  # whoever builds beside the app ends, and another comes
        pieces = followed(read, offset, follow=True, sleep=lambda _seconds: _copied(place, name))
    else:
        following = Following(place, name, read)
        pieces = following.events(offset) if events else following.output(offset)
    if events:
        pieces = (_reachable(place, name, piece) for piece in pieces)
    elif not (raw or output.coloured(sys.stdout)):
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


def _bring(place: Place, name: str, copy: Path | None) -> None:
    """Bring the copy of the logs up to date; one made earlier will do where that cannot be, as the daemon is away."""
    try:
        place.mirror_logs(name)
    except PinoctlError as error:
        if copy is None or not copy.exists():
            raise
        output.say(f"warning: this is the copy that was made last: {error}", style="yellow")


def _copied(place: Place, name: str) -> None:
    time.sleep(1)
    place.mirror_logs(name)


def _reachable(place: Place, name: str, lines: bytes) -> bytes:
    """Return events with URLs as this machine reaches them; a place that is not there now knows of none."""
    if b"://" not in lines:
        return lines
    with contextlib.suppress(PinoctlError, OSError):
        return place.reachable(name, lines.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return lines


def _terminal(files: AgentFiles) -> Read:
    from orchestrator.agent.terminal import read_terminal  # noqa: PLC0415  # see above

    return lambda offset: read_terminal(files.terminal, offset)


def _journal(files: AgentFiles) -> Read:
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

    return read


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
