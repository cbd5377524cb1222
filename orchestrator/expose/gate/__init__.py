"""The gate: an authenticating reverse proxy, and whom it lets in."""
