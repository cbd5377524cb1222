"""Every kind of event that the journal can hold, with its keys; docs/journal.md explains each."""

from __future__ import annotations

from typing import Final

ENGINE_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "run.start": ("script", "steps", "daemon", "title", "parent"),
    "run.resume": ("script", "index"),
    "step.start": ("script", "index", "steps", "method"),
    "step.skip": ("script", "index", "steps", "method"),
    "step.end": ("script", "index", "method", "ms", "error"),
    "run.end": ("script", "status", "daemon", "failed_children", "error", "hint", "step", "method"),
    "shell.start": ("script", "id", "pid", "path", "started", "boot"),
    "shell.end": ("script", "id", "status", "how", "detached", "missed"),
    "local.url": ("script", "name", "value"),
    "open": ("script", "url", "target"),
    "download": ("script", "url", "path", "size", "status"),
    "notify": ("script", "text", "href"),
    "warning": ("script", "text"),
    "input.wait": ("script", "index", "title", "fields"),
    "input.done": ("script", "index", "answers"),
    "question": ("script", "id", "form"),
    "answered": ("id",),
}

AGENT_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "agent.start": ("pid", "started", "boot", "version"),
    "agent.stop": ("reason",),
    "leftovers": ("pids",),
    "scripts": ("install", "start", "update", "reset", "stage"),
    "state": ("word", "state", "step", "steps", "reason", "url"),
    "resume": ("script", "step"),
    "ready": ("url", "source"),
    "lost": ("reason", "lines"),
    "restart": ("attempt", "delay", "reason"),
    "given.up": ("attempts", "reason"),
    "failed": ("script", "step", "method", "reason", "hint", "lines"),
    "restored": ("reason",),
    "checkpoint": ("how", "seconds", "bytes"),
    "torch": ("level", "text", "environment"),
}

KINDS: Final[dict[str, tuple[str, ...]]] = {**ENGINE_KINDS, **AGENT_KINDS}
