"""Whether a Compose project is valid and safe: the Compose specification's schema first, then rules of our own."""

from __future__ import annotations

import functools
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any, Final

import jsonschema
from jsonschema.exceptions import best_match

from orchestrator.deploy.compose import PUBLIC, TEMPLATES, TOKEN
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.redaction import is_secret, redact_url

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from jsonschema.exceptions import ValidationError

Path = tuple["str | int", ...]
Finding = tuple[Path, str]

# Settings of a service that lead out of its container, and why each is refused.
_REFUSED: Final = {
    "privileged": "gives the container the whole machine",
    "cap_add": "gives back what `cap_drop` takes away",
    "devices": "hands over devices of the machine; GPUs are reserved under `deploy`",
    "device_cgroup_rules": "hands over devices of the machine",
    "use_api_socket": "hands over Docker itself",
    "volumes_from": "mounts what is not said here",
    "extends": "brings in settings that are not checked",
    "env_file": "brings in variables that are not checked",
    "network_mode": "leaves the project's own network",
    "pid": "shares processes with others",
    "ipc": "shares memory with others",
    "uts": "shares the machine's host name",
    "userns_mode": "shares the machine's users",
    "cgroup": "shares the machine's control groups",
    "cgroup_parent": "leaves the limits that are set here",
}
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:?\?[^{}$]*)?\}")
_TOKENS = re.compile(
    r"\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{20,}|glpat-[\w-]{20,}|sk-[\w-]{20,}|AKIA[A-Z0-9]{16}"
    r"|xox[abprs]-[\w-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY"
)


def check(project: Mapping[str, Any], *, folders: Collection[str] = ()) -> None:
    """Check a project against the Compose specification's schema and our own rules.

    The rules: ports on loopback only and no two alike, nothing that leads out of a container, no Docker socket, no
    folder of the machine but `folders`, no secret written down, and nothing without the token check. Raises
    PinoctlError with the path of the first thing that is wrong, as `services.comfyui.ports[0]`.
    """
    wrong = best_match(_validator().iter_errors(project))
    if wrong is not None:
        raise PinoctlError(
            f"the Compose project is not valid at `{where(wrong.absolute_path)}`: {_said(wrong)}",
            hint="compare it with the Compose specification, https://github.com/compose-spec/compose-spec",
        )
    for at, why in policy(project, folders=folders):
        raise PinoctlError(
            f"the Compose project is not safe at `{where(at)}`: {why}",
            hint="change what it was made from, or write a Compose file of your own",
        )


def policy(project: Mapping[str, Any], *, folders: Collection[str] = ()) -> Iterator[Finding]:
    """Yield everything in a project that breaks our own rules, as its path and why; the project fits the schema."""
    if "include" in project:
        yield ("include",), "brings in projects that are not checked"
    yield from _secrets(project, ())
    for name, volume in (project.get("volumes") or {}).items():
        if volume and volume.get("driver_opts"):
            yield ("volumes", name, "driver_opts"), "can mount any folder of the machine"
    used: dict[str, str] = {}
    for name, service in (project.get("services") or {}).items():
        at: Path = ("services", name)
        yield from _settings(service, at)
        yield from _environment(service.get("environment") or {}, (*at, "environment"))
        yield from _ports(service.get("ports") or [], (*at, "ports"), used)
        yield from _volumes(service.get("volumes") or [], (*at, "volumes"), folders)


def where(path: Iterable[str | int]) -> str:
    """Return a path as people write it: `services.comfyui.ports[0]`; the whole is `.`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "."


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    # Named, because a schema whose `$schema` the library does not know would silently be read as another draft.
    return jsonschema.Draft202012Validator(json.loads((TEMPLATES / "compose-spec.json").read_text("utf-8")))


def _said(wrong: ValidationError) -> str:
    """Return what the schema says, without the value, which may be a secret and which the library's messages quote."""
    if wrong.validator == "additionalProperties":
        rule: Any = wrong.schema
        unknown = _unknown(wrong.instance, rule.get("properties", {}), rule.get("patternProperties", {}))
        return f"nothing may be called {', '.join(f'`{name}`' for name in unknown)} there"
    if wrong.validator == "type":
        return f"it has to be of type {json.dumps(wrong.validator_value)}"
    return f"it breaks the schema's rule `{wrong.validator}`: {json.dumps(wrong.validator_value)[:200]}"


