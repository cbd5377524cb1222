"""What an app needs of a machine and brings to it, as read from its plan."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Clone:
    """Describe a git repository that a script clones: its address, the ref asked for, and the folder it lands in."""

    url: str
    ref: str | None = None
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """Describe what a script fetches: `kind` is `file`, `huggingface`, `python`, `conda`, `npm`, `apt` or `ollama`.

    `what` is the address, repository or package specification, `to` the folder or file it lands in, "" when unknown.
    """

    kind: str
    what: str
    to: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """Hold what the steps of an app's scripts say they need; None or empty where they say nothing.

    `platforms` and `gpus` are those that the launcher restricts itself to (`linux`, `win32`, `darwin`; `nvidia`,
    `amd`, `apple`); `vram`, `ram` and `disk` are the GB that its texts require, `disk_estimate` what the installed
    packages take as a rule; `torch` and `cuda` are versions such as `2.7.0` and `12.8` (`cpu` for a CPU build);
    `python` like `3.10`; `ports` the numbers that commands name; `models` names of models (Hugging Face repositories,
    Ollama names, checkpoint files); `commands` the programs that steps call; `web_ui` one of `gradio`, `streamlit`,
    `comfyui`, …; `source_build` tells whether a step compiles CUDA code, `conda` whether one uses conda.
    `sources` says for each fact where it was read: its name → `script#step` or `text`.
    """

    platforms: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    vram: float | None = None
    ram: float | None = None
    disk: float | None = None
    disk_estimate: float | None = None
    python: str | None = None
    torch: str | None = None
    cuda: str | None = None
    clones: tuple[Clone, ...] = ()
    downloads: tuple[Download, ...] = ()
    models: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    commands: tuple[str, ...] = ()
    web_ui: str | None = None
    source_build: bool = False
    conda: bool = False
    sources: dict[str, str] = field(default_factory=dict)
