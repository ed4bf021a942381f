"""Prefect tasks: a retry and cache policy around one or two plain functions, and no arithmetic."""
