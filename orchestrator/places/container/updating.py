"""Updating an app beside the image that it runs from, switching when the new one is healthy, and going back."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.agent.client import AgentGoneError
from orchestrator.engine.errors import PinoctlError
from orchestrator.launcher import git
from orchestrator.places.container import code, gpus, images, names, settings
from orchestrator.places.container.build import TEXTS
from orchestrator.places.container.containers import build_spec, home_in
from orchestrator.places.container.docker import DockerError
from orchestrator.places.container.finish import finish
from orchestrator.places.container.living import (
    agent_of,
    await_running,
    create,
    ended,
    ports_of,
    remove,
    start,
    wait,
)
from orchestrator.places.container.reading import launcher_hash
from orchestrator.places.container.urls import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.agent.client import Client
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.places.container.build import Listen, Say
    from orchestrator.places.container.place import ContainerPlace


@dataclass
class Updating:
    """Update one app; `listen` gets the agent's events and output, `say` what pinoctl does itself.

    The caller holds the app's lock.
    """

    place: ContainerPlace
    app: str
    profile: HardwareProfile
    say: Say
    listen: Listen
    clock: Callable[[], float] = time.time

    def run(
        self, *, answers: Any = None, pairs: Mapping[str, Any] | None = None, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """Run the update script on a copy of the app's image, and run the app from what comes of it when it gets ready.

        Answers as the agent's `update` does. When the update fails, or the updated app does not get ready, the app goes
        on as it was.
        """
        docker, home, app = self.place.docker, self.place.home, self.app
        image = self.place.image(app)
        if image is None:
            raise DockerError(f"`{app}` has no image", hint=f"`pinoctl up {app}` builds it")
        volume = settings.read(home, app).mode == settings.VOLUME
        was_up = volume and self.place.stop(app)
        name = names.container(home, app, "build")
        remove(docker, name)
        with contextlib.suppress(DockerError):
            images.untag(docker, names.candidate(home, app))  # of an update that was killed
        container = self._beside(name, image)
        try:
            result = self._talk(
                container, lambda client: client.update(listen=self.listen, answers=answers, pairs=pairs)
            )
            new = "" if volume or result.get("failed") else self._finished(container, image)
        finally:
            remove(docker, container)
        if new:
            self._pull_launcher()
            return self._switch(new, environment)
        if was_up:
            with self.place.spawn_held(app) as client:
                again = self.place.seen(app, client.up(listen=self.listen, environment=environment))
            return {**again, "failed": result.get("failed") or again.get("failed")}
        return result

    def back(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """Run the app from the image before its last update again; what its user made since comes along."""
        found = images.previous(self.place.docker, self.place.home, self.app)
        if found is None:
            raise PinoctlError(
                f"`{self.app}` has no image from before an update", hint="only the image before the last update is kept"
            )
        return self._switch(found.id, environment)

    def _pull_launcher(self) -> None:
        """Bring this machine's copy of the launcher to where the update brought the one in the image, if it can be."""
        folder = self.place.home.app(self.app)
        if folder.is_symlink() or not git.is_repository(folder):
            return
        try:
            git.run_git(git.in_folder(folder, "pull", "--ff-only", "--quiet"))
        except git.GitError as error:
            self.say(f"the launcher's copy in `{folder}` stays as it is: {error}")

    def _beside(self, name: str, image: str) -> str:
        docker, chosen = self.place.docker, settings.read(self.place.home, self.app)
        spec = build_spec(
            name=name,
            image=image,
            app=self.app,
            labels={
                names.KIND: "build",
                names.APP: self.app,
                names.HOME: names.home_key(self.place.home),
                names.ROOT: "update",
                names.MODE: chosen.mode,
            },
            settings=chosen,
            volume=names.volume(self.place.home),
            code_volume=code.volume(docker, image),
            devices=gpus.requests(chosen.gpus, docker.info, card=self.profile.gpu == "nvidia"),
            containerd_store=docker.containerd_store,
        )
        container = create(docker, spec)
        start(docker, container)
        return container

    def _talk(self, container: str, work: Callable[[Client], dict[str, Any]]) -> dict[str, Any]:
        docker = self.place.docker
        home = home_in(settings.read(self.place.home, self.app))
        try:
            with agent_of(docker, container, self.app, home) as client:
                result = work(client)
                client.down()
        except AgentGoneError as error:
            wait(docker, container)
            raise ended(docker, container, self.app) from error
        wait(docker, container)
        return result

    def _finished(self, container: str, before: str) -> str:
        docker, home, app = self.place.docker, self.place.home, self.app
        old = images.by_reference(docker, before)
        labels = {
            **{
                key: value
                for key, value in (old.labels if old is not None else {}).items()
                if key.startswith("pinoctl.")
            },
            names.KIND: "checkpoint",
            names.INSTALLED: "true",
            names.ROOT: f"update {int(self.clock())}",
            names.LAUNCHER: launcher_hash(home, app),
            TEXTS: "",
            names.CONFIG: "",
        }
        reference = f"{names.repository(app)}:{names.home_key(home)}-updated"
        updated = images.commit(docker, container, reference, labels)
        if images.layers(docker, updated) >= images.MOST_LAYERS:
            self.say("making one layer of the many that its updates left")
            updated = images.flatten(docker, updated)
            images.tag(docker, updated, reference)
        return finish(docker, updated, names.candidate(home, app), labels)

    def _switch(self, image: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """Bring the app up from another image; when it gets ready that is its image, else it goes on as it was."""
        place, docker, home, app = self.place, self.place.docker, self.place.home, self.app
        running = place.containers(app)
        there = running.settle()
        was_up = there is not None and bool(there["State"]["Running"])
        before = place.image(app)
        following = running.prepare_next(image, there) if there is not None else create(docker, running.spec(image))
        result: dict[str, Any] = {}
        try:
            start(docker, following)
            seen = await_running(docker, following)
            with agent_of(docker, following, app, home_in(settings.read(home, app))) as client:
                result = translated(client.up(listen=self.listen, environment=environment), ports_of(seen))
        except PinoctlError as error:
            result = {"state": "failed", "failed": {"reason": str(error), "hint": error.hint}, "url": None}
        if result.get("failed"):
            remove(docker, following)
            self.say("the version before goes on")
            if was_up:
                with place.spawn_held(app) as client:
                    client.up(listen=self.listen, environment=environment)
            return result
        if there is not None:
            running.switch(following, there)
        if before is not None and before != image:
            images.tag(docker, before, names.previous(home, app))
        images.tag(docker, image, names.current(home, app))
        for left in (names.candidate(home, app),):
            with contextlib.suppress(DockerError):
                images.untag(docker, left)
        chosen = settings.read(home, app)
        settings.write(
            home,
            app,
            chosen.changed(installed={**chosen.installed, "image": image, "launcher": launcher_hash(home, app)}),
        )
        if not was_up:
            place.stop(app)
            return {**result, "state": "stopped", "url": None}
        return result
