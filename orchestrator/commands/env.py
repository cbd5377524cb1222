"""`pinoctl env APP [KEY=VALUE ...]`: show or set the variables of an app's ENVIRONMENT (spec 9.3, 9.4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from orchestrator.commands import output
from orchestrator.commands.apps import usable_app
from orchestrator.commands.options import home_of, home_option, json_option
from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.home import Home

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@click.command()
@click.argument("app")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--unset",
    multiple=True,
    metavar="KEY",
    help="Leave a variable blank, so that HOME/ENVIRONMENT's value counts; may be repeated.",
)
@home_option
@json_option
def env(*, app: str, assignments: tuple[str, ...], unset: tuple[str, ...], home: Path | None, as_json: bool) -> int:
    """Show an app's variables with secrets masked, or set some of them.

    They are kept in the ENVIRONMENT file of the app, which only its owner can read. A change counts from the next shell
    that the app starts.
    """
    changes = {**dict(_assignment(text) for text in assignments), **{_checked(name): "" for name in unset}}
    where = home_of(home)
    name = usable_app(where, app)
    if changes:
        _write(where, name, changes)
        output.say(f"set {', '.join(f'`{key}`' for key in changes)} in `{_file(where, name)}`")
        _advise(where, name)
        if not as_json:
            return 0
    _show(where, name, as_json=as_json)
    return 0


def _assignment(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise BadInputError(f"`{text}` sets nothing", hint="write KEY=VALUE, or `--unset KEY`")
    return _checked(key), value


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name!r} cannot be the name of a variable", hint="use letters, digits and `_`, not beginning with a digit"
        )
    return name


def _file(home: Home, name: str) -> Path:
    return (home.app_root(home.app(name)) or home.app(name)) / "ENVIRONMENT"


def _write(home: Home, name: str, changes: dict[str, str]) -> None:
    from orchestrator.engine.environment.files import ensure_app_file, set_app_values  # noqa: PLC0415  # only for changes

    ensure_app_file(home, home.app(name))
    set_app_values(home, home.app(name), changes)


def _show(home: Home, name: str, *, as_json: bool) -> None:
    from orchestrator.engine.environment.defaults import app_file_text  # noqa: PLC0415  # `--help` does without
    from orchestrator.engine.environment.dotenv import parse, quote  # noqa: PLC0415
    from orchestrator.engine.environment.files import read_text  # noqa: PLC0415
    from orchestrator.engine.redaction import redact  # noqa: PLC0415

    file = _file(home, name)
    text = read_text(file)
    if text is None:  # what it will be made of; looking at it creates nothing
        template = read_text(file.with_name("_ENVIRONMENT")) or ""
        text = app_file_text(template, parse(read_text(home.environment) or ""))
    values = redact(parse(text))
    if as_json:
        output.as_json({"app": name, "file": str(file), "values": values})
        return
    for key, value in values.items():
        output.data(f"{key}={quote(value)}")


def _advise(home: Home, name: str) -> None:
    """Say that a running app does not see the change yet."""
    from orchestrator.commands.overview import ask_agent  # noqa: PLC0415  # only for changes

    if (ask_agent(home, name) or {}).get("running"):
        output.say(f"`{name}` is running; `pinoctl restart {name}` makes it count")
