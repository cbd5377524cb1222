"""The idle and cost guard: when an app, or the rented machine under it, is stopped by itself."""
