"""The launcher stage: which app is meant, getting it on disk, its metadata, menu and scripts."""
