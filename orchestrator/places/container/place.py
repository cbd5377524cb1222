"""Containers as a place: an app's image is built when it is missing, its container made, its agent talked to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.client import AgentGoneError, Client
from orchestrator.agent.files import AgentFiles
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.hardware import HardwareProfile, detect, without_cards
from orchestrator.places.container import code, files, gpus, images, names, own, settings, variables
from orchestrator.places.container.containers import home_in
from orchestrator.places.container.docker import Docker, DockerError, connect, told
from orchestrator.places.container.living import (
    agent_of,
    await_running,
    ended,
    find,
    ports_of,
    remove,
    stop,
    trouble,
    unpause,
    why_of,
)
from orchestrator.places.container.running import Ensured, Running, Say
from orchestrator.places.container.urls import reachable, translated
from orchestrator.state.locks import waiting_lock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.engine.home import Home


AT_WORK: Final = frozenset({"installing", "starting", "ready"})
GENTLY: Final = frozenset({None, 0, 137, 143})  # how containers end that were stopped, by us or by somebody else


LOGS: Final = re.compile(r"terminal(-\d{1,18})?\.log|journal\.jsonl(\.1)?")


def is_log(name: str) -> bool:
    """Tell whether a file is one that an agent logs to: nothing else comes out of a container's logs."""
    return LOGS.fullmatch(name) is not None


def any_base(docker: Docker) -> str | None:
    """Return the id of some base image, None where there is none."""
    return next((each.id for each in images.listed(docker) if each.labels.get(names.KIND) == "base"), None)


