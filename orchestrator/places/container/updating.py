"""Updating an app beside the image that it runs from, switching when the new one is healthy, and going back."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.agent.client import AgentGoneError, Event
from orchestrator.agent.protocol import AgentError
from orchestrator.engine.errors import PinoctlError
from orchestrator.launcher import git
from orchestrator.places.container import code, files, gpus, images, names, own, settings
from orchestrator.places.container.build import TEXTS
from orchestrator.places.container.containers import build_spec, home_in
from orchestrator.places.container.docker import DockerError
from orchestrator.places.container.finish import finish, set_sudo
from orchestrator.places.container.living import (
    agent_of,
    await_running,
    create,
    ended,
    ports_of,
    remove,
    runs,
    start,
    wait,
)
from orchestrator.places.container.reading import launcher_hash
from orchestrator.places.container.urls import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.agent.client import Client, Message
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.places.container.build import Ask, Listen, Say
    from orchestrator.places.container.place import ContainerPlace


class NotReadyError(PinoctlError):
    """Report that an app did not get ready from its next image; `result` is what `up` tells of it."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__("the app did not get ready")
        self.result = result


@dataclass(frozen=True, slots=True)
class Asking:
    """Put an agent's questions to a person, over a connection of their own, and pass on all other messages."""

    client: Client
    ask: Ask
    others: Listen

    def listen(self, message: Message) -> None:
        """Take a message of the agent."""
        if not isinstance(message, Event) or message.kind != "question":
            self.others(message)
            return
        form = message.data.get("form")
        answers = self.ask(form if isinstance(form, dict) else {})
        with contextlib.suppress(PinoctlError):  # somebody else was quicker, or the script was stopped meanwhile
            self.client.answer(str(message.data.get("id")), answers or {})


