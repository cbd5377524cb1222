"""JavaScript for the engine: the client of the sidecar and its records."""

from __future__ import annotations

from orchestrator.engine.javascript.client import Sidecar
from orchestrator.engine.javascript.process import NodeProcess, node_path, start_node
from orchestrator.engine.javascript.records import (
    CallResult,
    Host,
    Menu,
    MenuState,
    Opened,
    Outcome,
    Rendered,
    SidecarConfig,
    Silence,
)

__all__ = [
    "CallResult",
    "Host",
    "Menu",
    "MenuState",
    "NodeProcess",
    "Opened",
    "Outcome",
    "Rendered",
    "Sidecar",
    "SidecarConfig",
    "Silence",
    "node_path",
    "start_node",
]
