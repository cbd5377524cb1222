"""Running an app's image: one container per app, made anew only when it has to be, and never without its user's files.

A container is replaced in steps that can each be repeated: the new one is made beside as `...-next` and gets what the
user made in the old one, then the names change hands, then the old one goes. `settle` puts right what a killed command
left.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import PinoctlError
from orchestrator.places.container import code, gpus, images, names, own, ports, variables
from orchestrator.places.container.changes import roots_of
from orchestrator.places.container.containers import Spec, run_spec
from orchestrator.places.container.docker import Docker, DockerError, told
from orchestrator.places.container.living import PortTakenError, create, find, remove, start, stop, unpause
from orchestrator.places.container.settings import VOLUME, Settings

if TYPE_CHECKING:
    from orchestrator.engine.home import Home

Say = Callable[[str], None]
MOST_TAKEN: Final = 20  # ports that are tried in vain; what takes more is no coincidence


@dataclass(frozen=True, slots=True)
class Ensured:
    """Tell the id of a container that runs, and whether it was started for that."""

    container: str
    started: bool


def fits(there: Mapping[str, Any], spec: Spec) -> bool:
    """Tell whether a container is as it would be made now; one that runs may have the code of an earlier pinoctl."""
    if (there["Config"]["Labels"] or {}).get(names.CONFIG) != spec.digest:
        return False
    if there["State"]["Running"]:
        return True
    before = next((each["Source"] for each in there["HostConfig"]["Mounts"] if each["Target"] == code.PLACE), None)
    return before == spec.code_volume and ports.fixed(there) in {(), ports.fixed(spec.body)}


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

    def spec(self, image: str, *, name: str | None = None, avoid: Collection[int] = ()) -> Spec:
        """Return how the app's container is made from an image, without the ports to `avoid`."""
        warning = gpus.unused(self.settings.gpus, self.docker.info, card=self.card)
        if warning:
            self.say(f"warning: {warning}")
        return run_spec(
            name=name or self.name,
            image=image,
            app=self.app,
            home=names.home_key(self.home),
            volume=names.volume(self.home),
            own_volume=own.ensure(self.docker, self.home, self.app, image),
            settings=self.settings,
            devices=gpus.requests(self.settings.gpus, self.docker.info, card=self.card),
            code_volume=code.volume(self.docker, image) if self.settings.mode == VOLUME else None,
            ports=ports.chosen(
                names.home_key(self.home),
                self.app,
                before=find(self.docker, self.name) or find(self.docker, self._named("old")),
                avoid=avoid,
                free=ports.is_free,
            ),
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

    def ensure(self, image: str) -> Ensured:
        """Have the app's container run from an image; what cannot be had leaves the app as it was."""
        taken: tuple[int, ...] = ()
        while True:
            spec = self.spec(image, avoid=taken)
            try:
                return self._ensure(spec)
            except PortTakenError:
                ours = ports.fixed(spec.body)
                if not ours or len(taken) >= MOST_TAKEN:
                    raise
                self.say(f"another program has the port of `{self.app}`; it gets another one")
                taken += ours

    def _ensure(self, spec: Spec) -> Ensured:
        there = self.settle()
        if there is None or not fits(there, spec):
            with self.replacing(spec, there) as following:
                start(self.docker, following)
            self.forget_images()
            return Ensured(following, started=True)
        container = str(there["Id"])
        variables.bring(self.docker, self.home, container)
        if there["State"].get("Paused"):
            self.say("its container was paused, and goes on")
            unpause(self.docker, container)
        elif not there["State"]["Running"]:
            start(self.docker, container)
            return Ensured(container, started=True)
        return Ensured(container, started=False)

    @contextlib.contextmanager
    def replacing(self, spec: Spec, there: Mapping[str, Any] | None) -> Iterator[str]:
        """Give the successor of the app's container, with its user's files; it takes its place when the block ends.

        Where the block raises, or the successor cannot be had, it is removed; the app's container stays, and is started
        again if it ran.
        """
        if there is None:
            try:
                yield self._create(spec)
            except BaseException:
                with contextlib.suppress(PinoctlError):  # see below
                    remove(self.docker, self.name)
                raise
            return
        try:
            following = self._successor(spec, there)
            yield following
            self._rename(there, self._named("old"))
            with told():
                self.docker.api.rename(following, self.name)
        except BaseException:
            with contextlib.suppress(PinoctlError):  # the next command settles what a daemon that is gone cannot
                self._go_back(start_again=bool(there["State"]["Running"]))
            raise
        remove(self.docker, str(there["Id"]))

    def _successor(self, spec: Spec, there: Mapping[str, Any]) -> str:
        """Make the successor and bring the user's files there; the app is stopped once it is clear that it can be."""
        remove(self.docker, self._named("next"))
        following = self._create(Spec(self._named("next"), spec.body))
        from orchestrator.places.container.carry import carry  # noqa: PLC0415  # only to replace one

        old = str(there["Id"])
        still = functools.partial(stop, self.docker, old)
        carry(self.docker.client, old, following, roots=roots_of(self.app), say=self.say, stop=still)
        return following

    def _create(self, spec: Spec) -> str:
        container = create(self.docker, spec)
        variables.bring(self.docker, self.home, container)
        return container

    def _go_back(self, *, start_again: bool) -> None:
        remove(self.docker, self._named("next"))
        there = self.settle()
        if start_again and there is not None and not there["State"]["Running"]:
            start(self.docker, str(there["Id"]))  # its agent starts what was started last

    def forget_images(self) -> None:
        """Remove images of the app that have no name any more, and that its old container held until now."""
        with contextlib.suppress(DockerError):
            images.clean_unnamed(self.docker, self.home, self.app)

    def _rename(self, there: Mapping[str, Any], name: str) -> None:
        with told():
            self.docker.api.rename(str(there["Id"]), name)
