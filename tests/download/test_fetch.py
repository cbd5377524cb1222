"""Downloads from servers with all sorts of habits."""

from __future__ import annotations

import hashlib
import threading

import pytest

from orchestrator.engine.download.fetch import fetch
from orchestrator.engine.download.model import CancelledError, Order, Settings
from orchestrator.engine.errors import ScriptError
from tests.download.conftest import Getter


def test_one_connection_for_a_small_file(get: Getter) -> None:
    outcome = get(parallel_from=10**9)
    assert (outcome.status, outcome.size, outcome.received) == ("downloaded", 512_000, 512_000)
    assert get.target.read_bytes() == get.habits.content
    assert get.habits.gets() == [(None, 200)]
    assert get.left() == ["file.bin"]
    assert "100.0%" in get.text
    assert "\r" in get.text


def test_several_connections_for_a_large_file(get: Getter) -> None:
    get.habits.together = threading.Barrier(4)
    get()
    assert get.target.read_bytes() == get.habits.content
    assert sorted(get.habits.gets()) == [
        ("bytes=0-127999", 206),
        ("bytes=128000-255999", 206),
        ("bytes=256000-383999", 206),
        ("bytes=384000-511999", 206),
    ]
    assert get.habits.most_active == 4
    assert get.left() == ["file.bin"]


def test_one_connection_where_the_server_gives_no_ranges(get: Getter) -> None:
    get.habits.ranges = False
    get()
    assert get.habits.gets() == [(None, 200)]
    assert get.target.read_bytes() == get.habits.content


def test_ranges_that_are_announced_but_not_given(get: Getter) -> None:
    get.habits.etag = '"a"'
    get.habits.ranges = True
    honest = get.habits.etag
    get.server.RequestHandlerClass = type(
        "Liar",
        (get.server.RequestHandlerClass,),
        {"do_GET": lambda self: (self.headers.__delitem__("Range"), super(type(self), self).do_GET())[1]},
    )
    get()
    assert honest
    assert get.target.read_bytes() == get.habits.content
    assert "starting over" in get.text


@pytest.mark.parametrize("status", [403, 405, 501, 404, 500])
def test_head_refused(get: Getter, status: int) -> None:
    get.habits.head = status
    get()
    assert get.target.read_bytes() == get.habits.content
    assert get.habits.gets()[0] == ("bytes=0-0", 206)


def test_same_size_is_skipped(get: Getter) -> None:
    get.folder.mkdir()
    get.target.write_bytes(b"x" * len(get.habits.content))
    outcome = get()
    assert outcome.status == "skipped"
    assert get.habits.gets() == []
    assert get.target.read_bytes()[:1] == b"x"
    assert get.left() == ["file.bin"]


@pytest.mark.parametrize("connections", [1, 4])
def test_a_smaller_file_is_resumed(get: Getter, connections: int) -> None:
    get.folder.mkdir()
    get.target.write_bytes(get.habits.content[:200_000])
    outcome = get(connections=connections)
    assert get.target.read_bytes() == get.habits.content
    assert outcome.received == 312_000
    assert len(get.habits.gets()) == connections
    assert all(status == 206 for _, status in get.habits.gets())


def test_a_smaller_file_without_ranges_starts_over(get: Getter) -> None:
    get.habits.ranges = False
    get.folder.mkdir()
    get.target.write_bytes(b"other" * 100)
    get()
    assert get.target.read_bytes() == get.habits.content


def test_a_larger_file_is_an_error_and_stays(get: Getter) -> None:
    get.folder.mkdir()
    get.target.write_bytes(b"x" * 600_000)
    with pytest.raises(ScriptError, match=r"600000 bytes.*416"):
        get()
    assert get.left() == ["file.bin"]
    assert get.target.stat().st_size == 600_000


def test_head_that_tells_too_little_about_a_complete_file(get: Getter) -> None:
    get()
    get.habits.head_length = 1000
    assert get().status == "skipped"


@pytest.mark.parametrize("lie", [100, 1_000_000])
@pytest.mark.parametrize("ranges", [True, False])
def test_head_that_lies_about_the_size(get: Getter, lie: int, ranges: bool) -> None:  # noqa: FBT001  # a case of the table
    get.habits.head_length, get.habits.ranges = lie, ranges
    get()
    assert get.target.read_bytes() == get.habits.content


