"""The detached process that keeps one app alive, and the client that talks to it."""
