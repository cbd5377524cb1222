"""The engine: runs Pinokio scripts as the desktop engine does, on a headless Linux host."""
