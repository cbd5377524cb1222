"""Reading BuildKit's log: messages of real builds, torn ones, and what is packed for a build."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.places.container.buildkit import Log, context, fields, text

# What dockerd 20.10.24 said of two builds FROM an image that was there (JSON, gzip, base64):
# RUN echo one two; echo drei über >&2; printf tail
# RUN echo before; echo broken >&2; exit 7
RECORDED = (
    "H4sIAAAAAAACA+1a23KjVhb9FZcf5qWTGB2EbPVUpgoJhME+B0tCwodMHgTIwIEjuXVDkOp/n4X6EtyV1Kgz012ZzjyoQDfYl7X3XmtLv1yu88vX"
    "P/1ymcWXry/lOqx+CPdZEefZ7ofdZhEtL7+7XOyPeG8ob+4mKltzz+4wsSbcSyWrg4xJllNPL3k9I9SwCRd5xetxJ7CCjHqxoIKrXCQkMKIO9Wjt"
    "GnZNvXnKJe0yz6yoRfGw8T4TVjYJF76mBI/OnvvH2LaOB+6Pk0jOd6E6KWzL6Sz8Y25b7BCuJsXydvzj5dvvzrF+pfwZrX9j6FmyWj/yQTrMj4u7"
    "VB//eK5H6+1gmMf1wjIr5vEek2Y3EBE8CERgmCUsg6d6xaStUUkV5k8kF6bKa5swYneZHKvwoKZ1UtHa7HDfEa4xO1IxgNcDRGZc8+M690mxj615"
    "FcrR9nE62IZklNu3ThH6fSWYDrLYL7bBcCBC0nieKndJaa+d3ojofPxM/Ww9NqtfvTQWVw/L7NvyUus+Xq2TtpfD7f7h1ed4+Ya+9FLoWmDZR+5x"
    "hfq8gkfE9WddoLfL66JwvZEMPCdlBisCw+5Si9fMDwpG5ik1ijSwOKHSJpRQBd+rmTXPgtS5jUiaUjEjrghS1+IqokY4GR+pMRC4b0lFkLmeI5gx"
    "zwNpHxmhFRNx5hpBzmpEraZdKuiR+aOM1wkqwkbl4CGCHPdaGIQdots8uScfEZ7cl2dHYWN+u1Go1nR4N1ymcWKZ9hXPFuPBuVG5+UtFhbYq63pn"
    "zcrEPBc/z59ECv2bEfNI/XnGfLtDBR5G1GUiUpkY16j/lAlaMy9NXS86utYI/cCR3MdUECZ6yfgY+HbNBaJYwzMPEU2frd/sFVaniK1Rzh8nqW0F"
    "hygb5CFhm+DR3i/8m0NoFVkkR9Vy2i8xIw5cnWzvH50D5oKM6ucsJP1NTPpVOG1F5O6h04uic3HyRvkmvW/joXp41I7l2XhYvWAsChe8dr0c1WPW"
    "welIa5xXmBtVIMYKNSYpr6lCvQQo5iX3Eo2RmUJJgNdNjTWcQaQ5olVyieoTSdcSk5BObypEwprlfWZbkwMnuyLKtOew6m8XvlPxR0e7VwfPoeyL"
    "2Cp3kewfYiuoXYkIkJ0aqs5uuC1fZA+VpzCRqK6nd1wvSGED+EqcUt9WAyMnrB53kR2NCbsOjDEqLepyn3eRacw6zDyBeeib4DGnDDa+dtxJu8on"
    "GbKvuV6Rc2T2dKwZzm3wH0cyXJNZI+BjfHQNXAdocY1cDbxxHUi87uUddAniWmON1YMM8atcI1m4o211XzuxPXLmXjYoOEkPttXfY4YqMbm5tq25"
    "WFg3SYDZupgaxsFyECv9lSPsa/t2UJ34UzZQOObtuVX/Ce7Bxmida64/QdRmzVFQgnPhCIqsMUPH1YF7w+yCyUlqmV3Xiwv0S2CfHl1vBobBu4iy"
    "Sq0mEnbXHawVvzYPtFCSSeE8eNM/im990GYOu97iqdJfMAee9wz7M5jDbv1/3HyCm3aEbzarCBE+M5qWpK2O8QyGOSauEWnUmGlgnvAAcxE9lYsY"
    "XQDnRlpAMRAqWM6aOVmnaSCSDm/6qhHh9Rxzep5zwTIqmkjNNLNlXR4sFt3E5PrUtsEsC/t2oobl+mxr+Ve1tvfm1fXJ2sy+f5GHZL14LJ9/xYhs"
    "rg9M1XnJvBxai0lwdpV7mDAEeReR4oJ1wKaKAq/g8Cqmj3SNeYZJo7CaV2AxKbh8RoldNRWM60xbVdKV93WmT5KBnUw+p1fsk/9Xy7+vlrZeW5Xa"
    "o/YZ/Uhu25gsXAvcD55TI86gk1VgstFiGvJKXG+CaEcd1wdLsYADOUMUBhLsVGlmMzMKaLmZinPovegYWCzlQi+t1AF7HByi1QQzNUpieLrwO2lA"
    "Zi09bTgivNL0iaMO08GLz4fWSINGr80WEgIvFWA94AU69D50IZDQMFrXY8hgrjT4ZV6RUm8AbDsFOEIZCCdj1qTJngZG3GEEOJW2SoFX7tslNexf"
    "2QxdisNVPnBb0d7fWVevxuf2JnM9G/wpPGHu6Ph08xuejIat6K+T6PFKn9zd6OPneaw6z7FV7IMKLMgfrYDTX2tQRFUArtqgANoEXHPcCQywL5F3"
    "gfsO83R0NNoJ/DFqUlfYqc6g2skY30+gUyg6GEtZgx6LQXugwo6tGpTQRtD44AIlI40eidGNmk1OjprlGmu0Djod98wSNQ5bzEYzQVdN8oYNun6Q"
    "gUvjHMcaHJeMMmro7ZndL6L6Svda3NXde/XDzZnM3dxihhdzNZKFgspc2Vax436MafCxjnBnBwqOwspRjp5dNyqMIbuul4CpzMDs85LWcyi+OKeY"
    "A03/bnZSUIAdzATCa/RWYpLGO06g4gRVvypqnDDvf4KanvZAr8oXqDG7hxNqmD5eSyiM3Sket5PD7/Pq+X7xOAanngtXmNMv3XvaamTT98hVafZa"
    "9sfKIbz6jW6ZyUWy/AHP3+f8l0vbwHvbdEG03uvwmiyvo/6iEz/dqF0t7ilh/+Ym1jSlr6jaMr6OlW6P9ONYjWKi3Vz3Ii1UF71l5yYKo556ffn2"
    "TD2U/7l6s9fCx8OBqbY5NJ+3g2EW7Lnf+fj9wOqLBZlX97I43JPjM185abTKD7GvPcfDThX4tEcnX7PijWexqwa6aFU8U6f9w81g3GZ360OUjO13"
    "WNjuNsuFRBam+yhabrdP+6KoLnaLJFnGF/tVtvt+s4xed/65unz783eX4SL+I1v55wK6tqSSNfVbNPyOg52Ah6EnRsgpFI0cFeikBHlVqYg0Lk9d"
    "94i8Q/9GHU5wHR+fsczyxNuM+Ktt5f801re38uWr0BrryR/dVwf+DNPLEScMeg17BK/1wNEJBXvMweqcNPCbXl6krLZV13fAPieSerQLpaoyH9Hw"
    "5vgMFGyzt5Bj9T/dV28f5DHX7TaebytXTr4tL8nDlZqPX3hpbQ/Z53j5yVae1nmjpaChRhmYCJAZYw4Cac02tWH+no05mzfM5UgNaCtjVFAyAZIT"
    "Dewe+isqmXCA8gEUwAD9tZDsRd+aQyHoFVCMXjxrNFHKPRw9Bq3GoSKiivvNjOfoXVGF72fv+ICJ3gYlUc+RgVkHn2mu36iZnP3Xt/LfVBTa++e7"
    "EACkwz+2lf/Wo9LmPaU9TLa6/eNfdC/tWNNDGL2IyHHtjXalfffU3oJ8Ie3PRtvjSfubwdRTlN9lRxH0FnxVQjAk+KEEK9rjsn9YqPEhkspdmZjt"
    "7XgXPfwYeGBMIhaNnVALGq3TglrwA/qLyQn6N5SEDCTz4J8FrmRAGVhcwXwGk5pg3kJ/Nb/AgjWxGtn68nvZvV/bp73srJi7H/YeXM5lqDqFW33Y"
    "jTiIwa4IP+xArHkXqiFh53fB/+Etc+E+ZUBnW7Fm5JWr6slmDHXeQmyK/jMqoLgJI8Augcr28tq1ZmVg2QqtZwTKmzT/m4BWgDKH/YKW0AroM9B+"
    "NbSh1fzah2lv4R0odjCA6Rf/DSbTQpqdfoOZzmfdJPAZMomK8VHxcvZxG4bKOKBS9rbRlVRsEzAG6AddbcdqdVfd78/ubZa0v3wNtf9psPNnHd1u"
    "NrC3H7wZns1nvra1m71bn6ydwtr3FXm+tcNNNGxXnGvNC+o3mw6uctQe7oz5QLuniYm5wbwgx/RTm1kRYNIBJZLWOtQelKxF1UbFBs2/PSSmoqTH"
    "wIigEb/8rva++K1dLSa97EN5bj+iNZL9TeB3k4eMV03fWlqFYhtRW4tEG3vf1UVbNVedXRwN3SLG5+cifpw0M042e92g0Tir+T6Up71beE+c5zDr"
    "14uhvuPV59oRx272/hw6KbBmPdj2LpPLzWa9MZa7RVY0iw0JcbtIlsjg8riM9rv15uIJb0HlbvarVbZKLn66CrPV1Ta9+D66WEbp+iJcPq03y7+/"
    "f7JZ58vVxT/+RvDCMdtdXP/8+t1JtI6Xry+ucdN39/ySt/j57b8AGrQ91xonAAA="
)


def recorded(name):
    return json.loads(gzip.decompress(base64.b64decode(RECORDED)))[name]


def shown(messages):
    said = []
    log = Log(said.append)
    for message in messages:
        log.take(message)
    log.close()
    return log, said


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def packed(number, value):
    """Return one field: a number, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def trace(content):
    return {"id": "moby.buildkit.trace", "aux": base64.b64encode(content).decode()}


