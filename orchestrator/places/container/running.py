"""Running an app's image: one container per app, made anew only when it has to be, and never without its user's files.

A container is replaced in steps that can each be repeated: the new one is made beside as `...-next` and gets what the
user made in the old one, then the names change hands, then the old one goes. `settle` puts right what a killed command
left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.places.container import code, gpus, names
from orchestrator.places.container.containers import Spec, run_spec
from orchestrator.places.container.docker import Docker, DockerError, told
from orchestrator.places.container.living import create, find, remove, start, stop
from orchestrator.places.container.settings import VOLUME, Settings

if TYPE_CHECKING:
    from orchestrator.engine.home import Home

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Running:
    """Know the containers of one app."""

    docker: Docker
    home: Home
    app: str
    settings: Settings
    card: bool
    say: Say

    @property
    def name(self) -> str:
        """Name of the app's container."""
        return names.container(self.home, self.app)

    def _named(self, what: str) -> str:
        return names.container(self.home, self.app, what)

    def spec(self, image: str, *, name: str | None = None) -> Spec:
        """Return how the app's container is made from an image."""
        warning = gpus.unused(self.settings.gpus, self.docker.info, card=self.card)
        if warning:
            self.say(f"warning: {warning}")
        return run_spec(
            name=name or self.name,
            image=image,
            app=self.app,
            home=names.home_key(self.home),
            volume=names.volume(self.home),
            settings=self.settings,
            devices=gpus.requests(self.settings.gpus, self.docker.info, card=self.card),
            code_volume=code.volume(self.docker, image) if self.settings.mode == VOLUME else None,
        )

    def settle(self) -> dict[str, Any] | None:
        """Put right what a killed command left, and return the app's container, None without one."""
        there, following, before = (find(self.docker, self._named(what)) for what in ("", "next", "old"))
        if there is None and following is not None and before is not None:
            self._rename(following, self.name)  # it was killed between the two renamings
            there, following = find(self.docker, self.name), None
        if there is None and before is not None:
            self._rename(before, self.name)
            there, before = find(self.docker, self.name), None
        for left in (following, before):
            if left is not None:
                remove(self.docker, str(left["Id"]))
        return there

    def ensure(self, image: str) -> str:
        """Have the app's container run from an image, and return its id."""
        spec = self.spec(image)
        there = self.settle()
        if there is not None and (there["Config"]["Labels"] or {}).get(names.CONFIG) == spec.digest:
            container = str(there["Id"])
            if not there["State"]["Running"]:
                self._start(container)
            return container
        if there is None:
            container = create(self.docker, spec)
            self._start(container, new=True)
            return container
        following = self.prepare_next(image, there)
        self.switch(following, there)
        self._start(following)
        return following

    def prepare_next(self, image: str, there: Mapping[str, Any]) -> str:
        """Stop the app's container, make its successor beside it and carry its user's files over; return its id."""
        self._stop(there)
        spec = self.spec(image)
        left = find(self.docker, self._named("next"))
        if left is not None:
            remove(self.docker, str(left["Id"]))
        following = create(self.docker, Spec(self._named("next"), spec.body))
        try:
            self._carry(str(there["Id"]), following)
        except BaseException:
            remove(self.docker, following)
            raise
        return following

    def switch(self, following: str, there: Mapping[str, Any]) -> None:
        """Put the successor in the place of the app's container."""
        self._rename(there, self._named("old"))
        with told():
            self.docker.api.rename(following, self.name)
        remove(self.docker, str(there["Id"]))

    def _carry(self, old: str, new: str) -> None:
        from orchestrator.places.container.carry import carry  # noqa: PLC0415  # only where a container is replaced

        carry(
            self.docker.client,
            old,
            new,
            roots=(f"/pinokio/api/{self.app}", "/home/pinokio"),
            say=self.say,
        )

    def _start(self, container: str, *, new: bool = False) -> None:
        try:
            start(self.docker, container)
        except DockerError:
            if new:
                remove(self.docker, container)  # it never ran, so nothing is lost
            raise

    def _stop(self, there: Mapping[str, Any]) -> None:
        stop(self.docker, str(there["Id"]))

    def _rename(self, there: Mapping[str, Any], name: str) -> None:
        with told():
            self.docker.api.rename(str(there["Id"]), name)
