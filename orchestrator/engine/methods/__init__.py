"""The methods that steps call (spec 7): one module per family, imported when a step first names one of its methods."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from orchestrator.engine.call import METHODS

if TYPE_CHECKING:
    from orchestrator.engine.call import Method

# the first part of a method's name → the modules that hold methods of that name; importing one registers them
FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("jump", "goto", "log"), ("flow",)),
    "script": ("script",),
    "shell": ("shell",),
    "hf": ("hf",),
    "fs": ("fs", "download", "link"),
    **dict.fromkeys(("local", "global", "set", "rm", "load", "import"), ("variables",)),
    **dict.fromkeys(("json", "self"), ("json_files",)),
    "env": ("env",),
    "net": ("net",),
    "exec": ("exec",),
    "process": ("process",),
    "gradio": ("gradio",),
    **dict.fromkeys(("input", "filepicker", "modal", "loading", "notify", "push", "htmlmodal"), ("interaction",)),
    **dict.fromkeys(
        ("web", "browser", "tab", "uri", "proxy", "cloudflare", "key", "clipboard", "app", "github", "terminal"),
        ("desktop",),
    ),
}


def find(name: str) -> Method | None:
    """Return the function of a method, None when there is no such method."""
    if name not in METHODS:
        for module in FAMILIES.get(name.partition(".")[0], ()):
            importlib.import_module(f"{__name__}.{module}")
    return METHODS.get(name)


def load_all() -> dict[str, Method]:
    """Import every family and return all methods by name; for tests and listings."""
    for module in {module for modules in FAMILIES.values() for module in modules}:
        importlib.import_module(f"{__name__}.{module}")
    return METHODS