def _unknown(names: Any, known: Iterable[str], patterns: Iterable[str]) -> list[str]:
    return [name for name in names if name not in known and not any(re.search(one, name) for one in patterns)]


def _settings(service: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    for key, why in _REFUSED.items():
        if service.get(key):
            yield (*at, key), why
    if "ALL" not in (service.get("cap_drop") or []):
        yield (*at, "cap_drop"), "does not drop all capabilities"
    options = [str(option).replace("=", ":") for option in service.get("security_opt") or []]
    if not {"no-new-privileges", "no-new-privileges:true"} & set(options):
        yield (*at, "security_opt"), "lets programs gain privileges; `no-new-privileges:true` is missing"
    if any(option.endswith((":unconfined", ":disable")) for option in options):
        yield (*at, "security_opt"), "switches off what confines the container"


def _environment(environment: Mapping[str, Any] | list[str], at: Path) -> Iterator[Finding]:
    variables = _variables(environment)
    if not _REFERENCE.fullmatch(str(variables.get(TOKEN, ""))) or ":?" not in str(variables[TOKEN]):
        yield (*at, TOKEN), f"the token check needs `${{{TOKEN}:?...}}` here, from whoever starts the project"
    if PUBLIC in variables:
        yield (*at, PUBLIC), "opens the app to everybody who reaches its port"


def _variables(environment: Mapping[str, Any] | list[str]) -> dict[str, Any]:
    if not isinstance(environment, list):
        return dict(environment)
    return {name: value if equals else None for name, equals, value in (line.partition("=") for line in environment)}


def _ports(ports: list[Any], at: Path, used: dict[str, str]) -> Iterator[Finding]:
    for index, port in enumerate(ports):
        host, published = _published(port)
        if not _is_loopback(host):
            yield (*at, index), "is reachable from other machines: only 127.0.0.1 may be published"
        if not published:
            continue
        path = where((*at, index))
        if published in used:
            yield (*at, index), f"has port {published} of this machine, as `{used[published]}` has"
        used.setdefault(published, path)


def _published(port: Any) -> tuple[str, str]:
    """Return the address and port of the machine in either form of a port; empty where they are not said."""
    if isinstance(port, dict):
        return str(port.get("host_ip") or ""), str(port.get("published") or "")
    host, _, rest = str(port).rpartition("/")[0 if "/" in str(port) else 2].rpartition(":")[0].rpartition(":")
    return host.strip("[]"), rest


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _volumes(volumes: list[Any], at: Path, folders: Collection[str]) -> Iterator[Finding]:
    for index, volume in enumerate(volumes):
        if isinstance(volume, dict):
            kind, source, target = volume.get("type"), str(volume.get("source") or ""), str(volume.get("target") or "")
        else:
            source, colon, target = str(volume).partition(":")
            kind = "bind" if colon and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", source) else "volume"
        if "docker.sock" in source or "docker.sock" in target:
            yield (*at, index), "hands over Docker itself"
        elif kind not in {"volume", "tmpfs"} and source not in folders:
            yield (*at, index), "mounts a folder of the machine: only named volumes may be used"


def _secrets(value: Any, at: Path) -> Iterator[Finding]:
    """Yield every secret that is written down: under a name that means one, in a URL, or recognised by its looks."""
    if isinstance(value, dict):
        for name, inner in value.items():
            held = at and at[-1] in {"environment", "labels", "args", "options"} and is_secret(str(name))
            if held and inner not in (None, "") and not _REFERENCE.fullmatch(str(inner)):
                yield (*at, name), "holds a secret; let whoever starts the project set it, as `${NAME:?...}`"
            else:
                yield from _secrets(inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            name, _, text = inner.partition("=") if isinstance(inner, str) else ("", "", "")
            if text and is_secret(name) and not _REFERENCE.fullmatch(text):
                yield (*at, index), "holds a secret; let whoever starts the project set it, as `${NAME:?...}`"
            else:
                yield from _secrets(inner, (*at, index))
    elif isinstance(value, str) and (_TOKENS.search(value) or ("://" in value and redact_url(value) != value)):
        yield at, "holds a secret"
