"""Runs the web server as users do, as a separate process."""

import subprocess
import sys
import time
from pathlib import Path

import requests
from prefect_parts import free_port


class Web:
    """A running `candlecast web`."""

    def __init__(self, installation, **more):
        self.url = f"http://127.0.0.1:{free_port()}"
        command = [str(Path(sys.executable).parent / "candlecast"), "web", "--port", self.url.rsplit(":", 1)[1]]
        self._process = subprocess.Popen(
            command, cwd=installation.folder, env=installation.environment(**more), stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        for _ in range(300):
            assert self._process.poll() is None, self._process.stderr.read()
            try:
                requests.get(f"{self.url}/openapi.json", timeout=5)
                return self
            except requests.ConnectionError:
                time.sleep(0.1)
        raise AssertionError("the web server did not answer in 30 s")

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(20)
        self._process.stderr.close()

    def get(self, path, **options):
        return requests.get(self.url + path, timeout=20, **options)
