"""Building an app's image: install in a build container, save between steps, go on in a new one (decision 4)."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.client import AgentGoneError, Client, Event, Message, Output
from orchestrator.agent.inside import LEFT
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.redaction import HIDDEN, is_secret
from orchestrator.places.container import base_image, chain, code, files, gpus, images, names, own, variables
from orchestrator.places.container.bringing import Bringing
from orchestrator.places.container.containers import build_spec, home_in
from orchestrator.places.container.finish import set_sudo
from orchestrator.places.container.living import (
    agent_of,
    create,
    ended,
    find,
    remove,
    run_module,
    runs,
    start,
    stop,
    wait,
)
from orchestrator.places.container.reading import Reading, read_launcher
from orchestrator.places.container.settings import VOLUME, salted
from orchestrator.places.container.settings import write as write_settings

if TYPE_CHECKING:
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.places.container.docker import Docker
    from orchestrator.places.container.settings import Settings

Say = Callable[[str], None]
Listen = Callable[[Message], None]
Ask = Callable[[Mapping[str, Any]], "Mapping[str, Any] | None"]
MOST_ROUNDS: Final = 1000  # containers that one build may take
SHOWN: Final = 3
PINS: Final = "/opt/pinoctl/pins"
TEXTS: Final = "pinoctl.texts"  # of a build container: the hashes of its launcher's steps


@dataclass(frozen=True, slots=True)
class Wish:
    """Say how an app is to be built: `fresh` takes no checkpoint, `keep_failed` leaves a failed container running.

    `remember` are answers to be kept for the app but for those that its scripts call secret, None for those of before.
    `base` is the image that the base image has to begin with, whatever is set for the app. `environment` are variables
    of the user's for the scripts, which may be secrets. `pins` is the hash of a lock that the build keeps to, and
    `pin_files` what lies in PINS for it; `inventory` asks what the installation consists of.
    """

    fresh: bool = False
    keep_failed: bool = False
    from_step: int | None = None
    remember: Mapping[str, Any] | None = None
    base: str | None = None
    answers: Any = None
    pairs: Mapping[str, Any] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    pins: str = ""
    pin_files: Mapping[str, str] = field(default_factory=dict)
    inventory: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """Tell how a build ended: the id of the image with everything installed, or None and what failed, as `up` tells it.

    `reused` is how many steps an earlier build had done.
    """

    image: str | None
    reading: Reading
    result: Mapping[str, Any]
    labels: Mapping[str, str]
    base: base_image.Base
    chain: chain.Chain = ()
    inventory: Mapping[str, Any] = field(default_factory=dict)
    reused: int = 0
    commit_seconds: float = 0.0


class Build:
    """Build one app once; `listen` gets the agent's events and output, `say` what pinoctl does itself.

    `ask` puts a script's question to a person, None where there is none. `update` is the update that the app has behind
    it (`chain.update_of`): nothing that was saved before it is gone on from.
    """

    def __init__(
        self,
        docker: Docker,
        home: Home,
        app: str,
        *,
        settings: Settings,
        profile: HardwareProfile,
        say: Say,
        listen: Listen,
        ask: Ask | None = None,
        update: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.commit_seconds = 0.0
        self._clock = clock
        self.docker = docker
        self.home = home
        self.app = app
        self.settings = settings
        self.profile = profile
        self.name = names.container(home, app, "build")
        self._say = say
        self._listen = listen
        self._ask = ask
        self._update = update
        self._inner = home_in(settings)
        self._kept = f"{self._inner}/installed/{app}"
        self._offset: int | None = None
        self._left = False
        self._beside = False
        self._layers = 0
        self._client: Client | None = None
        self._asking: Client | None = None
        self._inventory: Mapping[str, Any] = {}
        self._secret: set[str] = set()
        self._answers: Mapping[str, Any] = {}
        self._unsure: set[str] = set()  # answers to forms that no plan can read: only asking them tells what is secret

    def run(self, wish: Wish) -> Built:
        """Install the app in an image, from the longest checkpoint; raises PinoctlError, and what was done stays."""
        reading = self._reading = read_launcher(self.home, self.app, self.profile)
        asked = {question.key for question in reading.plan.questions}
        secret = {question.key for question in reading.plan.questions if question.secret}
        given = self.settings.answers if wish.remember is None else wish.remember
        self._answers = {key: value for key, value in given.items() if key not in secret}
        self._unsure = {key for key in self._answers if key not in asked}
        self._keep({key: value for key, value in self._answers.items() if key not in self._unsure})
        if reading.plan.problem:
            raise PinoctlError(f"`{self.app}` cannot be built: {reading.plan.problem}", hint=reading.plan.hint)
        if reading.left_out:
            shown = ", ".join(f"`{each}`" for each in reading.left_out[:SHOWN])
            more = f" and {len(reading.left_out) - SHOWN} more" if len(reading.left_out) > SHOWN else ""
            self._say(f"left out of the image, being installed, secret or not the launcher's: {shown}{more}")
        base = base_image.choose(
            self.profile,
            source_build=reading.source_build,
            torch_cuda=reading.cuda,
            start=wish.base or self.settings.base,
        )
        self._base = str(base_image.ensure(self.docker, base, say=self._say)["Id"])
        self._bringing = Bringing(self.docker, self.home, self.app, self._inner, reading.files)
        self._root = self._root_of(reading, wish)
        self._labels = self._labels_of(reading, base.start)
        container, reused = self._begin(wish)
        result: Mapping[str, Any] = {}
        for _ in range(MOST_ROUNDS):
            result = self._install(container, wish)
            if not self._left:
                break
            saved = self._save(container)
            remove(self.docker, container)
            container = self._new(saved)
            start(self.docker, container)
        self._keep({key: value for key, value in self._answers.items() if key not in self._secret})
        steps = self._steps(container)
        if result.get("failed"):
            return Built(None, reading, result, self._labels, base, steps, reused=reused)
        image = self._base if self.settings.mode == VOLUME else self._save(container, installed=True)
        remove(self.docker, container)
        return Built(image, reading, result, self._labels, base, steps, self._inventory, reused, self.commit_seconds)

    def _keep(self, answers: Mapping[str, Any]) -> None:
        """Remember answers that no script says are secrets, whatever their names: they get into locks and exports."""
        if answers != self.settings.answers:
            self.settings = replace(self.settings, answers=answers)
            write_settings(self.home, self.app, self.settings)

    # what it starts from

    def _root_of(self, reading: Reading, wish: Wish) -> str:
        return chain.root_key(
            base=self._base,
            files=reading.files_hash,
            hardware=self.profile.to_json(),
            install=reading.install,
            answers={**self._answers, **salted(self.home, self._answers, self._unsure)},
            environment={name: value for name, value in wish.environment.items() if not is_secret(name)},
            mode=self.settings.mode,
            pins=wish.pins,
            update=self._update,
        )

    def _labels_of(self, reading: Reading, start_image: str) -> dict[str, str]:
        return {
            names.APP: self.app,
            names.HOME: names.home_key(self.home),
            names.ROOT: self._root,
            names.BASE: f"{start_image} {self._base}",
            names.LAUNCHER: reading.launcher_hash,
            names.HARDWARE: json.dumps(self.profile.to_json(), sort_keys=True),
            names.MODE: self.settings.mode,
            TEXTS: "",
            names.CONFIG: "",
        }

    def _begin(self, wish: Wish) -> tuple[str, int]:
        """Return a started container to install in, and how many steps it has behind it."""
        there = find(self.docker, self.name)
        if there is not None:
            container, status = str(there["Id"]), there["State"]["Status"]
            self._beside = "--beside" in (there["Config"].get("Cmd") or ())
            if not wish.fresh and self._is_same_work(there):
                self._say("going on in the container that an earlier command left")
                if status == "running" and self._bringing.changed(container) is not None:
                    stop(self.docker, container)  # what is at work there is the launcher as it was
                    status = "exited"
                if status != "running":
                    self._bringing.put(container)
                    variables.bring(self.docker, self.home, container)
                    start(self.docker, container)
                return container, len(self._steps(container))
            remove(self.docker, container)
        found = self._saved(wish)
        if found is not None:
            self._say(f"going on from a checkpoint: {len(found.chain)} steps are done already")
        elif self._update and self.settings.mode != VOLUME:
            self._say(
                f"`{self.app}` was updated, and what the update installed cannot be gone on from, so every step is done"
                f" again; what only its update script brings comes with the next `pinoctl update {self.app}`"
            )
        self._beside = runs(self.docker, names.container(self.home, self.app))
        start_image = self._base if found is None else images.shallow(self.docker, found.id, self._say)
        container = self._new(start_image)
        for name, text in wish.pin_files.items():
            mode = 0o755 if text.startswith("#!") else 0o644
            files.write(self.docker, container, f"{PINS}/{name}", text.encode(), below="/opt/pinoctl", mode=mode)
        if self.settings.mode != VOLUME:
            set_sudo(self.docker, container, allowed=True)  # it may begin with the image that serves
        self._bringing.put(container)
        variables.bring(self.docker, self.home, container)
        start(self.docker, container)
        return container, len(found.chain) if found is not None else 0

    def _saved(self, wish: Wish) -> chain.Saved | None:
        """Return the image with most steps behind it, None where every step is to be done."""
        if wish.fresh or self.settings.mode == VOLUME:
            return None
        known = images.saved(self.docker, self.app)
        image = images.current(self.docker, self.home, self.app)
        serving = images.as_saved(image) if image is not None else None
        if serving is not None:  # after a `rollback` its checkpoints may be gone; while they are there they come first
            known.append(replace(serving, created=""))
        return chain.longest(known, root=self._root, texts=self._reading.texts)

    def _is_same_work(self, there: Mapping[str, Any]) -> bool:
        """Tell whether a container is at this very work: the same beginning, and steps done that still stand."""
        labels = there["Config"].get("Labels") or {}
        before = chain.Texts.from_label(labels.get(TEXTS))
        if labels.get(names.ROOT) != self._root or before is None:
            return False
        done = files.read_json(self.docker, str(there["Id"]), f"{self._kept}/steps.json")
        return self._reading.texts.stands(before.chain(done if isinstance(done, list) else []))

    def _new(self, image: str) -> str:
        self._layers = images.layers(self.docker, image)
        spec = build_spec(
            name=self.name,
            image=image,
            app=self.app,
            labels={**self._labels, names.KIND: "build", TEXTS: self._reading.texts.to_label()},
            settings=self.settings,
            volume=names.volume(self.home),
            own_volume=own.ensure(self.docker, self.home, self.app, image),
            code_volume=code.volume(self.docker, image),
            devices=gpus.requests(self.settings.gpus, self.docker.info, card=self.profile.gpu == "nvidia"),
            containerd_store=self.docker.containerd_store,
            beside=self._beside,
        )
        return create(self.docker, spec)

    # the work

    def _install(self, container: str, wish: Wish) -> Mapping[str, Any]:
        self._left, self._container = False, container
        try:
            with contextlib.ExitStack() as stack:
                self._client = client = stack.enter_context(self._connect())
                if self._ask is not None:
                    self._asking = stack.enter_context(self._connect())
                    for waiting in self._asking.attach():
                        self._put(waiting)
                client.go_on(leave=False)  # the install may wait for a checkpoint of a command that was killed
                if self._offset is not None:
                    client.follow(self._offset, live=False)
                result = client.install(
                    listen=self._heard,
                    fresh=wish.fresh and self.settings.mode == VOLUME,  # an image's container has nothing behind it
                    checkpoints=True,
                    trusted=True,
                    keep=wish.keep_failed,
                    from_step=wish.from_step,
                    answers=wish.answers,
                    pairs=wish.pairs,
                    environment=wish.environment,
                )
                if result.get("failed") and wish.keep_failed:
                    return result
                if not result.get("failed") and wish.inventory:
                    self._inventory = self._take_inventory()
                client.down()
        except AgentGoneError as error:
            if wait(self.docker, container) == LEFT and self._left:
                return {}
            self._left = False
            raise ended(self.docker, container, self.app) from error
        finally:
            self._client = self._asking = None
        wait(self.docker, container)
        return result

    def _take_inventory(self) -> Mapping[str, Any]:
        words = ["--home", self._inner, "--app", self.app]
        for beside in (False, True):
            words += ["--journal", f"{own.logs_in(self.app, beside=beside)}/journal.jsonl"]
        text = run_module(self.docker, self._container, "orchestrator.lock.inventory", words)
        found: Mapping[str, Any] = json.loads(text)
        return found

    def _connect(self) -> Client:
        return agent_of(self.docker, self._container, self.app, self._inner)

    def _heard(self, message: Message) -> None:
        if isinstance(message, Output):
            self._offset = message.offset or self._offset
        if isinstance(message, Event) and message.kind == "input.done":
            given = message.data.get("answers")
            self._secret |= (
                {key for key, value in given.items() if value == HIDDEN} if isinstance(given, dict) else set()
            )
        if isinstance(message, Event) and message.kind == "checkpoint":
            self._checkpoint(message.data)
        elif isinstance(message, Event) and message.kind == "question" and self._asking is not None:
            self._put(message.data)
        else:
            self._listen(message)

    def _put(self, waiting: Mapping[str, Any]) -> None:
        form = waiting.get("form")
        answers = self._ask(form if isinstance(form, Mapping) else {}) if self._ask is not None else None
        if self._asking is not None:
            with contextlib.suppress(PinoctlError):  # somebody else was quicker, or the script was stopped meanwhile
                self._asking.answer(str(waiting.get("id")), answers or {})

    def _checkpoint(self, data: Mapping[str, Any]) -> None:
        """Save what is done while the agent waits, or have it leave so that its container can be saved."""
        if self._client is None:
            return
        self._left = data.get("how") == "leave" and self._layers < images.MOST_LAYERS
        if not self._left:
            self._save(self._container)
        self._client.go_on(leave=self._left)

    def _steps(self, container: str) -> chain.Chain:
        done = files.read_json(self.docker, container, f"{self._kept}/steps.json")
        return self._reading.texts.chain(done if isinstance(done, list) else [])

    def _save(self, container: str, *, installed: bool = False) -> str:
        steps = self._steps(container)
        key = chain.chain_key(f"{self._root} {self._reading.launcher_hash if installed else ''}", steps)
        labels = {
            **self._labels,
            names.KIND: "checkpoint",
            names.CHAIN: chain.write(steps),
            names.INSTALLED: str(installed).lower(),
        }
        began = self._clock()
        made = images.commit(self.docker, container, names.checkpoint(self.app, key), labels)
        self.commit_seconds += self._clock() - began
        return made
