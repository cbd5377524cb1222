"""The download engine: resumable, parallel where the server allows it, complete or not there (spec 7.2)."""
