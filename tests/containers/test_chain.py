"""Chains: which checkpoint a build can go on from, and that labels keep what was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.places.container.chain import (
    Saved,
    Texts,
    after_update,
    chain_key,
    longest,
    read,
    root_key,
    update_of,
    write,
)

TEXTS = {"app/install.js": ["deps", "one", "two", "three"], "app/torch.js": ["deps2", "pip"]}
HOME = "/home/me/pinokio"
STEPS = [["app/install.js", 0], ["app/torch.js", 0], ["app/install.js", 1]]
ROOT = {
    "base": "sha256:1", "files": "f", "hardware": {"gpu": "none"}, "install": "install.js", "answers": {"a": 1},
    "environment": {"E": "1"}, "mode": "image", "pins": "",
}  # fmt: skip

links = st.tuples(st.text(min_size=1), st.integers(min_value=0), st.text())
chains = st.lists(links, max_size=8).map(tuple)


def texts(**changed):
    return Texts.of_scripts({**TEXTS, **changed}, home=HOME)


def saved(steps, known=None, **more):
    return Saved(more.pop("id", "x"), more.pop("root", "r"), (known or texts()).chain(steps), **more)


class TestTexts:
    def test_gives_every_step_its_own_hash(self):
        found = {texts().of(script, index) for script, index in (("app/install.js", i) for i in range(3))}
        assert len(found) == 3
        assert "" not in found

    @pytest.mark.parametrize(
        ("script", "index", "expected"),
        [("app/made.js", 0, "?"), ("app/install.js", 3, ""), ("app/install.js", -1, ""), ("app/torch.js", 99, "")],
    )
    def test_tells_missing_scripts_from_missing_steps(self, script, index, expected):
        assert texts().of(script, index) == expected

    def test_what_a_script_requires_counts_for_all_its_steps(self):
        other = texts(**{"app/install.js": ["other", "one", "two", "three"]})
        assert all(other.of("app/install.js", i) != texts().of("app/install.js", i) for i in range(3))
        assert other.of("app/torch.js", 0) == texts().of("app/torch.js", 0)

    def test_the_home_does_not_count(self):
        here = Texts.of_scripts({"a.js": [f"cd {HOME}/api"]}, home=HOME)
        there = Texts.of_scripts({"a.js": ["cd /pinokio/api"]}, home="/pinokio")
        assert here.to_label() == there.to_label()

    def test_counts_steps(self):
        assert [texts().count(name) for name in ("app/install.js", "app/torch.js", "none.js")] == [3, 1, 0]
        assert Texts({"empty.js": []}).count("empty.js") == 0
        assert Texts({"empty.js": []}).of("empty.js", 0) == ""

    def test_labels_keep_them(self):
        again = Texts.from_label(texts().to_label())
        assert again is not None
        assert again.chain(STEPS) == texts().chain(STEPS)

    @pytest.mark.parametrize("label", [None, "", "x", "[1]", "null", '{"a": "bc"}', '{"a": [1]}', '{"a": null}'])
    def test_refuses_labels_that_are_not_ours(self, label):
        assert Texts.from_label(label) is None

    def test_leaves_out_what_is_no_step(self):
        assert texts().chain([["app/install.js", None], ["app/install.js"], [], ["app/install.js", 1]]) == (
            ("app/install.js", 1, texts().of("app/install.js", 1)),
        )


class TestLongest:
    def test_takes_the_one_with_most_steps(self):
        found = longest([saved(STEPS[:1], id="a"), saved(STEPS, id="b"), saved([], id="c")], root="r", texts=texts())
        assert found is not None
        assert found.id == "b"

    def test_takes_the_newest_of_equals(self):
        both = [saved(STEPS, id="old", created="1"), saved(STEPS, id="new", created="2")]
        assert [longest(order, root="r", texts=texts()).id for order in (both, both[::-1])] == ["new", "new"]

    def test_leaves_out_another_root(self):
        assert longest([saved(STEPS, root="s")], root="r", texts=texts()) is None

    def test_a_changed_step_cuts_what_follows_and_not_what_precedes(self):
        images = [saved(STEPS[:n], id=str(n)) for n in range(4)]
        changed = texts(**{"app/install.js": ["deps", "one", "new", "three"]})
        assert longest(images, root="r", texts=changed).id == "2"

    def test_a_later_step_may_change(self):
        changed = texts(**{"app/install.js": ["deps", "one", "two", "new"]})
        assert longest([saved(STEPS)], root="r", texts=changed) is not None

    def test_a_removed_step_does_not_stand(self):
        changed = texts(**{"app/install.js": ["deps", "one"]})
        assert longest([saved(STEPS)], root="r", texts=changed) is None
        assert longest([saved([["app/install.js", 7]])], root="r", texts=texts()) is None  # never was one

    def test_a_script_made_by_a_step_stands_as_long_as_nobody_brings_it(self):
        made = saved([["app/made.js", 0]])
        assert longest([made], root="r", texts=texts()) is made
        assert longest([made], root="r", texts=texts(**{"app/made.js": ["d", "1"]})) is None

    def test_finds_nothing_among_nothing(self):
        assert longest([], root="r", texts=texts()) is None


class TestKeys:
    @pytest.mark.parametrize("name", sorted(ROOT))
    def test_everything_that_steps_start_from_counts(self, name):
        value = ROOT[name]
        other = {**value, "x": "y"} if isinstance(value, dict) else f"{value}x"
        assert root_key(**{**ROOT, name: other}) != root_key(**ROOT)

    def test_the_update_before_counts_and_can_be_told(self):
        roots = [root_key(**ROOT), root_key(**ROOT, update="12"), root_key(**ROOT, update="13")]
        assert len(set(roots)) == len(roots)
        assert [update_of(root) for root in roots] == ["", "12", "13"]
        assert [after_update(root, "13") for root in roots] == [roots[2]] * 3
        assert after_update(roots[1], "") == roots[0]
        assert update_of(None) == ""

    def test_order_does_not_count(self):
        one, two = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
        assert root_key(**{**ROOT, "environment": one}) == root_key(**{**ROOT, "environment": two})

    @given(chains, chains)
    def test_chains_have_keys_of_their_own(self, one, other):
        assert (chain_key("r", one) == chain_key("r", other)) == (one == other)
        assert chain_key("r", one) != chain_key("s", one)


class TestLabels:
    @given(chains)
    def test_what_is_written_is_read(self, chain):
        assert read(write(chain)) == chain

    def test_long_chains_stay_short(self):
        chain = tuple(("app/install.js", index, "0" * 32) for index in range(100))
        assert len(write(chain)) < 5000

    @given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists))
    def test_anything_else_is_none(self, value):
        assert read(json.dumps(value)) is None
        assert read(json.dumps({"scripts": ["a"], "steps": value})) in {None, ()}

    @pytest.mark.parametrize("steps", ['[[0, 1, "x"]]', "[[1, 0]]", '[["a", 0, ""]]', '[[0, Infinity, ""]]', "3"])
    @pytest.mark.parametrize("scripts", ["[]", "{}", "null"])
    def test_torn_steps_are_none(self, steps, scripts):
        assert read(f'{{"scripts": {scripts}, "steps": {steps}}}') is None

    @pytest.mark.parametrize("label", [None, "", "{}", "[", '{"scripts": ["a"], "steps": [[0, Infinity, ""]]}'])
    def test_torn_labels_are_none(self, label):
        assert read(label) is None
