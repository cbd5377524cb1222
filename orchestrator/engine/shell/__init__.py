"""Shells: keepers of process trees, terminals, and what their output means (spec 7.1, 8)."""
