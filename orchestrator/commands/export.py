"""`pinoctl export compose|dockerfile`: what other tools need to run or to build an app."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option
from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.deploy.compose import ComposeApp
    from orchestrator.engine.home import Home
    from orchestrator.places.container.place import ContainerPlace

FIRST_PORT = 8080


@click.group()
def export() -> None:
    """Write what other tools need to run or to build apps."""


@export.command()
@click.argument("apps", nargs=-1, required=True, metavar="APP...")
@click.option(
    "-o", "--output", "file", type=click.Path(path_type=Path), metavar="FILE", help="Write there instead of to stdout."
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=FIRST_PORT,
    metavar="N",
    help="Port of the first app on 127.0.0.1; the next ones follow  [default: 8080]",
)
@click.option("--project", default="pinokio", metavar="NAME", help="Name of the project  [default: pinokio]")
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="APP=REF",
    help="Image to name instead of the local one, for another machine; may be repeated.",
)
@click.option(
    "--volume",
    metavar="NAME",
    help="A volume that is there, for models and caches; `home` is that of this home  [default: a new one]",
)
@home_option
def compose(
    *,
    apps: tuple[str, ...],
    file: Path | None,
    port: int,
    project: str,
    images: tuple[str, ...],
    volume: str | None,
    home: Path | None,
) -> int:
    """Write a Compose project that runs apps from their images: limits, GPUs, mounts, variables as pinoctl has them.

    `PINOCTL_TOKEN=... docker compose -f FILE up` starts it; the pages ask for the token. Secret variables are only
    named: whoever starts it sets them.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.deploy.compose import folders, to_yaml  # noqa: PLC0415
    from orchestrator.deploy.compose import project as make_project  # noqa: PLC0415
    from orchestrator.deploy.schema import check  # noqa: PLC0415
    from orchestrator.places.container import names  # noqa: PLC0415
    from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415

    where = home_of(home)
    other = dict(_pair(text) for text in images)
    place = ContainerPlace(where)
    listed = [usable_app(where, app) for app in apps]
    twice = next((name for name in listed if listed.count(name) > 1), None)
    if twice is not None:
        raise BadInputError(f"`{twice}` is named twice", hint="name every app once: each becomes one service")
    unknown = [name for name in other if name.casefold() not in {each.casefold() for each in listed}]
    if unknown:
        raise BadInputError(f"`--image` names `{unknown[0]}`, which is not exported", hint="name one of the apps")
    found = [_compose_app(place, where, name, port + at, other) for at, name in enumerate(listed)]
    shared = names.volume(where) if volume == "home" else volume or f"{project}-shared"
    made = make_project(found, name=project, volume=shared, external=volume is not None)
    if volume is not None and any(name.casefold() not in {each.casefold() for each in other} for name in listed):
        _check_volume(place, shared)
    check(made, folders=folders(found))
    text = to_yaml(made)
    if file is None:
        output.data(text.rstrip())
        return 0
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise BadInputError(
            f"`{file}` cannot be written: {error.strerror}", hint="name a file that you may write"
        ) from error
    output.say(f"`PINOCTL_TOKEN=... docker compose -f {file} up` starts it")
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, sign, reference = text.partition("=")
    if not sign or not name or not reference:
        raise BadInputError(
            f"`--image` needs APP=REF, got `{text}`", hint="for example `--image comfyui=ghcr.io/me/comfyui:1`"
        )
    from orchestrator.places.container.pushing import check_reference  # noqa: PLC0415  # see above

    named, at, digest = reference.partition("@")
    check_reference(named if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not at else reference)
    return name, reference


def _check_volume(place: ContainerPlace, name: str) -> None:
    """Raise BadInputError where a volume is not there, of a project that runs on this machine: it has its images."""
    from docker.errors import NotFound  # noqa: PLC0415  # see above

    from orchestrator.places.container.docker import told  # noqa: PLC0415

    with told():
        try:
            place.docker.api.inspect_volume(name)
        except NotFound as error:
            raise BadInputError(
                f"there is no volume `{name}`",
                hint=f"`docker volume ls` lists them, `docker volume create {name}` makes it, or leave `--volume` out",
            ) from error


