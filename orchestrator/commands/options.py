"""Options that several commands share, and the reading of their values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home

Function = TypeVar("Function", bound=Callable[..., Any])


def home_option(function: Function) -> Function:
    """Add `--home`."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        metavar="DIR",
        envvar="PINOCTL_HOME",
        help="Where everything lives, also PINOKIO_HOME  [default: PINOCTL_HOME, else ~/pinokio]",
    )(function)


def json_option(function: Function) -> Function:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(function)


def quiet_option(function: Function) -> Function:
    """Add `--quiet`."""
    return click.option("-q", "--quiet", is_flag=True, help="Show only warnings, questions and errors.")(function)


def hardware_option(function: Function) -> Function:
    """Add `--hardware`."""
    return click.option(
        "--hardware",
        metavar="FILE|NAME",
        help="Take the machine's facts from a file, or of a common card (`T4`, `rtx4090`, `none`).",
    )(function)


def yes_option(function: Function) -> Function:
    """Add `--yes`."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask whether you are sure.")(function)


def answer_options(function: Function) -> Function:
    """Add `--answer` and `--answers`."""
    function = click.option(
        "--answer", multiple=True, metavar="KEY=VALUE", help="Answer one question of the script; may be repeated."
    )(function)
    return click.option(
        "--answers",
        metavar="FILE|JSON",
        help="Answers: an object by key, or an array with one object per `input` step.",
    )(function)


def container_options(function: Function) -> Function:
    """Add what says where an app lives and what its container may use."""
    for option in reversed(_CONTAINER_OPTIONS):
        function = option(function)
    return function


def _cpus(text: str) -> Any:
    return 0 if text == "none" else click.FloatRange(min=0.01)(text)


def _pids(text: str) -> Any:
    return 0 if text == "none" else click.IntRange(min=16)(text)


_CONTAINER_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--place",
        type=click.Choice(["host", "container"]),
        help="Where the app lives  [default: a container where Docker is usable]",
    ),
    click.option(
        "--volume-mode/--image-mode",
        default=None,
        help="Install on the shared volume, or in an image of its own  [default: an image]",
    ),
    click.option(
        "--gpus",
        metavar="GPUS",
        help="`all`, `none`, a number, identifiers with commas, or `auto`: all where there are any.",
    ),
    click.option("--memory", metavar="SIZE", help="Memory that its container may use, like `16g`, or `none`."),
    click.option(
        "--cpus",
        type=_cpus,
        metavar="N",
        help="Processors, like `3.5`, or `none` for no limit.",
    ),
    click.option("--shm", metavar="SIZE", help="Shared memory of its container, or `none`  [default: 1g]"),
    click.option(
        "--pids",
        type=_pids,
        metavar="N",
        help="Processes that may run in its container, or `none`  [default: 8192]",
    ),
    click.option(
        "--mount",
        multiple=True,
        metavar="SOURCE:TARGET",
        help="Mount a folder or volume; may be repeated, and takes the place of those of before; `none` mounts none.",
    ),
    click.option(
        "--base", metavar="IMAGE", help="The image that the base image begins with, or `none` for pinoctl's choice."
    ),
)


def home_of(given: Path | None) -> Home:
    """Return the home to work in: what was given, else the machine's default."""
    from orchestrator.hosts.homes import default_home  # noqa: PLC0415  # not needed where a home is given
    from orchestrator.hosts.signs import exists, read_text  # noqa: PLC0415  # as above

    path = given or default_home(os.environ, exists, read_text)
    return Home(Path(os.path.abspath(path.expanduser())))  # noqa: PTH100  # resolve() would follow links


def check_script(file: Path) -> None:
    """Raise BadInputError unless a script is there."""
    if not file.is_file():
        what = "is a folder, not a script" if file.is_dir() else "does not exist"
        raise BadInputError(f"`{file}` {what}", hint="give the path of a `.js` or `.json` script")


def expose_options(function: Function) -> Function:
    """Add what says how an app is reached from beyond this machine, and when it is stopped for being idle."""
    for option in reversed(_EXPOSE_OPTIONS):
        function = option(function)
    return function


_EXPOSE_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--tunnel",
        metavar="NAME",
        help="How the app is reached from outside: `auto`, or a provider  [default: `auto` on rented machines]",
    ),
    click.option("--no-tunnel", is_flag=True, help="Let nothing lead to it from outside."),
    click.option("--public/--closed", default=None, help="Let in everyone who finds its address, without a token."),
    click.option("--framed/--not-framed", default=None, help="Let pages of other sites show it in a frame."),
    click.option("--stop-after-idle", metavar="SPAN", help="Stop when unused for so long, like `30m`; `none`: never."),
    click.option("--max-hours", metavar="HOURS", help="Stop after so many hours, like `8` or `90m`; 0: never."),
    click.option(
        "--stop-what",
        type=click.Choice(["app", "machine"]),
        help="What those two stop; the machine where its provider lets us  [default: app]",
    ),
)


def parse_args(text: str | None) -> Any:
    """Read `--args`: a JSON object (or null), UNDEFINED when the option was not given."""
    from orchestrator.engine.values import UNDEFINED  # noqa: PLC0415  # not needed for `--help`

    if text is None:
        return UNDEFINED
    value = parse_json(text, "--args")
    if value is not None and not isinstance(value, dict):
        raise BadInputError(
            f"`--args` must be a JSON object, got {text}", hint='for example `--args \'{"model": "small"}\'`'
        )
    return value


def parse_json(text: str, option: str) -> Any:
    """Read a JSON value given on the command line."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInputError(
            f"`{option}` is not valid JSON: {error}", hint='quote it for the shell, as in \'{"key": "value"}\''
        ) from error


def parse_answers(text: str | None) -> Any:
    """Read `--answers`, a file or JSON: an object by key or an array of objects; None when it was not given."""
    if text is None:
        return None
    if text.lstrip().startswith(("{", "[")):
        given = parse_json(text, "--answers")
    else:
        try:
            given = parse_json(Path(text).read_text("utf-8"), "--answers")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"the answers file `{text}` cannot be read: {error}") from error
    if not isinstance(given, (dict, list)) or (
        isinstance(given, list) and not all(isinstance(item, dict) for item in given)
    ):
        raise BadInputError("`--answers` must be an object by key, or an array with one object per `input` step")
    return given


def given_answers(text: str | None, pairs: tuple[str, ...]) -> tuple[Any, dict[str, Any] | None]:
    """Read `--answers` and `--answer` as an agent takes them; repeated keys get an array, None means none."""
    document = parse_answers(text)
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise BadInputError(
                f"`--answer` needs KEY=VALUE, got `{key or pair}`", hint="for example `--answer model=small`"
            )
        if key in found:
            before = found[key]
            found[key] = [*(before if isinstance(before, list) else [before]), value]
        else:
            found[key] = value
    return document, found or None
