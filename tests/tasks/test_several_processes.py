"""A step that trains on two processes, from the plan's call to the catalog."""

import random
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from data_store.names import AssetName
from data_store.records import PROCESSOR_SECONDS, RunOutput, RunRecord
from data_store.rows import row_kind
from models.checkpoint import save_checkpoint
from models.config import RewardConfig, TokenizerConfig
from models.llama import build_llama
from models.llama_presets import Architecture
from models.tokenizer import train_tokenizer
from models.training.reporting import SPEED
from tasks.engine.execute import fingerprint_of
from tasks.engine.jobs import StepFailedError
from tasks.train_reward import RewardStepConfig, train_safety_reward
from tests.tasks.bench import Bench, call_of

WORDS = "the llama eats green grass and never spits at people who ask it to be kind"
POLICY, PREFERENCES = AssetName("model", "policy", "V0"), AssetName("dataset", "preferences", "V1")
STEPS = 9


def preference(number: int) -> dict[str, Any]:
    return {
        "preference_id": f"pair {number}",
        "source": "made:1",
        "prompt_id": f"prompt {number}",
        "axis": "safety",
        "iteration": "V1",
        "split": "heldout" if number % 4 == 3 else "train",
        "messages": [{"role": "user", "content": " ".join(WORDS.split()[number : number + 4])}],
        "response_a": "never" if number % 2 else "the llama eats",
        "response_b": "kind" if number % 2 else "green grass and people",
        "chosen": "a" if number % 3 else "b",
        "rating": "better",
        "safety_label": "both_unsafe" if number % 2 else None,
        "annotator": "anna",
    }


@pytest.fixture
def inputs(bench: Bench, tmp_path: Path) -> None:
    """A policy and preferences in the store."""
    policy, rows = tmp_path / "policy", tmp_path / "rows"
    tokenizer = train_tokenizer(
        [" ".join(WORDS.split()[i:]) for i in range(12)] * 20,
        tmp_path / "tokenizer",
        TokenizerConfig(vocab_size=320, character_coverage=1.0),
        seed=1,
    )
    shape = Architecture(16, 1, 2, 2, 32, context_length=128, vocab_size=len(tokenizer))
    save_checkpoint(build_llama(shape, 5, tokenizer.pad_token_id, 1, tokenizer.eos_token_id), tokenizer, policy)
    rows.mkdir()
    table = pa.Table.from_pylist(list(map(preference, range(8))), schema=row_kind("preference").schema)
    pq.write_table(table, rows / "rows.parquet")
    made = {
        "policy": RunOutput(POLICY, bench.store.publish("model", policy)),
        "preferences": RunOutput(PREFERENCES, bench.store.publish("dataset", rows, row_kind="preference")),
    }
    bench.store.commit_run(RunRecord("made", "V0", "made", "1", {}, 1), [], made)


@pytest.mark.slow
@pytest.mark.usefixtures("inputs")
def test_a_step_on_two_processes_makes_the_model_of_one_with_one_curve_and_one_report(bench: Bench) -> None:
    models, curves, metrics = [], [], []
    for processes in (1, 2):
        training = RewardConfig(
            batch_size=2, epochs=STEPS / 3, learning_rate=1e-3, max_length=128, min_warmup_steps=0, processes=processes
        )
        call = call_of(
            train_safety_reward,
            RewardStepConfig(training=training),
            inputs={"policy": (str(POLICY),), "preferences": (str(PREFERENCES),)},
        )
        heard: list[tuple[float, str]] = []
        outcome = bench.execute(call, on_progress=lambda fraction, text, heard=heard: heard.append((fraction, text)))
        assert not outcome.cached
        assert heard[-1][1].startswith(f"reward step {STEPS}/{STEPS}")
        assert [fraction for fraction, _ in heard] == sorted(fraction for fraction, _ in heard)
        ((_, version),) = outcome.outputs.values()
        models.append(load_file(bench.store.checkout(version) / "model.safetensors"))
        finished = bench.store.find_finished(fingerprint_of(call, outcome.inputs))
        assert finished is not None
        curves.append([(point.step, point.value) for point in finished.metrics if point.name == "reward/loss"])
        clock = ("seconds", PROCESSOR_SECONDS, SPEED)
        metrics.append({name: value for name, value in outcome.metrics.items() if name not in clock})
    assert len(curves[0]) == STEPS
    assert [step for step, _ in curves[1]] == [step for step, _ in curves[0]]
    assert [loss for _, loss in curves[1]] == pytest.approx([loss for _, loss in curves[0]], abs=1e-6)
    assert metrics[1] == pytest.approx(metrics[0], abs=1e-6)
    assert metrics[1]["accuracy/all"] in (0.0, 0.5, 1.0), "of two held-out pairs"
    for name, weights in models[0].items():
        torch.testing.assert_close(models[1][name], weights, atol=1e-6, rtol=0)


class Killer(threading.Thread):
    """Kills one of two training processes at a random moment after both have begun."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.chance = chance

    def run(self) -> None:
        while len(ranks := training_processes()) < 2:
            time.sleep(0.01)
        time.sleep(self.chance.uniform(0.0, 4.0))
        with suppress(psutil.NoSuchProcess):
            self.chance.choice(ranks).kill()


def training_processes() -> list[psutil.Process]:
    """What the step's process has forked, of which this one's worker is the parent."""
    try:
        below = psutil.Process().children(recursive=True)
        return [each for each in below if each.parent() in below and each.parents()[1] in below]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.soak
@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "spread"])
def test_training_processes_killed_at_ten_random_moments_end_with_the_bytes_of_a_training_that_was_not(
    bench: Bench, sharded: bool
) -> None:
    """Each time the step fails and says so, and the same call goes on; nothing of it is seen before it is done."""

    def call(seconds: float) -> Any:
        training = RewardConfig(
            batch_size=2, epochs=400, max_length=128, processes=2, sharded=sharded, checkpoint_seconds=seconds
        )
        return call_of(
            train_safety_reward,
            RewardStepConfig(training=training),
            inputs={"policy": (str(POLICY),), "preferences": (str(PREFERENCES),)},
        )

    chance, ends = random.Random(5), list[str]()
    while True:
        if len(ends) < 10:
            Killer(chance).start()
        try:
            outcome = bench.execute(call(0.1))
        except StepFailedError as error:
            ends.append(str(error))
        else:
            break
    assert len(ends) == 10
    assert all("of 2 ended with code -9" in each for each in ends), ends
    straight = bench.execute(call(1e9), force=True)
    assert not straight.cached
    assert straight.outputs == outcome.outputs
