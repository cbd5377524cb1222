"""An app's images: found by their labels, made by commits, named by tags that say what they are now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from orchestrator.places.container import names
from orchestrator.places.container.base_image import inspect
from orchestrator.places.container.chain import Saved, read
from orchestrator.places.container.docker import Docker, DockerError, told

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from orchestrator.engine.home import Home

NO_TAG = "<none>:<none>"
MOST_LAYERS = 110  # of 125 that a commit allows


@dataclass(frozen=True, slots=True)
class AppImage:
    """Describe an image that an app can run from."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size: int
    created: str

    @property
    def app(self) -> str:
        """The app's name."""
        return self.labels.get(names.APP, "")


def current(docker: Docker, home: Home, app: str) -> AppImage | None:
    """Return the image that an app runs from in a home, None when none was built or somebody removed it."""
    return _described(inspect(docker, names.current(home, app)))


def previous(docker: Docker, home: Home, app: str) -> AppImage | None:
    """Return the image before the last update."""
    return _described(inspect(docker, names.previous(home, app)))


def by_reference(docker: Docker, reference: str) -> AppImage | None:
    """Return any image of ours."""
    return _described(inspect(docker, reference))


def _described(found: Mapping[str, Any] | None) -> AppImage | None:
    if found is None:
        return None
    labels = (found.get("Config") or {}).get("Labels") or {}
    return AppImage(
        str(found["Id"]), tuple(found.get("RepoTags") or ()), labels, int(found.get("Size") or 0),
        str(found.get("Created") or ""),
    )  # fmt: skip


def listed(docker: Docker, app: str | None = None) -> list[AppImage]:
    """Return every image that pinoctl made, or those of one app; names are compared without case."""
    with told():
        rows = docker.api.images(filters={"label": [names.KIND]})
    found = [
        AppImage(
            str(row["Id"]),
            tuple(tag for tag in row.get("RepoTags") or () if tag != NO_TAG),
            row.get("Labels") or {},
            int(row.get("Size") or 0),
            _moment(row.get("Created")),
        )
        for row in rows
    ]
    return [image for image in found if app is None or image.app.casefold() == app.casefold()]


