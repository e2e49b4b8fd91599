"""Log-probabilities of continuations, against a plain forward pass."""

from pathlib import Path

import pytest
import torch

from models.checkpoint import load_policy
from models.continuations import Continuation, continuation_logprobs, of_answer, of_text
from models.dialogue import Renderer

CONTEXT, CHOICES = "Who keeps the lamp?", ["the keeper", "nobody else may touch it", "8 people"]


def by_hand(model: torch.nn.Module, row: Continuation) -> tuple[float, bool]:
    ids = torch.tensor([[*row.before, *row.ids]])
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits.log_softmax(-1)[0, len(row.before) - 1 : -1]
    own = torch.tensor(row.ids)
    return logprobs.gather(1, own[:, None]).sum().item(), bool((logprobs.argmax(-1) == own).all())


def test_padded_batches_give_what_each_row_gives_alone(policy_folder: Path, renderer: Renderer) -> None:
    model = load_policy(policy_folder)
    rows = [of_text(renderer, CONTEXT, f" {choice}") for choice in CHOICES]
    rows += [of_answer(renderer, CONTEXT * 2, choice) for choice in CHOICES]
    likeliest = by_hand(model, rows[0])
    greedy = Continuation(rows[0].before, [int(model(torch.tensor([rows[0].before])).logits[0, -1].argmax())])
    for batch_size in (1, 4, 16):
        found = continuation_logprobs(model, [*rows, greedy], renderer.pad_id, batch_size)
        assert [value for value, _ in found] == pytest.approx(
            [by_hand(model, row)[0] for row in [*rows, greedy]], abs=1e-4
        )
        assert found[-1][1], "the likeliest token is what would be said"
        assert [is_greedy for _, is_greedy in found[:-1]] == [by_hand(model, row)[1] for row in rows]
    assert likeliest[0] < 0


def test_a_text_is_encoded_as_one_with_one_beginning_of_sequence(renderer: Renderer) -> None:
    tokenizer = renderer.tokenizer
    row = of_text(renderer, f"{CONTEXT} ", "the keeper")
    assert row.before[0] == tokenizer.bos_token_id
    assert [*row.before[1:], *row.ids] == tokenizer(f"{CONTEXT} the keeper", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(row.ids) == " the keeper", "the blank belongs to the word behind it"
    assert row.before.count(tokenizer.bos_token_id) == 1
    with pytest.raises(ValueError, match="no token of its own"):
        of_text(renderer, CONTEXT, "")


@pytest.mark.conformance("a choice loses the blank that answers begin with", equation="models.continuations:of_answer")
def test_an_answer_is_what_the_model_would_say_with_the_blank_of_its_template(any_renderer: Renderer) -> None:
    """What is scored and the end of the turn are the dialogue that the model learns."""
    row = of_answer(any_renderer, CONTEXT, CHOICES[0])
    messages = [{"role": "user", "content": CONTEXT}, {"role": "assistant", "content": CHOICES[0]}]
    learned = any_renderer.dialogue(messages)
    assert [*row.before, *row.ids] == learned.input_ids[:-1]
    assert learned.input_ids[-1] in any_renderer.end_ids
    assert row.before == any_renderer.prompt(messages[:1])
    assert row == of_answer(any_renderer, CONTEXT, f" {CHOICES[0]}"), "the template writes the blank, not the benchmark"
    assert sum(learned.loss_mask) == len(row.ids) + 1


def test_llama_2_answers_begin_with_a_blank(renderer: Renderer) -> None:
    assert renderer.tokenizer.decode(of_answer(renderer, CONTEXT, "the keeper").ids) == " the keeper"


def test_what_is_too_long_loses_its_beginning_and_an_answer_that_alone_is_too_long_is_refused(
    gqa_policy: Path, renderer: Renderer
) -> None:
    model = load_policy(gqa_policy)  # 128 tokens
    row = Continuation([5 + n % 50 for n in range(300)], [7, 8, 9])
    kept = Continuation(row.before[-125:], row.ids)
    assert continuation_logprobs(model, [row], renderer.pad_id, 4) == continuation_logprobs(
        model, [kept], renderer.pad_id, 4
    )
    with pytest.raises(ValueError, match="of 128 tokens; the context holds 128"):
        continuation_logprobs(model, [Continuation([1], [7] * 128)], renderer.pad_id, 4)
