"""Which kind of web page an app serves, as far as its commands and packages tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# the first that fits wins: programs with a page of their own before the frameworks that they are made with
BY_TEXT: Final[tuple[tuple[str, str], ...]] = (
    ("comfyui", r"comfyui|comfy-org"),
    ("invokeai", r"invokeai"),
    ("open-webui", r"open-webui"),
    ("forge", r"stable-diffusion-webui-forge|webui-forge|reforge"),
    ("a1111", r"stable-diffusion-webui|automatic1111|sd\.?next|vladmandic/"),
    ("fooocus", r"fooocus"),
    ("oobabooga", r"text-generation-webui"),
    ("sillytavern", r"sillytavern"),
    ("swarmui", r"swarmui"),
    ("jupyter", r"\bjupyter(?:[- ](?:lab|notebook))"),
    ("streamlit", r"\bstreamlit (?:run|app)\b"),
    ("flowise", r"\bflowise\b"),
    ("n8n", r"\bn8n\b"),
    ("gradio", r"(?<![a-z])gradio(?![a-z]|[-_]client)|running on local url"),
    ("next", r"\bnext (?:dev|start)\b"),
    ("vite", r"\bvite\b"),
    ("fastapi", r"\buvicorn\b|\bfastapi\b"),
    ("flask", r"\bflask run\b"),
    ("ollama", r"\bollama serve\b"),
)
BY_PACKAGE: Final = ("gradio", "streamlit", "jupyterlab", "nicegui", "chainlit", "dash", "fastapi", "flask", "aiohttp")
_COMPILED: Final = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in BY_TEXT)
_NODE: Final = re.compile(r"\b(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?(?:start|dev|serve|preview)\b|\bnode\s+\S+\.js\b")
_SPACE: Final = re.compile(r"huggingface\.co/spaces/")


def web_ui_of(
    lines: Iterable[str], packages: Collection[str], clones: Iterable[str], texts: Iterable[str]
) -> str | None:
    """Return the kind of page, None where nothing tells; `texts` are the launcher's descriptions, which count last."""
    commands = "\n".join([*lines, *(str(url) for url in clones)])
    found = next((name for name, pattern in _COMPILED if pattern.search(commands)), None)
    if found is None:
        found = next((name for name in BY_PACKAGE if name in packages), None)
    if found is None and _SPACE.search(commands):
        return "gradio"  # what nearly every Space is that a launcher clones
    if found is None and _NODE.search(commands):
        return "node"
    if found is None:
        found = next((name for name in ("gradio", "streamlit") if any(name in text.lower() for text in texts)), None)
    return found
