"""Where an app lives: the host for now, with snapshots for updates and a lock per app."""
