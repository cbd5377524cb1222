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
    from orchestrator.places.container.place import ContainerPlace

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

    They are kept in the ENVIRONMENT file of the app, which only its owner can read; that of an app in a container lies
    on its own volume. A change counts from the next shell that the app starts.
    """
    changes = {**dict(_assignment(text) for text in assignments), **{_checked(name): "" for name in unset}}
    where = home_of(home)
    name = usable_app(where, app)
    if changes:
        _write(where, name, changes)
        file, volume = _kept(where, name)
        there = f" on the volume `{volume}`" if volume else ""
        output.say(f"set {', '.join(f'`{key}`' for key in changes)} in `{file}`{there}")
        _advise(where, name)
        if not as_json:
            return 0
    _show(where, name, as_json=as_json)
    return 0


def _in_container(home: Home, name: str) -> ContainerPlace | None:
    """Return the place of an app that lives in a container; its ENVIRONMENT lies on a volume of its own."""
    from orchestrator.places.choosing import HOST, place_of  # noqa: PLC0415  # `--help` does without

    if place_of(home, name).name == HOST:
        return None
    from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415  # only for these

    return ContainerPlace(home)


def _assignment(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise BadInputError(f"`{text}` sets nothing", hint="write KEY=VALUE, or `--unset KEY`")
    return _checked(key), value


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"`{output.clean(name)}` cannot be the name of a variable",
            hint="use letters, digits and `_`, not beginning with a digit",
        )
    return name


def _file(home: Home, name: str) -> Path:
    return (home.app_root(home.app(name)) or home.app(name)) / "ENVIRONMENT"


def _kept(home: Home, name: str) -> tuple[str, str | None]:
    """Return the file that an app's variables are kept in, and the volume that it lies on where containers have it."""
    if _in_container(home, name) is None:
        return str(_file(home, name)), None
    from orchestrator.places.container import names, own  # noqa: PLC0415  # only for these

    return f"{own.PRIVATE}/{name}/ENVIRONMENT", names.own_volume(home, name)


def _write(home: Home, name: str, changes: dict[str, str]) -> None:
    from orchestrator.engine.environment.files import ensure_app_file, set_app_values  # noqa: PLC0415  # only for changes

    place = _in_container(home, name)
    if place is not None:
        from orchestrator.engine.environment.dotenv import set_value  # noqa: PLC0415  # only for these

        text = place.environment_text(name) or _text_for_new(home, name)
        for key, value in changes.items():
            text = set_value(text, key, value)
        place.write_environment(name, text)
        return
    ensure_app_file(home, home.app(name))
    set_app_values(home, home.app(name), changes)


def _text_for_new(home: Home, name: str) -> str:
    """Return what an app's ENVIRONMENT will be made of."""
    from orchestrator.engine.environment.defaults import app_file_text  # noqa: PLC0415  # `--help` does without
    from orchestrator.engine.environment.dotenv import parse  # noqa: PLC0415
    from orchestrator.engine.environment.files import read_text  # noqa: PLC0415

    return app_file_text(template_of(home, name), parse(read_text(home.environment) or ""))


def text_of(home: Home, name: str) -> str | None:
    """Return the text of an app's ENVIRONMENT, None while there is none; raises PinoctlError."""
    from orchestrator.engine.environment.files import read_text  # noqa: PLC0415  # `--help` does without

    place = _in_container(home, name)
    return place.environment_text(name) if place is not None else read_text(_file(home, name))


def template_of(home: Home, name: str) -> str:
    """Return the text of the `_ENVIRONMENT` that comes with an app's launcher, "" where it has none."""
    from orchestrator.engine.environment.files import read_text  # noqa: PLC0415  # `--help` does without

    return read_text(_file(home, name).with_name("_ENVIRONMENT")) or ""


def _show(home: Home, name: str, *, as_json: bool) -> None:
    from orchestrator.engine.environment.dotenv import parse, quote  # noqa: PLC0415  # `--help` does without
    from orchestrator.engine.redaction import redact  # noqa: PLC0415

    text = text_of(home, name)
    if text is None:  # looking at it creates nothing
        text = _text_for_new(home, name)
    values = redact(parse(text))
    if as_json:
        kept, volume = _kept(home, name)
        output.as_json({"app": name, "file": kept, "volume": volume, "values": values})
        return
    for key, value in values.items():
        output.data(f"{key}={quote(value)}")


def _advise(home: Home, name: str) -> None:
    """Say that a running app does not see the change yet."""
    from orchestrator.commands.overview import ask_agent  # noqa: PLC0415  # only for changes

    if (ask_agent(home, name) or {}).get("running"):
        output.say(f"`{name}` is running; `pinoctl restart {name}` makes it count")
