"""The index of what is installed and how each app is doing."""
