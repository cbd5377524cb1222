"""Measurements of the real program; `make bench` prints them beside the desktop engine's figures."""
