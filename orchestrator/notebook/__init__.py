"""For cells of a notebook on Colab: Drive for models and state, apps in the notebook's own frame."""

from __future__ import annotations

from orchestrator.notebook.cells import down, forget, mount_drive, restore, status, up

__all__ = ["down", "forget", "mount_drive", "restore", "status", "up"]
