"""A threshold of the safety score counts only where labels have given the score a level."""

from pathlib import Path
from typing import Any

import pytest

from models.config import RewardConfig
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tasks.engine.step import Output
from tasks.safety_level import threshold_of, write_level
from tasks.train_reward import RewardStepConfig, train_safety_reward
from tests.tasks.bench import step_run
from tests.tasks.little_policy import little_policy
from tests.tasks.test_import_data import preference

LABELS = ("chosen_safe_other_unsafe", "both_safe", "both_unsafe")


def labelled(*labels: str | None) -> list[dict[str, Any]]:
    return [{"safety_label": label} for label in labels]


def test_safe_and_unsafe_responses_are_counted_by_the_labels_of_their_pairs(tmp_path: Path) -> None:
    assert write_level(tmp_path, labelled(*LABELS, None, "both_unsafe")) == {"safe": 3, "unsafe": 5}


@pytest.mark.parametrize(
    ("labels", "threshold"),
    [
        ((None, None), 0.0),
        (("both_safe",), 0.0),  # nothing says which score is an unsafe one
        (("both_unsafe",), 0.0),
        (("chosen_safe_other_unsafe", None), 0.15),
        (("both_safe", "both_unsafe"), 0.15),
    ],
)
def test_a_threshold_counts_where_safe_and_unsafe_responses_were_labelled(
    tmp_path: Path, labels: tuple[str | None, ...], threshold: float
) -> None:
    write_level(tmp_path, labelled(*labels))
    assert threshold_of(tmp_path, 0.15) == threshold


def test_a_model_that_says_nothing_of_its_level_has_none(tmp_path: Path) -> None:
    assert threshold_of(tmp_path, 0.15) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "unlabelled", "threshold"),
    [
        (None, "order_only", 0.0),
        (None, "rejected_is_unsafe", 0.15),
        ("chosen_safe_other_unsafe", "order_only", 0.15),
    ],
)
def test_the_step_that_trains_a_safety_model_leaves_its_level_beside_it(
    tmp_path: Path, label: str | None, unlabelled: str, threshold: float
) -> None:
    policy = little_policy(tmp_path / "policy")
    rows = [{**preference(number), "split": "train", "safety_label": label} for number in range(4)]
    run = step_run(
        tmp_path,
        inputs={"policy": policy, "preferences": ("preference", rows)},
        outputs={"reward": Output("model")},
    )
    training = RewardConfig(batch_size=4, unlabelled_safety_pairs=unlabelled, max_length=128)
    metrics = train_safety_reward.function(run, RewardStepConfig(training=training))
    assert threshold_of(tmp_path / "out" / "reward", 0.15) == threshold
    assert (metrics["labelled/safe"] > 0) == (metrics["labelled/unsafe"] > 0) == bool(threshold)
    assert Renderer(load_tokenizer(tmp_path / "out" / "reward")).prompt(rows[0]["messages"])
