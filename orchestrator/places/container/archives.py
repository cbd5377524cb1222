"""Reading files out of a container through the daemon: what is where, contents as streams, digests of trees.

Nothing here follows a link: a path whose parent is no folder does not exist. Contents are read in pieces.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import stat
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, cast

from urllib3.exceptions import HTTPError

from orchestrator.places.container.changes import passing
from orchestrator.places.container.docker import DockerError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from docker import DockerClient

PIECE: Final = 1 << 20
BUFFER: Final = 1 << 16  # bytes; all of them are copied for every header that is read from them
SEVERAL: Final = 6  # things below one folder that are worth fetching the folder for
FOR_EACH: Final = 8 << 20  # bytes fetched for nothing that cost as much as one more request
END: Final = 1024  # bytes of zeros that end an archive
PLAIN: Final = {
    "Accept-Encoding": "identity"
}  # the daemon would squeeze gigabytes of models on their way through a socket
ABSENT: Final = 404
REFUSED: Final = 400
# the bits of Go's file modes that are not permissions
GO_KINDS: Final = ((1 << 31, "folder"), (1 << 27, "link"), ((1 << 26) | (1 << 25) | (1 << 24) | (1 << 21), "other"))
GO_BITS: Final = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))
Seen = tuple[str, int, str]  # kind, permissions, digest of the content


@dataclass(frozen=True, slots=True)
class Entry:
    """Describe a path: `kind` is `file`, `folder`, `link` or `other`; `mode` its permissions; `size` in bytes."""

    kind: str
    mode: int = 0o644
    size: int = 0

    @property
    def folder(self) -> bool:
        """Tell whether it is a folder."""
        return self.kind == "folder"


def entry_of(told: str) -> Entry:
    """Decode the daemon's header about a path (base64 of JSON; modes are Go's)."""
    about = json.loads(base64.b64decode(told))
    bits = int(about["mode"])
    kind = next((name for mask, name in GO_KINDS if bits & mask), "file")
    mode = (bits & 0o777) | sum(own for mask, own in GO_BITS if bits & mask)
    return Entry(kind, 0o777 if kind == "link" else mode, int(about["size"]) if kind == "file" else 0)


class _Reader:
    """Give tarfile whole pieces of a reply's body, and remember how it ended."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._last = b""

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0 and (piece := self._raw.read(size)):
            parts.append(piece)
            size -= len(piece)
        found = b"".join(parts)
        self._last = (self._last + found)[-END:]
        return found

    def whole(self) -> bool:
        """Read the rest and tell whether the archive came to its end: a broken one lacks the zeros."""
        while self.read(PIECE):
            pass
        return len(self._last) == END and not any(self._last)


