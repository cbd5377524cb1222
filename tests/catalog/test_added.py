"""Catalogues and apps of the user's own, and the commands for them."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cli
from orchestrator.catalog.added import parse, read_added
from orchestrator.catalog.catalog import apps
from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home

GOOD = {
    "name": "My-App",
    "repo": "https://github.com/me/my-app",
    "tags": ["x", 3],
    "category": "audio",
    "description": "Sings\x1b[31m",
}


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def run(*arguments, home, capfd):
    status = cli.invoke([*map(str, arguments), "--home", str(home)])
    captured = capfd.readouterr()
    return status, captured.out, captured.err


def test_bad_entries_are_left_out_and_said():
    rows, problems = parse(
        [
            GOOD,
            3,
            {"name": "../x", "repo": "https://a/b"},
            {"name": "a", "repo": "javascript:x"},
            {"name": "b"},
            {**GOOD, "repo": "https://other/x"},
        ]
    )
    assert [(row["key"], row["category"], row["tags"], row["description"]) for row in rows] == [
        ("my-app", "AUDIO", ["x"], "Sings [31m")
    ]
    assert len(problems) == 5
    assert problems[0] == "entry 2: it is no object"


@pytest.mark.parametrize("document", [3, "x", {"a": 1}, None])
def test_what_is_no_catalogue(document):
    with pytest.raises(BadInputError, match="no catalogue"):
        parse(document)


@given(
    st.lists(
        st.recursive(
            st.one_of(st.none(), st.text(), st.integers()),
            lambda inner: st.dictionaries(st.sampled_from(["name", "repo", "tags", "x"]), inner),
        )
    )
)
def test_no_entry_raises(document):
    parse(document)


def test_a_catalogue_in_a_file(home, tmp_path, capfd):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([GOOD, {"name": "bad"}]))
    status, _, err = run("catalog", "add", file, home=home, capfd=capfd)
    assert (status, "1 app added: My-App" in err, "warning: entry 2" in err) == (0, True, True)
    assert [app.repo for app in apps(Home(home)) if app.source] == [GOOD["repo"]]
    _, out, _ = run("search", "my-app", "--json", home=home, capfd=capfd)
    assert json.loads(out)[0]["source"] == str(file)
    status, out, _ = run("info", "MY-APP", home=home, capfd=capfd)
    assert "https://github.com/me/my-app" in out
    # read again: what vanished is said and gone
    file.write_text(json.dumps([{**GOOD, "name": "other"}]))
    _, _, err = run("catalog", "add", file, home=home, capfd=capfd)
    assert "`My-App` is no longer in it" in err
    status, out, _ = run("catalog", "list", "--json", home=home, capfd=capfd)
    assert json.loads(out) == [{"source": "pinoctl", "apps": 284}, {"source": str(file), "apps": 1}]
    assert run("catalog", "remove", file, home=home, capfd=capfd)[0] == 0
    assert read_added(Home(home)).catalogues == {}


class Catalogue(BaseHTTPRequestHandler):
    def do_GET(self):
        body = {
            "/ok.json": json.dumps({"apps": [GOOD]}).encode(),
            "/bad.json": b"{",
            "/huge.json": b" " * (9 << 20),
        }.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        if body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_catalogue_by_http(home, capfd):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Catalogue)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        assert run("catalog", "add", f"{base}/ok.json", home=home, capfd=capfd)[0] == 0
        for path, words in (
            ("bad.json", "is not JSON"),
            ("huge.json", "larger than 8 MB"),
            ("none.json", "cannot be had"),
        ):
            status, _, err = run("catalog", "add", f"{base}/{path}", home=home, capfd=capfd)
            assert status in {1, 2}
            assert words in err
    finally:
        server.shutdown()
        server.server_close()
    assert list(read_added(Home(home)).catalogues) == [f"{base}/ok.json"]


def test_one_app_by_its_repository_and_up_by_its_name(home, tmp_path, capfd):
    source = tmp_path / "singer"
    source.mkdir()
    (source / "start.json").write_text('{"run": [{"method": "log", "params": {"text": "x"}}]}')
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=source, check=True, capture_output=True)
    assert run("catalog", "add", f"file://{source}", "--name", "choir", home=home, capfd=capfd)[0] == 0
    status, out, _ = run("plan", "choir", "--json", home=home, capfd=capfd)
    assert (status, json.loads(out)["roles"]) == (0, {"start": "start.json"})
    assert run("catalog", "remove", "choir", home=home, capfd=capfd)[0] == 0
    assert run("catalog", "remove", "choir", home=home, capfd=capfd)[0] == 2


def test_a_name_of_ours_with_another_repository_is_told_apart(home, capfd):
    status, _, err = run("catalog", "add", "https://github.com/me/comfyui", home=home, capfd=capfd)
    assert status == 0
    assert "catalogue with another repository" in err
    status, _, err = run("info", "comfyui", home=home, capfd=capfd)
    assert status == 2
    assert "may mean any of these" in err
    assert run("info", "me/comfyui", home=home, capfd=capfd)[0] == 0


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://me:token@github.com/a/b", "password or token"),
        ("nonsense", "neither a catalogue nor a git URL"),
        ("./none.json", ""),
    ],
)
def test_addresses_that_are_no_good(home, capfd, address, words):
    status, _, err = run("catalog", "add", address, home=home, capfd=capfd)
    assert status == 2
    assert words in err
    assert "token@" not in err


def test_a_broken_file_of_ours_costs_nothing(home, capfd):
    home.mkdir()
    (home / "catalogues.json").write_text('{"catalogues": [')
    assert len(apps(Home(home))) == 284
    assert run("catalog", "list", home=home, capfd=capfd)[0] == 0
