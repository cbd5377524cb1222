"""The base environment and the tools of a host (spec 12)."""

from __future__ import annotations

from orchestrator.engine.tools.base import BaseReport
from orchestrator.engine.tools.conda import Conda, Miniforge
from orchestrator.engine.tools.host import Missing
from orchestrator.engine.tools.tools import Tools

__all__ = ["BaseReport", "Conda", "Miniforge", "Missing", "Tools"]
