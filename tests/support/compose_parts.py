"""Reads docs/deploy/compose.yaml as `docker compose` does, and runs its services as processes of this machine."""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from docker.utils.build import exclude_paths
from prefect_parts import BIN, ROOT
from processes import kill_session

DEPLOY = ROOT / "docs" / "deploy"
FILE = DEPLOY / "compose.yaml"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
# The time between two checks of a service that others wait for.
LOOK_S = 0.5


def context(root: Path = ROOT) -> set[str]:
    """Return the paths that the Dockerfile's `COPY . .` puts into the image, as .dockerignore leaves them."""
    return set(exclude_paths(str(root), (ROOT / ".dockerignore").read_text().split()))


def image_environment() -> dict[str, str]:
    """Return the variables that the Dockerfile's ENV sets."""
    set_there = re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE)
    return dict(pair.split("=", 1) for line in set_there for pair in shlex.split(line))


def read_env_file(file: Path) -> dict[str, str]:
    """Return the variables of an `.env` file without quotes."""
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if line)


def read_compose(env_file: Path) -> dict[str, dict[str, Any]]:
    """Return the file with `${...}`, anchors and each service's `env_file` resolved; `command` is a list."""
    known = read_env_file(env_file)

    def value(services: re.Match[str]) -> str:
        name, refusal = services.groups()
        assert known.get(name), f"{name}: {refusal}"
        return known[name]

    lines = [line for line in FILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    declared = yaml.safe_load(re.sub(r"\$\{(\w+):\?([^}]*)\}", value, "\n".join(lines)))
    for service in declared["services"].values():
        if "env_file" in service:
            assert (DEPLOY / service["env_file"]).resolve() == ROOT / ".env"
            service["environment"] = known | service["environment"]
        if "command" in service:
            service["command"] = shlex.split(service["command"])
    services: dict[str, dict[str, Any]] = declared
    return services


@dataclass
class Host:
    """One host for the services; `places` maps names and paths of the containers to those on this machine."""

    folder: Path
    image: Path
    env_file: Path
    places: Mapping[str, str]
    """Text of the file and its replacement on this machine; longer text is replaced first."""
    more: Mapping[str, Mapping[str, str]]
    """Variables with which each service listens on a different port."""
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        declared = read_compose(self.env_file)
        self.services: dict[str, Any] = declared["services"]
        self.configs: dict[str, Any] = declared["configs"]

    def here(self, text: str) -> str:
        for written in sorted(self.places, key=len, reverse=True):
            text = text.replace(written, self.places[written])
        return text

    def environment(self, name: str) -> dict[str, str]:
        """Return the whole environment of a service's processes: the image's variables, then the service's."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        variables = image_environment() | self.services[name]["environment"]
        at_home = {
            variable: self.here(text).replace("/home/candlecast", str(home)) for variable, text in variables.items()
        }
        system = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(self.image)}
        return system | at_home | self.more.get(name, {})

    def run(self, name: str, command: list[str], timeout_s: float) -> "subprocess.CompletedProcess[str]":
        """Run a command beside a service, as `docker compose exec` does."""
        return subprocess.run(
            [self.here(word) for word in command], env=self.environment(name), cwd=self.image,
            capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def up(self) -> None:
        """Start the services in the order of `depends_on`, each as soon as its conditions hold."""
        waiting = {name for name, service in self.services.items() if "command" in service}
        while waiting:
            name = next(n for n in sorted(waiting) if not waiting & set(self.services[n].get("depends_on", {})))
            for other, wanted in self.services[name].get("depends_on", {}).items():
                self._await(other, wanted["condition"])
            command = [self.here(word) for word in self.services[name]["command"]]
            with self._log(name).open("ab") as log:
                self.running[name] = subprocess.Popen(
                    command, env=self.environment(name), cwd=self.image, stdout=log, stderr=log,
                    stdin=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            waiting.remove(name)

    def _await(self, name: str, condition: str) -> None:
        if condition == "service_completed_successfully":
            assert self.running[name].wait(180) == 0, self.logs()
            return
        assert condition == "service_healthy"
        check = self.services[name]["healthcheck"]
        kind, *command = check["test"]
        assert kind == "CMD"
        deadline = time.monotonic() + check["retries"] * float(check["interval"].removesuffix("s"))
        while self.run(name, command, 30).returncode != 0:
            process = self.running.get(name)
            assert process is None or process.poll() is None, self.logs()
            assert time.monotonic() < deadline, self.logs()
            time.sleep(LOOK_S)

    def down(self) -> dict[str, int]:
        """Stop the services as `docker compose down` does, and return the exit code of each."""
        codes = {}
        while self.running:
            name, process = self.running.popitem()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            grace = float(self.services[name]["stop_grace_period"].removesuffix("s"))
            try:
                codes[name] = process.wait(grace)
            except subprocess.TimeoutExpired:
                codes[name] = -signal.SIGKILL
            # All other processes of a container end with it.
            kill_session(process)
        return codes

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def log(self, name: str) -> str:
        return self._log(name).read_text()

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2500:]}" for path in self.folder.glob("*.log"))