@dataclass
class Updating:
    """Update one app; `listen` gets the agent's events and output, `say` what pinoctl does itself.

    `ask` puts a script's question to a person, None where there is none. The caller holds the app's lock.
    """

    place: ContainerPlace
    app: str
    profile: HardwareProfile
    say: Say
    listen: Listen
    ask: Ask | None = None
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
        chosen = settings.read(home, app)
        volume = chosen.mode == settings.VOLUME
        name = names.container(home, app, "build")
        remove(docker, name)
        with contextlib.suppress(DockerError):
            images.untag(docker, names.candidate(home, app))  # of an update that was killed
        pairs = {**chosen.answers, **(pairs or {})} or None
        was_up = volume and self.place.stop(app)
        try:
            container = self._beside(name, image)
            try:
                result = self._talk(container, answers=answers, pairs=pairs, environment=environment)
                new = "" if volume or result.get("failed") else self._finished(container, image)
            finally:
                remove(docker, container)
        except BaseException:
            if was_up:
                with contextlib.suppress(PinoctlError):  # the next `up` does it where this cannot
                    start(docker, names.container(home, app))  # its agent starts what was started last
            raise
        if new:
            return self._switch(new, environment, pull=True)
        if was_up:
            with self.place.spawn_held(app) as client:
                again = self.place.seen(app, client.up(listen=self.listen, again=True, environment=environment))
            return {**again, "failed": result.get("failed") or again.get("failed")}
        return result

    def back(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """Run the app from the image before its last update again; what its user made since comes along."""
        if settings.read(self.place.home, self.app).mode == settings.VOLUME:
            raise PinoctlError(
                f"`{self.app}` is installed on the volume, which keeps no earlier version",
                hint="a failed update is undone by itself; with `--image-mode` apps can go back after a good one, too",
            )
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
            own_volume=own.ensure(docker, self.place.home, self.app, image),
            code_volume=code.volume(docker, image),
            devices=gpus.requests(chosen.gpus, docker.info, card=self.profile.gpu == "nvidia"),
            containerd_store=docker.containerd_store,
            beside=runs(docker, names.container(self.place.home, self.app)),
        )
        container = create(docker, spec)
        if chosen.mode != settings.VOLUME:
            set_sudo(docker, container, allowed=True)
        start(docker, container)
        return container

    def _talk(self, container: str, **given: Any) -> dict[str, Any]:
        """Have the agent run the update script and end; its questions are put to the person where there is one."""
        docker = self.place.docker
        home = home_in(settings.read(self.place.home, self.app))
        try:
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(agent_of(docker, container, self.app, home))
                listen = self.listen
                if self.ask is not None:
                    asking = stack.enter_context(agent_of(docker, container, self.app, home))
                    asking.attach()
                    listen = Asking(asking, self.ask, self.listen).listen
                result = client.update(listen=listen, **given)
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
        reference = names.updated(home, app)
        updated = images.commit(docker, container, reference, labels)
        if images.layers(docker, updated) >= images.MOST_LAYERS:
            self.say("making one layer of the many that its updates left")
            updated = images.flatten(docker, updated)
            images.tag(docker, updated, reference)
        return finish(docker, updated, names.candidate(home, app), labels)

    def _switch(self, image: str, environment: Mapping[str, str], *, pull: bool = False) -> dict[str, Any]:
        """Bring the app up from another image; when it gets ready that is its image, else it goes on as it was."""
        place, docker, home, app = self.place, self.place.docker, self.place.home, self.app
        running = place.containers(app)
        there = running.settle()
        was_up = there is not None and bool(there["State"]["Running"])
        before = place.image(app)
        try:
            with running.replacing(running.spec(image), there) as following:
                result = self._tried(following, there, environment)
        except NotReadyError as error:
            self.say("the version before goes on" if was_up else "the version before stays")
            if was_up and there is not None:
                self._resume(str(there["Id"]), environment)
            return error.result
        if before is not None and before != image:
            images.tag(docker, before, names.previous(home, app))
        images.tag(docker, image, names.current(home, app))
        with contextlib.suppress(DockerError):
            images.untag(docker, names.candidate(home, app))
        running.forget_images()
        if pull:  # only now: a copy that is ahead of the image would have the next `up` build it anew
            self._pull_launcher()
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

    def _tried(self, following: str, there: Mapping[str, Any] | None, environment: Mapping[str, str]) -> dict[str, Any]:
        """Bring the app up in its next container, as it was started last; raises NotReadyError when it does not."""
        docker, home = self.place.docker, home_in(settings.read(self.place.home, self.app))
        last = self._last_start(there, home)
        try:
            start(docker, following)
            seen = await_running(docker, following)
            with agent_of(docker, following, self.app, home, started=True) as client:
                try:
                    result = client.up(listen=self.listen, environment=environment, **last)
                except AgentError:
                    if not last:
                        raise
                    self.say(f"there is no `{last['start']}` any more; the app is started as its menu says")
                    result = client.up(listen=self.listen, environment=environment)
        except PinoctlError as error:
            result = {"state": "failed", "failed": {"reason": str(error), "hint": error.hint}, "url": None}
        if result.get("failed"):
            raise NotReadyError(result)
        return translated(result, ports_of(seen))

    def _last_start(self, there: Mapping[str, Any] | None, home: str) -> dict[str, Any]:
        """Return which script the app was started with last and its arguments, {} where its menu's choice was taken."""
        if there is None:
            return {}
        kept = files.read_json(self.place.docker, str(there["Id"]), f"{home}/installed/{self.app}/state.json")
        said = kept.get("start") if isinstance(kept, dict) else None
        if not isinstance(said, dict):
            return {}
        path, root = str(said.get("path")), f"{home}/api/{self.app}/"
        return {"start": path.removeprefix(root), "args": said.get("args") or {}} if path.startswith(root) else {}

    def _resume(self, container: str, environment: Mapping[str, str]) -> None:
        """Wait until the app is up again in the container that it had, as it was started last."""
        home = home_in(settings.read(self.place.home, self.app))
        try:
            await_running(self.place.docker, container)
            with agent_of(self.place.docker, container, self.app, home, started=True) as client:
                client.up(listen=self.listen, again=True, environment=environment)
        except PinoctlError as error:
            self.say(f"it does not come up again: {error}; `pinoctl up {self.app}` tries once more")
