"""Compose projects of one or several apps, built as data from typed settings; YAML text is only written at the end."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.redaction import is_secret, redact_url
from orchestrator.places.container import gpus
from orchestrator.places.container.containers import LOG, PIDS, SHM, STOP_SECONDS
from orchestrator.places.container.own import PRIVATE
from orchestrator.places.container.settings import parse_mount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TEMPLATES: Final = Path(__file__).parent / "templates"
TOKEN: Final = "PINOCTL_TOKEN"  # noqa: S105  # the variable's name
PUBLIC: Final = "PINOCTL_PUBLIC"
SERVES_ON: Final = 8080  # where an image that runs by itself answers, behind its own token check
DATA: Final = "/data"  # where an image expects the shared volume
LOOPBACK: Final = "127.0.0.1"
VOLUME: Final = "shared"  # the volume's name inside the project

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 50  # characters of a service's name: it is a host name too, which may have 63
_LAST_PORT = 65535
_LEAST_MEMORY = 6 * 1024 * 1024  # bytes: Docker refuses less
# The image's front takes these: where it listens, what opens it, whether it is open to all.
_RESERVED = frozenset({"PORT", TOKEN, PUBLIC})


@dataclass(frozen=True, slots=True)
class ComposeApp:
    """Describe one app of a project: its image, and the port of this machine's loopback address that it answers on.

    `gpus` is what `up --gpus` takes, None for none. `memory` and `shm` are bytes, `cpus` cores, `pids` processes; None
    is what pinoctl's own containers have without a setting. `mounts` are `SOURCE:TARGET[:ro]`. `environment` is what
    the container gets besides the image's own; values of names that mean secrets are never written down, whoever starts
    the project sets them. `passed` are names of variables that the container gets where that person has them.
    """

    name: str
    image: str
    port: int
    gpus: str | None = None
    memory: int | None = None
    cpus: float | None = None
    shm: int | None = None
    pids: int | None = None
    mounts: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    passed: Sequence[str] = ()


def project(apps: Sequence[ComposeApp], *, name: str, volume: str, external: bool = False) -> dict[str, Any]:
    """Build the Compose project of these apps, as data.

    Every app is a service that shares the volume called `volume` at /data, and has one for itself alone over the
    private part of that; `external` says that the shared volume is there already and not the project's to make or
    remove: `docker compose down --volumes` removes any other, even one that it did not make. Raises BadInputError for
    what no project can be made of.
    """
    if not apps:
        raise BadInputError("a Compose project needs at least one app", hint="name the apps to export")
    if not _PROJECT.fullmatch(name):
        raise BadInputError(
            f"`{name}` cannot be the name of a Compose project",
            hint="use lower-case letters, digits, `-` and `_`, and begin with a letter or digit",
        )
    if not _VOLUME.fullmatch(volume):
        raise BadInputError(
            f"`{volume}` cannot be the name of a volume",
            hint="use two or more letters, digits, `-`, `_` and `.`, and begin with a letter or digit",
        )
    _distinct_ports(apps)
    template = yaml.safe_load((TEMPLATES / "service.yml").read_text("utf-8"))
    named = list(zip(service_names(app.name for app in apps), apps, strict=True))
    return {
        "name": name,
        "services": {service: _service(app, f"own-{service}", template) for service, app in named},
        "volumes": {
            VOLUME: {"name": volume, **({"external": True} if external else {})},
            **{f"own-{service}": {} for service, _app in named},
            **{
                f"given-{mount['Source']}": {"name": mount["Source"], "external": True}
                for app in apps
                for mount in map(parse_mount, app.mounts)
                if mount["Type"] == "volume"
            },
        },
    }


def folders(apps: Iterable[ComposeApp]) -> set[str]:
    """Return the folders of the machine that apps were given, as the project names them."""
    mounts = (parse_mount(mount) for app in apps for mount in app.mounts)
    return {escape(mount["Source"]) for mount in mounts if mount["Type"] == "bind"}


def service_names(names: Iterable[str]) -> list[str]:
    """Return a service name for every app name, in order: lower case, valid as a host name, no two alike."""
    taken: set[str] = set()
    found = []
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_LONGEST].strip("-") or "app"
        service, number = plain, 1
        while service in taken:
            number += 1
            service = f"{plain}-{number}"
        taken.add(service)
        found.append(service)
    return found


def escape(value: str) -> str:
    """Return a value as Compose must read it to leave it alone: `$` begins a variable there, `$$` is a dollar."""
    return value.replace("$", "$$")


def reference(name: str, why: str) -> str:
    """Return the text that Compose replaces by its runner's variable, and stops with `why` where that is unset."""
    return f"${{{name}:?{why}}}"


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` in it: mappings are merged, anything else is replaced; shares nothing."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        inside = merged.get(key)
        if isinstance(inside, dict) and isinstance(value, dict):
            merged[key] = merge(inside, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def to_yaml(project: Mapping[str, Any]) -> str:
    """Write a project as YAML, which begins with comments on how it is started."""
    text = yaml.dump(dict(project), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    comments = "".join(f"# {' '.join(line.split())}\n" if line else "#\n" for line in _header(project))
    return f"{comments}{text}"


def _distinct_ports(apps: Sequence[ComposeApp]) -> None:
    used: dict[int, str] = {}
    for app in apps:
        if not 0 < app.port <= _LAST_PORT:
            raise BadInputError(f"`{app.name}` cannot answer on port {app.port}", hint="choose one from 1 to 65535")
        if app.port in used:
            raise BadInputError(
                f"`{used[app.port]}` and `{app.name}` cannot both answer on port {app.port}",
                hint="give every app a port of its own",
            )
        used[app.port] = app.name


def _service(app: ComposeApp, volume: str, template: Mapping[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {
        "image": escape(app.image),
        "environment": _environment(app),
        "ports": [{"target": SERVES_ON, "published": str(app.port), "host_ip": LOOPBACK, "protocol": "tcp"}],
        "volumes": [
            {"type": "volume", "source": VOLUME, "target": DATA},
            {"type": "volume", "source": volume, "target": PRIVATE},
            *map(_mount, app.mounts),
        ],
    }
    own.update(_limits(app))
    if app.gpus not in {None, "none"}:
        own["deploy"] = {"resources": {"reservations": {"devices": [_device(str(app.gpus))]}}}
    # Twice, so that what is the app's own comes first to the reader and still wins.
    return merge(merge(own, template["every"]), own)


def _mount(text: str) -> dict[str, Any]:
    given = parse_mount(text)
    mount = {"type": given["Type"], "source": escape(given["Source"]), "target": escape(given["Target"])}
    if given["ReadOnly"]:
        mount["read_only"] = True
    if given["Type"] == "volume":
        return {**mount, "source": f"given-{given['Source']}"}
    return {**mount, "bind": {"create_host_path": False}}


def _device(wanted: str) -> dict[str, Any]:
    device: dict[str, Any] = {"driver": "nvidia"}
    count, identifiers = (0, []) if wanted == "all" else gpus.parsed(wanted)
    device |= {"device_ids": identifiers} if identifiers else {"count": count or "all"}
    return {**device, "capabilities": ["gpu"]}


def _limits(app: ComposeApp) -> dict[str, Any]:
    limits: dict[str, Any] = {
        "pids_limit": app.pids or PIDS,
        "shm_size": SHM,
        "stop_grace_period": f"{STOP_SECONDS}s",
        "logging": {"driver": LOG["Type"], "options": copy.deepcopy(LOG["Config"])},
    }
    if app.memory is not None:
        if app.memory < _LEAST_MEMORY:
            raise BadInputError(f"`{app.name}` cannot run in {app.memory} bytes", hint="give it at least 6 MiB")
        limits["mem_limit"] = limits["memswap_limit"] = app.memory  # alike: no swap on top
    if app.cpus is not None:
        if not (math.isfinite(app.cpus) and app.cpus > 0):
            raise BadInputError(f"`{app.name}` cannot run on {app.cpus} cores", hint="give it more than 0")
        limits["cpus"] = app.cpus
    if app.shm is not None:
        if app.shm <= 0:
            raise BadInputError(f"`{app.name}` cannot have {app.shm} bytes of /dev/shm", hint="give it more than 0")
        limits["shm_size"] = app.shm
    return limits


def _environment(app: ComposeApp) -> dict[str, str | None]:
    found: dict[str, str | None] = {TOKEN: reference(TOKEN, f"set {TOKEN} to a long random word, it opens the apps")}
    for name, value in app.environment.items():
        if not _VARIABLE.fullmatch(name):
            raise BadInputError(
                f"`{name}` of `{app.name}` cannot be the name of a variable", hint="use letters, digits and `_`"
            )
        if name in _RESERVED:
            raise BadInputError(
                f"`{name}` of `{app.name}` is not for apps to set: the image's own token check takes it",
                hint=f"take `{name}` out of the app's environment",
            )
        if "\0" in value:
            raise BadInputError(f"`{name}` of `{app.name}` holds a zero byte, which no variable can", hint="remove it")
        secret = bool(value) and (is_secret(name) or _has_password(value))
        found[name] = reference(name, f"set {name}, it is not written down here") if secret else escape(value)
    # A name without a value is taken from whoever starts the project, and not there for those who have none.
    return {**found, **{name: None for name in app.passed if name not in found}}


def _has_password(value: str) -> bool:
    """Tell whether a value is a URL with a login, as those of proxies and package indexes may be."""
    return "://" in value and redact_url(value) != value


def _header(project: Mapping[str, Any]) -> list[str]:
    services: Mapping[str, Mapping[str, Any]] = project["services"]
    values = [value for service in services.values() for value in service.get("environment", {}).values()]
    wanted = dict.fromkeys(re.findall(r"(?<!\$)(?:\$\$)*\$\{([A-Za-z_][A-Za-z0-9_]*):\?", "\n".join(map(str, values))))
    others = [name for name in wanted if name != TOKEN]
    passed = dict.fromkeys(
        name
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if value is None and name not in wanted
    )
    return [
        "Made by `pinoctl export compose`. Whoever starts it chooses the token that opens the apps, once:",
        f'(umask 077; echo "{TOKEN}=$(openssl rand -hex 32)" >> .env)',
        *([f"Put into that file as well: {', '.join(others)}"] if others else []),
        *([f"These are handed on where they are set: {', '.join(passed)}"] if passed else []),
        "docker compose up --detach --wait",
        "It is reached from this machine only:",
        *(
            f"{service}: http://{port['host_ip']}:{port['published']}/?token=..."
            for service, settings in services.items()
            for port in settings["ports"]
        ),
        "",
    ]


class _Dumper(yaml.SafeDumper):
    """Write strings so that readers of YAML 1.1 and 1.2 agree: `1e3` and `0o17` are numbers to some only."""


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z_/.:-][\w/.:-]*", value, re.ASCII)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _string)
