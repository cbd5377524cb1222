"""Packing what is carried over as one streamed archive; owners, modes, times and links are kept."""

from __future__ import annotations

import copy
import io
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from orchestrator.places.container.archives import FOR_EACH, PIECE, SEVERAL
from orchestrator.places.container.changes import LOST, below, passing
from orchestrator.places.container.docker import DockerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.places.container.archives import Side
    from orchestrator.places.container.carrying import Put

OWNER: Final = 1000
OWN_RECORDS: Final = {"path", "linkpath", "size"}  # pax records that the new header has to say anew


@dataclass(frozen=True, slots=True)
class Found:
    """Hold a member of an archive: its name there, its path, where it goes, and whether it was named itself (`top`)."""

    side: Side
    name: str
    path: str
    target: str
    member: tarfile.TarInfo
    content: IO[bytes] | None
    top: bool


@dataclass(slots=True)
class Packing:
    """Pack `puts`; `apart` are the old container's mounts, whose contents stay out, `listed` small files to add."""

    mine: Side
    theirs: Side
    puts: Sequence[Put]
    apart: Sequence[str] = ()
    listed: Mapping[str, bytes] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)

    def pieces(self) -> Iterator[bytes]:
        """Yield the archive, whose names are relative to `/`."""
        for side in (self.theirs, self.mine):
            puts = [put for put in self.puts if put.mine == (side is self.mine)]
            for put in puts:
                yield from self._above(put)
            for put in puts:
                if put.head:
                    yield renamed(side.head(put.source), put.target).tobuf(tarfile.PAX_FORMAT)
            yield from self._several(side, "", {put.source: put.target for put in puts if not put.head})
        for path, content in self.listed.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.uid = info.gid = OWNER
            info.size = len(content)
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield from _padded(io.BytesIO(content), len(content))
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _several(self, side: Side, folder: str, wanted: Mapping[str, str]) -> Iterator[bytes]:
        """Yield many things below a folder, from one archive of it where that costs less than those of its parts."""
        parts: dict[str, dict[str, str]] = {}
        for source, target in sorted(wanted.items()):
            parts.setdefault(source[len(folder) + 1 :].partition("/")[0], {})[source] = target
        unnamed = any(_lost(part) and f"{folder}/{part}" in wanted for part in parts)
        if len(wanted) < SEVERAL and not any(map(_lost, wanted)):
            for source, target in wanted.items():
                yield from self._one(side, source, target)
            return
        done: set[str] = set()
        if folder and (unnamed or len(parts) > 1):
            allowed = None if unnamed else len(parts) * FOR_EACH
            yield from self._together(_found(side, folder, wanted, done, allowed))
        for part, several in parts.items():
            path = f"{folder}/{part}"
            left = {source: target for source, target in several.items() if source not in done}
            if path not in left:
                yield from self._several(side, path, left) if left else ()
            elif not _lost(path) or side.entry(path) is not None:
                yield from self._one(side, path, left[path])

    def _above(self, put: Put) -> Iterator[bytes]:
        """Yield headers of the folders which the target needs and the new image lacks, outermost first."""
        parts = put.target.strip("/").split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/" + "/".join(parts[:count])
            entry = self.theirs.entry(folder)
            if folder in self._made or (entry is not None and entry.folder):
                continue
            self._made.add(folder)
            there = self.mine.entry(folder)
            if there is not None and there.folder:
                info = self.mine.head(folder)
            else:
                info = tarfile.TarInfo()
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                info.uid = info.gid = OWNER
            yield renamed(info, folder).tobuf(tarfile.PAX_FORMAT)

    def _one(self, side: Side, source: str, target: str) -> Iterator[bytes]:
        """Yield one path with all that is below it."""
        emitted: set[str] = set()
        again = []
        with side.archive(source) as members:
            for name, member, content in members:
                path = f"{source}/{name}" if name else source
                if self._unwanted(path, member, top=not name):
                    continue
                place = f"{target}/{name}" if name else target
                if member.islnk():
                    linked = member.linkname.lstrip("/").partition("/")[2]
                    if linked not in emitted:
                        again.append((path, place))
                        continue
                    yield renamed(member, place, f"{target}/{linked}").tobuf(tarfile.PAX_FORMAT)
                else:
                    yield renamed(member, place).tobuf(tarfile.PAX_FORMAT)
                    if content is not None:
                        yield from _padded(content, member.size)
                emitted.add(name)
        for path, place in again:  # its other name is not carried: now it comes with its content
            yield from self._one(side, path, place)

    def _together(self, found: Iterator[Found]) -> Iterator[bytes]:
        """Yield many things from one archive."""
        emitted: dict[str, str] = {}
        again: list[tuple[Side, str, str]] = []
        for each in found:
            if self._unwanted(each.path, each.member, top=each.top):
                continue
            if each.member.islnk():
                linked = emitted.get(each.member.linkname.lstrip("/").partition("/")[2])
                if linked is None:
                    again.append((each.side, each.path, each.target))
                    continue
                yield renamed(each.member, each.target, linked).tobuf(tarfile.PAX_FORMAT)
            else:
                yield renamed(each.member, each.target).tobuf(tarfile.PAX_FORMAT)
                if each.content is not None:
                    yield from _padded(each.content, each.member.size)
            emitted[each.name] = each.target
        for side, path, target in again:
            yield from self._one(side, path, target)

    def _unwanted(self, path: str, member: tarfile.TarInfo, *, top: bool) -> bool:
        if member.isdev() or (not top and passing(path)):
            return True
        return any(path != mount and below(path, [mount]) for mount in self.apart)


