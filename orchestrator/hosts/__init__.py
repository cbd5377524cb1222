"""Default paths per machine."""
