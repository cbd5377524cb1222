"""Packing what is carried over as one streamed archive; owners, modes, times and links are kept."""

from __future__ import annotations

import copy
import io
import itertools
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from orchestrator.places.container.archives import FOR_EACH, PIECE, SEVERAL
from orchestrator.places.container.changes import below, passing
from orchestrator.places.container.docker import DockerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.places.container.archives import Side
    from orchestrator.places.container.carrying import Put

OWNER: Final = 1000
OWN_RECORDS: Final = {"path", "linkpath", "size"}  # pax records that the new header has to say anew


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
        for (mine, folder), group in itertools.groupby(sorted(self.puts, key=_origin), key=_origin):
            several = list(group)
            side = self.mine if mine else self.theirs
            for put in several:
                yield from self._above(put)
            left = [put for put in several if not put.head]
            for put in several:
                if put.head:
                    yield renamed(side.head(put.source), put.target).tobuf(tarfile.PAX_FORMAT)
            if len(left) >= SEVERAL or any(side.entry(put.source) is None for put in left):
                done: set[str] = set()
                yield from self._together(side, folder, {put.source: put.target for put in left}, done)
                left = [put for put in left if put.source not in done]
            for put in left:
                if side.entry(put.source) is not None:
                    yield from self._one(side, put.source, put.target)
        for path, content in self.listed.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.uid = info.gid = OWNER
            info.size = len(content)
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield from _padded(io.BytesIO(content), len(content))
        yield bytes(2 * tarfile.BLOCKSIZE)

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

    def _together(self, side: Side, folder: str, wanted: Mapping[str, str], done: set[str]) -> Iterator[bytes]:
        """Yield many things of one folder from one archive of it; gives up when too much else lies there."""
        shown = {source.rpartition("/")[2]: source for source in wanted}
        emitted: dict[str, str] = {}
        again = []
        wasted, allowed = 0, len(wanted) * FOR_EACH
        last = None
        with side.archive(folder) as members:
            for name, member, content in members:
                first, _, rest = name.partition("/")
                source = shown.get(first.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
                if last not in {None, source}:
                    done.add(str(last))
                last = source
                if source is None:
                    wasted += member.size if content is not None else 0
                    if wasted > allowed:
                        return
                    continue
                if self._unwanted(f"{folder}/{name}", member, top=not rest):
                    continue
                target = wanted[source].rpartition("/")[0] + f"/{first}" if _lost(source) else wanted[source]
                place = f"{target}/{rest}" if rest else target
                if member.islnk():
                    linked = emitted.get(member.linkname.lstrip("/").partition("/")[2])
                    if linked is None:
                        again.append((f"{folder}/{name}", place))
                        continue
                    yield renamed(member, place, linked).tobuf(tarfile.PAX_FORMAT)
                else:
                    yield renamed(member, place).tobuf(tarfile.PAX_FORMAT)
                    if content is not None:
                        yield from _padded(content, member.size)
                emitted[name] = place
            done.update(wanted)
        for path, place in again:
            yield from self._one(side, path, place)

    def _unwanted(self, path: str, member: tarfile.TarInfo, *, top: bool) -> bool:
        if member.ischr() or member.isblk() or (not top and passing(path)):
            return True
        return any(path != mount and below(path, [mount]) for mount in self.apart)


def _origin(put: Put) -> tuple[bool, str]:
    return put.mine, put.source.rpartition("/")[0]


def _lost(path: str) -> bool:
    return "\ufffd" in path


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
