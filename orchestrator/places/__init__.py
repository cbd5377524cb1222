"""Where an app lives: the host, or containers with an image of its own for every app."""
