"""A training on two processes is the training on one: the same losses, the same gradients, the same weights.

The processes are real ones that talk through gloo (models/training/processes.py). The launcher takes from the second
one the right to write files, so every run here shows that only the main one does.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.dialogue import Renderer
from models.training.hf import RowsOfProcess
from models.training.packing import pack
from tests.models.training.little_runs import ANSWERS, QUESTIONS, contents, dialogues

Launch = Callable[..., int]
# The second step of each epoch is not full: of 7 rows it has 3, of 5 it has 1, of a batch of 4.
CHANGES: dict[str, dict[str, Any]] = {
    "pretrain": {"max_steps": 4, "sequence_length": 24},  # 5 rows
    "sft": {"sequence_length": 32},  # 7 rows
    "reward": {"rows": 7, "safety_loss_coef": 0.5},
    "dpo": {"rows": 5, "patience": 9},
}


def completed(launch: Launch, trainer: str, folder: Path, **changes: Any) -> Path:
    wanted = {"batch_size": 4, "learning_rate": 1e-3, **CHANGES[trainer], **changes}
    assert launch(trainer, folder, **wanted) == 0, (folder / "output.txt").read_text()[-3000:]
    return folder


def curves(folder: Path) -> dict[tuple[str, int], float]:
    """Loss, gradient norm and the rest at each step.

    Before the first step of DPO all pairs are level, up to rounding: who of them is right is no figure.
    """
    lines = map(json.loads, (folder / "curves.txt").read_text().splitlines())
    return {(name, step): value for name, step, value in lines if (name, step) != ("dpo/accuracy", 1)}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of the last checkpoint, before the last step, and of what was written at the end."""
    ((checkpoint,), (out,)) = (folder.glob("work/checkpoint-3/model.safetensors"), folder.glob("out/*.safetensors"))
    return {**load_file(checkpoint), **{f"out {name}": value for name, value in load_file(out).items()}}


def same(one: Path, two: Path) -> None:
    first, second = curves(one), curves(two)
    assert len({step for name, step in first if name.endswith("/grad_norm")}) == 4
    assert first.keys() == second.keys()
    for key, value in first.items():
        sums = 1e-5 if "kl" in key[0] or "logprob" in key[0] else 1e-6  # nats of whole responses
        assert second[key] == pytest.approx(value, abs=sums, rel=1e-6), key
    before, after = weights(one), weights(two)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(
            after[name], tensor, atol=1e-6, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, two)]
    assert metrics[1] == pytest.approx(metrics[0], abs=1e-6, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", list(CHANGES))
@pytest.mark.conformance(
    "two-process training differs", equation="models.training.hf:ResumableTrainer.get_train_dataloader"
)
@pytest.mark.conformance(
    "accumulation normalised per micro-batch", equation="models.training.hf:PairMeanTrainer.share_of_mean"
)
def test_processes_and_passes_learn_what_one_process_in_one_pass_learns(
    launch: Launch, tmp_path: Path, trainer: str
) -> None:
    one = completed(launch, trainer, tmp_path / "one")
    for processes, passes in ((1, 2), (2, 1), (2, 2)):
        folder = tmp_path / f"{processes}x{passes}"
        same(one, completed(launch, trainer, folder, processes=processes, accumulation_steps=passes))


def test_rows_with_unequal_numbers_of_tokens_and_epochs_that_end_in_a_short_step(renderer: Renderer) -> None:
    """What the trainings of this file are made of."""
    documents = list(
        renderer.documents(f"{question} {answer}"[:18] for question, answer in zip(QUESTIONS, ANSWERS, strict=True))
    )
    spoken = [renderer.dialogue(messages) for messages in dialogues()]
    answers = [[i if said else -100 for i, said in zip(d.input_ids, d.loss_mask, strict=True)] for d in spoken]
    for trainer, ids, labels, rows in (
        ("pretrain", documents, documents, 5),
        ("sft", [dialogue.input_ids for dialogue in spoken], answers, 7),
    ):
        packed = pack(ids, labels, CHANGES[trainer]["sequence_length"], 3)
        assert len(packed) == rows
        assert len({sum(label != -100 for label in row) for row in packed["labels"]}) >= 3


@pytest.mark.conformance("two-process training differs", equation="models.training.hf:RowsOfProcess")
def test_every_row_of_a_step_is_taken_equally_often_and_every_process_has_some_in_every_pass() -> None:
    def taken(rows: int, batch: int, passes: int, processes: int) -> list[list[list[int]]]:
        found = [RowsOfProcess(range(rows), batch, passes, i, processes) for i in range(processes)]
        assert {len(one) for one in found} == {len(list(one)) for one in found} == {len(found[0])}
        return [list(one) for one in found]

    assert taken(8, 4, 1, 2) == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]
    assert taken(8, 4, 2, 2) == [[[0], [2], [4], [6]], [[1], [3], [5], [7]]]
    assert taken(7, 4, 2, 2) == [[[0], [2], [4, 6]], [[1], [3], [5]]]
    assert taken(5, 4, 2, 2) == [[[0], [2], [4]], [[1], [3], [4]]]
    assert taken(3, 4, 1, 4) == [[[0, 1]], [[1, 2]], [[2]], [[0]]]
    for rows in range(1, 40):
        for batch, passes, processes in ((12, 1, 4), (12, 3, 4), (12, 2, 3), (4, 1, 2), (8, 4, 2)):
            dealt = taken(rows, batch, passes, processes)
            full = rows // batch * passes
            assert Counter(i for one in dealt for some in one[:full] for i in some) == Counter(
                range(rows // batch * batch)
            )
            last = Counter(i for one in dealt for some in one[full:] for i in some)
            assert set(last) == set(range(rows // batch * batch, rows))
            assert len(set(last.values())) <= 1
            assert all(len(some) <= max(2, batch // passes // processes) for one in dealt for some in one)


@pytest.mark.slow
@pytest.mark.conformance(
    "resume quietly does nothing, or skips data", equation="models.training.state:write_checkpoint"
)
def test_two_processes_that_were_killed_end_with_the_bytes_of_two_that_were_not(launch: Launch, tmp_path: Path) -> None:
    straight = completed(launch, "dpo", tmp_path / "straight", processes=2, checkpoint_seconds=1e9)
    assert not list((straight / "work").glob("checkpoint-*"))
    broken = tmp_path / "broken"
    changes = {"batch_size": 4, "learning_rate": 1e-3, "processes": 2, **CHANGES["dpo"]}
    for number in (2, 3):  # within an epoch, and at its end
        assert launch("dpo", broken, die_before=f"checkpoint-{number}", **changes) == 1
        assert "training process 1 of 2 ended with code -9" in (broken / "output.txt").read_text()
        assert [path.name for path in (broken / "work").glob("checkpoint-*")] == [f"checkpoint-{number - 1}"]
    completed(launch, "dpo", broken, processes=2)
    assert contents(broken / "out") == contents(straight / "out")
    assert json.loads((broken / "metrics.json").read_text()) == json.loads((straight / "metrics.json").read_text())
    assert curves(broken) == curves(straight)
    assert (broken / "log.txt").read_text().splitlines() == ["dpo: resumed from step 1", "dpo: resumed from step 2"]
