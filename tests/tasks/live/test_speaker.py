"""A real little policy that talks, with a real reward model behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from data_store.annotation.chat import Said
from data_store.annotation.live import TooLongError
from models.checkpoint import load_policy, reward_from_policy, save_checkpoint, scalar_head
from models.config import SamplingConfig
from models.tokenizer import load_tokenizer
from tasks.answers import Drawn
from tasks.live.speaker import FolderSpeaker, Judges, Models
from tasks.sampling import draw, score
from tests.tasks.little_policy import little_policy, terse_policy

ASKED = [{"role": "user", "content": "who eats grass"}]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def reward(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    model = reward_from_policy(policy, None, lora=None, seed=1)
    with torch.no_grad():
        scalar_head(model).weight += 1.0  # type: ignore[operator]
    save_checkpoint(model, load_tokenizer(policy), folder)
    return folder


def speaker(policy: Path, judges: Judges | None = None, **changes: float) -> FolderSpeaker:
    models = Models()
    values = {"context": 128, "max_new_tokens": 12, "most_seconds": 60.0, **changes}
    return FolderSpeaker(
        "little",
        "version",
        models.policy(policy, None),
        models.renderer(policy),
        judges or Judges({}, 1),
        **values,  # type: ignore[arg-type]
    )


def whole(answer: Iterator[str | Said]) -> tuple[list[str], Said]:
    *texts, said = answer
    assert isinstance(said, Said)
    return [text for text in texts if isinstance(text, str)], said


def test_an_answer_grows_to_the_one_that_a_step_would_draw_with_this_seed(policy: Path) -> None:
    one = speaker(policy)
    texts, said = whole(one.answer(ASKED, 0.7, seed=9))
    sampling = SamplingConfig(max_new_tokens=12, batch_size=1)
    renderer = Models().renderer(policy)
    ((expected,),) = draw(load_policy(policy), renderer, [ASKED], sampling, temperatures=[0.7], seed=9)
    assert (said.response.text, said.response.token_ids) == (expected.text, expected.ids)
    assert (said.response.finished, said.response.tokenizer) == (expected.finished, expected.tokenizer)
    assert (said.response.seed, said.response.temperature_milli) == (9, 700)
    assert texts[-1] == said.response.text
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)
    assert 0 < said.first_seconds <= said.seconds


def test_both_reward_models_score_the_answer_as_steps_score_it(policy: Path, reward: Path) -> None:
    models = Models()
    judges = Judges({axis: (models.reward(reward, None), models.renderer(reward)) for axis in ("a", "b")}, threads=1)
    _, said = whole(speaker(policy, judges).answer(ASKED, 0.7, seed=9))
    answer = Drawn(
        said.response.text,
        list(said.response.token_ids or ()),
        said.response.finished,
        str(said.response.tokenizer),
        "the answer",
    )
    loaded = models.reward(reward, None)
    ((expected,),) = score([loaded], models.renderer(reward), [(ASKED, answer)], SamplingConfig(batch_size=1))
    assert expected != 0
    assert said.scores == pytest.approx({"a": expected, "b": expected})


def test_an_answer_ends_where_the_model_ends_it_and_at_the_latest_when_its_time_is_over(
    policy: Path, tmp_path: Path
) -> None:
    _, terse = whole(speaker(terse_policy(tmp_path), max_new_tokens=100).answer(ASKED, 0.7, seed=1))
    assert (terse.response.finished, terse.stopped) == (True, "")
    _, late = whole(speaker(policy, most_seconds=0.0).answer(ASKED, 0.7, seed=1))
    assert (late.response.finished, late.stopped) == (False, "stopped after 0.0 s")
    assert len(late.response.token_ids or ()) == 1


def test_a_dialogue_without_room_is_refused_before_anything_is_read(policy: Path) -> None:
    one = speaker(policy, context=64)
    with pytest.raises(TooLongError) as refused:
        one.answer([{"role": "user", "content": "grass " * 100}], 0.7, seed=1)
    assert refused.value.limit == 63
    assert one.streamer.tokens_read == 0
