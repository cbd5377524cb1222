"""Which script is which, over the patterns that launchers follow."""

from __future__ import annotations

import pytest

from orchestrator.launcher.menu import read_menu
from orchestrator.launcher.scripts import choose_scripts, files_of

FILES = ["install.js", "link.js", "pinokio.js", "reset.js", "start.js", "torch.js", "update.js"]
TAIL = [
    {"text": "Update", "href": "update.js"},
    {"text": "Install", "href": "install.js"},
    {"text": "<div><strong>Save Disk Space</strong></div>", "href": "link.js"},
    {"text": "Reset", "href": "reset.js", "confirm": "Are you sure?"},
]
LIFE = {
    "fresh": [{"default": True, "text": "Install", "href": "install.js"}],
    "installing": [{"default": True, "text": "Installing", "href": "install.js"}],
    "installed": [{"default": True, "text": "Start", "href": "start.js"}, *TAIL],
    "starting": [{"default": True, "text": "Terminal", "href": "start.js"}],
    "running": [
        {"default": True, "text": "Open Web UI", "href": "http://127.0.0.1:7860"},
        {"text": "Terminal", "href": "start.js"},
    ],
}


def choose(raw, files=(), **options):
    return choose_scripts(read_menu(raw, app="demo"), files, **options)


def path(script):
    return script.path if script else None


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        ("fresh", "install"),
        ("installing", "install"),
        ("installed", "start"),
        ("starting", "start"),
        ("running", "running"),
    ],
)
def test_the_usual_life(state, stage):
    scripts = choose(LIFE[state], FILES)
    assert scripts.stage == stage
    assert (path(scripts.install), path(scripts.start)) == ("install.js", "start.js")
    assert (path(scripts.update), path(scripts.reset), path(scripts.link)) == ("update.js", "reset.js", "link.js")
    assert scripts.variants == scripts.others == ()


def test_reset_is_destructive_and_keeps_its_question():
    reset = choose(LIFE["installed"], FILES).reset
    assert reset is not None
    assert (reset.destructive, reset.confirm) == (True, "Are you sure?")
    assert choose(LIFE["fresh"], FILES).reset == choose([], ["reset.js"]).reset
    assert choose([], ["reset.js"]).reset.destructive  # type: ignore[union-attr]  # the file is there


def test_several_ways_to_start():
    scripts = choose([
        {"text": "Fast", "href": "start.js", "params": {"mode": "fast"}},
        {"text": "Slow", "href": "start.js?mode=slow"},
        {"text": "Fast again", "href": "start.js", "params": {"mode": "fast", "fullscreen": True}},
        {"text": "Studio", "href": "run_studio.json"},
        *TAIL,
    ], FILES)  # fmt: skip
    assert scripts.stage == "start"
    assert scripts.start is not None
    assert (scripts.start.path, scripts.start.args) == ("start.js", {"mode": "fast"})
    assert [(each.path, each.text) for each in scripts.variants] == [
        ("start.js", "Fast"), ("start.js", "Slow"), ("run_studio.json", "Studio"),
    ]  # fmt: skip
    assert scripts.others == ()


def test_the_default_variant_wins():
    scripts = choose([{"text": "A", "href": "start_a.js"}, {"text": "B", "href": "start_b.js", "default": True}])
    assert path(scripts.start) == "start_b.js"
    assert [path(each) for each in scripts.variants] == ["start_a.js", "start_b.js"]


def test_variants_below_a_submenu():
    scripts = choose(
        [{"text": "Start", "menu": [{"text": "A", "href": "start_a.js"}, {"text": "B", "href": "start_b.js"}]}]
    )
    assert path(scripts.start) == "start_a.js"
    assert len(scripts.variants) == 2


def test_start_scripts_with_names_of_their_own():
    scripts = choose([{"text": "Launch WAN", "href": "wan.js"}, {"text": "Run LTX", "href": "ltx.js"}, *TAIL])
    assert path(scripts.start) == "wan.js"
    assert [path(each) for each in scripts.variants] == ["wan.js", "ltx.js"]
    assert path(choose([{"text": "Settings", "href": "web-config.js", "default": True}]).start) == "web-config.js"


@pytest.mark.parametrize(
    ("hrefs", "start"),
    [
        (["launch.js", "run.js", "start.js"], "start.js"),
        (["launch.js", "run.js"], "run.js"),
        (["launch.json"], "launch.json"),
        (["other.js", "index.js"], "index.js"),
        (["other.js"], "other.js"),
        (["update.js", "download-model.js", "link.js", "reset.js", "uninstall.js"], None),
        (["start-mac.js", "start-linux.js"], "start-linux.js"),
        (["restart.js"], "restart.js"),
        (["linker.js", "linkedin.js"], "linkedin.js"),
    ],
)
def test_the_order_of_start_names(hrefs, start):
    assert path(choose([{"text": "x", "href": href} for href in hrefs]).start) == start


