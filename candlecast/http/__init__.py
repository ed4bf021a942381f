"""The read-only HTTP API and the middlewares in front of it."""
