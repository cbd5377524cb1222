"""Catalogues that are damaged, clash or lie, and a refresh that reaches nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from orchestrator.catalog import catalog, planned
from orchestrator.catalog.added import author_of, parse
from orchestrator.catalog.catalog import App, apps, choose, shipped
from orchestrator.catalog.fits import Machine, misfit
from orchestrator.catalog.planned import PLANS, Planned
from orchestrator.catalog.search import search
from orchestrator.commands.up import ensure_room
from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home
from orchestrator.launcher.fetch import fetch
from orchestrator.launcher.shallow import fetch_newest
from orchestrator.launcher.target import parse_target

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def run(*arguments, home, capfd):
    status = cli.invoke([*map(str, arguments), "--home", str(home)])
    captured = capfd.readouterr()
    return status, captured.out, captured.err


def repository(folder: Path, *, remote: str | None = None, empty: bool = False) -> Path:
    """Make a git repository with one launcher script, or none, and perhaps the address it claims to come from."""
    folder.mkdir(parents=True)
    commands = [["init", "-q"]]
    if not empty:
        (folder / "start.json").write_text('{"run": []}')
        commands += [["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]]
    if remote is not None:
        commands.append(["remote", "add", "origin", remote])
    for command in commands:
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder


# entries


@pytest.mark.parametrize(
    "repo",
    [
        "ssh://-oProxyCommand=touch%20x/a/b",
        "https://-x/a/b",
        "ext::sh -c touch% x",
        "-u@host:x",
        "git@host:-x",
        "https://host",
        "https://host/a b",
        "file://relative/x",
        "https://me:secret@github.com/a/b",
        "https://ghp_secret@github.com/a/b",
        "ssh://me:secret@host/a/b",
        "https://host/" + "a" * 600,
    ],
)
def test_repositories_that_are_refused(repo):
    rows, problems = parse([{"name": "a", "repo": repo}])
    assert (rows, len(problems)) == ([], 1)
    assert "secret" not in problems[0]


@pytest.mark.parametrize(
    ("repo", "author"),
    [
        ("https://github.com/me/my-app.git", "me"),
        ("https://host:8443/group/sub/app/", "sub"),
        ("git@github.com:me/app", "me"),
        ("ssh://git@host/me/app", "me"),
        ("https://host/app", ""),
        ("file:///srv/launchers/app", "launchers"),
    ],
)
def test_an_author_that_is_not_given_is_the_repositorys_owner(repo, author):
    assert author_of(repo) == author
    rows, problems = parse([{"name": "app", "repo": repo}])
    assert ([row["author"] for row in rows], problems) == ([author], [])


def test_one_name_twice_in_a_catalogue_is_said_unless_it_is_the_same_repository():
    rows, problems = parse(
        [{"name": "a", "repo": f"https://h/{path}"} for path in ("me/a", "ME/a.git", "other/a")],
    )
    assert ([row["repo"] for row in rows], problems) == (
        ["https://h/me/a"],
        ["entry 3: `a` has another repository further up"],
    )


def test_names_that_differ_only_in_their_repository_are_told_apart_by_it():
    both = (App("a", "a", "https://one/a", "me"), App("a", "a", "https://two/a", "me"))
    with pytest.raises(BadInputError, match="`https://one/a`, `https://two/a`") as caught:
        choose("a", both)
    assert caught.value.hint == "give the address of its repository"
    assert choose("a", (both[0], App("a", "a", "https://ONE/a.git", "me"))) is both[0]
    with pytest.raises(BadInputError, match="`me/a`, `https://two/a`"):
        choose("a", (both[0], App("a", "a", "https://two/a")))


# the list of what was added


@pytest.mark.parametrize(
    "text",
    ['{"catalogues": [', "[]", '{"catalogues": 3}', '{"catalogues": {"x": 3}}', '{"a":' * 5000, "\x00"],
)
def test_a_damaged_list_is_never_overwritten(home, capfd, text):
    home.mkdir()
    file = home / "catalogues.json"
    file.write_text(text)
    for command in (("add", "https://github.com/me/x"), ("remove", "x")):
        status, _, err = run("catalog", *command, home=home, capfd=capfd)
        assert (status, "cannot be read as a list of catalogues" in err) == (2, True)
    assert file.read_text() == text
    assert len(apps(Home(home))) == len(shipped())


def test_a_single_app_may_move_and_is_replaced(home, capfd):
    run("catalog", "add", "https://github.com/me/mine", home=home, capfd=capfd)
    status, _, err = run("catalog", "add", "https://github.com/you/mine", home=home, capfd=capfd)
    assert (status, "`mine` was `https://github.com/me/mine` before" in err) == (0, True)
    assert [(app.repo, app.author) for app in apps(Home(home)) if app.source] == [
        ("https://github.com/you/mine", "you")
    ]


def test_a_clash_with_another_catalogue_of_the_users(home, tmp_path, capfd):
    file = tmp_path / "theirs.json"
    file.write_text(json.dumps([{"name": "mine", "repo": "https://github.com/them/mine"}]))
    run("catalog", "add", "https://github.com/me/mine", home=home, capfd=capfd)
    _, _, err = run("catalog", "add", file, home=home, capfd=capfd)
    assert "`mine` is in another catalogue with another repository" in err
    _, _, err = run("catalog", "add", file, home=home, capfd=capfd)  # it does not clash with itself
    assert err.count("warning") == 1


def test_an_app_is_installed_under_the_name_of_its_catalogue(home, tmp_path, capfd):
    source = repository(tmp_path / "source" / "singer")
    run("catalog", "add", f"file://{source}", "--name", "choir", home=home, capfd=capfd)
    target = parse_target("CHOIR", cwd=tmp_path)
    assert [(got.name, got.created) for got in (fetch(target, Home(home)), fetch(target, Home(home)))] == [
        ("choir", True),
        ("choir", False),
    ]
    with_name = fetch(target, Home(home), name="other")
    assert with_name.name == "other"


def test_an_added_app_whose_repository_vanished_says_so(home, tmp_path, capfd):
    run("catalog", "add", f"file://{tmp_path}/gone/singer", home=home, capfd=capfd)
    assert run("search", "singer", home=home, capfd=capfd)[0] == 0
    status, _, err = run("up", "singer", home=home, capfd=capfd)
    assert (status, "singer` cannot be cloned: there is no such repository" in err) == (1, True)


def test_apps_of_ours_in_a_catalogue_are_not_shown_twice(home, tmp_path, capfd):
    file = tmp_path / "same.json"
    ours = [{"name": app.name, "repo": f"{app.repo}.git"} for app in shipped()[:5]]
    file.write_text(json.dumps([*ours, {"name": "alias", "repo": ours[0]["repo"]}]))
    _, _, err = run("catalog", "add", file, home=home, capfd=capfd)
    assert "warning" not in err
    assert [app.name for app in apps(Home(home)) if app.source] == ["alias"]


def test_commands_that_add_at_the_same_time_lose_nothing(home):
    home.mkdir()
    command = [sys.executable, str(ROOT / "cli.py"), "catalog", "add", "--home", str(home)]
    running = [subprocess.Popen([*command, f"https://github.com/me/app{number}"]) for number in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert {app.name for app in apps(Home(home)) if app.source} == {f"app{number}" for number in range(4)}
    assert [entry.name for entry in home.iterdir()] == ["catalogues.json"]


def test_a_password_in_a_catalogues_address_is_not_kept(home, tmp_path, capfd):
    status, _, err = run("catalog", "add", "http://me:secret@127.0.0.1:1/x.json", home=home, capfd=capfd)
    assert (status, "secret" in err, "`http://127.0.0.1:1/x.json` cannot be had" in err) == (1, False, True)


def test_a_ref_does_not_belong_in_a_catalogue(home, capfd):
    status, _, err = run("catalog", "add", "https://github.com/me/mine@v1", home=home, capfd=capfd)
    assert (status, "names a ref" in err) == (2, True)


def test_text_of_a_catalogue_cannot_move_the_terminals_cursor(home, tmp_path, capfd):
    file = tmp_path / "theirs.json"
    evil = "x\x1b[2J\u202e\n"
    entry = {"name": "mine", "repo": "https://h/a/mine", "author": evil, "category": evil, "tags": [evil]}
    file.write_text(json.dumps([{**entry, "description": evil}]))
    run("catalog", "add", file, home=home, capfd=capfd)
    for command in (("search", "mine"), ("info", "mine"), ("list", "--limit", "9999")):
        status, out, _ = run(*command, home=home, capfd=capfd)
        assert (status, "mine" in out) == (0, True)
        assert not {"\x1b", "\u202e"} & set(out)


# info


def test_info_knows_an_app_under_whatever_name_it_is_installed(home, capfd):
    repository(home / "api" / "paint", remote="https://github.com/pinokiofactory/flux-webui.git")
    for name in ("paint", "flux-webui", "pinokiofactory/flux-webui", "https://github.com/pinokiofactory/flux-webui"):
        _, out, _ = run("info", name, "--json", home=home, capfd=capfd)
        found = json.loads(out)
        assert (found["name"], found["installed"], found["planned"]["outcome"]) == ("flux-webui", "paint", PLANS)


def test_info_does_not_take_a_folder_of_mine_for_the_catalogues_app(home, capfd):
    repository(home / "api" / "flux-webui", remote="https://github.com/me/flux-webui")
    _, out, _ = run("info", "flux-webui", "--json", home=home, capfd=capfd)
    assert json.loads(out) == {"name": "flux-webui", "repo": None, "installed": "flux-webui", "planned": None}


# search and what fits


def found(*words):
    return [app.name for app in search(shipped(), words)]


def test_a_mistyped_word_beside_one_that_is_right():
    assert found("texto", "speach") != []
    assert found("flux", "webiu") == found("flux", "webui") != []
    assert found("flux", "zzzzzz") == []


@pytest.mark.parametrize(
    ("tags", "machine", "why"),
    [
        (("12GB-VRAM", "nvidia-only"), Machine("none"), "GPU"),
        (("12GB-VRAM",), Machine("nvidia", 8), "12 GB of VRAM"),
        (("12GB-VRAM", "32GB-RAM"), Machine("nvidia", 12, None, 16 << 30), "32 GB of memory"),
        (("12GB-VRAM", "32GB-RAM"), Machine("nvidia", 12, None, 64 << 30), ""),
        (("windows-only",), Machine("nvidia", 24), "Windows"),
        (("MLX", "Apple-Silicon"), Machine("nvidia", 24), "macOS"),
        (("low-vram", "windows", "nvidia"), Machine("none"), ""),
    ],
)
def test_tags_tell_what_the_launcher_does_not(tags, machine, why):
    reason = misfit(Planned("a", "u", PLANS), machine, tags)
    assert why in reason if why else reason == ""


def test_what_the_launcher_says_counts_more_than_a_tag():
    assert misfit(Planned("a", "u", PLANS, vram=6.0), Machine("nvidia", 8), ["12GB-VRAM"]) == ""


def test_the_room_of_our_app_is_not_that_of_another_with_its_name(home, capfd, monkeypatch):
    monkeypatch.setattr("orchestrator.hosts.resources.resources.free_at", lambda _: 3 << 30)
    big = next(row.key for row in planned.table().values() if (row.disk_estimate or 0) > 5)
    with pytest.raises(Exception, match="not enough disk"):
        ensure_room(Home(home), big, None)
    monkeypatch.setattr(catalog, "shipped", lambda: (App(big, big, "https://elsewhere/x"),))
    ensure_room(Home(home), big, None)


# refresh


def test_the_newest_commit_is_fetched_whole_or_not_at_all(tmp_path):
    source = repository(tmp_path / "source" / "app")
    place = tmp_path / "cache" / "app"
    commit = fetch_newest(f"file://{source}", place)
    assert (place / "start.json").is_file()
    assert fetch_newest(f"file://{source}", place) == commit
    with pytest.raises(Exception, match=r"^there is no such repository$"):
        fetch_newest(f"file://{tmp_path}/nowhere", place)
    with pytest.raises(Exception, match=r"^the repository is empty$"):
        fetch_newest(f"file://{repository(tmp_path / 'empty', empty=True)}", place)
    assert [entry.name for entry in place.parent.iterdir()] == ["app"]
    assert (place / "start.json").is_file()


def test_a_refresh_that_reaches_nothing_leaves_the_table(tmp_path, capfd, monkeypatch):
    lost = tuple(App(name, name, f"file://{tmp_path}/{name}") for name in ("one", "two"))
    monkeypatch.setattr(catalog, "shipped", lambda: lost)
    table = tmp_path / "planned.jsonl"
    row = planned.render([Planned("one", lost[0].repo, PLANS, commit="c" * 40)])
    table.write_text(row)
    status, out, err = run("catalog", "refresh", "--output", table, home=tmp_path / "home", capfd=capfd)
    assert (status, out, table.read_text()) == (1, "", row)
    assert "no launcher could be fetched: there is no such repository" in err


@pytest.mark.parametrize("text", ["{", '{"key": "a"}', "[]", '{"key": 1, "repo"'])
def test_a_table_that_is_none_is_not_overwritten(tmp_path, capfd, text):
    table = tmp_path / "planned.jsonl"
    table.write_text(text)
    status, _, err = run("catalog", "refresh", "--output", table, home=tmp_path / "home", capfd=capfd)
    assert (status, "is not a table of planned apps" in err) == (2, True)
    assert table.read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["planned.jsonl"]
