"""Updating an app beside the image that it runs from, switching when the new one is healthy, and going back."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.client import AgentGoneError, Event
from orchestrator.agent.condition import Condition
from orchestrator.agent.protocol import AgentError
from orchestrator.engine.errors import PinoctlError
from orchestrator.launcher import git
from orchestrator.places.container import chain, code, files, gpus, images, names, own, settings
from orchestrator.places.container.bringing import Bringing
from orchestrator.places.container.build import TEXTS
from orchestrator.places.container.containers import build_spec, home_in
from orchestrator.places.container.docker import DockerError
from orchestrator.places.container.finish import finish, set_sudo
from orchestrator.places.container.following import follow, head_of
from orchestrator.places.container.launcher import digest
from orchestrator.places.container.living import (
    agent_of,
    await_running,
    create,
    ended,
    remove,
    runs,
    start,
    wait,
)
from orchestrator.places.container.making import launcher_changed
from orchestrator.places.container.reading import launcher_files, launcher_hash, sums_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.agent.client import Client, Message
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.places.container.build import Ask, Listen, Say
    from orchestrator.places.container.place import ContainerPlace

PATIENCE: Final = 30.0  # seconds in which an app that goes on has to say how it is


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

        The script and the others are those of the launcher as it is here. Answers as the agent's `update` does. When
        the update fails, or the updated app does not get ready, the app goes on as it was, and the answer says how.
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
        bringing = Bringing(docker, home, app, home_in(chosen), launcher_files(home, app))
        try:
            container = self._beside(name, image)
            try:
                bringing.put(container)
                before = self._head(container)
                start(docker, container)
                result = self._talk(container, answers=answers, pairs=pairs, environment=environment)
                head = self._head(container)
                launcher = digest(bringing.files, sums=sums_of(home))
                new = "" if volume or result.get("failed") else self._finished(container, image, launcher)
            finally:
                remove(docker, container)
        except BaseException:
            if was_up:
                with contextlib.suppress(PinoctlError):  # the next `up` does it where this cannot
                    start(docker, names.container(home, app))  # its agent starts what was started last
            raise
        commit = head if head != before and not result.get("failed") else None
        if new:
            answer = self._switch(new, environment, commit)
            return {**answer, "updated": not answer.get("failed")}
        self._follow(commit)
        if was_up:
            with self.place.spawn_held(app) as client:
                again = self.place.seen(app, client.up(listen=self.listen, again=True, environment=environment))
            return {**again, "failed": result.get("failed") or again.get("failed"), "updated": result.get("updated")}
        return self._as_it_is(result)

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

    def _head(self, container: str) -> str | None:
        """Return the commit that the launcher in a container is at."""
        folder = f"{home_in(settings.read(self.place.home, self.app))}/api/{self.app}/.git"
        return head_of(lambda name: files.read(self.place.docker, container, f"{folder}/{name}"))

    def _follow(self, commit: str | None) -> None:
        """Bring this machine's copy of the launcher to where the update brought the one in the container.

        The app then stands for the launcher as it is, unless that was changed before and not yet built: what such a
        change asks of the installation is for the next `up`, whose scripts an update does not replace.
        """
        home, app = self.place.home, self.app
        folder = home.app(app)
        pending = launcher_changed(self.place, app)
        try:
            if commit is None or not follow(folder, commit):
                return
        except git.GitError as error:
            self.say(f"the launcher's copy in `{folder}` stays as it is: {error}")
            return
        if not pending:
            self._remember(launcher=launcher_hash(home, app))

    def _remember(self, **facts: str) -> None:
        chosen = settings.read(self.place.home, self.app)
        settings.write(self.place.home, self.app, chosen.changed(installed={**chosen.installed, **facts}))

    def _as_it_is(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer of what changed nothing: why, and how the app goes on."""
        now = Condition.from_json(self.place.status(self.app, timeout=PATIENCE)) or Condition()
        return {**self.place.seen(self.app, result), "state": str(now), "url": now.url}

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

    def _finished(self, container: str, before: str, launcher: str) -> str:
        docker, home, app = self.place.docker, self.place.home, self.app
        old = images.by_reference(docker, before)
        known = {key: value for key, value in (old.labels if old is not None else {}).items() if key[:8] == "pinoctl."}
        labels = {
            **known,
            names.KIND: "checkpoint",
            names.INSTALLED: "true",
            names.ROOT: chain.after_update(known.get(names.ROOT, ""), str(int(self.clock()))),
            names.LAUNCHER: launcher,
            TEXTS: "",
            names.CONFIG: "",
        }
        reference = names.updated(home, app)
        saved = images.commit(docker, container, reference, labels)
        updated = images.shallow(docker, saved, self.say)
        images.tag(docker, updated, reference)
        return finish(docker, updated, names.candidate(home, app), labels)

    def _switch(self, image: str, environment: Mapping[str, str], commit: str | None = None) -> dict[str, Any]:
        """Bring the app up from another image; when it gets ready that is its image, else it goes on as it was.

        `commit` is where the launcher in the image is, None where it was not moved.
        """
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
            return self._as_it_is(error.result)
        if before is not None and before != image:
            images.tag(docker, before, names.previous(home, app))
        images.tag(docker, image, names.current(home, app))
        with contextlib.suppress(DockerError):
            images.untag(docker, names.candidate(home, app))
        running.forget_images()
        found = images.by_reference(docker, image)
        self._remember(image=image, update=chain.update_of(found.labels.get(names.ROOT) if found is not None else ""))
        self._follow(commit)  # only now: a copy that is ahead of the image would have the next `up` build it anew
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
        return self.place.seen(self.app, result, seen)

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