@pytest.mark.parametrize(("chunked", "zipped"), [(True, False), (False, True), (True, True)])
def test_no_length(get: Getter, chunked: bool, zipped: bool) -> None:  # noqa: FBT001  # a case of the table
    get.habits.chunked, get.habits.zipped, get.habits.ranges = chunked, zipped, False
    get()
    assert get.target.read_bytes() == get.habits.content
    assert get.left() == ["file.bin"]


def test_an_encoded_archive_is_kept_as_it_is(get: Getter) -> None:
    get.habits.zipped, get.habits.ranges = True, False
    get(to="file.tar.gz")
    assert (get.folder / "file.tar.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_a_chunked_stream_that_breaks_starts_over(get: Getter) -> None:
    get.habits.chunked, get.habits.ranges, get.habits.cut_after, get.habits.cuts = True, False, 100_000, 1
    get()
    assert get.target.read_bytes() == get.habits.content


def test_empty_file(get: Getter) -> None:
    get.habits.content = b""
    get()
    assert get.target.read_bytes() == b""
    assert get.left() == ["file.bin"]


@pytest.mark.parametrize("connections", [1, 4])
def test_broken_connections_go_on_where_they_were(get: Getter, connections: int) -> None:
    get.habits.cut_after, get.habits.cuts = 50_000, 6
    outcome = get(connections=connections)
    assert get.target.read_bytes() == get.habits.content
    assert outcome.received == 512_000, "nothing is fetched twice"
    assert len(get.waits) == 6
    assert "trying again" in get.text


def test_progress_starts_the_count_of_failures_anew(get: Getter) -> None:
    get.habits.cut_after, get.habits.cuts = 30_000, 15
    get(connections=1, tries=2)
    assert get.target.read_bytes() == get.habits.content
    assert set(get.waits) == {1.0}


def test_busy_servers_are_asked_again_with_growing_pauses(get: Getter) -> None:
    get.habits.statuses = [503, 500, 429]
    get(connections=1)
    assert get.waits == [1.0, 2.0, 4.0]
    assert get.target.read_bytes() == get.habits.content


def test_retry_after_is_obeyed(get: Getter) -> None:
    get.habits.statuses, get.habits.retry_after = [503], "17"
    get(connections=1)
    assert get.waits == [17.0]


def test_giving_up_keeps_the_part_and_the_next_try_goes_on(get: Getter) -> None:
    get.habits.cut_after, get.habits.cuts = 100_000, 1
    get.habits.statuses = []
    original = get.settings["sleep"]

    def then_down(seconds: float) -> None:
        original(seconds)
        get.habits.statuses = [503] * 9

    with pytest.raises(ScriptError, match=r"503.*4 times in a row") as caught:
        get(connections=1, sleep=then_down)
    assert "run it again" in (caught.value.hint or "")
    assert get.left() == ["file.bin.part", "file.bin.part.json"]
    get.habits.statuses = []
    assert get(connections=1).received == 412_000
    assert get.target.read_bytes() == get.habits.content
    assert get.left() == ["file.bin"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_lasting_refusals_end_at_once(get: Getter, status: int) -> None:
    get.habits.head = status
    get.server.RequestHandlerClass.do_GET, kept = (
        (lambda self: self._refuse(self.server.habits, None, status)),
        get.server.RequestHandlerClass.do_GET,
    )
    try:
        with pytest.raises(ScriptError, match=str(status)):
            get()
    finally:
        get.server.RequestHandlerClass.do_GET = kept
    assert get.waits == []
    assert get.left() == []


def test_a_changed_file_is_not_mixed_with_the_old_one(get: Getter) -> None:
    get.habits.cut_after, get.habits.cuts = 100_000, 99
    with pytest.raises(ScriptError):
        get(connections=1, tries=1)
    get.habits.cuts, get.habits.etag = 0, '"v2"'
    get.habits.content = bytes(reversed(get.habits.content))
    get(connections=1)
    assert get.target.read_bytes() == get.habits.content


def test_a_file_that_changes_meanwhile_is_started_over(get: Getter) -> None:
    get.habits.cut_after, get.habits.cuts = 60_000, 1
    new = bytes(reversed(get.habits.content))[:400_000]

    def change(_: float) -> None:
        get.habits.content, get.habits.etag = new, '"v2"'

    get(connections=1, sleep=change)
    assert get.target.read_bytes() == new
    assert "starting over" in get.text


def test_a_stalled_connection_is_given_up(get: Getter) -> None:
    get.habits.stall_after, get.habits.stalls = 65536, 1
    get(connections=1, stall=0.5, tries=100)  # a busy machine may be late more than once
    assert get.target.read_bytes() == get.habits.content
    assert "nothing came for too long" in get.text


def test_stopping_keeps_what_is_there(get: Getter) -> None:
    get.habits.stall_after, get.habits.stalls = 65536, 9
    get.stop_when = lambda: get.noted == 4 * 65536
    with pytest.raises(CancelledError):
        get(stall=1000.0)
    assert get.left() == ["file.bin.part", "file.bin.part.json"]
    assert get.noted == 4 * 65536


def test_stopping_between_tries(get: Getter) -> None:
    get.habits.statuses, get.habits.retry_after = [503] * 9, "200"
    threading.Timer(0.3, get.stop.set).start()
    with pytest.raises(CancelledError):
        get(sleep=None)


def test_redirects(get: Getter) -> None:
    get.habits.redirects = 3
    get()
    assert get.target.read_bytes() == get.habits.content


def test_endless_redirects_end(get: Getter) -> None:
    get.habits.redirects = 10**6
    with pytest.raises(ScriptError, match="redirects"):
        get()
    assert get.waits == []


def test_nobody_listens(get: Getter) -> None:
    get.server.server_close()
    with pytest.raises(ScriptError, match="refused the connection, 4 times in a row"):
        get()
    assert get.waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_checksums(get: Getter, algorithm: str) -> None:
    right = hashlib.new(algorithm, get.habits.content).hexdigest()
    get(checksum=(algorithm, right))
    assert get(checksum=(algorithm, right)).status == "skipped"
    get.target.write_bytes(b"x" * len(get.habits.content))
    assert get(checksum=(algorithm, right)).status == "downloaded"
    assert get.target.read_bytes() == get.habits.content


def test_a_wrong_checksum_leaves_nothing(get: Getter) -> None:
    with pytest.raises(ScriptError, match=r"sha256.*expected `0000"):
        get(checksum=("sha256", "0" * 64))
    assert get.left() == []


def test_a_wrong_checksum_after_resuming_starts_over(get: Getter) -> None:
    get.folder.mkdir()
    get.target.write_bytes(b"x" * 200_000)
    get(checksum=("sha256", hashlib.sha256(get.habits.content).hexdigest()))
    assert get.target.read_bytes() == get.habits.content
    assert "checksum is wrong: starting over" in get.text


def test_too_little_space_is_said_before_anything_is_fetched(get: Getter) -> None:
    with pytest.raises(ScriptError, match=r"512.0 kB are missing.*room for 1.0 kB"):
        get(free=lambda _: 1000)
    assert get.habits.gets() == []
    assert get.left() == []


def test_a_folder_at_the_target_is_an_error(get: Getter) -> None:
    get.target.mkdir(parents=True)
    with pytest.raises(ScriptError, match="is a folder"):
        get()


def test_the_name_comes_from_the_server_or_the_url(get: Getter) -> None:
    assert get("some/dir/model%20x.bin?token=abc#frag", to=None).path == get.folder / "model%20x.bin"
    get.habits.disposition = 'attachment; filename="../../evil/../name.bin"'
    assert get("x", to=None).path == get.folder / "name.bin"
    assert "abc" not in get.text


def test_two_at_once_do_not_spoil_each_other(get: Getter) -> None:
    get.habits.pause = 0.01
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(get(sleep=None).status)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["downloaded", "skipped"]
    assert get.target.read_bytes() == get.habits.content
    assert get.left() == ["file.bin"]


@pytest.mark.parametrize("url", ["ftp://x/y", "file:///etc/passwd", "nonsense", "http://"])
def test_bad_urls_end_at_once(get: Getter, url: str) -> None:
    with pytest.raises(ScriptError):
        fetch(Order(url, path=get.target), settings=Settings(**get.settings), stop=get.stop, write=lambda _: None)
    assert get.waits == []
