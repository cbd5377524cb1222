"""Menus: flattening, kinds of items, arguments, old style, the default."""

from __future__ import annotations

import pytest

from orchestrator.launcher.menu import Menu, read_menu

UNDEFINED = {"$undefined": True}


def only(entry, **options):
    (item,) = read_menu([entry], app="demo", **options).items
    return item


@pytest.mark.parametrize("raw", [None, {}, "x", 3, [None, 1, "x", []], UNDEFINED, {"$function": "menu"}])
def test_what_is_no_list_of_objects_is_an_empty_menu(raw):
    assert read_menu(raw) == Menu()


@pytest.mark.parametrize(
    ("href", "kind", "script", "args"),
    [
        ("start.js", "script", "start.js", {}),
        ("./start.js", "script", "start.js", {}),
        ("sub/start.json", "script", "sub/start.json", {}),
        ("start.js?mode=fast&run=true", "script", "start.js", {"mode": "fast", "run": "true"}),
        ("start.js?note=a%20b+c&empty=", "script", "start.js", {"note": "a b c", "empty": ""}),
        ("/api/demo/start.js", "script", "start.js", {}),
        ("/api/other/start.js", "file", None, {}),
        ("/home", "file", None, {}),
        ("outputs?fs", "file", None, {}),
        ("config.json?fs=true", "file", None, {}),
        ("config.json?mode=source", "file", None, {}),
        ("app/webui-user.sh#L13", "file", None, {}),
        ("download.html?raw=true", "file", None, {}),
        ("http://127.0.0.1:7860", "url", None, {}),
        ("HTTPS://example.org/start.js", "url", None, {}),
    ],
)
def test_hrefs(href, kind, script, args):
    item = only({"text": "x", "href": href})
    assert (item.kind, item.script, item.args, item.href) == (kind, script, args, href)


def test_absolute_hrefs_of_a_launcher_in_its_own_folder():
    assert only({"text": "x", "href": "/api/demo/pinokio/start.js"}, root="pinokio").script == "start.js"
    assert only({"text": "x", "href": "start.js"}, root="pinokio").script == "start.js"


def test_a_base_stands_before_the_href():
    assert only({"text": "x", "base": "/api/demo", "href": "start.js"}).script == "start.js"
    assert only({"text": "x", "base": "/pinokio/", "href": "start.js"}).kind == "file"


def test_params_become_strings():
    params = {"a": 1, "b": True, "c": None, "d": {"x": 1}, "e": [1, None, "y"], "f": 1.5, "g": 2.0, "h": "text"}
    item = only({"text": "x", "href": "start.js?z=0&h=query", "params": params})
    assert item.args == {
        "z": "0", "a": "1", "b": "true", "c": "null", "d": "[object Object]",
        "e": "1,,y", "f": "1.5", "g": "2", "h": "text",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"text": "x", "shell": {"message": "ls"}}, "terminal"),
        ({"text": "x", "run": "ls"}, "terminal"),
        ({"text": "x", "menu": [{"text": "y", "href": "a.js"}]}, "menu"),
        ({"text": "x", "action": {"method": "stop", "uri": "start.js"}}, "stop"),
        ({"text": "x", "href": "start.js", "fs": "view"}, "file"),
        ({"text": "x", "href": "start.js", "command": "code"}, "file"),
        ({"text": "x", "href": "start.js", "fs": UNDEFINED}, "script"),
    ],
)
def test_other_kinds(entry, kind):
    assert read_menu([entry]).items[0].kind == kind


@pytest.mark.parametrize(
    "entry",
    [
        {"text": "Installed"},
        {"text": "x", "type": "label", "href": "start.js"},
        {"text": "x", "filter": False, "href": "start.js"},
        {"text": "x", "href": ""},
        {"text": "x", "href": UNDEFINED},
        {"text": "x", "href": 3},
    ],
)
def test_items_with_nothing_to_press_are_dropped(entry):
    assert read_menu([entry]).items == ()


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"text": "<i class='fa'></i> Open &amp; <b>see</b>"}, "Open & see"),
        ({"html": "<i></i> Install"}, "Install"),
        ({"text": "  ", "html": "From html"}, "From html"),
        ({"text": "<div><strong>Reset</strong><div>Back to the beginning</div></div>"}, "Reset"),
        ({"text": UNDEFINED}, ""),
        ({}, ""),
    ],
)
def test_labels(entry, text):
    assert only({**entry, "href": "a.js"}).text == text


def test_nested_menus_are_flattened_in_order():
    more = {"text": "More", "menu": [{"text": "B", "href": "b.js"}]}
    menu = read_menu([{"text": "Models", "menu": [{"text": "A", "href": "a.js"}, more]}, {"text": "C", "href": "c.js"}])
    assert [(item.text, item.depth, item.under) for item in menu.items] == [
        ("Models", 0, ()), ("A", 1, ("Models",)), ("More", 1, ("Models",)), ("B", 2, ("Models", "More")), ("C", 0, ()),
    ]  # fmt: skip


def test_a_menu_without_end_is_cut():
    deep = {"text": "x", "href": "x.js"}
    for _ in range(100):
        deep = {"text": "down", "menu": [deep]}
    assert 0 < len(read_menu([deep]).items) < 20


def test_old_style_items_follow_the_running_script():
    raw = [
        {"when": "start.json", "off": "<i></i> Start", "href": "start.json?run=true"},
        {"when": "start.json", "on": "Open", "href": "http://localhost:1"},
        {"when": "./start.json", "type": "label", "on": "Running", "off": "Stopped"},
    ]
    assert [item.text for item in read_menu(raw).items] == ["Start"]
    assert [item.text for item in read_menu(raw, running=lambda script: script == "start.json").items] == ["Open"]


@pytest.mark.parametrize(
    ("raw", "href"),
    [
        ([{"href": "a.js"}, {"href": "b.js", "default": True}, {"href": "c.js", "default": True}], "b.js"),
        ([{"href": "a.js", "default": UNDEFINED}, {"href": "b.js", "default": 1}], "b.js"),
        ([{"text": "x", "menu": [{"href": "n.js", "default": True}]}, {"href": "t.js", "default": True}], "t.js"),
        ([{"text": "x", "menu": [{"href": "n.js", "default": True}]}, {"href": "t.js"}], "n.js"),
        ([{"text": "x", "default": True, "menu": [{"href": "n.js", "default": True}]}], "n.js"),
        ([{"href": "a.js"}], None),
        ([], None),
    ],
)
def test_the_default(raw, href):
    default = read_menu(raw).default
    assert (default.href if default else None) == href


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ([{"href": "start.js"}, {"href": "http://localhost:1", "default": True}], "http://localhost:1"),
        ([{"href": "start.js", "default": True}, {"href": "http://localhost:1"}], None),
        ([{"href": "http://127.0.0.1:7860/x"}, {"href": "start.js"}], "http://127.0.0.1:7860/x"),
        ([{"href": "https://github.com/u/app"}, {"href": "start.js"}], None),
        ([{"href": "http://[broken"}], None),
    ],
)
def test_the_page_of_a_running_app(raw, url):
    assert read_menu(raw).url == url
