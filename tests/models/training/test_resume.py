"""A training that is killed and started again gives the bytes of one that was not, and says where it went on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.training.little_runs import RUNS, contents

Launch = Callable[..., int]


@pytest.mark.slow
@pytest.mark.parametrize("trainer", list(RUNS))
@pytest.mark.conformance(
    "resume quietly does nothing, or skips data", equation="models.training.state:write_checkpoint"
)
@pytest.mark.conformance("a flag for resume is ignored", equation="models.training.hf:run_trainer")
def test_four_steps_equal_kills_and_resumes_to_the_bit_within_an_epoch_and_at_its_end(
    launch: Launch, tmp_path: Path, trainer: str
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert launch(trainer, straight, checkpoint_seconds=1e9) == 0, (straight / "output.txt").read_text()[-3000:]
    assert not list((straight / "work").glob("checkpoint-*"))

    assert launch(trainer, broken, die_before="checkpoint-2") == -9, (broken / "output.txt").read_text()[-3000:]
    assert [path.name for path in (broken / "work").glob("checkpoint-*")] == ["checkpoint-1"]
    assert (broken / "work" / "writing-2").exists()  # what was cut off is never taken for a checkpoint
    assert launch(trainer, broken, die_before="checkpoint-3") == -9
    assert [path.name for path in (broken / "work").glob("checkpoint-*")] == ["checkpoint-2"]
    name = trainer.split()[0]
    if name != "ppo":
        state = json.loads((broken / "work" / "checkpoint-2" / "state.json").read_text())
        assert state["trainer"]["epoch"] == 1.0
    assert not (broken / "metrics.json").exists()
    assert launch(trainer, broken) == 0, (broken / "output.txt").read_text()[-3000:]

    assert contents(broken / "out") == contents(straight / "out")
    assert json.loads((broken / "metrics.json").read_text()) == json.loads((straight / "metrics.json").read_text())
    unit = "iteration" if name == "ppo" else "step"
    assert (broken / "log.txt").read_text().splitlines() == [
        f"{name}: resumed from {unit} 1",
        f"{name}: resumed from {unit} 2",
    ]
    assert not (straight / "log.txt").exists()
