"""The variables of a shell (spec 8.5) and of templates (9.5), as pure functions of everything they depend on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from orchestrator.engine.home import Home

Exists = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """Hold what the variables of a shell depend on besides files and processes.

    `conda`: the base conda is in HOME/bin/miniforge. `gxx`: path of g++. `cuda_home`: the host's CUDA toolkit, where it
    is to be used. `managed_python`: uv can fetch Pythons here. `system_certs`: the system has a certificate store.
    `logged_in`: HOME/cache/HF_AUTH/token exists. `visible_devices`: the GPUs that the engine itself was given.
    """

    conda: bool = False
    gxx: str | None = None
    cuda_home: str | None = None
    managed_python: bool = True
    system_certs: bool = True
    logged_in: bool = False
    visible_devices: str | None = None


LOGIN_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_DROPPED: Final = frozenset({
    "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "CONDA_EXE", "CONDA_PYTHON_EXE", "CONDA_PROMPT_MODIFIER", "PYTHONPATH",
    "CMAKE_MAKE_PROGRAM", "CMAKE_GENERATOR",
    # the following are ours: they belong to the process that started the engine, and in a shell they would send what an
    # app installs into pinoctl's own environment or into the system (Colab sets UV_SYSTEM_PYTHON)
    "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONHOME", "UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT",
})  # fmt: skip
_DROPPED_PREFIXES: Final = ("BLUEFAIRY_", "CONDA_PREFIX", "_CE_", "CUDA", "PINOCTL_")
_CERTIFICATES: Final = re.compile(r"CERT|ROOTS|(?:^|_)CA(?:_|INFO|PATH|FILE|$)")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_LINE_ENDS: Final = re.compile(r"\r\n|\r|\n")


def inherited(process: Mapping[str, str], exists: Exists = os.path.exists) -> dict[str, str]:
    """Return what shells keep of the engine's own environment (8.5, rule 1).

    Names with SSL in them stay when they name certificate files or folders that exist (spec 15). `exists` tells whether
    a path does.
    """
    return {name: value for name, value in process.items() if not _is_dropped(name, value, exists)}


def _is_dropped(name: str, value: str, exists: Exists) -> bool:
    if name in _DROPPED or name.startswith(_DROPPED_PREFIXES) or "SSH" in name:
        return True
    if "SSL" in name:
        files = [part for part in value.split(os.pathsep) if part.startswith("/")]
        return not (_CERTIFICATES.search(name) and any(exists(part) for part in files))
    # notebooks name a drawing backend that only their own Python can import
    return name == "MPLBACKEND" and value.startswith("module://")


def module_variables(home: Home, facts: ToolFacts) -> dict[str, str]:
    """Return the variables that the tools contribute to every shell (9.2).

    Without a base conda none of its variables is set: CUDA_HOME and PYTHON would name things that do not exist, which
    breaks source builds that would otherwise find the host's.
    """
    npm = str(home.bin / "npm")
    values = {
        "GIT_CONFIG_GLOBAL": str(home.root / "gitconfig"),
        "GH_CONFIG_DIR": str(home.root / "config" / "gh"),
        "NPM_CONFIG_PREFIX": npm,
        "npm_config_prefix": npm,
        "PNPM_HOME": npm,
        "pnpm_home": npm,
        "npm_config_cache": str(home.cache / "npm_config_cache"),
    }
    if facts.conda:
        root = str(home.miniforge)
        values |= {
            "CONDA_ENVS_PATH": f"{root}/envs",
            "CONDA_PKGS_DIRS": f"{root}/pkgs",
            "PYTHON": f"{root}/python",
            "CUDA_HOME": root,
        }
    if facts.cuda_home:
        values["CUDA_HOME"] = facts.cuda_home
    return values


def module_path(home: Home, facts: ToolFacts) -> list[str]:
    """Return the folders that the tools put in front of PATH (9.2); pinoctl's base takes the place of homebrew."""
    root = str(home.miniforge)
    conda = [f"{root}/{part}" for part in ("etc/profile.d", "bin", "condabin", "lib", "Library/bin", "pkgs")]
    npm = str(home.bin / "npm")
    return [npm, f"{npm}/bin", *([*conda, root] if facts.conda else []), str(home.base / "bin")]


def base_layer(
    home: Home, process: Mapping[str, str], files: Iterable[Mapping[str, str]], facts: ToolFacts,
    exists: Exists = os.path.exists,
) -> dict[str, str]:  # fmt: skip
    """Return the part of a shell's variables that no step changes (8.5, rules 1 to 4, without the tools).

    `files` are the values of the ENVIRONMENT files as `resolved` gives them, weakest first.
    """
    env = inherited(process, exists)
    if facts.system_certs:
        env.setdefault("UV_SYSTEM_CERTS", "1")
        env.setdefault("UV_NATIVE_TLS", env["UV_SYSTEM_CERTS"])  # its name before uv 0.11
    if facts.visible_devices is not None:
        env["CUDA_VISIBLE_DEVICES"] = facts.visible_devices
    env |= {
        "CONDA_SHORTCUTS": "0",
        "CMAKE_OBJECT_PATH_MAX": "1024",
        "PYTORCH_ENABLE_MPS_FALLBACK": "1",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    }
    for values in files:
        env.update(values)
    env["PATH"] = f"{login_path(process)}:{home.bin}"
    env["HISTFILE"] = str(home.root / "history" / "bash_history")
    if facts.gxx:
        env["NVCC_PREPEND_FLAGS"] = f"-ccbin {facts.gxx}"
    return env


