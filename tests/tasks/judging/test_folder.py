"""A chat model's folder that judges, in shards."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from models.config import SamplingConfig
from tasks.evaluation_judges.judge import JudgeAnswersConfig
from tasks.judging.folder import ask_folder
from tasks.judging.folder_use import FolderUse
from tasks.judging.lm import LMConfig
from tests.tasks.bench import step_run
from tests.tasks.little_policy import little_policy

ASKED = {f"q{n}": {"a_first": "x " * n, "b_first": f"Which one is better, A or B? {n}"} for n in range(5)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_policy(tmp_path_factory.mktemp("judge"))


def test_three_shards_say_what_one_says_but_for_rounding_and_a_question_that_is_too_long_is_refused_in_both(
    folder: Path, tmp_path: Path
) -> None:
    run = step_run(tmp_path, inputs={"judge": folder})
    asked = {**ASKED, "long": {"a_first": "word " * 5000}}
    (alone, refused), (together, too) = (
        ask_folder(run, asked, SamplingConfig(batch_size=2, shards=shards)) for shards in (1, 3)
    )
    assert list(alone) == list(together) == [(item, name) for item in ASKED for name in ("a_first", "b_first")]
    assert together == pytest.approx(alone, abs=1e-4)
    assert len({round(value, 3) for value in alone.values()}) > 5, "each question has a verdict of its own"
    assert set(refused) == set(too) == {"long"}
    assert (tmp_path / "progress.json").read_text().count("of 10 questions") == 1


def test_one_shard_is_what_it_was_and_more_are_part_of_what_made_a_version() -> None:
    assert "shards" not in LMConfig().model_dump()
    assert LMConfig(shards=3).model_dump()["shards"] == 3
    plain = JudgeAnswersConfig(name="big", annotator="lm:big", compares=True)
    assert "shards" not in plain.model_dump()
    assert FolderUse(batch_size=3, shards=2).reading == SamplingConfig(batch_size=3, shards=2)
    with pytest.raises(ValidationError, match="threads 2 and shards 3 do not go together"):
        FolderUse(threads=2, shards=3)