def _given(home: Home, name: str, *, elsewhere: bool) -> Mapping[str, str]:
    """Return the variables that an app was given; `elsewhere` says that nothing of it need be on this machine."""
    from orchestrator.commands.env import template_of, text_of  # noqa: PLC0415  # see above
    from orchestrator.deploy.given import given  # noqa: PLC0415
    from orchestrator.engine.environment.files import read_text  # noqa: PLC0415

    try:
        own = text_of(home, name) or ""
    except PinoctlError as error:
        if not elsewhere:
            raise
        output.say(f"warning: the variables of `{name}` are left out: {error}", style="yellow")
        return {}
    root = home.app_root(home.app(name)) or home.app(name)
    inside = f"/pinokio/api/{name}/{root.relative_to(home.app(name))}"
    found = given(read_text(home.environment) or "", template_of(home, name), own, home="/pinokio", app=inside)
    if found.fixed:
        shown = ", ".join(f"`{each}`" for each in found.fixed)
        output.say(
            f"warning: left out of `{name}`: {shown}; the image has values of its own, which count there",
            style="yellow",
        )
    return found.variables


def _compose_app(place: ContainerPlace, home: Home, name: str, port: int, other: dict[str, str]) -> ComposeApp:
    from orchestrator.commands.building import BROUGHT  # noqa: PLC0415  # see above
    from orchestrator.deploy.compose import ComposeApp  # noqa: PLC0415
    from orchestrator.engine.hardware import detect  # noqa: PLC0415
    from orchestrator.engine.redaction import is_secret  # noqa: PLC0415
    from orchestrator.places.container import images, names, settings  # noqa: PLC0415
    from orchestrator.places.container.endpoint import gpu_support  # noqa: PLC0415

    given = next((reference for key, reference in other.items() if key.casefold() == name.casefold()), None)
    if given is None and images.current(place.docker, home, name) is None:
        raise PinoctlError(
            f"`{name}` has no image", hint=f"`pinoctl build {name}` makes it, or name one with `--image {name}=REF`"
        )
    chosen = settings.read(home, name)
    card = chosen.gpus is None and detect().gpu == "nvidia" and bool(gpu_support(place.docker.info))
    return ComposeApp(
        name,
        given or names.current(home, name),
        port,
        gpus="all" if card else chosen.gpus,
        memory=chosen.memory,
        cpus=chosen.cpus,
        shm=chosen.shm,
        pids=chosen.pids,
        mounts=chosen.mounts,
        environment=_given(home, name, elsewhere=given is not None),
        passed=sorted(filter(is_secret, BROUGHT)),
    )


@export.command()
@click.argument("app")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to write  [default: APP-image]",
)
@click.option(
    "--lock",
    "lock_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Hold the build to this lock  [default: that of the last `build`]",
)
@click.option("--base", metavar="IMAGE", help="The image that it begins with, also PINOCTL_BASE_IMAGE.")
@home_option
def dockerfile(*, app: str, folder: Path | None, lock_file: Path | None, base: str | None, home: Path | None) -> int:
    """Write a folder that `docker build` makes an app's image from, without pinoctl: the same steps, one by one."""
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.going_back import at_commit, go_back  # noqa: PLC0415
    from orchestrator.commands.locking import machine_of, read_held, refuse, tree_moved  # noqa: PLC0415
    from orchestrator.deploy.dockerfile import export_folder  # noqa: PLC0415
    from orchestrator.engine.hardware import detect  # noqa: PLC0415
    from orchestrator.lock import lock as locks  # noqa: PLC0415
    from orchestrator.places.container import settings  # noqa: PLC0415

    where = home_of(home)
    go_back(where)
    name = usable_app(where, app)
    usual = settings.folder_of(where, name) / locks.FILE_NAME
    file = lock_file if lock_file is not None else usual if usual.exists() else None
    held = read_held(name, file) if file is not None else None
    if held is not None and held.secrets:
        raise PinoctlError(
            f"the lock's build had a secret answer, `{held.secrets[0]}`, which `docker build` would leave in an image",
            hint=f"`pinoctl build {name} --push REF` makes the image with it and hands that on",
        )
    into = folder or Path(f"{name}-image")
    chosen = settings.read(where, name)
    try:
        if held is None:
            export_folder(
                where, name, into, held=None, start=base or chosen.base, profile=detect(), answers=chosen.answers
            )
        else:
            with at_commit(where, name, held.launcher.commit) as source:
                refuse(tree_moved(source, name, held))
                export_folder(
                    source, name, into, held=held, start=base or held.base.reference, profile=machine_of(held),
                    answers=held.captured,
                )  # fmt: skip
    except OSError as error:
        if not Path(str(error.filename)).is_relative_to(into):
            raise
        raise BadInputError(
            f"`{into}` cannot be written: {error.strerror}", hint="name a folder that you may write with `--output`"
        ) from error
    output.say(f"`docker build --tag {name.lower()} {into}` makes the image, with BuildKit (Docker's plugin buildx)")
    output.data(str(into))
    return 0