def line(piece, *, vertex=b"v", stream=1):
    return trace(packed(3, packed(1, vertex) + packed(3, stream) + packed(4, piece)))


class TestRealBuilds:
    def test_shows_steps_and_lines(self):
        log, said = shown(recorded("ok"))
        assert [each for each in said if each.startswith("=> [")] == [
            "=> [internal] load remote build context",
            "=> [internal] load metadata for docker.io/library/pinoctl-rootfs:bookworm",
            "=> [1/2] FROM docker.io/library/pinoctl-rootfs:bookworm",
            "=> [2/2] RUN echo one two; echo drei über >&2; printf tail",
        ]
        assert [each for each in said if not each.startswith("=>")] == ["one two", "drei über", "tail"]
        assert log.image == "sha256:b72e7c9a1df8345d60b988d5509035ed7d04629dd3cd25876c5b3a6e18cbc637"
        assert log.error is None

    def test_tells_what_failed_and_what_it_said_last(self):
        log, said = shown(recorded("bad"))
        assert log.error == "executor failed running [/bin/sh -c echo before; echo broken >&2; exit 7]: exit code: 7"
        assert log.image is None
        assert {"before", "broken"} == set(log.last)
        assert {"before", "broken"} <= set(said)

    def test_each_step_is_named_once(self):
        _log, said = shown([*recorded("ok"), *recorded("ok")])
        steps = [each for each in said if each.startswith("=> ")]
        assert len(steps) == len(set(steps)) > 4

    @given(st.data())
    def test_torn_messages_break_nothing(self, data):
        messages = recorded("ok")
        at = data.draw(st.integers(0, len(messages) - 1))
        if messages[at].get("id") == "moby.buildkit.trace":
            whole = base64.b64decode(messages[at]["aux"])
            messages[at] = trace(whole[: data.draw(st.integers(0, len(whole)))])
        log, _said = shown(messages)
        assert log.error is None
        assert log.image is not None or messages[at].get("id") == "moby.image.id"


