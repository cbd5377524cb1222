"""Pinoctl: run Pinokio apps headless on rented GPUs."""

__version__ = "0.1.0"
