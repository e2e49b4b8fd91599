"""A vLLM server as a child of this process: in a process group of its own that goes when this process goes, behind a
unix socket in a folder that nobody else opens."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from models.samplers import guard
from models.samplers.client import VllmError, http_client
from models.samplers.config import VllmConfig

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for
NAME = "policy"
_STOP_SECONDS = 10.0
_LONGEST_SOCKET = 100  # the kernel takes 107 bytes
_LINES = 12
_NOT_ITS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")  # of this process's environment
_ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",  # its processes speak with each other
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


class Server:
    """Use as a context; it answers when that is entered. `model`: the folder that it serves; `lora_rank` of the
    adapters that it will be given, None for none; `tell` hears each line that it says.

    Entering raises VllmError where it ends, or does not answer in time.
    """

    def __init__(
        self, config: VllmConfig, model: Path, *, dtype: str, lora_rank: int | None, tell: Callable[[str], None]
    ) -> None:
        self.config, self._tell, self.model = config, tell, model
        self._told: deque[str] = deque(maxlen=_LINES)
        self._errors: deque[str] = deque(maxlen=_LINES)  # a page of what it leaked follows them
        self._dtype, self._rank = dtype, lora_rank
        self._folder: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="vllm-"))  # of this user alone
        try:
            if len(self.socket) > _LONGEST_SOCKET:
                raise ValueError(f"{self.socket} is too long for a socket: set TMPDIR to a folder with a shorter name")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(self._folder), *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=self._environment(),
                start_new_session=True,
            )
            self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
            self._listener.start()
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def group(self) -> int:
        """The process group of all that it is; 0 before it was started."""
        return 0 if self._process is None else self._process.pid

    @property
    def socket(self) -> str:
        """Where it listens."""
        return f"{self._folder}/socket"

    def require_alive(self) -> None:
        """Raises VllmError, with its last words, where it has ended."""
        if self._process is None or self._process.poll() is not None:
            if self._listener is not None:
                self._listener.join(1)
            told = "\n".join(self._errors or self._told)
            raise VllmError(f"the vLLM server ended; the same command does this step again. Its last words:\n{told}")

    def _command(self) -> list[str]:
        lora: tuple[str, ...] = ()
        if self._rank is not None:
            room = next((rank for rank in RANKS if rank >= (self._rank or 0)), None)
            if room is None:
                raise ValueError(f"vLLM takes adapters up to rank {RANKS[-1]}, not {self._rank}: lower lora.rank")
            lora = ("--enable-lora", "--max-lora-rank", str(room))
        return [
            *(*self.config.command, str(self.model), *self.config.arguments, "--uds", self.socket),
            *("--served-model-name", NAME, "--dtype", self._dtype, "--uvicorn-log-level", "warning", *lora),
            *("--logprobs-mode", "processed_logprobs"),  # else they are those of temperature 1
            *("--generation-config", "vllm"),  # else the model's own may cut the distribution and the length
        ]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_ITS}
        return {**kept, **_ENVIRONMENT, **self.config.environment}

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            (self._errors if "Error" in line else self._told).append(line.rstrip()[:500])
            self._tell(f"vLLM: {line.rstrip()}")

    def _wait(self) -> None:
        deadline = time.monotonic() + self.config.start_seconds
        with http_client(self.config, socket=self.socket) as http:
            while True:
                self.require_alive()
                with suppress(httpx.TransportError):
                    if http.get("/health", timeout=5).status_code == httpx.codes.OK:
                        return
                if time.monotonic() > deadline:
                    raise VllmError(
                        f"the vLLM server does not answer after {self.config.start_seconds:.0f} seconds: look at the "
                        "step's log, or raise vllm.start_seconds"
                    )
                time.sleep(0.2)

    def _end(self) -> None:
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also where the guard alone was killed
            process.wait()
        if self._listener is not None:
            self._listener.join(_STOP_SECONDS)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
