"""Having an app's image as it should be: built where it is missing or its launcher changed, refreshed with pinoctl."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from orchestrator.places.container import chain, code, images, names, settings
from orchestrator.places.container.build import Ask, Build, Built, Listen, Say, Wish
from orchestrator.places.container.docker import RefusedError
from orchestrator.places.container.finish import finish
from orchestrator.places.container.living import find, remove, remove_helpers
from orchestrator.places.container.reading import launcher_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.places.container.docker import Docker
    from orchestrator.places.container.place import ContainerPlace


@dataclass(frozen=True, slots=True)
class Made:
    """Tell what the image of an app is now: its id, or None and what failed (as `up` tells it)."""

    image: str | None
    result: Mapping[str, Any] = field(default_factory=dict)
    built: Built | None = None


@dataclass
class Making:
    """Make the image of one app."""

    place: ContainerPlace
    app: str
    profile: HardwareProfile
    say: Say
    listen: Listen
    ask: Ask | None = None
    accept: Callable[[Built], None] = lambda _built: None  # raises when what was built is not what was wanted

    def run(self, wish: Wish, *, always: bool = False) -> Made:
        """Return the image that the app runs from, made if it has to be; the caller holds the app's lock."""
        home, app, docker = self.place.home, self.app, self.place.docker
        remove_helpers(docker, home, app)
        chosen = settings.read(home, app)
        volume = chosen.mode == settings.VOLUME
        self._refuse_other_mode(chosen)
        image = self.place.image(app)
        if image is not None and volume and not self.place.on_volume(app):
            self.say(f"the volume that `{app}` was installed on is gone or empty, so it is installed again")
            image = None
        if image is not None and not (always or wish.fresh) and not launcher_changed(self.place, app):
            remove(docker, names.container(home, app, "build"))  # of an update that was killed
            return Made(self._with_our_code(image))
        if volume and self.place.stop(app):
            self.say(f"`{app}` is stopped while it is installed again: it runs from the folder that is installed into")
        update = self._update(chosen)
        build = Build(
            docker, home, app, settings=chosen, profile=self.profile, say=self.say, listen=self.listen, ask=self.ask,
            update=update,
        )  # fmt: skip
        built = build.run(wish)
        if built.image is None:
            return Made(None, built.result, built)
        self.accept(built)
        final = built.image
        if not volume:
            if image is not None and update and not _same_beginning(docker, image, built):
                images.tag(docker, image, names.previous(home, app))  # no build leads back to what an update brought
            final = finish(docker, built.image, names.current(home, app), built.labels)
        # only now: a command that was killed before would leave the old image for that of the changed launcher
        facts = {
            "mode": chosen.mode, "image": built.image, "launcher": built.reading.launcher_hash, "update": update,
        }  # fmt: skip
        settings.write(home, app, build.settings.changed(installed=facts))
        if volume:
            return Made(final, built.result, built)
        images.clean(docker, home, app, _useful(docker, app, built) | {built.image})
        return Made(final, built.result, built)

    def _refuse_other_mode(self, chosen: settings.Settings) -> None:
        """Raise RefusedError where an app would be installed in another mode and what was made in it left behind."""
        installed = chosen.installed.get("mode", chosen.mode)
        lost = self.place.lost_with(self.app) if installed != chosen.mode else []
        if lost:
            container = names.container(self.place.home, self.app)
            what = "on the volume" if installed == settings.VOLUME else "in its image"
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise RefusedError(
                f"`{self.app}` is installed {what}, and what was made in it would be left behind: `{lost[0]}`{more}",
                hint=f"copy it out with `docker cp {container}:{lost[0]} FOLDER`, forget the installation with"
                f" `pinoctl reset {self.app}`, and install it anew; or leave the option out",
            )

    def _update(self, chosen: settings.Settings) -> str:
        """Return which update the app has behind it; it is remembered, as somebody may have removed the image."""
        found = images.current(self.place.docker, self.place.home, self.app)
        if found is not None:
            return chain.update_of(found.labels.get(names.ROOT))
        return str(chosen.installed.get("update") or "")

    def _with_our_code(self, image: str) -> str:
        """Give an image this pinoctl's code, unless its container is at work: that one is left in peace."""
        docker, home, app = self.place.docker, self.place.home, self.app
        found = images.current(docker, home, app)
        if found is None or found.labels.get(names.CODE) == code.digest():
            return image
        there = find(docker, names.container(home, app))
        if there is not None and there["State"]["Running"]:
            return image
        self.say("putting this version of pinoctl into the image; nothing is installed again")
        return finish(docker, _below(docker, app, found) or found.id, names.current(home, app), found.labels)


def launcher_changed(place: ContainerPlace, app: str) -> bool:
    """Tell whether a launcher is another than the one that the app was installed by."""
    before = settings.read(place.home, app).installed.get("launcher")
    found = images.current(place.docker, place.home, app) if before is None else None
    if found is not None:
        before = found.labels.get(names.LAUNCHER)
    return bool(before) and before != launcher_hash(place.home, app)


def _below(docker: Docker, app: str, image: images.AppImage) -> str | None:
    """Return the checkpoint with everything installed that an image was finished from, None when it is gone."""
    same, above = (names.ROOT, names.LAUNCHER), images.layers_of(docker, image.id)
    for each in images.listed(docker, app):
        if (
            each.labels.get(names.KIND) == "checkpoint"
            and each.labels.get(names.INSTALLED) == "true"
            and all(each.labels.get(name) == image.labels.get(name) for name in same)
            # what an update left and what was installed anew after it may have the same labels
            and above[: len(layers := images.layers_of(docker, each.id))] == layers
        ):
            return each.id
    return None


def _same_beginning(docker: Docker, before: str, built: Built) -> bool:
    """Tell whether the image that a build made has more in common with the one before it than the base image."""
    layers = zip(images.layers_of(docker, before), images.layers_of(docker, str(built.image)), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], layers))
    return common > images.layers(docker, built.labels[names.BASE].rpartition(" ")[2])


def _useful(docker: Docker, app: str, built: Built) -> set[str]:
    """Return the checkpoints that a next build could go on from."""
    texts = built.reading.texts
    root = built.labels.get(names.ROOT)
    return {each.id for each in images.saved(docker, app) if each.root == root and texts.stands(each.chain)}
