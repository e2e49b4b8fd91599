"""The services of deployments/compose.yaml without Docker: bubblewrap runs each command in the files of the image that
`make image` builds, as the user, with the mounts, the variables and the rights that the service declares.

Left out is what needs a kernel that grants it: networks of their own (all share one, where a name is 127.0.0.1), limits
of memory, and PostgreSQL's image, for which a server of this machine stands.
"""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deployments.image import ROOT, TREE

DOCKERFILE = (ROOT / "deployments" / "Dockerfile").read_text()
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables put in, as `docker compose config` would print it. Raises KeyError for one that the
    file wants and that is not given."""

    def value(found: re.Match[str]) -> str:
        name, rule, default = found[1], found[2], found[3]
        return variables[name] if rule == ":?" else variables.get(name, default)

    text = (ROOT / "deployments" / "compose.yaml").read_text()
    filled: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+)(:[?-])([^}]*)\}", value, text))
    return filled


class Containers:
    """The services of one compose file; volumes and logs lie in `folder`."""

    def __init__(self, folder: Path, variables: Mapping[str, str], mounts: Mapping[Path, str]) -> None:
        self.services: dict[str, Any] = compose(variables)["services"]
        self._folder, self._mounts = folder, mounts
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        names = "".join(f"127.0.0.1 {name}\n" for name in self.services)
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")

    def __enter__(self) -> "Containers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running.values()):
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name: str) -> None:
        """The service's own command."""
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                self.words(name, self.services[name]["command"]), stdout=log, stderr=log, env={}
            )

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Another command in a container of the service, to its end."""
        words = self.words(name, command or self.services[name]["command"])
        return subprocess.run(words, capture_output=True, text=True, env={}, timeout=600)

    def wait_until_healthy(self, name: str, seconds: float) -> None:
        """Raises TimeoutError, with the log, where its health check goes on failing, or it has ended."""
        check = self.services[name]["healthcheck"]["test"]
        deadline = time.monotonic() + seconds
        while self.run(name, *check[1:]).returncode:
            if time.monotonic() > deadline or self._running[name].poll() is not None:
                raise TimeoutError(f"{name}: {self.log(name)}")
            time.sleep(1)

    def log(self, name: str) -> str:
        """The end of what it has said."""
        return self._log(name).read_text()[-6000:]

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def words(self, name: str, command: Any) -> list[str]:
        """The command line that runs `command` in a container of the service."""
        service = self.services[name]
        words = ["bwrap", "--unshare-user", "--unshare-pid", "--die-with-parent", "--new-session"]
        words += ["--uid", service["user"], "--gid", service["user"], "--cap-drop", service["cap_drop"][0]]
        words += ["--ro-bind" if service["read_only"] else "--bind", str(TREE), "/", "--proc", "/proc", "--dev", "/dev"]
        for place in service["tmpfs"]:
            words += ["--tmpfs", place]
        for volume in service.get("volumes", ()):
            of, at = volume.split(":")
            (self._folder / of).mkdir(exist_ok=True)
            words += ["--bind", str(self._folder / of), at]
        for path, at in self._mounts.items():
            words += ["--ro-bind", str(path), at]
        words += ["--ro-bind", str(self._folder / "hosts"), "/etc/hosts", "--chdir", _of_dockerfile("WORKDIR")]
        for key, value in {"PATH": _PATH, **_variables(), **service.get("environment", {})}.items():
            words += ["--setenv", key, value]
        return [*words, *command]


def _of_dockerfile(word: str) -> str:
    found = re.findall(rf"^{word} (.+)$", DOCKERFILE, re.MULTILINE)
    return str(found[-1])


def _variables() -> dict[str, str]:
    """Those that the image sets."""
    joined = DOCKERFILE.replace("\\\n", " ")
    lines = re.findall(r"^ENV (.+)$", joined, re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def is_built() -> bool:
    """Whether there is an image to run."""
    return (TREE / "srv" / "halter").is_dir() and os.access(TREE, os.R_OK)
