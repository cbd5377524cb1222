"""Building an app's image for a command: progress shown, questions put to the person, the lock of the app held."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.client import Dropped, Event, Message, Output
from orchestrator.commands import ask, output
from orchestrator.engine.redaction import is_secret
from orchestrator.places.container import gpus, settings
from orchestrator.places.container.endpoint import look_round
from orchestrator.places.container.making import Making
from orchestrator.state.locks import waiting_lock

if TYPE_CHECKING:
    from orchestrator.commands.progress import Progress
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.places.container.build import Ask, Built, Wish
    from orchestrator.places.container.making import Made
    from orchestrator.places.container.place import ContainerPlace

# What scripts read of their user's environment, and containers do not have unless it is brought along.
BROUGHT: Final = frozenset({
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "CIVITAI_TOKEN", "CIVITAI_API_TOKEN", "CIVITAI_API_KEY",
    "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "REPLICATE_API_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "UV_INDEX_URL", "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL", "UV_INSECURE_HOST",
    "NPM_CONFIG_REGISTRY",
})  # fmt: skip


def brought(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return those of the user's variables that an app in a container gets as well."""
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if name in BROUGHT and value}


def plain_answers(answers: Any, pairs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the answers that are no secrets: they are remembered, and an image depends on them."""
    given: dict[str, Any] = {}
    for each in answers if isinstance(answers, list) else [answers]:
        given.update(each if isinstance(each, Mapping) else {})
    return {key: value for key, value in {**given, **(pairs or {})}.items() if not is_secret(str(key))}


def with_remembered(saved: Mapping[str, Any], answers: Any, pairs: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the answers by key for a script: those of before below those given now, None without any."""
    now = plain_answers(answers, pairs)
    return {**{key: value for key, value in saved.items() if key not in now}, **(pairs or {})} or None


def listener(progress: Progress) -> Callable[[Message], None]:
    """Return what shows an agent's messages."""

    def listen(message: Message) -> None:
        if isinstance(message, Output):
            progress.take({"output": message.text})
        elif isinstance(message, Dropped):
            progress.take({"dropped": message.messages})
        elif isinstance(message, Event):
            progress.take({"event": message.kind, "data": message.data})

    return listen


def person(progress: Progress) -> Ask | None:
    """Return what puts a script's question to a person, None where there is none."""

    def put(form: Mapping[str, Any]) -> Mapping[str, Any] | None:
        progress.fresh_line()
        return ask.ask_person(form)

    return put if ask.can_ask() else None


def build_image(
    place: ContainerPlace,
    app: str,
    wish: Wish,
    progress: Progress,
    *,
    always: bool = False,
    accept: Callable[[Built], None] = lambda _built: None,
    profile: HardwareProfile | None = None,
    listen: Callable[[Message], None] = lambda _message: None,
) -> Made:
    """Build an app's image if it is needed (`always`: in any case), after another command that is at it.

    `profile` is a machine to build for, by default this one; `listen` gets an agent's messages beside who shows them.
    Ctrl-C stops the installation that this command began, and nothing else; what that means for the app is said.
    """
    show = listener(progress)

    def heard(message: Message) -> None:
        listen(message)
        show(message)

    making = Making(
        place,
        app,
        profile=profile or place.profile(app),
        say=lambda line: progress.line(line, "dim"),
        listen=heard,
        ask=person(progress),
        accept=accept,
    )
    ours = False
    try:
        with waiting_lock(place.home, app, "built", say=progress.line):
            ours = True
            try:
                return making.run(wish, always=always)
            except KeyboardInterrupt:
                output.say(f"interrupted; stopping the installation of `{app}`")
                place.stop_build(app)
                raise
    except KeyboardInterrupt:
        output.say(
            f"it is stopped; `pinoctl up {app}` goes on from the last finished step, `--fresh` begins anew"
            if ours
            else f"interrupted; the other command goes on with `{app}`, `pinoctl down {app}` stops it"
        )
        raise


def _size(text: str | None, option: str) -> int | None:
    """Return the bytes of a limit, 0 for `none`, which takes an earlier one back."""
    if text is None:
        return None
    least = settings.LEAST_MEMORY if option == "--memory" else settings.LEAST
    return 0 if text == "none" else settings.parse_size(text, option, least=least)


def chosen_settings(home: Home, app: str, place: str, given: Mapping[str, Any]) -> settings.Settings:
    """Return an app's settings with those of the command line put in, checked."""
    words = tuple(given.get("mount") or ())
    mounts = tuple(each for each in words if each != "none")
    if mounts:
        here = look_round(os.environ).endpoint.url.startswith("unix:")
        for mount in mounts:
            settings.check_mount(mount, os.path.exists if here else None)
    wanted = given.get("gpus")
    if wanted not in {None, "all", "none", "auto"}:
        gpus.parsed(str(wanted))
    sizes = {name: _size(given.get(name), f"--{name}") for name in ("memory", "shm")}
    mode = {True: settings.VOLUME, False: settings.IMAGE, None: None}[given.get("volume_mode")]
    chosen = settings.read(home, app).changed(
        place=place,
        mode=mode,
        gpus=given.get("gpus"),
        cpus=given.get("cpus"),
        pids=given.get("pids"),
        mounts=mounts,
        base=None if given.get("base") == "none" else given.get("base"),
        **sizes,
    )
    if words and not mounts:
        chosen = replace(chosen, mounts=())
    if given.get("base") == "none":
        chosen = replace(chosen, base=None)
    return replace(chosen, gpus=None) if chosen.gpus == "auto" else chosen