class TestLines:
    def test_pieces_are_joined(self):
        assert shown([line(b"on"), line(b"e\ntw"), line(b"o\n")])[1] == ["one", "two"]

    def test_letters_may_be_torn(self):
        assert shown([line(piece) for piece in ("ü\n".encode()[:1], "ü\n".encode()[1:])])[1] == ["ü"]

    def test_streams_and_steps_are_kept_apart(self):
        pieces = [line(b"a"), line(b"b", stream=2), line(b"c", vertex=b"w"), line(b"\n", stream=2), line(b"\n")]
        assert shown(pieces)[1] == ["b", "a", "c"]

    def test_what_has_no_end_is_shown_at_last(self):
        log, said = shown([line(b"fatal: no")])
        assert said == log.last == ["fatal: no"]

    def test_the_last_lines_are_few_and_not_blank(self):
        log, _said = shown([line(b"".join(b"%d\n\n" % number for number in range(100)))])
        assert log.last[-2:] == ["98", "99"]
        assert len(log.last) < 30

    def test_bytes_that_are_no_text_are_shown(self):
        assert shown([line(b"\xff\n")])[1] == ["\ufffd"]


class TestGarbage:
    @given(st.binary())
    def test_a_trace_may_be_anything(self, content):
        assert shown([trace(content), line(b"after\n")])[1][-1] == "after"

    @pytest.mark.parametrize(
        "message",
        [
            {}, {"id": "moby.buildkit.trace"}, {"id": "moby.buildkit.trace", "aux": "%%%"},
            {"id": "moby.buildkit.trace", "aux": {"a": 1}}, {"id": "moby.image.id", "aux": None},
            {"id": "moby.image.id", "aux": "text"}, {"id": "other", "aux": "AA=="}, {"stream": "Successfully"},
        ],
    )  # fmt: skip
    def test_messages_may_be_anything(self, message):
        log, said = shown([message])
        assert (log.error, log.image, said) == (None, None, [])

    def test_fields_of_other_kinds_are_skipped(self):
        message = b"\x09" + bytes(8) + b"\x15" + bytes(4) + packed(1, 300) + packed(20, b"x")
        assert list(fields(message)) == [(1, 300), (20, b"x")]

    @pytest.mark.parametrize("message", [b"\x80", b"\x0a\x05ab", b"\x08", b"\x0b", b"\x0f", b"\x0a\xff"])
    def test_what_is_no_message_is_refused(self, message):
        with pytest.raises(ValueError, match=r"field|number"):
            list(fields(message))

    @given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 2**63) | st.binary(max_size=300))))
    def test_reads_what_was_packed(self, found):
        assert list(fields(b"".join(packed(number, value) for number, value in found))) == found

    def test_missing_texts_are_empty(self):
        assert [text(None), text(3), text(b"a")] == ["", "", "a"]


class TestContext:
    FILES = {"b/c/run": (b"#!", 0o755), "Dockerfile": (b"FROM x", 0o644)}  # noqa: RUF012  # never changed

    def test_holds_files_with_their_modes_and_folders(self):
        with tarfile.open(fileobj=io.BytesIO(context(self.FILES))) as tar:
            found = {entry.name: (entry.isdir(), entry.mode) for entry in tar}
            assert tar.extractfile("b/c/run").read() == b"#!"
        assert found["Dockerfile"] == (False, 0o644)
        assert found["b/c/run"] == (False, 0o755)
        assert found["b/c"] == (True, 0o755)

    def test_is_the_same_for_the_same_files(self):
        assert context(self.FILES) == context(dict(reversed(self.FILES.items())))
