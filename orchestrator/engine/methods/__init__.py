"""The methods that steps call (spec 7); importing this package registers them all."""

from orchestrator.engine.methods import (
    desktop,
    download,
    env,
    exec,  # noqa: A004  # named after the method
    flow,
    fs,
    gradio,
    hf,
    interaction,
    json_files,
    link,
    net,
    process,
    script,
    shell,
    variables,
)

__all__ = [
    "desktop",
    "download",
    "env",
    "exec",
    "flow",
    "fs",
    "gradio",
    "hf",
    "interaction",
    "json_files",
    "link",
    "net",
    "process",
    "script",
    "shell",
    "variables",
]