@pytest.mark.parametrize(
    ("gpu", "hrefs", "install"),
    [
        ("nvidia", ["install_cpu.js", "install_nvidia.js"], "install_nvidia.js"),
        ("nvidia", ["install-amd.js", "install-mac.js", "install-win.js", "install.js"], "install.js"),
        ("nvidia", ["install.js", "install_cuda.js"], "install_cuda.js"),
        ("nvidia", ["install_mac.js", "install_linux.js"], "install_linux.js"),
        ("nvidia", ["install.js", "install_legacy.js"], "install.js"),
        ("nvidia", ["install_winner.js", "install_other.js"], "install_winner.js"),
        ("amd", ["install_nvidia.js", "install_rocm.js"], "install_rocm.js"),
        ("none", ["install_gpu.js", "install_cpu.js"], "install_cpu.js"),
        ("apple", ["install_gpu.js", "install_cpu.js"], "install_cpu.js"),
    ],
)
def test_the_install_for_this_card(gpu, hrefs, install):
    items = [{"text": "x", "href": href} for href in hrefs]
    assert path(choose(items, gpu=gpu).install) == install
    assert path(choose([{"text": "Install", "menu": items}], gpu=gpu).install) == install
    if "install.js" not in hrefs:
        assert path(choose([], hrefs, gpu=gpu).install) == install or "winner" in install


def test_labels_tell_the_card_too():
    raw = [
        {"text": "Install (CPU)", "href": "install.js", "params": {"device": "cpu"}},
        {"text": "Install (NVIDIA)", "href": "install.js", "params": {"device": "cuda"}},
    ]
    install = choose(raw).install
    assert install is not None
    assert install.args == {"device": "cuda"}


def test_query_strings_become_arguments_of_the_install():
    install = choose([{"html": "Install", "href": "install.json?run=true&fullscreen=true"}]).install
    assert install is not None
    assert (install.path, install.args) == ("install.json", {"run": "true", "fullscreen": "true"})


def test_an_app_with_nothing_to_install():
    scripts = choose([{"default": True, "text": "Start", "href": "start.js"}], ["pinokio.js", "start.js"])
    assert (scripts.install, path(scripts.start), scripts.stage) == (None, "start.js", "start")
    assert choose([{"html": "Start", "href": "run.json"}], ["run.json"]).stage == "start"


def test_menus_that_never_change_tell_no_stage():
    scripts = choose([{"html": "Install", "href": "install.json"}, {"html": "Launch", "href": "start.json"}])
    assert (path(scripts.install), path(scripts.start), scripts.stage) == ("install.json", "start.json", "unknown")


def test_old_menus_that_say_reinstall_are_installed():
    raw = [{"html": "Installed", "type": "label"}, {"html": "Reinstall", "href": "install.json"}]
    assert choose(raw, ["install.json", "start.json"]).stage == "start"
    assert choose([{"text": "Start", "href": "start.js"}, {"text": "Install", "href": "install.js"}]).stage == "start"


def test_without_a_menu_the_files_decide():
    scripts = choose(None, FILES)
    assert (path(scripts.install), path(scripts.start), path(scripts.update)) == ("install.js", "start.js", "update.js")
    assert scripts.stage == "unknown"
    assert path(choose(None, ["install.json", "index.json"]).start) == "index.json"
    assert path(choose(None, ["start_b.js", "start_a.js"]).start) == "start_a.js"
    nothing = choose(None, [])
    assert (nothing.install, nothing.start, nothing.stage) == (None, None, "unknown")


@pytest.mark.parametrize("word", ["Reset", "Delete models", "Uninstall", "Clean install", "Factory reset"])
def test_destructive_items_are_never_chosen(word):
    raw = [{"default": True, "text": word, "href": "start_over.js"}, {"text": word, "href": "install_again.js"}]
    scripts = choose(raw)
    assert (scripts.start, scripts.install) == (None, None)
    assert all(each.destructive for each in scripts.others)
    assert len(scripts.others) == 2


@pytest.mark.parametrize("word", ["Cleaner voices", "Preset one", "Remove background"])
def test_words_that_only_look_destructive(word):
    assert path(choose([{"default": True, "text": word, "href": "start.js"}]).start) == "start.js"


def test_other_scripts_are_listed_once():
    raw = [
        {
            "text": "Models",
            "menu": [{"text": "SD", "href": "download-sd.json"}, {"text": "SD", "href": "download-sd.json"}],
        },
        *LIFE["installed"],
    ]
    assert [path(each) for each in choose(raw, FILES).others] == ["download-sd.json"]


def test_files_of_a_folder(tmp_path):
    for name in ("start.js", "data.json", "readme.md"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.js").mkdir()
    assert files_of(tmp_path) == ["data.json", "start.js"]
    assert files_of(tmp_path / "gone") == []
