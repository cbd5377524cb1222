"""`pinoctl people`: who may enter with a name and a password instead of a link."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option
from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def people() -> None:
    """Let people enter with a name and a password."""


@people.command()
@click.argument("name")
@click.option("--app", "apps", multiple=True, metavar="APP", help="Only this app; may be repeated  [default: all]")
@click.option("--password-file", type=click.File("rb"), metavar="FILE", help="Read it from a file, `-` for stdin.")
@home_option
@json_option
def add(*, name: str, apps: tuple[str, ...], password_file: IO[bytes] | None, home: Path | None, as_json: bool) -> int:
    """Add a person, or give one another password or other apps; asks for the password."""
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.ask import can_ask  # noqa: PLC0415
    from orchestrator.commands.exposing import keys_of  # noqa: PLC0415

    where = home_of(home)
    allowed = [installed_app(where, app) for app in apps] or None
    if password_file is not None:
        password = _text(password_file.read()).rstrip("\r\n")
    elif can_ask():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise BadInputError("nobody is there to type a password", hint="give it with `--password-file FILE`")
    keys_of(where).set_password(name, password, allowed)
    if as_json:
        output.as_json({"name": name, "apps": allowed})
    else:
        output.say(f"`{name}` may enter " + (", ".join(f"`{app}`" for app in allowed) if allowed else "every app"))
    return 0


def _text(password: bytes) -> str:
    try:
        return password.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInputError(
            "the password file is not UTF-8 text", hint="a password is one line of text; browsers send it as UTF-8"
        ) from error


@people.command("list")
@home_option
@json_option
def list_(*, home: Path | None, as_json: bool) -> int:
    """List who may enter with a password, and which apps."""
    from orchestrator.commands.exposing import keys_of  # noqa: PLC0415  # `--help` does without

    found = keys_of(home_of(home)).people()
    if as_json:
        output.as_json(
            [{"name": each.user, "apps": list(each.apps) if each.apps is not None else None} for each in found]
        )
    elif found:
        output.table(
            [[each.user, ", ".join(each.apps) if each.apps is not None else "all"] for each in found], ["NAME", "APPS"]
        )
    else:
        output.say("nobody; `pinoctl people add NAME` adds somebody")
    return 0


@people.command()
@click.argument("name")
@home_option
@json_option
def remove(*, name: str, home: Path | None, as_json: bool) -> int:
    """Let a person enter no more; whoever is in is out at the next click."""
    from orchestrator.commands.exposing import keys_of  # noqa: PLC0415  # `--help` does without

    keys_of(home_of(home)).forget(name)
    if as_json:
        output.as_json({"name": name, "removed": True})
    else:
        output.say(f"`{name}` may enter no more")
    return 0
