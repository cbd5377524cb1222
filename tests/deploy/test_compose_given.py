"""What apps were given, on its way into a Compose project: variables come along, secrets by name only."""

from __future__ import annotations

import pytest
import yaml

from cli import invoke
from orchestrator.deploy.compose import to_yaml
from orchestrator.deploy.given import given
from orchestrator.deploy.schema import check
from orchestrator.engine.environment.defaults import app_file_text, system_file_text
from orchestrator.engine.home import Home
from tests.deploy.projects import one

TEMPLATE = "COLOUR=red\nHF_TOKEN=\n"
FOLDERS = {"home": "/pinokio", "app": "/pinokio/api/plain"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give a home with an app on this machine; whoever starts the project has no say in what is written."""
    made = Home(tmp_path / "home")
    made.app("plain").mkdir(parents=True)
    monkeypatch.setenv("PINOCTL_HOME", str(made.root))
    return made


def exported(*words):
    return invoke(["export", "compose", *words])


def test_files_that_nobody_changed_give_nothing():
    new = app_file_text(TEMPLATE, {})
    assert given(system_file_text(), TEMPLATE, new, **FOLDERS).variables == {}
    assert given("", "", "", **FOLDERS).variables == {}


def test_what_was_set_is_given_and_the_apps_own_counts():
    found = given(
        system_file_text() + "FOO=home\nONLY=here\nMODELS=./m\n", TEMPLATE,
        app_file_text(TEMPLATE, {}) + "FOO=app\nHF_TOKEN=hf_x\nOUT=./out\nONLY=\n", **FOLDERS,
    )  # fmt: skip
    assert found.variables == {
        "FOO": "app",
        "ONLY": "here",
        "HF_TOKEN": "hf_x",
        "OUT": "/pinokio/api/plain/out",
        "MODELS": "/pinokio/m",
    }
    assert found.fixed == ()


def test_what_the_image_has_a_value_of_its_own_for_cannot_be_given():
    own = app_file_text(TEMPLATE, {}).replace("COLOUR=red", "COLOUR=blue") + "PINOKIO_SHARE_CLOUDFLARE=true\n"
    found = given("GRADIO_ANALYTICS_ENABLED=True\n", TEMPLATE, own, **FOLDERS)
    assert found.fixed == ("COLOUR", "GRADIO_ANALYTICS_ENABLED", "PINOKIO_SHARE_CLOUDFLARE")
    assert found.variables == {}


def test_what_whoever_starts_it_may_have_is_handed_on_by_its_name():
    made = one(environment={"HF_TOKEN": "hf_x", "INDEX": "https://me:word@host/simple"}, passed=["HF_TOKEN", "A_KEY"])
    check(made)
    environment = made["services"]["app"]["environment"]
    assert environment["HF_TOKEN"].startswith("${HF_TOKEN:?")
    assert environment["INDEX"].startswith("${INDEX:?")
    assert environment["A_KEY"] is None
    text = to_yaml(made)
    assert yaml.safe_load(text) == made
    assert "# Put into that file as well: HF_TOKEN, INDEX\n# These are handed on where they are set: A_KEY\n" in text


def test_an_export_has_what_its_app_was_given(home, capsys):
    home.environment.write_text("EVERYWHERE=yes\n")
    assert invoke(["env", "plain", "FOO=bar", "SHOP_TOKEN=a-secret-word", "PINOKIO_SHARE_CLOUDFLARE=true"]) == 0
    assert exported("plain", "--image", "plain=ghcr.io/me/plain:1") == 0
    said = capsys.readouterr()
    environment = yaml.safe_load(said.out)["services"]["plain"]["environment"]
    assert environment["FOO"] == "bar"
    assert environment["SHOP_TOKEN"].startswith("${SHOP_TOKEN:?")
    assert environment["HF_TOKEN"] is None
    assert "a-secret-word" not in said.out
    assert "left out of `plain`: `PINOKIO_SHARE_CLOUDFLARE`" in said.err
    assert environment["EVERYWHERE"] == "yes"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plain", "PLAIN"], "`plain` is named twice"),
        (["plain", "--image", "plain=UPPER CASE:1"], "`UPPER CASE:1` cannot be the name of an image"),
        (["plain", "--image", "plain=a@sha256:1"], "`a@sha256:1` cannot be the name of an image"),
    ],
)
def test_what_cannot_be_exported_is_said(capsys, words, said):
    assert exported(*words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "hint:" in captured.err
    assert captured.out == ""


@pytest.mark.usefixtures("home")
def test_an_image_may_be_named_by_its_digest(capsys):
    reference = f"ghcr.io/me/plain@sha256:{'0' * 64}"
    assert exported("plain", "--image", f"plain={reference}") == 0
    assert yaml.safe_load(capsys.readouterr().out)["services"]["plain"]["image"] == reference
