"""The methods that steps call (spec 7); importing this package registers them all."""

from orchestrator.engine.methods import flow, script

__all__ = ["flow", "script"]
