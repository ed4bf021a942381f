"""Certificates made with openssl, for test servers with TLS."""

import shutil
import subprocess
from pathlib import Path

from missing import skip_or_fail


def self_signed(folder: Path, *, days: int, name: str = "archive") -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, valid for `days`, and its key; with 0 days it has just expired."""
    key, request, certificate, names = (folder / name for name in ("key.pem", "request.pem", "cert.pem", "names"))
    names.write_text("subjectAltName=IP:127.0.0.1\n")
    commands: list[list[str | Path]] = [
        ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}"],
        ["openssl", "x509", "-req", "-in", request, "-signkey", key, "-days", str(days), "-extfile", names,
         "-out", certificate],
    ]  # fmt: skip
    if shutil.which("openssl") is None:
        skip_or_fail("openssl is not installed")
    for command in commands:
        subprocess.run(command, capture_output=True, check=True)
    return certificate, key
