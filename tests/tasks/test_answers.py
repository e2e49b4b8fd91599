"""A response is its ids: what was drawn is what is scored and learned, and an end is read only where it was said."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models import generation
from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint, scalar_head
from models.config import SamplingConfig
from models.dialogue import Renderer
from models.scoring import score_rows
from tasks.answers import Answer, Drawn, dialogue_ids, last_answer_of, open_renderer, response_of, sides_of
from tasks.sampling import draw, score
from tests.tasks.bench import NOT_SAMPLED, PAIR_NOT_SAMPLED
from tests.tasks.little_policy import WORDS, little_policy

ASKED = [{"role": "user", "content": "be kind"}]
SAMPLING = SamplingConfig(max_new_tokens=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of noise: of 100 tokens about every fourth answer ends."""
    return little_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def renderer(folder: Path) -> Renderer:
    return open_renderer(folder)


@pytest.fixture(scope="module")
def reward(folder: Path, renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    """A reward model that tells texts apart."""
    model = reward_from_policy(folder, None, lora=None, seed=0)
    with torch.no_grad():
        scalar_head(model).weight.normal_(std=1.0, generator=torch.Generator().manual_seed(3))
    out = tmp_path_factory.mktemp("reward")
    save_checkpoint(model, renderer.tokenizer, out)
    return load_reward(out, None)


@pytest.fixture(scope="module")
def drawn(folder: Path, renderer: Renderer) -> list[Drawn]:
    """Sixteen answers, some finished and some cut."""
    (answers,) = draw(load_policy(folder), renderer, [ASKED], SAMPLING, temperatures=[1.0] * 16, seed=1)
    assert {answer.finished for answer in answers} == {True, False}
    return answers


def rows_with(answer: Answer) -> list[tuple[Any, Answer]]:
    """The answer read back from a row of each kind that keeps one."""
    ids, finished, tokenizer = answer.ids, answer.finished, answer.tokenizer
    beside = {"token_ids": ids, "finished": finished, "tokenizer": tokenizer}
    turns = [*ASKED, {"role": "assistant", "content": answer.text}]
    pair = {
        "messages": ASKED,
        "tokenizer": tokenizer,
        **{f"response_{side}": answer.text for side in "ab"},
        **{f"token_ids_{side}": ids for side in "ab"},
        **{f"finished_{side}": finished for side in "ab"},
    }
    return [
        response_of({"response_id": "r", "messages": ASKED, "text": answer.text, **beside}),
        last_answer_of({"dialogue_id": "d", "messages": turns, **beside}),
        *sides_of({"pair_id": "p", **pair}),
        *sides_of({"preference_id": "p", **pair}),
    ]


@pytest.mark.conformance("what is learned is not what was sampled", equation="tasks.answers:dialogue_ids")
def test_from_every_kind_of_row_the_ids_that_were_drawn_are_those_that_are_read(
    renderer: Renderer, drawn: list[Drawn]
) -> None:
    """Noise is rarely the encoding of its own text, so that reading the text would show."""
    prompt = renderer.prompt(ASKED)
    encoded_anew = 0
    for answer in drawn:
        for messages, read in rows_with(answer):
            rendered = dialogue_ids(renderer, messages, read)
            assert rendered.input_ids == prompt + answer.ids
            assert rendered.loss_mask == [False] * len(prompt) + [True] * len(answer.ids)
            assert rendered.message_lengths == [len(prompt), len(answer.ids)]
        turn = {"role": "assistant", "content": answer.text}
        encoded_anew += renderer.dialogue([*ASKED, turn]).input_ids != prompt + answer.ids
    assert encoded_anew > len(drawn) / 2


@pytest.mark.conformance("a cut answer is learned as a finished one", equation="tasks.answers:dialogue_ids")
def test_an_end_is_read_exactly_where_it_was_said(renderer: Renderer, drawn: list[Drawn]) -> None:
    for answer in drawn:
        for messages, read in rows_with(answer):
            ids = dialogue_ids(renderer, messages, read).input_ids
            assert (ids[-1] in renderer.end_ids) == answer.finished


@pytest.mark.conformance("a cut answer is learned as a finished one", equation="tasks.answers:dialogue_ids")
@pytest.mark.parametrize("finished", [True, False])
def test_of_another_tokenizer_the_text_is_read_with_an_end_only_where_it_is_finished(
    renderer: Renderer, finished: bool
) -> None:
    answer = Answer("the llama", [1, 2, 3], finished, "another tokenizer", "by hand")
    whole = renderer.dialogue([*ASKED, {"role": "assistant", "content": "the llama"}])
    for messages, read in rows_with(answer):
        rendered = dialogue_ids(renderer, messages, read)
        assert rendered.input_ids == (whole.input_ids if finished else whole.input_ids[:-1])
        assert len(rendered.loss_mask) == len(rendered.input_ids) == sum(rendered.message_lengths)
        assert rendered.loss_mask[-1]


def test_what_was_not_sampled_here_is_its_text_and_counts_as_finished(renderer: Renderer) -> None:
    whole = renderer.dialogue([*ASKED, {"role": "assistant", "content": WORDS}])
    unknown = NOT_SAMPLED
    turns = [*ASKED, {"role": "assistant", "content": WORDS}]
    read = [last_answer_of({"dialogue_id": "d", "messages": turns, **unknown})]
    sides = PAIR_NOT_SAMPLED
    row = {"preference_id": "p", "messages": ASKED, "response_a": WORDS, "response_b": WORDS, **sides}
    for messages, answer in [*read, *sides_of(row)]:
        assert answer.finished
        assert dialogue_ids(renderer, messages, answer) == whole


@pytest.mark.conformance("what is learned is not what was sampled", equation="tasks.answers:dialogue_ids")
def test_a_renderer_that_would_read_other_ids_than_were_sampled_is_stopped_with_the_row(
    folder: Path, drawn: list[Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that writes something of its own between prompt and answer, or appends an end."""
    renderer = open_renderer(folder)
    exact = renderer.dialogue
    messages, read = response_of({"response_id": "r17", "messages": ASKED, "text": drawn[0].text, **drawn[0].columns()})
    prompt = len(renderer.prompt(ASKED))
    for place in (prompt, prompt + len(drawn[0].ids)):

        def other(*arguments: Any, place: int = place) -> Any:
            found = exact(*arguments)
            found.input_ids.insert(place, renderer.end_ids[0])
            return found

        monkeypatch.setattr(renderer, "dialogue", other)
        with pytest.raises(ValueError, match="response r17: the dialogue's ids are not its prompt's"):
            dialogue_ids(renderer, messages, read)


@pytest.mark.conformance("what is learned is not what was sampled", equation="tasks.sampling:score")
def test_the_score_of_an_answer_is_that_of_its_prompt_and_its_own_ids(
    renderer: Renderer, reward: torch.nn.Module, drawn: list[Drawn]
) -> None:
    """As PPO scores its rollouts."""
    found = [value for (value,) in score([reward], renderer, [(ASKED, answer) for answer in drawn], SAMPLING)]
    by_ids = score_rows(reward, [renderer.prompt(ASKED) + answer.ids for answer in drawn], renderer.pad_id, 4)
    assert found == pytest.approx(by_ids, abs=1e-5)
    cut = next(i for i, answer in enumerate(drawn) if not answer.finished)
    with_an_end = [*renderer.prompt(ASKED), *drawn[cut].ids, renderer.end_ids[0]]
    (ended,) = score_rows(reward, [with_an_end], renderer.pad_id, 4)
    assert abs(found[cut] - ended) > 1e-3


@pytest.mark.slow
def test_answers_do_not_depend_on_shards_and_batches(folder: Path, renderer: Renderer) -> None:
    """Six dialogues in one process, in two, and one at a time."""
    policy = load_policy(folder)
    torch.set_num_threads(1)
    dialogues = [[{"role": "user", "content": text}] for text in ("be kind", "grass", "the llama eats green grass")] * 2
    found = []
    for changes in ({}, {"shards": 2}, {"batch_size": 1}):
        config = SAMPLING.model_copy(update=changes)
        answers = draw(policy, renderer, dialogues, config, temperatures=[0.7, 1.3], seed=4)
        found.append([[answer.ids for answer in each] for each in answers])
    assert found[0] == found[1] == found[2]
    assert found[0][:3] != found[0][3:]  # the same dialogue at another place has random numbers of its own


def test_no_two_requests_of_any_two_draws_share_their_random_numbers(
    folder: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws whose seeds follow one another, as turns of a dialogue once did."""
    policy, seeds = load_policy(folder), []
    exact = generation.sample

    def noted(model: Any, requests: Any, *arguments: Any, **options: Any) -> Any:
        seeds.extend(request.seed for request in requests)
        return exact(model, requests, *arguments, **options)

    monkeypatch.setattr(generation, "sample", noted)
    few = SAMPLING.model_copy(update={"max_new_tokens": 1})
    for seed in range(8):
        draw(policy, renderer, [ASKED] * 2, few, temperatures=[1.0], seed=seed)
    assert len(set(seeds)) == len(seeds) == 16