def _quiet(_line: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class Listing:
    """Tell which containers of a home there were at one moment, and which images of pinoctl's: tags and ids."""

    containers: frozenset[str]
    images: frozenset[str]


@dataclass
class ContainerPlace:
    """Be the containers of one home; `say` gets what pinoctl does itself."""

    home: Home
    say: Say = _quiet
    _docker: Docker | None = field(default=None, init=False)
    _started: bool = field(default=False, init=False)
    _listing: Listing | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """Name of the place."""
        return "container"

    @property
    def docker(self) -> Docker:
        """The daemon, connected to on first use; raises DockerError."""
        if self._docker is None:
            self._docker = connect()
        return self._docker

    def prepare(self) -> None:
        """Make sure that the daemon can be used."""
        self.docker  # noqa: B018  # connecting is what is asked for

    def overlook(self) -> None:
        """List once what there is, for a command that only asks for the `status` of many apps; raises DockerError."""
        label = f"{names.HOME}={names.home_key(self.home)}"
        with told():
            rows = self.docker.api.containers(all=True, filters={"label": [label]})
        found = images.listed(self.docker)
        self._listing = Listing(
            frozenset(name.lstrip("/") for row in rows for name in row["Names"] or ()),
            frozenset(name for image in found for name in (image.id, *image.tags)),
        )

    def profile(self, app: str) -> HardwareProfile:
        """Return the machine as the app's container sees it: without the card where it gets none."""
        found = detect()
        wanted = settings.read(self.home, app).gpus
        if found.gpu == "nvidia" and not gpus.requests(wanted, self.docker.info, card=True):
            return without_cards(found)
        return found

    def containers(self, app: str) -> Running:
        """Return what knows the containers of an app."""
        chosen = settings.read(self.home, app)
        return Running(self.docker, self.home, app, chosen, card=detect().gpu == "nvidia", say=self.say)

    def spawn(self, app: str) -> Client:
        """Return a connection to the app's agent, in a container that runs; raises DockerError without an image."""
        with waiting_lock(self.home, app, "started", say=self.say):
            there = self._ensured(app)
        await_running(self.docker, there.container)
        return self._agent(there.container, app, started=there.started)

    def spawn_held(self, app: str) -> Client:
        """Do as `spawn` does for who holds the app's lock already."""
        there = self._ensured(app)
        await_running(self.docker, there.container)
        return self._agent(there.container, app, started=there.started)

    def _ensured(self, app: str) -> Ensured:
        image = self.image(app)
        if image is None:
            raise DockerError(f"`{app}` has no image", hint=f"`pinoctl up {app}` builds it")
        there = self.containers(app).ensure(image)
        self._started |= there.started
        return there

    def leave(self, app: str) -> None:
        """Stop the app's container where `spawn` started it and nothing of the app is up in it."""
        if not self._started:
            return
        with waiting_lock(self.home, app, "stopped"):
            client = self.find(app)
            if client is None:
                return
            with client:
                said = client.status()
            if said.get("word") not in AT_WORK and not said.get("running"):
                self.stop(app)

    def has(self, app: str) -> bool:
        """Tell whether there is an image or a container of the app, whatever state they are in."""
        kept = (find(self.docker, names.container(self.home, app, what)) for what in ("", "old", "next", "build"))
        return self.image(app) is not None or any(each is not None for each in kept)

    def image(self, app: str) -> str | None:
        """Return the id of the image that an app runs from, None when it has to be built first."""
        chosen = settings.read(self.home, app)
        if chosen.mode == settings.VOLUME:
            base = chosen.installed.get("image") if chosen.installed.get("mode") == settings.VOLUME else None
            return str(base) if base and images.by_reference(self.docker, str(base)) is not None else None
        found = images.current(self.docker, self.home, app)
        return found.id if found is not None else None

    def on_volume(self, app: str) -> bool:
        """Tell whether the shared volume has an installation of the app in volume mode."""
        container = self.helper(app)
        try:
            return files.read(self.docker, container, f"/data/installed/{app}/launcher.json") is not None
        finally:
            self.drop(container)

    def find(self, app: str, *, timeout: float = 10.0) -> Client | None:
        """Connect to the app's agent, None when its container does not run."""
        for what in ("", "build"):
            there = find(self.docker, names.container(self.home, app, what))
            if there is not None and there["State"]["Running"]:
                try:
                    return self._agent(str(there["Id"]), app, timeout=timeout)
                except AgentGoneError:
                    continue
        return None

    def _agent(self, container: str, app: str, *, timeout: float = 30.0, started: bool = False) -> Client:
        try:
            home = home_in(settings.read(self.home, app))
            return agent_of(self.docker, container, app, home, timeout=timeout, started=started)
        except AgentGoneError as error:
            raise ended(self.docker, container, app) from error

    def _container(self, app: str) -> dict[str, Any] | None:
        """Return the app's container, in the middle of a replacement the one before it; nothing is put right here."""
        found = find(self.docker, names.container(self.home, app))
        return found if found is not None else find(self.docker, names.container(self.home, app, "old"))

    def seen(self, app: str, answer: Mapping[str, Any], there: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return an agent's answer as this machine sees it: its URL and ports, and where its log is copied to.

        `there` is the agent's container as the daemon describes it, the app's by default.
        """
        there = find(self.docker, names.container(self.home, app)) if there is None else there
        files = AgentFiles(self.home, app)
        if str(answer.get("log")).startswith(own.logs_in(app, beside=True)):
            files = AgentFiles(self.home, app, history=files.folder / "build")
        log = {"log": str(files.terminal)} if "log" in answer else {}
        return {**translated(answer, ports_of(there) if there is not None else {}), **log}

    def reachable(self, app: str, text: str) -> str:
        """Return a text of the app's with the URLs of its servers as this machine reaches them, where it is up."""
        there = find(self.docker, names.container(self.home, app))
        client = self.find(app) if there is not None and there["State"]["Running"] else None
        if there is None or client is None:
            return text
        with client:
            return reachable(text, client.status().get("forwards") or {}, ports_of(there))

    def status(self, app: str, *, timeout: float = 3.0) -> dict[str, Any]:
        """Return what is true of an app, in the words of its agent's `status`; `alive` tells whether one is at work."""
        return {**self._state(app, max(timeout, 3.0)), "place": self.name}

    def _listed(self, app: str, what: str = "") -> dict[str, Any] | None:
        """Return one of the app's containers, where all were listed without asking for one that is not there."""
        name = names.container(self.home, app, what)
        return find(self.docker, name) if self._listing is None or name in self._listing.containers else None

    def _has_image(self, app: str) -> bool:
        if self._listing is None:
            return self.image(app) is not None
        chosen = settings.read(self.home, app)
        if chosen.mode == settings.VOLUME:
            installed = chosen.installed if chosen.installed.get("mode") == settings.VOLUME else {}
            return installed.get("image") in self._listing.images
        return names.current(self.home, app) in self._listing.images

    def _state(self, app: str, timeout: float) -> dict[str, Any]:
        build = self._listed(app, "build")
        there = self._listed(app) or self._listed(app, "old")
        for each in (there, build):
            if each is not None and each["State"]["Running"]:
                return self._ask(each, app, timeout)
        if not self._has_image(app):
            return self._unfinished(app, build)
        state = there["State"] if there is not None else {}
        ended = state.get("ExitCode") if state.get("Status") == "exited" else None
        reason = "its container ran out of memory" if state.get("OOMKilled") else ""
        if not reason and ended not in GENTLY:
            why = why_of(state)
            reason = f"its container ended with status {ended}{f': {why}' if why else ''}"
        return {"word": "failed" if reason else "stopped", "reason": reason or None, "alive": False}

    def _ask(self, there: Mapping[str, Any], app: str, timeout: float) -> dict[str, Any]:
        """Ask the agent in a running container; one that does not answer yet is only starting."""
        container = str(there["Id"])
        known = {"alive": True, "container": container}
        reason = trouble(there)
        if reason is not None:
            return {"word": "failed", "reason": reason, **known}
        try:
            with self._agent(container, app, timeout=timeout) as client:
                return {**translated(client.status(), ports_of(there)), **known}
        except (PinoctlError, OSError):
            reason = trouble(there, silent=True)
            return {"word": "failed", "reason": reason, **known} if reason else {"word": "starting", **known}

    def _unfinished(self, app: str, build: Mapping[str, Any] | None) -> dict[str, Any]:
        """Tell what became of an installation whose container has ended."""
        if build is None:
            return {"word": "not installed", "alive": False}
        kept = f"{home_in(settings.read(self.home, app))}/installed/{app}/state.json"
        said = files.read_json(self.docker, str(build["Id"]), kept)
        if isinstance(said, dict) and said.get("word") == "failed":
            return {**{key: said.get(key) for key in ("word", "step", "steps", "reason")}, "alive": False}
        return {"word": "failed", "reason": "its installation was interrupted", "alive": False}

    def helper(self, app: str) -> str:
        """Return a container that sees the shared volume: the app's own, else one that is never started, for `drop`."""
        for what in ("", "build"):
            there = find(self.docker, names.container(self.home, app, what))
            if there is not None:
                return str(there["Id"])
        image = self.image(app)
        if image is None:
            image = any_base(self.docker)
        if image is None:
            raise DockerError(f"`{app}` was never in a container", hint=f"`pinoctl up {app}` builds its image")
        mounts = own.mounts(
            names.volume(self.home), own.ensure(self.docker, self.home, app, image), names.home_key(self.home), app
        )
        body = {
            "Image": image,
            "Cmd": ["true"],
            "Labels": {names.KIND: "helper", names.READER: "true"},
            "HostConfig": {"Mounts": mounts},
        }
        with told("the shared volume cannot be looked at"):
            return str(self.docker.api.create_container_from_config(body)["Id"])

    def drop(self, container: str) -> None:
        """Remove a helper; an app's own container stays."""
        there = find(self.docker, container)
        if there is not None and (there["Config"]["Labels"] or {}).get(names.KIND) == "helper":
            remove(self.docker, container)

    def shell(self, app: str, command: Sequence[str], *, venv: str | None) -> int:
        """Open a shell in the app's environment, in its container, which is started for it if need be."""
        from orchestrator.places.container.terminal import execute  # noqa: PLC0415  # needs a terminal's modules

        there = self._container(app)
        build = find(self.docker, names.container(self.home, app, "build"))
        at_work = [each for each in (there, build) if each is not None and each["State"]["Running"]]
        if at_work:
            container = str(at_work[0]["Id"])
            variables.bring(self.docker, self.home, container)
            if at_work[0]["State"].get("Paused"):
                self.say("its container was paused, and goes on")
                unpause(self.docker, container)
        else:
            with self.spawn(app):
                container = names.container(self.home, app)
        home = home_in(settings.read(self.home, app))
        words = [
            "--home",
            home,
            "--app",
            app,
            *(["--venv", venv] if venv else []),
            *(["--", *command] if command else []),
        ]
        try:
            return execute(
                self.docker,
                container,
                ["/opt/pinoctl/venv/bin/python", "-m", "orchestrator.agent.interactive", *words],
                folder=home,
                environment={"PYTHONPATH": code.PLACE},
            )
        finally:
            self.leave(app)

    def mirror_logs(self, app: str) -> None:
        """Copy the app's logs from the volume to where those of apps on the host are, so that they are read alike."""
        container = self.helper(app)
        try:
            into = AgentFiles(self.home, app).folder
            # an image that an earlier version made may still log on the shared volume
            if not files.copy_out(self.docker, container, own.logs_in(app), into, wanted=is_log):
                files.copy_out(self.docker, container, f"/data/logs/{app}", into, wanted=is_log)
            files.copy_out(self.docker, container, own.logs_in(app, beside=True), into / "build", wanted=is_log)
        finally:
            self.drop(container)

    def environment_text(self, app: str) -> str | None:
        """Return the text of the app's ENVIRONMENT file, which lies on the volume; None while there is none."""
        container = self.helper(app)
        try:
            found = files.read(self.docker, container, f"{own.PRIVATE}/{app}/ENVIRONMENT")
            return found.decode("utf-8", "replace") if found is not None else None
        finally:
            self.drop(container)

    def write_environment(self, app: str, text: str) -> None:
        """Replace the app's ENVIRONMENT file."""
        container = self.helper(app)
        try:
            path = f"{own.PRIVATE}/{app}/ENVIRONMENT"
            files.write(self.docker, container, path, text.encode(), below=own.PRIVATE, mode=0o600, folders=0o700)
        finally:
            self.drop(container)

    def stop(self, app: str) -> bool:
        """Stop the app's containers; tells whether one ran."""
        at_work = [
            str(there["Id"])
            for what in ("", "old", "next", "build")
            if (there := find(self.docker, names.container(self.home, app, what))) and there["State"]["Running"]
        ]
        for container in at_work:
            stop(self.docker, container)
        return bool(at_work)

    def stop_build(self, app: str) -> None:
        """Stop the app's installation or update, where one is at work; the app itself goes on."""
        there = find(self.docker, names.container(self.home, app, "build"))
        if there is not None and there["State"]["Running"]:
            stop(self.docker, str(there["Id"]))

    def lost_with(self, app: str) -> list[str]:
        """Return what was made in the app since it was installed, which goes when its container does."""
        from orchestrator.places.container.carry import diff_of_users  # noqa: PLC0415  # only to remove

        there = self._container(app)
        if there is None:
            return []
        if settings.read(self.home, app).installed.get("mode") == settings.VOLUME:
            return [f"/data/api/{app}"]  # nothing tells there what was installed and what was made since
        roots = (f"/pinokio/api/{app}",)
        return [change.path for change in diff_of_users(self.docker.client, str(there["Id"]), roots)]

    def _clear_volume(self, app: str) -> None:
        try:
            image = self.image(app) or any_base(self.docker)
        except DockerError:
            image = None
        if image is None:
            return
        mounts = [{"Type": "volume", "Source": names.volume(self.home), "Target": "/data"}]
        command = ["rm", "-rf", *_own_folders(app)]
        own.run_as_root(self.docker, image, command, mounts, what="the shared volume cannot be cleared")

    def remove(self, app: str) -> None:
        """Remove the app's containers and images, and what the shared volume has of this app alone."""
        self._clear_volume(app)
        for what in ("", "next", "old", "build"):
            remove(self.docker, names.container(self.home, app, what))
        own.discard(self.docker, self.home, app)
        settings.forget(self.home, app)
        for reference in (names.current, names.previous, names.candidate, names.updated):
            images.untag(self.docker, reference(self.home, app))
        images.clean(self.docker, self.home, app, set())


def _own_folders(app: str) -> list[str]:
    """Return what the shared volume has of one app alone; earlier versions kept its logs and secrets there."""
    return [f"/data/{folder}/{app}" for folder in ("private", "logs", "api", "installed")]
