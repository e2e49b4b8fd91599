"""Running the real `halter` command on a recipe as small as a pocket."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from data_store.names import AssetName
from data_store.store import Store
from flows.cli import app

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600.0

POCKET = """
name: pocket
seed: 3
iterations: 2
data:
  world:
    seed: 1
    documents: 400
    demonstrations: 60
    train_ordinary: 60
    train_adversarial: 40
    validation_ordinary: 6
    validation_adversarial: 4
    heldout_ordinary: 12
    heldout_borderline: 4
    heldout_adversarial: 8
annotator: {world_seed: 1}
tokenizer: {vocab_size: 400, character_coverage: 1.0}
model: {preset: little, hidden_size: 32, num_layers: 1, num_heads: 2, num_kv_heads: 2, ffn_size: 64}
pretrain: {learning_rate: 5.0e-3, batch_size: 4, max_steps: 12, warmup_steps: 2, sequence_length: 64}
sft: {learning_rate: 1.0e-3, batch_size: 1, sequence_length: 384, epochs: 1}
collect: {ordinary_prompts: 24, safety_prompts: 24, sampling: {max_new_tokens: 8}}
reward: {learning_rate: 1.0e-3, batch_size: 1, max_length: 384}
rejection: {prompts: 12, samples: 1, sampling: {max_new_tokens: 32}}
gatt: {first_iteration: 2, dialogues: 4, max_turns: 2, samples: 4, sampling: {max_new_tokens: 48}}
fine_tune:
  picks: 16
  replay: 4
  training: {learning_rate: 5.0e-4, batch_size: 1, sequence_length: 384, epochs: 4}
ppo:
  iterations: 2
  batch_size: 8
  mini_batch_size: 4
  validate_every: 1
  validation_prompts: 4
  min_reward_std: 1.0
  sampling: {max_new_tokens: 8}
dpo:
  learning_rate: 2.0e-4
  batch_size: 4
  validation_percent: 25
  validate_every: 2
  kl_prompts: 4
  ratings: [significantly_better, better, slightly_better, negligibly_better]
  max_length: 384
  sampling: {max_new_tokens: 8}
evaluate:
  ordinary_prompts: 6
  borderline_prompts: 2
  safety_prompts: 6
  instruction_dialogues: 2
  instruction_turns: 2
  sampling: {max_new_tokens: 8}
"""


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def document(self) -> Any:
        """What it printed under `--json`."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Home:
    """A folder with the stores of some runs, as `HALTER_HOME` names it. `server`: the Prefect server to use; None: its
    own."""

    folder: Path
    server: str | None = None
    name: str = "pocket"

    @property
    def environment(self) -> Mapping[str, str]:
        """The user's environment, without settings for Prefect that are not the test's."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        given = {} if self.server is None else {"PREFECT_API_URL": self.server + "/api"}
        return {**kept, "HALTER_HOME": str(self.folder), "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", **given}

    def start(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        """The command, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *map(str, arguments)],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts,
        )

    def halter(self, *arguments: str | Path) -> Finished:
        """The command, finished."""
        started = time.monotonic()
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        return Finished(process.returncode, out, err, time.monotonic() - started)

    def look(self, *arguments: str) -> Finished:
        """A command that starts no flow, in this process: one of its own would spend seconds on imports."""
        started = time.monotonic()
        alone = {"HALTER_HOME": str(self.folder), "PREFECT_API_URL": None}  # whatever server the tests share
        result = CliRunner().invoke(app, arguments, env=alone)
        return Finished(result.exit_code, result.stdout, result.stderr, time.monotonic() - started)

    @property
    def store(self) -> Store:
        """The store of the run."""
        return Store.open(self.folder / self.name)

    def heads(self) -> dict[str, str]:
        """Asset → version id: what was made, by its content."""
        return {str(asset): head.version_id for asset, head in self.store.heads().items()}

    def head(self, asset: str) -> str:
        """The version id of one asset."""
        return self.store.heads()[AssetName.parse(asset)].version_id

    def runs(self) -> list[tuple[str, str, str]]:
        """(part, step, state) of every run in the catalog, oldest first."""
        return [(run.run.part, run.run.step, run.state) for run in reversed(self.store.runs())]

    def states(self, *arguments: str) -> dict[tuple[str, str], str]:
        """(part, step) → state, as `halter status --json` tells it."""
        finished = self.look("status", "--json", *arguments)
        assert finished.code == 0, finished.err
        return {(cell["part"], cell["step"]): cell["state"] for cell in finished.document["steps"]}

    def processes(self) -> list[int]:
        """Processes that were started for this home and are still there."""
        mark = f"HALTER_HOME={self.folder}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


@contextmanager
def begun(home: Home, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command at work, which is killed at the end."""
    process = home.start(*arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _heed_interrupts() -> None:
    """What a shell runs in the background inherits an ignored Ctrl-C; the command must get it all the same."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ask(server: str, path: str, **content: Any) -> Any:
    """One question to Prefect's API."""
    request = urllib.request.Request(
        f"{server}/api/{path}", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    return answer_to(request)


def answer_to(request: urllib.request.Request | str) -> Any:
    """The answer of Prefect's API. Where its database is busy it says 503, and is asked again."""
    for again in range(10, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            if error.code != 503 or not again:
                raise
            time.sleep(2)
    raise AssertionError("not reached")
