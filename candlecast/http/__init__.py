"""The read-only HTTP API and what stands before it."""