def login_path(process: Mapping[str, str]) -> str:
    """Return the PATH of the user, without the environment that pinoctl itself may run in."""
    path = process.get("PATH") or LOGIN_PATH
    own = process.get("VIRTUAL_ENV")
    if not own:
        return path
    return ":".join(part for part in path.split(":") if part.rstrip("/") != f"{own.rstrip('/')}/bin") or LOGIN_PATH


def apply_step(
    base: Mapping[str, str], home: Home, facts: ToolFacts, step: Mapping[str, Any] | None = None,
    remove: Iterable[str] = (), *, conda_base: bool = True,
) -> dict[str, str]:  # fmt: skip
    """Lay the tools' variables, the step's `env` and `-env`, and the forced ones over a base layer (8.5, 5 to 9).

    `conda_base` is false when the step names another conda environment than base. Raises ScriptError for a PATH that
    is not a list.
    """
    env = {**base, **module_variables(home, facts)}
    front, again = module_path(home, facts), False
    for name, value in (step or {}).items():
        if name.lower() == "path":
            again = again or name != "PATH"
            front = _joined_path(name, value, front)
        elif isinstance(value, (list, tuple)):
            joined = ":".join(_text(item) if item is not None else "" for item in value)
            before = base.get(name)
            env[name] = f"{joined}:{before}" if before else joined
        elif value is not UNDEFINED:
            env[name] = _text(value)
    # the desktop keeps `path` beside `PATH` and so puts everything in front twice; it does no harm
    env["PATH"] = ":".join([*front, *(front if again else []), env["PATH"]])
    _fill_defaults(env, home, facts)
    env = _clean(env)
    for name in remove:
        env.pop(name, None)
    env |= {
        "CONDA_AUTO_ACTIVATE_BASE": "false",
        "PYTHONNOUSERSITE": "1",
        "UV_PYTHON_PREFERENCE": "only-managed" if facts.managed_python else "managed",
        "UV_PYTHON_DOWNLOADS": "automatic",
    }
    if conda_base:
        env["PIP_REQUIRE_VIRTUALENV"] = "true"
    return env


def shell_environment(
    home: Home, process: Mapping[str, str], files: Iterable[Mapping[str, str]], facts: ToolFacts, *,
    step: Mapping[str, Any] | None = None, remove: Iterable[str] = (), conda_base: bool = True,
    exists: Exists = os.path.exists,
) -> dict[str, str]:  # fmt: skip
    """Return all variables of a shell (8.5): `base_layer`, then `apply_step`."""
    base = base_layer(home, process, files, facts, exists)
    return apply_step(base, home, facts, step, remove, conda_base=conda_base)


def template_environment(
    home: Home, process: Mapping[str, str], system: Mapping[str, str], app: Mapping[str, str], facts: ToolFacts, *,
    exists: Exists = os.path.exists,
) -> dict[str, str]:  # fmt: skip
    """Return what templates see as `env` (9.5): the engine's shell, HOME/ENVIRONMENT, the app's ENVIRONMENT."""
    return {**shell_environment(home, process, [system], facts, exists=exists), **system, **app}


def resolved(values: Mapping[str, str], root: str) -> dict[str, str]:
    """Make values that start with `./` absolute below `root` and drop blank ones (9.4)."""
    return {
        name: os.path.normpath(os.path.join(root, value)) if value.startswith("./") else value  # noqa: PTH118  # text, and hot
        for name, value in values.items()
        if value.strip()
    }


def _joined_path(name: str, value: Any, front: list[str]) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise ScriptError(f"`{name}` in the `env` of a step must be a list of folders, got {value!r}")
    folders = [_text(item) for item in value if item not in (None, "", UNDEFINED)]
    return [*folders, *front] if name == "PATH" else [*front, *folders]


def _fill_defaults(env: dict[str, str], home: Home, facts: ToolFacts) -> None:
    if not env.get("HF_HUB_DISABLE_UPDATE_CHECK"):
        env["HF_HUB_DISABLE_UPDATE_CHECK"] = "1"
    if not env.get("HF_TOKEN_PATH"):
        env["HF_TOKEN_PATH"] = str(home.cache / "HF_AUTH" / ("token" if facts.logged_in else "anonymous"))


def _clean(env: Mapping[str, str]) -> dict[str, str]:
    cleaned = {name: value for name, value in env.items() if _IDENTIFIER.match(name)}
    for name, value in cleaned.items():
        if "\n" in value or "\r" in value or "\0" in value:
            text = value if name.startswith("PINOKIO_ARG_") else _LINE_ENDS.sub(" ", value)
            cleaned[name] = text.replace("\0", "")
    return cleaned


def _text(value: Any) -> str:
    """Write a value as JavaScript's `String()` does."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:  # noqa: PLR2004  # from there on JavaScript writes exponents
        return str(int(value))
    return "[object Object]" if isinstance(value, Mapping) else str(value)
