"""`pinoctl image build|list|rm|push`: base images, and the images of apps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator.commands import output
from orchestrator.commands.options import hardware_option, home_of, home_option, json_option, quiet_option, yes_option
from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from pathlib import Path


SHORT: Final = 19  # letters by which an image without a name is known, `sha256:` and twelve


@click.group()
def image() -> None:
    """Build, list, remove and push images: base images, and those of apps."""


@image.command("build")
@click.option("--devel", is_flag=True, help="With CUDA's compiler, for apps that build from source.")
@click.option("--base", metavar="IMAGE", help="The image to begin with, also PINOCTL_BASE_IMAGE.")
@click.option("--fresh", is_flag=True, help="Build it though it is there.")
@hardware_option
@json_option
@quiet_option
def build(*, devel: bool, base: str | None, fresh: bool, hardware: str | None, as_json: bool, quiet: bool) -> int:
    """Build the base image that the images of apps are built on, if it is not there, and print its name."""
    from orchestrator.engine.hardware import detect  # noqa: PLC0415  # `--help` does without
    from orchestrator.hosts.resources.cards import load_hardware  # noqa: PLC0415
    from orchestrator.places.container import base_image  # noqa: PLC0415
    from orchestrator.places.container.docker import connect  # noqa: PLC0415

    profile = load_hardware(hardware) if hardware else detect()
    chosen = base_image.choose(profile, source_build=devel, start=base)
    docker = connect()
    found = base_image.ensure(docker, chosen, say=_silent if quiet else _shown, fresh=fresh)
    name = found["Tag"]  # one image may have the names of several variants
    if as_json:
        output.as_json({"image": name, "id": found["Id"], "variant": chosen.variant, "start": chosen.start})
    else:
        output.data(name)
    return 0


def _shown(line: str) -> None:
    output.say(output.clean(line), style="dim")


def _silent(_line: str) -> None:
    return


@image.command("list")
@click.argument("app", required=False)
@click.option("--all", "everything", is_flag=True, help="Checkpoints of builds as well.")
@json_option
def list_(*, app: str | None, everything: bool, as_json: bool) -> int:
    """List the images that pinoctl made: base images, and those of apps."""
    from orchestrator.commands.status import size  # noqa: PLC0415  # `--help` does without
    from orchestrator.places.container import images, names  # noqa: PLC0415
    from orchestrator.places.container.docker import connect  # noqa: PLC0415

    found = images.listed(connect(), app)
    if app is not None and not found:
        raise BadInputError(f"there is no image of `{app}`", hint="`pinoctl image list` lists all that there are")
    shown = [each for each in found if everything or each.labels.get(names.KIND) != "checkpoint"]
    if as_json:
        output.as_json([images.to_json(each) for each in shown])
    elif shown:
        rows = [
            [tag, each.labels.get(names.KIND, "-"), each.app or "-", size(each.size)]
            for each in shown
            for tag in each.tags or (each.id[:SHORT],)
        ]
        output.table(sorted(rows), ["IMAGE", "KIND", "APP", "SIZE"])
    elif found:
        whose = f" of `{app}`" if app is not None else ""
        output.say(f"only checkpoints of builds{whose}; `pinoctl image list --all` shows them")
    else:
        output.say("no image of pinoctl's; `pinoctl build APP` makes one")
    return 0


@image.command("rm")
@click.argument("references", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--unused", is_flag=True, help="Every checkpoint of this home, and every image that no app of it runs from."
)
@yes_option
@home_option
def rm(*, references: tuple[str, ...], unused: bool, yes: bool, home: Path | None) -> int:
    """Remove images by name; what an app runs from stays unless it is named.

    An app whose image is removed is built again by the next `up`.
    """
    from orchestrator.commands.confirm import confirm  # noqa: PLC0415  # `--help` does without
    from orchestrator.places.container import images, names  # noqa: PLC0415
    from orchestrator.places.container.docker import connect  # noqa: PLC0415

    if bool(references) == unused:
        raise BadInputError("`image rm` needs images or `--unused`", hint="`pinoctl image list --all` lists them")
    docker = connect()
    names_ = list(references) if references else images.unused(docker, home_of(home))
    for name in references:
        found = images.by_reference(docker, name)
        if found is None:
            raise BadInputError(f"there is no image `{name}`", hint="`pinoctl image list --all` lists them")
        if names.KIND not in found.labels:
            raise BadInputError(f"the image `{name}` is not pinoctl's", hint=f"`docker image rm {name}` removes it")
    if not names_:
        output.say("no image is unused")
        return 0
    if not confirm(f"Remove {len(names_)} images: {', '.join(f'`{name}`' for name in names_[:8])}?", yes=yes):
        return 1
    for name in names_:
        images.untag(docker, name)
        output.say(f"`{name}` is removed")
    return 0


@image.command("push")
@click.argument("app")
@click.argument("reference", metavar="REF")
@home_option
@json_option
@quiet_option
def push(*, app: str, reference: str, home: Path | None, as_json: bool, quiet: bool) -> int:
    """Push an app's image to a registry, as REF (`ghcr.io/me/comfyui:1`); logins are those of `docker login`."""
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.places.container import images  # noqa: PLC0415
    from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415
    from orchestrator.places.container.pushing import check_reference, publish  # noqa: PLC0415

    reference = check_reference(reference)
    where = home_of(home)
    name = usable_app(where, app)
    place = ContainerPlace(where)
    found = images.current(place.docker, where, name)
    if found is None:
        raise PinoctlError(f"`{name}` has no image", hint=f"`pinoctl build {name}` makes it")
    answer: dict[str, Any] = {"app": name, "image": reference, "digest": None}
    try:
        answer["digest"] = digest = publish(place.docker, found.id, reference, say=_silent if quiet else _shown)
    except PinoctlError as error:
        if as_json:
            output.as_json({**answer, "error": str(error)})
        raise
    if as_json:
        output.as_json(answer)
    else:
        output.data(f"{reference.rpartition(':')[0]}@{digest}" if digest else reference)
    return 0
