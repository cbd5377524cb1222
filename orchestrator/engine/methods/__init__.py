"""The methods that steps call (spec 7); importing this package registers them all."""

from orchestrator.engine.methods import (
    desktop,
    env,
    exec,  # noqa: A004  # named after the method
    flow,
    fs,
    gradio,
    interaction,
    json_files,
    link,
    net,
    process,
    script,
    shell,
    variables,
)

__all__ = ["desktop", "env", "exec", "flow", "fs", "gradio", "interaction", "json_files", "link", "net", "process", "script", "shell", "variables"]