def _moment(seconds: Any) -> str:
    """Return when an image was made as `inspect` writes it: a list has seconds since 1970."""
    return datetime.fromtimestamp(float(seconds or 0), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def saved(docker: Docker, app: str) -> list[Saved]:
    """Return the images of an app that a build could go on from; those of a build that failed in it are left out."""
    checkpoints = (image for image in listed(docker, app) if image.labels.get(names.KIND) == "checkpoint")
    return [found for found in map(as_saved, checkpoints) if found is not None]


def as_saved(image: AppImage) -> Saved | None:
    """Return what an image has behind it, None when its labels do not tell."""
    chain, root = read(image.labels.get(names.CHAIN)), image.labels.get(names.ROOT)
    if not root or chain is None:
        return None
    return Saved(image.id, root, chain, image.created)


def commit(docker: Docker, container: str, reference: str, labels: Mapping[str, str], *, pause: bool = False) -> str:
    """Make an image of a container and return its id.

    The image serves, whatever the container was started with; of that, its variables stay, and labels that are not
    given. Raises DockerError.
    """
    repository, _, tag = reference.rpartition(":")
    with told(f"`{reference}` cannot be made"):
        data = {"Cmd": ["serve"], "Labels": dict(labels)}
        return _commit(docker, container, data, {"repo": repository, "tag": tag, "pause": str(pause).lower()})


def _commit(docker: Docker, container: str, data: Mapping[str, Any], params: Mapping[str, str]) -> str:
    answer = docker.api._post_json(  # noqa: SLF001  # docker-py's `commit` cannot ask for no pause, which costs 50 ms
        docker.api._url("/commit"),  # noqa: SLF001  # see above
        data=dict(data),
        params={"container": container, **params},
    )
    return str(docker.api._result(answer, json=True)["Id"])  # noqa: SLF001  # see above


def tag(docker: Docker, image: str, reference: str) -> None:
    """Give an image a name, taken away from any other."""
    repository, _, name = reference.rpartition(":")
    with told(f"`{reference}` cannot be given"):
        docker.api.tag(image, repository, name, force=True)


def untag(docker: Docker, reference: str) -> bool:
    """Take a name away, and with the last one the image; tell whether it was there."""
    from docker.errors import APIError, ImageNotFound  # noqa: PLC0415  # see docker.connect

    try:
        docker.api.remove_image(reference)
    except ImageNotFound:
        return False
    except APIError as error:
        if error.status_code == 409:  # noqa: PLR2004  # a container still uses it: the name is gone with `force`
            with told():
                docker.api.remove_image(reference, force=True)
            return True
        with told():
            raise
    return True


def layers(docker: Docker, image: str) -> int:
    """Return how many layers an image has."""
    return len(layers_of(docker, image))


def layers_of(docker: Docker, image: str) -> list[str]:
    """Return the layers of an image, the lowest first."""
    found = inspect(docker, image)
    return list(((found or {}).get("RootFS") or {}).get("Layers") or ())


def clean(docker: Docker, home: Home, app: str, keep: Collection[str]) -> list[str]:
    """Remove the checkpoints of an app of this home but for those of `keep` (ids), and images without a name.

    Returns which.
    """
    removed, ours = [], names.home_key(home)
    for image in listed(docker, app):
        if image.id in keep or image.labels.get(names.HOME) != ours:
            continue
        if image.labels.get(names.KIND) == "checkpoint":
            removed += [name for name in image.tags if ":checkpoint-" in name and untag(docker, name)]
        if not image.tags and _remove_unused(docker, image.id):
            removed.append(image.id)
    return removed


def clean_unnamed(docker: Docker, home: Home, app: str) -> list[str]:
    """Remove the images of an app of this home that have no name, unless something needs them; return which."""
    ours = names.home_key(home)
    unnamed = [each for each in listed(docker, app) if not each.tags and each.labels.get(names.HOME) == ours]
    return [image.id for image in unnamed if _remove_unused(docker, image.id)]


def _remove_unused(docker: Docker, image: str) -> bool:
    """Remove an image by its id, unless a container or another image needs it."""
    from docker.errors import APIError  # noqa: PLC0415  # see docker.connect

    try:
        docker.api.remove_image(image)
    except APIError:
        return False
    return True


def shallow(docker: Docker, image: str, say: Callable[[str], None]) -> str:
    """Return an image, made flat where it has so many layers that what goes on from it could not be saved.

    Each update adds some, and so does each edit of a launcher that no step has to be repeated for.
    """
    if layers(docker, image) < MOST_LAYERS:
        return image
    say("making one layer of the many that updates and edits of the launcher left")
    return flatten(docker, image)


def flatten(docker: Docker, image: str) -> str:
    """Make an image of one layer from one that has many, with the same configuration, and return its id."""
    described = inspect(docker, image) or {}
    config = described.get("Config") or {}
    with told("the image cannot be made flat"):
        known = config.get("Labels") or {}
        labels = {names.KIND: "helper", **{name: known[name] for name in (names.APP, names.HOME) if name in known}}
        made = str(docker.api.create_container_from_config({"Image": image, "Labels": labels})["Id"])
        try:
            answer = docker.api.import_image_from_stream(docker.api.export(made, chunk_size=1 << 20))
            flat = _last_status(answer)
        finally:
            docker.api.remove_container(made, force=True, v=True)
        again = str(docker.api.create_container_from_config({**config, "Image": flat})["Id"])
        try:
            data = {"Labels": config.get("Labels") or {}, "Cmd": config.get("Cmd")}
            return _commit(docker, again, data, {"pause": "false"})
        finally:
            docker.api.remove_container(again, force=True, v=True)


def _last_status(answer: Any) -> str:
    lines = [json.loads(line) for line in str(answer).splitlines() if line.strip()]
    found = next(
        (line["status"] for line in reversed(lines) if str(line.get("status", "")).startswith("sha256:")), None
    )
    if found is None:
        raise DockerError(f"the daemon did not take the image: {lines[-1] if lines else answer}")
    return str(found)


def unused(docker: Docker, home: Home) -> list[str]:
    """Return what no app of a home runs from, by name: checkpoints, images from before and for an update.

    Images without a name come by their id, but for those that a container still has.
    """
    with told():
        held = {str(row["ImageID"]) for row in docker.api.containers(all=True)}
    ours = [each for each in listed(docker) if each.labels.get(names.HOME) == names.home_key(home)]
    named = [
        tag
        for each in ours
        for tag in each.tags
        if each.labels.get(names.KIND) == "checkpoint" or tag.endswith(("-previous", "-next", "-updated"))
    ]
    return [*named, *(each.id for each in ours if not each.tags and each.id not in held)]


def to_json(image: AppImage) -> dict[str, Any]:
    """Return an image as `image list --json` prints it."""
    labels = image.labels
    return {
        "id": image.id, "tags": list(image.tags), "app": labels.get(names.APP), "kind": labels.get(names.KIND),
        "size": image.size, "base": labels.get(names.BASE), "launcher": labels.get(names.LAUNCHER),
        "hardware": json.loads(labels.get(names.HARDWARE) or "null"), "created": image.created,
    }  # fmt: skip
