"""Containers as places: an image of its own for every app, built step by step, run hardened (decisions 4, 6, 9)."""
