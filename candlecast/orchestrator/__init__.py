"""Prefect behind the commands: its defaults, servers, setup and schedule."""