def _found(side: Side, folder: str, wanted: Mapping[str, str], done: set[str], allowed: int | None) -> Iterator[Found]:
    """Yield what an archive of a folder holds of the sources that are `wanted` with their targets.

    `done` gets those that came whole. Ends when more than `allowed` bytes came for nothing, None for never.
    """
    source, top, target = None, "", ""  # what the archive is at: as it is listed, as it is really called, its target
    with side.archive(folder) as members:
        for name, member, content in members:
            path = f"{folder}/{name}"
            if source is None or not path.startswith(f"{top}/"):
                done.update([source] if source is not None else [])
                shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                source, top, target = (shown if shown in wanted else None), path, wanted.get(shown, "")
                if source is not None and source != path:
                    target = f"{target.rpartition('/')[0]}/{path.rpartition('/')[2]}"
            if source is not None:
                yield Found(side, name, path, f"{target}{path[len(top) :]}", member, content, path == top)
            elif content is not None and allowed is not None:
                allowed -= member.size
                if allowed < 0:
                    return
        done.update(wanted)


def _lost(path: str) -> bool:
    return LOST in path


def renamed(member: tarfile.TarInfo, path: str, linked: str | None = None) -> tarfile.TarInfo:
    """Return a header for another absolute path, and another target where it is a hard link."""
    info = copy.copy(member)
    info.name = path.lstrip("/")
    if linked is not None:
        info.linkname = linked.lstrip("/")
    info.pax_headers = {name: value for name, value in member.pax_headers.items() if name not in OWN_RECORDS}
    return info


def _padded(content: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while left and (piece := content.read(min(PIECE, left))):
        left -= len(piece)
        yield piece
    if left:
        raise DockerError(
            "a file broke off while it was read", hint="stop the container and run the same command again"
        )
    if size % tarfile.BLOCKSIZE:
        yield bytes(tarfile.BLOCKSIZE - size % tarfile.BLOCKSIZE)


def gathered(pieces: Iterable[bytes], size: int = PIECE) -> Iterator[bytes]:
    """Join small pieces, as each costs a write to the daemon."""
    held: list[bytes] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= size:
            yield b"".join(held)
            held, count = [], 0
    if held:
        yield b"".join(held)
