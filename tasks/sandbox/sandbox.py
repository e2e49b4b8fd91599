"""Programs that a model wrote are run here and nowhere else: without network, without files but the interpreter's, with
bounded time, memory, processes and output.

By bubblewrap where it is installed, else by Linux namespaces (tasks/sandbox/namespaces.py); where neither works nothing
is run. What is left is the kernel itself: a program that breaks that is out (docs/threat-model.md).
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from data_store.errors import InputError
from models.config import Config
from tasks.sandbox import inside, namespaces
from tasks.sandbox.private_root import interpreter, readable

_MB = 1 << 20
_LOOK_EVERY = 0.02  # seconds between two looks at memory and processes
_USERS = 2_000_000_000  # as root, programs run as users from here on: nobody has such a number

End = Literal["ended", "time", "memory", "processes"]


class SandboxConfig(Config):
    """What a program may use."""

    seconds: float = Field(default=10.0, gt=0, le=600, description="Time by the clock")
    cpu_seconds: int = Field(default=10, ge=1, le=600, description="Processor time of one process")
    memory_mb: int = Field(default=512, ge=64, description="Memory of one process, and of all of a program together")
    processes: int = Field(default=16, ge=1, le=1024, description="Processes and threads at a time")
    file_mb: int = Field(default=16, ge=1, description="All that it writes, in memory that goes with it")
    output_kb: int = Field(
        default=64, ge=1, le=4096, description="Of what it prints this much is kept, the rest thrown away"
    )


@dataclass(frozen=True)
class Outcome:
    """How a program ended. `code` is its exit code, 128 and more where a signal ended it; `end` tells whether it ended
    by itself or which limit ended it. `output` and `errors` are what it printed, cut at `output_kb`."""

    code: int
    end: End
    output: str
    errors: str
    seconds: float


class Sandbox(ABC):
    """A way to run a command in a private root."""

    name: str

    @abstractmethod
    def command(self, root: Path, limits: SandboxConfig, inner: list[str]) -> list[str]:
        """What to start so that `inner` runs in the sandbox; `root` is an empty folder to build in."""

    def run(self, program: str, limits: SandboxConfig) -> Outcome:
        """Run a Python program to its end, or to its first limit. No process of it is left behind."""
        bounds = {
            "cpu_seconds": limits.cpu_seconds,
            "memory": limits.memory_mb * _MB,
            "file": limits.file_mb * _MB,
            "processes": limits.processes,
        }
        inner = [str(interpreter()), "-I", "-S", "-c", Path(inside.__file__).read_text(), json.dumps(bounds)]
        with tempfile.TemporaryDirectory(prefix="halter-sandbox-") as root:
            started = time.monotonic()
            process = subprocess.Popen(
                self.command(Path(root), limits, inner),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                start_new_session=True,
            )
            try:
                end, output, errors = _watch(process, program.encode(errors="replace"), limits)
            finally:
                _end(process)
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return Outcome(code, end, output, errors, time.monotonic() - started)


class Bubblewrap(Sandbox):
    """bubblewrap, without any right and in namespaces of its own."""

    name = "bubblewrap"

    def __init__(self, file: str) -> None:
        self._file = file

    def command(self, root: Path, limits: SandboxConfig, inner: list[str]) -> list[str]:
        """One tmpfs to write into; the rest is read-only."""
        paths, links = readable()
        binds = [word for path in paths for word in ("--ro-bind", str(path), str(path))]
        symlinks = [word for path, to in links.items() for word in ("--symlink", to, str(path))]
        return [
            *(self._file, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"),
            *("--cap-drop", "ALL", "--uid", str(namespaces.NOBODY), "--gid", str(namespaces.NOBODY)),
            *(*binds, *symlinks, "--size", str(limits.file_mb * _MB), "--tmpfs", "/tmp"),  # noqa: S108
            *("--chdir", "/tmp", "--remount-ro", "/", "--", *inner),  # noqa: S108
        ]


class Namespaces(Sandbox):
    """The kernel's namespaces, made by a program of ours: as root, or by a user namespace."""

    def __init__(self, *, as_root: bool) -> None:
        self._as_root = as_root
        self.name = "namespaces as root" if as_root else "user namespaces"

    def command(self, root: Path, limits: SandboxConfig, inner: list[str]) -> list[str]:
        """As root for a user of a number of its own."""
        paths, links = readable()
        spec = {
            "root": str(root),
            "readable": [str(path) for path in paths],
            "links": {str(path): to for path, to in links.items()},
            "file": limits.file_mb * _MB,
            "user": _USERS + os.getpid() % 100_000_000 if self._as_root else 0,
        }
        return [str(interpreter()), "-I", "-S", namespaces.__file__, json.dumps(spec), *inner]