class Side:
    """Read one container; what it holds must not change meanwhile, as answers are remembered."""

    def __init__(self, docker: DockerClient, container: str) -> None:
        self._api = docker.api
        self.container = container
        self._entries: dict[str, Entry | None] = {"/": Entry("folder", 0o755)}
        self._digests: dict[str, str] = {}

    @property
    def _url(self) -> str:
        return f"{self._api.base_url}/v{self._api.api_version}/containers/{self.container}/archive"

    def entry(self, path: str) -> Entry | None:
        """Return what is at a path, None when nothing is."""
        if path not in self._entries:
            above = self.entry(path.rpartition("/")[0] or "/")
            self._entries[path] = self._ask(path) if above is not None and above.folder else None
        return self._entries[path]

    def _ask(self, path: str) -> Entry | None:
        reply = self._api.head(self._url, params={"path": path}, timeout=self._api.timeout)
        if reply.status_code == ABSENT:
            return None
        if reply.status_code >= REFUSED:
            raise DockerError(
                f"the daemon cannot look at `{path}` in container `{self.container[:12]}` ({reply.status_code})",
                hint="see what `docker logs` and the daemon's own log say, then run the same command again",
            )
        return entry_of(reply.headers["X-Docker-Container-Path-Stat"])

    @contextlib.contextmanager
    def archive(self, path: str) -> Iterator[Iterator[tuple[str, tarfile.TarInfo, IO[bytes] | None]]]:
        """Open the archive of a path: yields (path below it, "" for itself; its header; content of a file).

        The container stays locked until the block ends, so nothing else may be asked about it inside. Leaving early is
        cheap: the rest is not fetched. An archive that breaks off raises DockerError.
        """
        reply = self._api.get(self._url, params={"path": path}, stream=True, timeout=self._api.timeout, headers=PLAIN)
        try:
            self._api._raise_for_status(reply)  # noqa: SLF001  # turns the daemon's refusal into docker-py's error
            yield self._members(path, _Reader(reply.raw))
        except (tarfile.TarError, EOFError, HTTPError) as error:  # also where the caller reads a content
            raise self._broken(path) from error
        finally:
            reply.close()

    def _members(self, path: str, reader: _Reader) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes] | None]]:
        with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|", bufsize=BUFFER) as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep those of a million files
                name = member.name.lstrip("/").partition("/")[2]
                yield name, member, archive.extractfile(member) if member.isreg() else None
        if not reader.whole():
            raise self._broken(path)

    def _broken(self, path: str) -> DockerError:
        return DockerError(
            f"`{path}` of container `{self.container[:12]}` broke off while it was read",
            hint="something may have written there meanwhile: stop the container and run the same command again",
        )

    def head(self, path: str) -> tarfile.TarInfo:
        """Return the header of a path: owner, times, where a link points to."""
        with self.archive(path) as members:
            for _, member, _ in members:
                return member
        raise self._broken(path)

    def read(self, path: str) -> bytes:
        """Return the content of a small file."""
        with self.archive(path) as members:
            for _, _, content in members:
                return content.read() if content else b""
        return b""

    def digest(self, path: str) -> str:
        """Return what tells the content of a path from others: files by SHA-256, links by target, folders by tree."""
        if path not in self._digests:
            entry = self.entry(path)
            if entry is None:
                return ""
            if entry.folder:
                listed = repr(sorted(self.manifest(path).items()))
                self._digests[path] = hashlib.sha256(listed.encode("utf-8", "surrogatepass")).hexdigest()
            else:
                with self.archive(path) as members:
                    self._digests[path] = next((seen(member, content)[2] for _, member, content in members), "")
        return self._digests[path]

    def knows(self, path: str) -> bool:
        """Tell whether `entry` answers about a path without asking the daemon."""
        known = path
        while known not in self._entries:
            known = known.rpartition("/")[0] or "/"
        found = self._entries[known]
        return known == path or found is None or not found.folder

    def prefetch(self, folder: str, wanted: Collection[str], allowed: int) -> None:
        """Learn what is at many paths below a folder from one archive of it, contents of large files aside.

        It is left when more than `allowed` bytes came for nothing; what is not known by then is asked for one by one.
        """
        left = sorted(wanted, key=_order, reverse=True)
        absent: list[str] = []
        last: tuple[bytes, ...] = ()
        with self.archive(folder) as members:
            for name, member, content in members:
                path = f"{folder}/{name}" if name else folder
                order = _order(path)
                if order <= last:  # daemons sort what they pack; of one that does not, nothing says what is absent
                    return
                last = order
                while left and _order(left[-1]) < order:
                    absent.append(left.pop())
                if left and left[-1] == path:
                    left.pop()
                    allowed -= self._learn(folder, path, member, content)
                elif content is not None:
                    allowed -= member.size
                if not left or allowed < 0:
                    break
            else:
                absent += left
        self._entries.update(dict.fromkeys(absent))

    def _learn(self, folder: str, path: str, member: tarfile.TarInfo, content: IO[bytes] | None) -> int:
        """Remember a member of an archive; returns how many bytes of it came for nothing."""
        if member.islnk():  # it has no content of its own; what it links to may be among what is known
            target = f"{folder}/{member.linkname.lstrip('/').partition('/')[2]}"
            if target in self._digests:
                self._entries[path], self._digests[path] = self._entries[target], self._digests[target]
        elif content is not None and member.size > FOR_EACH:
            self._entries[path] = Entry("file", member.mode & 0o7777, member.size)
            return member.size
        else:
            kind, mode, digest = seen(member, content)
            self._entries[path] = Entry(kind, mode, member.size if kind == "file" else 0)
            if kind != "folder":
                self._digests[path] = digest
        return 0

    def manifest(self, path: str) -> dict[str, Seen]:
        """Return every path below a folder ("" is itself) without byte code, each with kind, mode and digest."""
        found: dict[str, Seen] = {}
        linked: dict[str, str] = {}
        with self.archive(path) as members:
            for name, member, content in members:
                if passing(f"{path}/{name}"):
                    continue
                if member.islnk():
                    linked[name] = member.linkname.lstrip("/").partition("/")[2]
                else:
                    found[name] = seen(member, content)
        for name, target in linked.items():
            found[name] = found.get(target) or ("file", 0, target)
        return found


def _order(path: str) -> tuple[bytes, ...]:
    """Return what sorts paths as daemons pack them: folder by folder, names by their bytes."""
    return tuple(path.encode("utf-8", "surrogateescape").split(b"/"))


def seen(member: tarfile.TarInfo, content: IO[bytes] | None) -> Seen:
    """Describe a member of an archive; reads the content of a file."""
    if member.isdir():
        return "folder", member.mode & 0o7777, ""
    if member.issym():
        return "link", 0o777, member.linkname
    if content is None:
        return "other", member.mode & 0o7777, ""
    hashed = hashlib.sha256()
    while piece := content.read(PIECE):
        hashed.update(piece)
    return "file", member.mode & 0o7777, hashed.hexdigest()
