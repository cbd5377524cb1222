"""ENVIRONMENT files, and the variables of shells and templates (spec 8.5 and 9)."""

from __future__ import annotations

from orchestrator.engine.environment.assemble import ToolFacts, shell_environment, template_environment
from orchestrator.engine.environment.defaults import app_file_text, system_file_text
from orchestrator.engine.environment.dotenv import parse, set_value
from orchestrator.engine.environment.environment import Environment
from orchestrator.engine.environment.files import ensure_app_file, prepare_home, set_app_values

__all__ = [
    "Environment",
    "ToolFacts",
    "app_file_text",
    "ensure_app_file",
    "parse",
    "prepare_home",
    "set_app_values",
    "set_value",
    "shell_environment",
    "system_file_text",
    "template_environment",
]
