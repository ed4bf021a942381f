"""The order of the steps: Prefect flows whose bodies read like the README, and the settings they run under."""