@cache
def find_sandbox() -> Sandbox:
    """One that works on this machine. Raises InputError, with what to install, where there is none."""
    file = shutil.which("bwrap")
    tried = []
    ways: list[Sandbox] = [Bubblewrap(file)] if file else []
    if sys.platform == "linux":
        ways += [Namespaces(as_root=as_root) for as_root in (True, False) if os.geteuid() == 0 or not as_root]
    for each in ways:
        found = each.run("print(6 * 7)", SandboxConfig())
        if (found.code, found.output) == (0, "42\n"):
            return each
        tried.append(f"{each.name}: {(found.errors or found.end).strip()[-200:]}")
    raise InputError(
        "programs that a model wrote are run in a sandbox alone, and none works here "
        f"({'; '.join(tried) or 'it needs Linux'}): install bubblewrap (`apt install bubblewrap`), allow user "
        "namespaces, or take the benchmarks of code out"
    )


def _watch(process: "subprocess.Popen[bytes]", program: bytes, limits: SandboxConfig) -> tuple[End, str, str]:
    """Feed the program, keep what it prints, and look at the clock, its memory and its processes."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("pipes, as they were asked for")
    kept = {process.stdout: bytearray(), process.stderr: bytearray()}
    deadline = time.monotonic() + limits.seconds
    end: End = "ended"
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdin, *kept):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_WRITE if stream is process.stdin else selectors.EVENT_READ)
        while selector.get_map() and end == "ended":
            for key, _ in selector.select(_LOOK_EVERY):
                if key.fileobj is process.stdin:
                    program = _fed(process.stdin.fileno(), program)
                    if not program:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                elif chunk := os.read(key.fd, 1 << 16):
                    held = kept[key.fileobj]  # type: ignore[index]
                    held += chunk[: limits.output_kb * 1024 - len(held)]
                else:
                    selector.unregister(key.fileobj)
            end = _exceeded(process.pid, deadline, limits)
        while end == "ended" and process.poll() is None:
            end = _exceeded(process.pid, deadline, limits)
            time.sleep(_LOOK_EVERY / 4)
    output, errors = (bytes(each).decode(errors="replace") for each in kept.values())
    return end, output, errors


def _fed(pipe: int, program: bytes) -> bytes:
    """What of the program is still to be written; nothing where nobody reads on."""
    try:
        return program[os.write(pipe, program) :]
    except BlockingIOError:
        return program
    except BrokenPipeError:
        return b""


def _exceeded(pid: int, deadline: float, limits: SandboxConfig) -> End:
    if time.monotonic() > deadline:
        return "time"
    below = [*_below(pid)]
    if len(below) > limits.processes + 4:  # four of the sandbox's own
        return "processes"
    pages = 0
    for each in below:
        with suppress(OSError, IndexError, ValueError):
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return "memory" if pages * os.sysconf("SC_PAGE_SIZE") > limits.memory_mb * _MB else "ended"


def _below(pid: int) -> Iterator[int]:
    """The processes that a process has started, and theirs."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        with suppress(OSError):
            for thread in Path(f"/proc/{one}/task").iterdir():
                children = [*map(int, (thread / "children").read_text().split())]
                yield from children
                waiting += children


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left; what is in the namespace goes with its first process."""
    left = [*_below(process.pid)]
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()
    for each in left[:1]:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
