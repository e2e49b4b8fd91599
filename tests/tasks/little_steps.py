"""Steps of a few lines, for tests of the machinery that runs steps. The worker process imports them from here."""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from data_store.errors import InputError
from data_store.estimate import Estimate
from tasks.engine.step import Input, Measurements, Output, StepRun, step

VOWELS = Estimate(0.4, 5, 0.12, 0.77, "a reader")  # of llama


class WordConfig(BaseModel):
    """`ledger` gets one line per computation, so that tests can count them. It is no part of the result."""

    word: str = "llama"
    ledger: Path
    seconds: float = 0.0


class MisbehaviourConfig(BaseModel):
    """How a step goes wrong."""

    how: Literal["input", "value", "failure", "exit", "killed", "nothing", "half"]


class SpendConfig(BaseModel):
    """Seconds on a processor, of its own and of a process that it forks, and seconds asleep."""

    own: float
    forked: float
    asleep: float = 0.0
    ends_well: bool = True


class HeldConfig(BaseModel):
    """Wait until `folder/read` is there before reading, and until `folder/end` is there before ending."""

    folder: Path


class CountConfig(BaseModel):
    """Count to `limit`, one number each `seconds`, with a checkpoint after each."""

    limit: int
    seconds: float
    ledger: Path


@step(
    version=1,
    config=WordConfig,
    inputs={},
    outputs={"text": Output("model")},
    metrics=["letters"],
    headline="letters",
    about="A step.",
)
def write_word(run: StepRun, config: WordConfig) -> Measurements:
    """Write the word and the seed."""
    _note(config.ledger, run)
    time.sleep(config.seconds)
    (run.output("text") / "text.txt").write_text(f"{config.word} {run.seed}")
    run.metric("letters", float(len(config.word)), step=1)
    run.table("words", [{"word": config.word}])
    return {"letters": float(len(config.word)), "vowels": VOWELS}


@step(
    version=2,
    config=WordConfig,
    inputs={},
    outputs={"text": Output("model")},
    metrics=["letters"],
    headline="letters",
    about="A step.",
)
def write_word_anew(run: StepRun, config: WordConfig) -> Mapping[str, float]:
    """The same step in its next version."""
    return write_word.function(run, config)


write_word_anew = replace(write_word_anew, name=write_word.name)


@step(
    version=1,
    config=WordConfig,
    inputs={},
    outputs={"text": Output("model")},
    headline="seconds",
    about="A step.",
)
def write_constant(run: StepRun, config: WordConfig) -> Mapping[str, float]:
    """Write the same bytes whatever the config says."""
    _note(config.ledger, run)
    (run.output("text") / "text.txt").write_text("always the same")
    return {}


@step(
    version=1,
    config=WordConfig,
    inputs={"texts": Input("model", optional=True, many=True), "files": Input("file", optional=True, many=True)},
    outputs={"text": Output("model")},
    metrics=["texts"],
    headline="texts",
    about="Joins texts.",
)
def join_texts(run: StepRun, config: WordConfig) -> Mapping[str, float]:
    """Write all texts that the plan gives, in its order."""
    _note(config.ledger, run)
    texts = [(entry.path / "text.txt").read_text() for entry in run.all_inputs("texts")]
    files = [entry.path.read_text() for entry in run.all_inputs("files")]
    (run.output("text") / "text.txt").write_text(" | ".join([*texts, *files, config.word]))
    return {"texts": float(len(texts))}


@step(
    version=1,
    config=HeldConfig,
    inputs={"file": Input("file")},
    outputs={"text": Output("model")},
    headline="seconds",
    about="A step.",
)
def read_when_told(run: StepRun, config: HeldConfig) -> Mapping[str, float]:
    """Write what a file outside says, from a checkpoint where there is one."""
    saved = run.work / "said"
    (config.folder / "started").touch()
    _wait_for(config.folder / "read")
    if not saved.exists():
        saved.write_text(run.path("file").read_text())
    (config.folder / "has-read").touch()
    _wait_for(config.folder / "end")
    (run.output("text") / "text.txt").write_text(saved.read_text())
    return {}


@step(
    version=1,
    config=MisbehaviourConfig,
    inputs={},
    outputs={"text": Output("model"), "extra": Output("model")},
    headline="seconds",
    about="A step.",
)
def misbehave(run: StepRun, config: MisbehaviourConfig) -> Mapping[str, float]:
    """Go wrong as asked, after having written half of the outputs."""
    (run.output("text") / "text.txt").write_text("half done")
    if config.how == "input":
        raise InputError("pairs.jsonl:3: rating: 'fine' is no rating; use better")
    if config.how == "value":
        raise ValueError("no pair")
    if config.how == "failure":
        raise RuntimeError("the loss is not a number")
    if config.how == "exit":
        sys.exit(3)
    if config.how == "killed":
        print("the last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if config.how == "nothing":
        (run.output("text") / "text.txt").unlink()
    return {}


@step(version=1, config=SpendConfig, inputs={}, outputs={"text": Output("model")}, headline="seconds", about="A step.")
def spend(run: StepRun, config: SpendConfig) -> Mapping[str, float]:
    """Compute for as long as asked, and end well or not."""
    child = os.fork()
    _compute(config.forked if child == 0 else config.own)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(config.asleep)
    (run.output("text") / "text.txt").write_text("spent")
    if not config.ends_well:
        raise RuntimeError("all for nothing")
    return {}


def _compute(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@step(version=1, config=WordConfig, inputs={}, outputs={"text": Output("model")}, headline="seconds", about="A step.")
def tell_where(run: StepRun, config: WordConfig) -> Mapping[str, float]:
    """Say which process this is, on the ledger and in every other way that a library has."""
    print("printed")
    print("complained", file=sys.stderr)
    os.write(1, b"written to descriptor 1\n")
    config.ledger.write_text(
        json.dumps({"pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0), "stdin": sys.stdin.read()})
    )
    run.progress(0.5, "half way")
    time.sleep(config.seconds)
    (run.output("text") / "text.txt").write_text("here")
    return {}


@step(
    version=1,
    config=CountConfig,
    inputs={},
    outputs={"documents": Output("dataset", "document")},
    headline="seconds",
    about="A step.",
)
def write_documents(run: StepRun, config: CountConfig) -> Mapping[str, float]:
    """Write so many documents."""
    rows = [{"doc_id": f"{number}", "source": "here", "text": "llama"} for number in range(config.limit)]
    run.write_rows("documents", rows)
    return {}


@step(
    version=1,
    config=CountConfig,
    inputs={},
    outputs={"text": Output("model")},
    metrics=["number"],
    headline="number",
    about="A step.",
)
def count_slowly(run: StepRun, config: CountConfig) -> Mapping[str, float]:
    """Count with checkpoints; the ledger names the process, where it began, and each number."""
    saved = run.work / "number"
    number = int(saved.read_text()) if saved.exists() else 0
    with config.ledger.open("a") as ledger:
        ledger.write(f"start {os.getpid()} {number}\n")
        ledger.flush()
        while number < config.limit:
            time.sleep(config.seconds)
            number += 1
            saved.write_text(str(number))
            ledger.write(f"number {os.getpid()} {number}\n")
            ledger.flush()
    (run.output("text") / "text.txt").write_text(f"counted to {number}")
    return {"number": float(number)}


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nobody made {path}")
        time.sleep(0.02)


def _note(ledger: Path, run: StepRun) -> None:
    with ledger.open("a") as file:
        file.write(f"{run.name} {run.part}\n")
