"""What a user types for an app, and what it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.launcher.target import hide_secrets, normalise_remote, parse_target, same_remote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "name", "ref"),
    [
        ("flux-webui", "flux-webui", None),
        ("comfyui.pinokio", "comfyui.pinokio", None),
        ("author/app", "author/app", None),
        ("app@v1.2", "app", "v1.2"),
        ("a" * 63, "a" * 63, None),
    ],
)
def test_names(tmp_path, text, name, ref):
    target = parse_target(text, cwd=tmp_path)
    assert (target.kind, target.name, target.ref, target.url) == ("name", name, ref, None)


@pytest.mark.parametrize(
    ("text", "url", "ref", "name"),
    [
        ("https://github.com/u/app", "https://github.com/u/app", None, "app"),
        ("https://github.com/u/app/", "https://github.com/u/app", None, "app"),
        ("https://github.com/u/app.git", "https://github.com/u/app.git", None, "app"),
        ("HTTPS://github.com/u/app.git@v1", "https://github.com/u/app.git", "v1", "app"),
        (f"https://github.com/u/app@{COMMIT}", "https://github.com/u/app", COMMIT, "app"),
        ("https://github.com/u/app@feature/one", "https://github.com/u/app", "feature/one", "app"),
        ("https://me:secret@host/u/app@v1", "https://me:secret@host/u/app", "v1", "app"),
        ("https://me@host/u/app", "https://me@host/u/app", None, "app"),
        ("https://host/@scope/app@v1", "https://host/@scope/app", "v1", "app"),
        ("https://github.com/u/app/tree/dev", "https://github.com/u/app", "dev", "app"),
        ("https://github.com/u/app?tab=readme#top", "https://github.com/u/app", None, "app"),
        ("git@github.com:u/app.git", "git@github.com:u/app.git", None, "app"),
        ("git@github.com:u/app.git@main", "git@github.com:u/app.git", "main", "app"),
        ("git@github.com:u/app@main", "git@github.com:u/app", "main", "app"),
        ("git@host:app.git", "git@host:app.git", None, "app"),
        ("ssh://git@host:2222/u/app.git@main", "ssh://git@host:2222/u/app.git", "main", "app"),
        ("git://host/u/app", "git://host/u/app", None, "app"),
        ("file:///srv/app.git@main", "file:///srv/app.git", "main", "app"),
        ("https://host/u/b%C3%A4d", "https://host/u/b%C3%A4d", None, ""),
    ],
)
def test_urls(tmp_path, text, url, ref, name):
    target = parse_target(text, cwd=tmp_path)
    assert (target.kind, target.url, target.ref, target.name) == ("url", url, ref, name)


def test_at_sign_in_an_existing_local_repository_is_no_ref(tmp_path):
    (tmp_path / "me@home").mkdir()
    assert parse_target(f"file://{tmp_path}/me@home", cwd="/").ref is None
    assert parse_target(f"file://{tmp_path}/me@gone", cwd="/").ref == "gone"


def test_folders(tmp_path, monkeypatch):
    (tmp_path / "here" / "sub").mkdir(parents=True)
    (tmp_path / "odd name!").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("here", "./here", "~/here", str(tmp_path / "here"), "here/", "here/sub/.."):
        target = parse_target(text, cwd=tmp_path)
        assert (target.kind, target.name, target.path) == ("folder", "here", tmp_path / "here")
    assert parse_target(".", cwd=tmp_path / "here").path == tmp_path / "here"
    assert parse_target("here/sub", cwd=tmp_path).name == "sub"
    assert parse_target("./odd name!", cwd=tmp_path).name == ""


def test_links_in_a_folder_are_kept(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert parse_target("./link", cwd=tmp_path).path == tmp_path / "link"


def test_an_installed_app_wins_over_a_bare_folder_of_that_name(tmp_path):
    (tmp_path / "forge").mkdir()
    assert parse_target("forge", cwd=tmp_path, known=["Forge"]).kind == "name"
    assert parse_target("./forge", cwd=tmp_path, known=["Forge"]).kind == "folder"
    assert parse_target("forge", cwd=tmp_path).kind == "folder"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" x", "blanks"),
        ("x\ny", "control"),
        ("-x", "begins with `-`"),
        ("--upload-pack=id", "begins with `-`"),
        ("ext::sh -c id", "cannot be the name"),
        ("ext://sh", "`ext` is not a protocol"),
        ("ssh://-oProxyCommand=id/x", "no host"),
        ("ssh://-oProxyCommand=id@host/x", "no host"),
        ("git@-oProxyCommand=id:x", "cannot be a branch"),
        ("git@host:-x", "cannot be a branch"),
        ("https://github.com/u/app@--upload-pack=x", "cannot be a branch"),
        ("https://github.com/u/app@", "cannot be a branch"),
        ("https://github.com/u/app@a..b", "cannot be a branch"),
        ("https://github.com/u/app@a b", "cannot be a branch"),
        ("https://github.com/u/app@HEAD@{1}", "cannot be a branch"),
        ("https://github.com", "no repository"),
        ("https:///x", "no host"),
        ("https://h:99999999/x/y", "not a URL"),
        ("github.com/u/app", "neither a name nor"),
        ("no/such/folder", "no such folder"),
        ("./nope", "does not exist"),
        ("a b", "cannot be the name"),
        ("a" * 64, "cannot be the name"),
        ("./.hidden", "does not exist"),
        ("name@", "cannot be the name"),
    ],
)
def test_what_is_refused_says_why_and_what_to_do(tmp_path, text, says):
    with pytest.raises(BadInputError) as caught:
        parse_target(text, cwd=tmp_path)
    assert says in str(caught.value)
    assert caught.value.hint
    assert not str(caught.value).endswith(".")


def test_a_file_is_no_app(tmp_path):
    (tmp_path / "start.js").write_text("")
    with pytest.raises(BadInputError, match="is a file"):
        parse_target("./start.js", cwd=tmp_path)


def test_secrets_are_not_shown(tmp_path):
    assert hide_secrets("https://me:p@ss@host/u/app") == "https://host/u/app"
    assert hide_secrets("ssh://git@host/u/app") == "ssh://git@host/u/app"
    assert hide_secrets("https://host/@scope/app@v1") == "https://host/@scope/app@v1"
    with pytest.raises(BadInputError) as caught:
        parse_target("https://me:secret@host", cwd=tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "other",
    [
        "https://github.com/U/App",
        "https://github.com/u/app.git",
        "http://github.com/u/app/",
        "git@github.com:u/app.git",
        "ssh://git@github.com/u/app",
        "ssh://git@github.com:22/u/app.git",
        "https://token@GitHub.com:443/u/app",
    ],
)
def test_spellings_of_one_remote(other):
    assert same_remote("https://github.com/u/app", other)


@pytest.mark.parametrize(
    "other",
    [
        "https://github.com/u/app2",
        "https://gitlab.com/u/app",
        "https://github.com:8443/u/app",
        "file:///u/app",
        None,
        "",
    ],
)
def test_different_remotes(other):
    assert not same_remote("https://github.com/u/app", other)


def test_case_counts_on_hosts_where_it_does():
    assert not same_remote("https://example.org/u/App", "https://example.org/u/app")


def test_local_remotes_are_compared_by_real_path(tmp_path):
    (tmp_path / "repo.git").mkdir()
    (tmp_path / "link.git").symlink_to("repo.git")
    assert same_remote(f"file://{tmp_path}/repo.git", str(tmp_path / "link.git"))
    assert normalise_remote(f"file://{tmp_path}/repo.git") == str(Path(tmp_path).resolve() / "repo")
