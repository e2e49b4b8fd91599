"""Log-odds of two letters, against the model's own log-probabilities."""

from pathlib import Path

import pytest
import torch

from models.checkpoint import load_policy
from models.dialogue import Renderer
from models.verdicts import log_odds, verdict_tokens


def test_the_letters_are_single_tokens_after_what_comes_before_both(any_renderer: Renderer) -> None:
    tokens = verdict_tokens(any_renderer, ("A", "B"))
    texts = [any_renderer.tokenizer.decode([*tokens.before, each]).strip() for each in tokens.ids]
    assert texts == ["A", "B"]


def test_words_of_several_tokens_give_no_verdict(renderer: Renderer) -> None:
    with pytest.raises(ValueError, match="no single tokens for significantly and Yesterday"):
        verdict_tokens(renderer, ("significantly", "Yesterday"))


def test_the_log_odds_are_the_difference_of_log_probabilities_alone_and_in_a_batch(
    policy_folder: Path, renderer: Renderer
) -> None:
    model = load_policy(policy_folder)
    tokens = verdict_tokens(renderer, ("A", "B"))
    texts = ("Who keeps the lamp?", "The ferry leaves at dawn. Which is better, A or B?", "x")
    rows = [renderer.prompt([{"role": "user", "content": text}]) for text in texts]
    wanted = []
    for row in rows:
        with torch.no_grad():
            logits = model(torch.tensor([[*row, *tokens.before]])).logits[0, -1]
        logprobs = torch.log_softmax(logits, -1)
        wanted.append(float(logprobs[tokens.ids[0]] - logprobs[tokens.ids[1]]))
    for batch_size in (1, 2, 8):
        assert log_odds(model, rows, tokens, renderer.pad_id, batch_size) == pytest.approx(wanted, abs=1e-4)
