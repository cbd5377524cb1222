"""Reading what an app needs from the steps of its plan and from its texts; pure, and never in the launcher's hands."""

from __future__ import annotations

from orchestrator.plan.reading.reading import read_needs

__all__ = ["read_needs"]
