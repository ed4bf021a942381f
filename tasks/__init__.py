"""The work between flows and storage: `steps` does it, `show` shows it, `policies` tells Prefect how to run it."""
