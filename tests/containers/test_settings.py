"""Settings of an app: kept and read again, whatever somebody made of the file, and the options that become them."""

from __future__ import annotations

import dataclasses
import json
import stat

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home
from orchestrator.places.container import settings
from orchestrator.places.container.settings import READABLE, Settings, file_of, parse_mount, parse_size, read, write

FULL = Settings(
    place="container", mode="volume", gpus="0,1", memory=8 << 30, cpus=3.5, shm=1 << 30, pids=512,
    mounts=("/a:/b", "set:/c:ro"), base="debian:12", answers={"a": [1, {"b": None}]}, installed={"launcher": "x"},
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=5,
)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def put(home, text):
    file = file_of(home, "app")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


class TestFile:
    @pytest.mark.parametrize("given", [Settings(), FULL])
    def test_is_read_as_it_was_written(self, home, given):
        write(home, "app", given)
        assert read(home, "app") == given
        assert stat.S_IMODE(file_of(home, "app").stat().st_mode) == 0o600

    def test_every_setting_can_be_read(self):
        assert set(READABLE) == {each.name for each in dataclasses.fields(Settings)}

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", '{"new": 1}'])
    def test_what_cannot_be_read_was_never_chosen(self, home, text):
        put(home, text)
        assert read(home, "app") == Settings()

    def test_lies_where_no_log_out_of_a_container_is_copied(self, home):
        assert not file_of(home, "app").is_relative_to(home.logs)

    def test_what_earlier_versions_kept_among_the_logs_is_moved_once(self, home):
        before = home.logs / "app" / "place.json"
        before.parent.mkdir(parents=True)
        before.write_text('{"gpus": "0"}')
        (before.parent / "pinoctl.lock.json").write_text("{}")
        assert read(home, "app") == read(home, "app") == Settings(gpus="0")
        assert list(before.parent.iterdir()) == []
        assert (file_of(home, "app").parent / "pinoctl.lock.json").exists()
        before.write_text('{"mounts": ["/:/host"]}')
        assert read(home, "app") == Settings(gpus="0")

    def test_a_link_among_the_logs_is_not_moved(self, home, tmp_path):
        (tmp_path / "x.json").write_text('{"gpus": "0"}')
        (home.logs / "app").mkdir(parents=True)
        (home.logs / "app" / "place.json").symlink_to(tmp_path / "x.json")
        assert read(home, "app") == Settings()

    def test_is_gone_when_discarded(self, home):
        write(home, "app", FULL)
        settings.discard(home, "app")
        assert read(home, "app") == Settings()

    def test_missing_is_never_chosen(self, home):
        assert read(home, "app") == Settings()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("place", "moon"), ("place", ["host"]), ("mode", "x"), ("gpus", 2), ("memory", "8g"), ("memory", -1),
            ("memory", True), ("memory", 1.5), ("cpus", "2"), ("shm", []), ("pids", 1.5), ("mounts", "/a:/b"),
            ("mounts", [1]), ("base", ""), ("answers", []), ("installed", "x"), ("answers", None),
        ],
    )  # fmt: skip
    def test_one_that_does_not_fit_leaves_the_others(self, home, name, value):
        put(home, json.dumps({**dataclasses.asdict(FULL), name: value}))
        assert read(home, "app") == dataclasses.replace(FULL, **{name: getattr(Settings(), name)})

    @given(st.dictionaries(st.sampled_from(sorted(READABLE)), json_values))
    @hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    def test_whatever_is_in_it_can_be_written_again(self, home, saved):
        put(home, json.dumps(saved))
        found = read(home, "app")
        write(home, "app", found)
        assert read(home, "app") == found

    def test_what_was_installed_is_forgotten_and_what_was_chosen_is_not(self, home):
        write(home, "app", FULL)
        settings.forget(home, "app")
        assert read(home, "app") == dataclasses.replace(FULL, answers={}, installed={})


class TestChanged:
    def test_only_what_is_given_changes(self):
        assert FULL.changed(memory=None, mounts=(), cpus=1.0, place="host") == dataclasses.replace(
            FULL, cpus=1.0, place="host"
        )

    def test_maps_may_be_emptied(self):
        assert FULL.changed(answers={}).answers == {}


class TestSizes:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("8g", 8 << 30), ("8G", 8 << 30), ("8gb", 8 << 30), ("8GiB", 8 << 30), ("1.5g", 3 << 29), ("512m", 1 << 29),
            ("2048k", 2 << 20), ("1t", 1 << 40), ("1048576", 1 << 20), ("1048576b", 1 << 20), (" 2 g ", 2 << 30),
        ],
    )  # fmt: skip
    def test_are_bytes(self, text, expected):
        assert parse_size(text, "--memory") == expected

    @pytest.mark.parametrize("text", ["", "g", "8x", "-8g", "1e9", "8", "1023k", "0", "9" * 400, "99999999t", "8g 8g"])
    def test_others_are_refused(self, text):
        with pytest.raises(BadInputError, match="`--shm` is a size of 1 MiB or more"):
            parse_size(text, "--shm")


class TestMounts:
    @pytest.mark.parametrize(
        ("text", "kind", "source", "target", "read_only"),
        [
            ("/mnt/a:/b", "bind", "/mnt/a", "/b", False),
            ("/mnt/a:/b:ro", "bind", "/mnt/a", "/b", True),
            ("/mnt/a:/b:rw", "bind", "/mnt/a", "/b", False),
            ("models:/b", "volume", "models", "/b", False),
            ("my.set-1_x:/b/c:ro", "volume", "my.set-1_x", "/b/c", True),
        ],
    )
    def test_are_folders_or_volumes(self, text, kind, source, target, read_only):
        assert parse_mount(text) == {"Type": kind, "Source": source, "Target": target, "ReadOnly": read_only}

    @pytest.mark.parametrize(
        "text",
        [
            "", "a", "/a", ":/b", "/a:", "/a:b", "/a:/b:rx", "/a:/b:ro:ro", "a/b:/c", "./a:/b", "..:/b", ".:/b", "a:/b",
            "-set:/b", "~:/b", "ü1:/b",
        ],
    )  # fmt: skip
    def test_others_are_refused(self, text):
        with pytest.raises(BadInputError) as raised:
            parse_mount(text)
        assert raised.value.hint
