"""The variables that a new HOME/ENVIRONMENT defines, and the text of both kinds of ENVIRONMENT file (spec 9.1, 9.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.engine.environment import dotenv

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Default:
    """Describe one built-in variable; `system` and `app` say which of the two files define it."""

    name: str
    value: str
    about: str = ""
    system: bool = True
    app: bool = False


_CACHES: Final = (
    "HOMEBREW_CACHE", "XDG_CACHE_HOME", "PIP_CACHE_DIR", "UV_CACHE_DIR", "PIP_TMPDIR", "TMPDIR", "TEMP", "TMP",
    "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME",
)  # fmt: skip

DEFAULTS: Final[tuple[Default, ...]] = (
    *(Default(name, f"./cache/{name}") for name in _CACHES),
    Default("PIP_CONFIG_FILE", "./pipconfig"),
    Default("CONDARC", "./condarc"),
    Default("PS1", "<<PINOKIO_SHELL>> ", "The prompt of every shell"),
    Default("GRADIO_ANALYTICS_ENABLED", "False", "Whether Gradio apps send usage data"),
    Default("GRADIO_ALLOWED_PATHS", "./", "Folders whose files Gradio apps may show"),
    Default("PINOKIO_SHARE_VAR", "url", "The local variable that holds the URL to share"),
    Default("PINOKIO_SHARE_CLOUDFLARE", "false", "Whether to open a public tunnel to the app", app=True),
    Default("PINOKIO_SCRIPT_DEFAULT", "true", "Whether the default script starts by itself", app=True),
    Default("PINOKIO_DRIVE", "./drive", "Where apps keep the models that they share"),
    Default("GRADIO_TEMP_DIR", "./cache/GRADIO_TEMP_DIR", "Where Gradio keeps uploaded and generated files", app=True),
    Default("HF_HOME", "./cache/HF_HOME", "Where Hugging Face models are kept", app=True),
    Default("TORCH_HOME", "./cache/TORCH_HOME", "Where torch.hub models are kept", app=True),
    Default("PINOKIO_SHARE_LOCAL", "false", "Whether to share the app on the local network", app=True),
    Default("PINOKIO_SHARE_LOCAL_PORT", "", "The port to share it on; empty for any", app=True),
    Default("PINOKIO_SCRIPT_AUTOLAUNCH", "", "A script to start with the engine", system=False, app=True),
    Default("PINOKIO_SCRIPT_REQUIRES", "", "Apps to start first, separated by commas", system=False, app=True),
    Default("PINOKIO_SHARE_PASSCODE", "", "A passcode that visitors have to enter", system=False, app=True),
)

RESET_AT_START: Final = ("TMP", "TEMP", "TMPDIR", "PIP_TMPDIR", "UV_CACHE_DIR", "PIP_CACHE_DIR")
NOT_FOLDERS: Final = frozenset({"PIP_CONFIG_FILE", "CONDARC", "HF_TOKEN_PATH"})
SHARED: Final = frozenset({"HF_HOME", "TORCH_HOME"})  # left to HOME/ENVIRONMENT, so that apps share models (spec 15)
_BUILT_IN: Final = frozenset(item.name for item in DEFAULTS)


def _line(item: Default, value: str) -> str:
    comment = f"# {item.about}\n" if item.about else ""
    return f"{comment}{item.name}={value}\n"


def system_file_text() -> str:
    """Return the text of a new HOME/ENVIRONMENT (spec 9.1)."""
    head = "# Variables of every app in this home; a value that starts with ./ is a path in this folder\n\n"
    return head + "".join(_line(item, item.value) for item in DEFAULTS if item.system)


def app_file_text(template: str, system: Mapping[str, str]) -> str:
    """Return the text of an app's new ENVIRONMENT (spec 9.3, without HF_HOME and TORCH_HOME: section 15).

    `template` is the text of the app's `_ENVIRONMENT` ("" if it has none), `system` what HOME/ENVIRONMENT defines, as
    `parse` gives it. The generated part comes last and so wins over equal names of the template.
    """
    lines = []
    for item in DEFAULTS:
        if item.app and item.name not in SHARED:
            inherited = system.get(item.name, "")
            lines.append(_line(item, dotenv.quote(inherited) if inherited else item.value))
    lines.extend(f"{name}={dotenv.quote(value)}\n" for name, value in system.items() if value and name not in _BUILT_IN)
    return f"{template}\n\n\n" + "".join(lines)


def reset_caches(text: str, usable: Mapping[str, bool]) -> str:
    """Put the lines of caches whose folder is not usable back to their defaults (spec 9.1).

    `usable` has an entry for every name of RESET_AT_START. A line that is missing or blank is put back as well.
    """
    for name in RESET_AT_START:
        if not usable.get(name, False):
            text = dotenv.set_value(text, name, f"./cache/{name}")
    return text
