"""A picture in Prefect's UI."""

import base64
from pathlib import Path

from prefect.artifacts import create_image_artifact


def show_picture(png: Path, *, key: str, description: str) -> None:
    """Show a PNG file as an image artifact."""
    # A data URI: Prefect's server stores no files, and the worker's folder is not the browser's.
    data = base64.b64encode(png.read_bytes()).decode()
    create_image_artifact(f"data:image/png;base64,{data}", key=key, description=description)
