"""Many files are compared and packed with few requests, each of which costs a daemon as much as megabytes do."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.places.container import archives
from orchestrator.places.container.archives import Entry, Side
from orchestrator.places.container.carrying import Carrying, Put
from orchestrator.places.container.changes import tree
from orchestrator.places.container.packing import Packing
from orchestrator.places.container.progress import Progress

APP = "/pinokio/api/app"
NAMES = [f"{APP}/ext/{folder:02}/{name}" for folder in range(40) for name in range(5)]


def walked(paths: Iterable[str]) -> list[str]:
    """Sort paths as a walk through folders does."""
    return sorted(paths, key=lambda path: path.split("/"))


class Daemon(SimpleNamespace):
    """Answer about files of one container, by path; None is a folder, and `order` how archives are packed."""

    base_url, api_version, timeout = "http://docker", "1.41", 1

    def __init__(self, files: Mapping[str, bytes | None], order: Any = None) -> None:
        super().__init__(asked=Counter(), order=order or walked)
        self.files: dict[str, bytes | None] = {"/": None}
        for path, content in files.items():
            for count in range(2, path.count("/") + 1):
                self.files["/".join(path.split("/")[:count])] = None
            self.files[path] = content

    def head(self, _url: str, params: Mapping[str, str], **_options: Any) -> Any:
        self.asked["head"] += 1
        if params["path"] not in self.files:
            return SimpleNamespace(status_code=404)
        content = self.files[params["path"]]
        about = {"mode": 0o755 | 1 << 31 if content is None else 0o644, "size": len(content or b"")}
        told = base64.b64encode(json.dumps(about).encode()).decode()
        return SimpleNamespace(status_code=200, headers={"X-Docker-Container-Path-Stat": told})

    def get(self, _url: str, params: Mapping[str, str], **_options: Any) -> Any:
        self.asked["get"] += 1
        top = params["path"]
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            for path in self.order(each for each in self.files if f"{each}/".startswith(f"{top}/")):
                content = self.files[path]
                info = tarfile.TarInfo(f"{top.rpartition('/')[2]}{path[len(top) :]}")
                info.type, info.mode = (tarfile.DIRTYPE, 0o755) if content is None else (tarfile.REGTYPE, 0o644)
                info.size = len(content or b"")
                archive.addfile(info, io.BytesIO(content or b""))
        raw.seek(0)
        return SimpleNamespace(raw=raw, close=lambda: None)

    def _raise_for_status(self, reply: Any) -> None: ...

    def side(self) -> Side:
        client: Any = SimpleNamespace(api=self)
        return Side(client, "c")


def test_what_both_added_is_compared_and_packed_with_few_requests() -> None:
    base = Daemon({f"{APP}/app.py": b"1"})
    mine = Daemon({f"{APP}/app.py": b"1", **dict.fromkeys(NAMES, b"mine"), NAMES[0]: b"same"})
    theirs = Daemon({f"{APP}/app.py": b"2", **dict.fromkeys(NAMES, b"them"), NAMES[0]: b"same"})
    sides = base.side(), mine.side(), theirs.side()
    added = {path for path in mine.files if path.startswith(f"{APP}/ext")}
    diff = [{"Path": APP, "Kind": 0}, *({"Path": path, "Kind": 1} for path in added)]
    plan = Carrying(sides, roots=[APP], stamp="T").carry(tree(diff, [APP]))
    raw = b"".join(Packing(sides[1], sides[2], plan.puts).pieces())
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        found = {f"/{each.name}": file.read() for each in archive if (file := archive.extractfile(each))}
    assert found == dict.fromkeys(NAMES[1:], b"mine") | {f"{name}.new": b"them" for name in NAMES[1:]}
    assert (base.asked + mine.asked + theirs.asked).total() < 30


def test_what_only_the_user_has_is_not_asked_about() -> None:
    files = {f"{APP}/out/{n}.png": b"1" for n in range(50)}
    mine, theirs = Daemon(files), Daemon({f"{APP}/out/.keep": b""})
    side = theirs.side()
    diff = [{"Path": path, "Kind": int(path in files)} for path in (APP, f"{APP}/out", *files)]
    plan = Carrying((side, mine.side(), side), roots=[APP], stamp="T").carry(tree(diff, [APP]))
    assert plan.puts == [Put(path, path) for path in sorted(files)]
    assert mine.asked.total() < 10


def test_what_an_archive_says_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FOR_EACH", 100)
    daemon = Daemon({f"{APP}/a/x": b"x", f"{APP}/a.b": b"y", f"{APP}/large": bytes(101), f"{APP}/other": bytes(50)})
    side = daemon.side()
    side.prefetch(APP, [f"{APP}/{name}" for name in ("a", "a/x", "a.b", "absent", "large", "zzz")], 1000)
    assert not side.knows(f"{APP}/other")
    daemon.head = None
    assert side.entry(f"{APP}/a") == Entry("folder", 0o755)
    assert side.entry(f"{APP}/large") == Entry("file", 0o644, 101)
    assert (side.entry(f"{APP}/absent"), side.entry(f"{APP}/zzz")) == (None, None)
    assert side.digest(f"{APP}/a/x") != side.digest(f"{APP}/a.b")
    assert daemon.asked["get"] == 1


def test_an_archive_is_left_where_too_much_else_comes_with_it() -> None:
    daemon = Daemon({f"{APP}/a": b"1", f"{APP}/b": bytes(5000), f"{APP}/c": b"3"})
    side = daemon.side()
    side.prefetch(APP, [f"{APP}/a", f"{APP}/aa", f"{APP}/c", f"{APP}/d"], 1000)
    known = [name for name in ["a", "aa", "c", "d"] if side.knows(f"{APP}/{name}")]
    assert known == ["a", "aa"]


def test_of_an_archive_that_is_not_sorted_nothing_counts_as_absent() -> None:
    daemon = Daemon({f"{APP}/{name}": b"" for name in "abc"}, order=lambda paths: [APP, *sorted(paths, reverse=True)])
    side = daemon.side()
    side.prefetch(APP, [f"{APP}/{name}" for name in "abcd"], 1000)
    assert side.entry(f"{APP}/a") == Entry("file", 0o644, 0)
    assert side.entry(f"{APP}/d") is None


def test_only_what_takes_long_is_told() -> None:
    now, said = [0.0], []
    progress = Progress(said.append, clock=lambda: now[0])
    for second in range(20):
        now[0] = float(second)
        progress.comparing(f"/{second}")
    assert [line.rpartition(" ")[2] for line in said] == ["`/3`", "`/13`"]
    now[0] = 30.0
    assert b"".join(progress.packed([b"a", b"b"])) == b"ab"
    assert len(said) == 3
