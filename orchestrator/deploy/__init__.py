"""Writing what other engines start from an app's image: a Compose project."""
