"""Direct preference optimisation, through transformers' own training step."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, Trainer

from models.checkpoint import load_policy
from models.config import DPOConfig, SamplingConfig
from models.dialogue import Renderer
from models.training import dpo as module
from models.training.dpo import PreferencePair, ReferenceDistance, train_dpo
from models.training.reporting import Quiet, Reporter
from tests.models.chat_families import renderer_of
from tests.models.training.first_step import first_step, same_gradients
from tests.models.training.little_runs import LORA, Recorder, preferences

Build = Callable[[ModuleType, Callable[[], object]], Trainer]


def run(
    policy: nn.Module,
    pairs: list[PreferencePair],
    validation: list[PreferencePair],
    renderer: Renderer,
    folder: Path,
    reporter: Reporter,
    **changes: Any,
) -> dict[str, float]:
    config = DPOConfig(
        **{
            "learning_rate": 5e-3, "batch_size": 4, "warmup_ratio": 0.0, "validate_every": 2,
            "sampling": SamplingConfig(max_new_tokens=6), **changes,
        }
    )  # fmt: skip
    return train_dpo(
        policy, pairs, validation, renderer, config, out=folder / "out", work=folder / "work", seed=3,
        reporter=reporter,
    )  # fmt: skip


def token_logprobs(model: Any, prompt: list[int], response: list[int]) -> list[float]:
    """log pi of each response token, read alone and without padding."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0]
    table = logits.log_softmax(-1)
    return [float(table[len(prompt) + i - 1, token]) for i, token in enumerate(response)]


def moved(model: Any, seed: int = 1) -> None:
    """Move what is trained, as if some steps had been made."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


def swapped(pairs: list[PreferencePair]) -> list[PreferencePair]:
    return [PreferencePair(pair.prompt_ids, pair.rejected_ids, pair.chosen_ids) for pair in pairs]


@pytest.mark.slow
def test_the_loss_is_that_of_what_the_responses_say_plus_the_likelihood_of_the_chosen(
    build: Build, gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    """The end of sequence counts in the likelihood and not in the difference; log-probabilities are summed there, not
    averaged."""
    pairs, reference = preferences(renderer)[:4], load_policy(gqa_policy)
    assert all(pair.chosen_ids[-1] == pair.rejected_ids[-1] == renderer.end_ids[0] for pair in pairs)
    assert len({len(pair.chosen_ids) - len(pair.rejected_ids) for pair in pairs}) > 2
    policy = load_policy(gqa_policy, trainable=True)
    changes = {"beta": 0.3, "nll_coef": 0.7}
    trainer = build(module, lambda: run(policy, pairs, pairs, renderer, tmp_path, Quiet(), **changes))
    moved(trainer.model)
    expected = []
    for pair in pairs:
        ratio = {}
        for side in (pair.chosen_ids, pair.rejected_ids):
            ours, theirs = (token_logprobs(model, pair.prompt_ids, side) for model in (trainer.model, reference))
            ratio[id(side)] = sum(ours[:-1]) - sum(theirs[:-1])
        h = ratio[id(pair.chosen_ids)] - ratio[id(pair.rejected_ids)]
        assert abs(h) > 0.1
        chosen = token_logprobs(trainer.model, pair.prompt_ids, pair.chosen_ids)
        expected.append(math.log1p(math.exp(-0.3 * h)) - 0.7 * sum(chosen) / len(chosen))
    loss, _ = first_step(trainer)
    assert loss == pytest.approx(sum(expected) / 4, abs=1e-4)


@pytest.mark.slow
@pytest.mark.conformance("prefix tree leaks", equation="models.prefix_tree:tree_logprobs")
@pytest.mark.parametrize("kv_heads", ["mha", "gqa"])
def test_pairs_that_share_a_row_have_the_loss_and_gradients_of_separate_rows(
    build: Build, policy_folders: dict[str, Path], renderer: Renderer, tmp_path: Path, kv_heads: str
) -> None:
    pairs = [
        replace(pair, prompt_ids=[1, *range(20 + i, 59 + i), *pair.prompt_ids[-2:]])
        for i, pair in enumerate(preferences(renderer)[:4])
    ]
    steps = []
    for trees in (True, False):
        policy = load_policy(policy_folders[kv_heads], trainable=True)
        trainer = build(module, lambda p=policy: run(p, pairs, pairs, renderer, tmp_path, Quiet()))
        moved(trainer.model)
        if not trees:
            trainer.data_collator.cost = None
        assert ("places" in next(iter(trainer.get_train_dataloader()))) == trees
        steps.append(first_step(trainer))
    (loss, found), (expected, gradients) = steps
    assert loss == pytest.approx(expected, abs=1e-5)
    same_gradients(gradients, found)


def test_ordinary_added_tokens_are_words_of_a_response(tmp_path: Path) -> None:
    """Digits, runs of line ends, tags and words are added tokens of Gemma 3's; the end of the turn alone is format."""
    gemma = renderer_of("Gemma 3", tmp_path)
    rendered = gemma.dialogue(
        [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The lamp\n\n<table> 2024"}]
    )
    chosen = [token for token, said in zip(rendered.input_ids, rendered.loss_mask, strict=True) if said]
    row = {"prompt_ids": gemma.prompt([{"role": "user", "content": "Who?"}]), "chosen_ids": chosen}
    batch = module._Collator(gemma, None)(
        [{**row, "rejected_ids": chosen[:2], "ref_chosen_logprob": 0.0, "ref_rejected_logprob": 0.0}]
    )
    assert batch["said_mask"].tolist()[0] == [True] * (len(chosen) - 1) + [False]


@pytest.mark.slow
def test_tokens_of_the_format_inside_a_response_are_left_out_too(
    build: Build, gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    """With `nll_coef` 0 the loss does not depend on how likely a header is: here one stands where only the difference
    could see it."""
    header = sorted(renderer.formatting_ids - {renderer.end_ids[0], renderer.pad_id})[-1]
    plain = preferences(renderer)[:1]
    marked = [replace(plain[0], chosen_ids=[*plain[0].chosen_ids[:-1], header, renderer.end_ids[0]])]
    losses = []
    for pairs in (plain, marked):
        policy = load_policy(gqa_policy, trainable=True)
        trainer = build(
            module,
            lambda p=policy, q=pairs: run(p, q, q, renderer, tmp_path, Quiet(), nll_coef=0.0),  # type: ignore[misc]
        )
        moved(trainer.model)
        losses.append(first_step(trainer)[0])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert losses[0] != pytest.approx(math.log(2), abs=1e-2)


@pytest.mark.slow
def test_one_pass_has_the_gradient_of_eight_passes_also_where_the_last_one_is_short(
    build: Build, gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    """16 and 15 ragged pairs, in passes of 2: of 15 the last pass holds one."""
    six = preferences(renderer)
    ragged = [replace(six[i % 6], chosen_ids=[*six[i % 6].chosen_ids[:-1], *[20 + i] * i, 2]) for i in range(16)]
    for pairs in (ragged, ragged[:15]):

        def built(steps: int, pairs: list[PreferencePair] = pairs) -> Trainer:
            policy = load_policy(gqa_policy, trainable=True)
            changes = {"batch_size": 16, "accumulation_steps": steps}
            trainer = build(module, lambda: run(policy, pairs, pairs[:2], renderer, tmp_path, Quiet(), **changes))
            moved(trainer.model)
            return trainer

        loss, gradients = first_step(built(1))
        accumulated_loss, accumulated = first_step(built(8))
        assert accumulated_loss == pytest.approx(loss, abs=1e-5)
        same_gradients(gradients, accumulated)


def test_the_reference_of_a_fresh_adapter_is_the_model_with_the_adapter_off(
    build: Build, gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    pairs = preferences(renderer)[:4]
    with torch.random.fork_rng():
        torch.manual_seed(5)  # a fresh adapter is drawn, and some move the policy less than others
        policy = load_policy(gqa_policy, lora=LORA, trainable=True)
    trainer = build(module, lambda: run(policy, pairs, pairs, renderer, tmp_path, Quiet()))
    moved(trainer.model)
    assert isinstance(trainer.model, PeftModel)
    assert isinstance(trainer.train_dataset, Dataset)
    for pair, row in zip(pairs, trainer.train_dataset, strict=True):
        with trainer.model.disable_adapter():
            off = sum(token_logprobs(trainer.model, pair.prompt_ids, pair.chosen_ids)[:-1])
        assert row["ref_chosen_logprob"] == pytest.approx(off, abs=1e-4)
        assert off != pytest.approx(sum(token_logprobs(trainer.model, pair.prompt_ids, pair.chosen_ids)[:-1]), abs=0.05)


@pytest.mark.slow
def test_an_adapter_that_was_trained_before_is_its_own_reference(
    build: Build, gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    """Off, it would be the base model, which is not the policy that this stage starts from."""
    pairs = preferences(renderer)[:4]
    first = load_policy(gqa_policy, lora=LORA, trainable=True)
    run(first, pairs, pairs, renderer, tmp_path / "first", Quiet(), epochs=4)
    again = load_policy(tmp_path / "first" / "out", gqa_policy, trainable=True)
    trainer = build(module, lambda: run(again, pairs, pairs, renderer, tmp_path / "again", Quiet()))
    start = load_policy(tmp_path / "first" / "out", gqa_policy)
    base = load_policy(gqa_policy)
    assert isinstance(trainer.train_dataset, Dataset)
    for pair, row in zip(pairs, trainer.train_dataset, strict=True):
        own, off = (sum(token_logprobs(m, pair.prompt_ids, pair.rejected_ids)[:-1]) for m in (start, base))
        assert row["ref_rejected_logprob"] == pytest.approx(own, abs=1e-4)
        assert own != pytest.approx(off, abs=0.05)


@pytest.mark.slow
def test_it_learns_the_preferences_and_says_how_far_it_went(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    pairs = preferences(renderer)[:4]
    policy = load_policy(gqa_policy, trainable=True)
    metrics = run(policy, pairs, pairs, renderer, tmp_path, recorder, epochs=10)
    assert recorder.curve("dpo/validation_dpo_loss")[0] == pytest.approx(math.log(2), abs=1e-5)
    assert recorder.curve("dpo/validation_kl")[0] == pytest.approx(0, abs=1e-6)
    assert recorder.curve("dpo/validation_kl")[-1] > 0.1
    assert metrics["best_validation_accuracy"] == 1 > recorder.curve("dpo/validation_accuracy")[0]
    assert recorder.curve("dpo/margin")[-1] > 0.1
    assert (metrics["pairs"], metrics["steps"], metrics["best_step"]) == (4, 10, 10)
    for name in ("loss", "dpo_loss", "nll", "accuracy", "margin", "chosen_logprob", "rejected_logprob", "grad_norm"):
        assert len(recorder.curve(f"dpo/{name}")) == 10, name
    for total, preference, nll in zip(*(recorder.curve(f"dpo/{n}") for n in ("loss", "dpo_loss", "nll")), strict=True):
        assert total == pytest.approx(preference + 0.2 * nll, abs=1e-4)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    reference = load_policy(gqa_policy)
    for pair in pairs:
        gains = [
            sum(token_logprobs(plain, pair.prompt_ids, side)) - sum(token_logprobs(reference, pair.prompt_ids, side))
            for side in (pair.chosen_ids, pair.rejected_ids)
        ]
        assert gains[0] > gains[1]


@pytest.mark.slow
def test_the_policy_that_is_best_on_held_out_pairs_is_kept_and_training_stops(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    """The held-out pairs say the contrary, so the first policy is the best one."""
    pairs = preferences(renderer)[:4]
    policy = load_policy(gqa_policy, trainable=True)
    changes = {"epochs": 30, "patience": 2, "nll_coef": 0.0}
    metrics = run(policy, pairs, swapped(pairs), renderer, tmp_path, recorder, **changes)
    assert (metrics["best_step"], metrics["steps"]) == (0, 4)
    assert recorder.lines == ["dpo: no lower validation loss since step 0, stopped"]
    kept, start = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", gqa_policy))
    assert all(torch.equal(kept[name], start[name]) for name in start)


@pytest.mark.slow
def test_bfloat16_starts_level_with_its_reference_and_learns(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    pairs = preferences(renderer)[:4]
    policy = load_policy(gqa_policy, trainable=True, dtype="bfloat16")
    run(policy, pairs, pairs, renderer, tmp_path, recorder, epochs=8, dtype="bfloat16")
    assert recorder.curve("dpo/validation_dpo_loss")[0] == pytest.approx(math.log(2), abs=1e-6)
    assert recorder.curve("dpo/validation_loss")[-1] < recorder.curve("dpo/validation_loss")[0]
    assert recorder.curve("dpo/validation_kl")[0] == 0


def test_the_distance_is_the_kl_divergence_of_policy_from_reference(gqa_policy: Path, renderer: Renderer) -> None:
    """One token after each of 300 prompts, where the divergence can be summed over the vocabulary."""
    reference, policy = load_policy(gqa_policy), load_policy(gqa_policy, trainable=True)
    prompts = [[1, 20 + i % 20, 50 + i // 20] for i in range(300)]
    config = DPOConfig(kl_prompts=300, sampling=SamplingConfig(max_new_tokens=1, temperature=0.8))
    distance = ReferenceDistance(reference, prompts, renderer, config, seed=3)
    moved(policy)
    with torch.no_grad():
        theirs, ours = (
            (m(input_ids=torch.tensor(prompts)).logits[:, -1] / 0.8).log_softmax(-1) for m in (reference, policy)
        )
        found = distance.measure(policy)
    exact = (theirs.exp() * (theirs - ours)).sum(1)
    spread = (theirs.exp() * (theirs - ours - exact[:, None]) ** 2).sum(1)
    error = math.sqrt(float(spread.sum())) / 300
    assert float(exact.mean()) > 10 * error, "the estimate says something"
    assert found == pytest.approx(float(exact.mean()), abs=4 * error)


def test_long_pairs_and_none_at_all_are_refused(gqa_policy: Path, renderer: Renderer, tmp_path: Path) -> None:
    pairs, policy = preferences(renderer)[:2], load_policy(gqa_policy, trainable=True)
    tokens = len(pairs[1].prompt_ids) + 40
    long = [pairs[0], replace(pairs[1], rejected_ids=[30] * 40)]
    with pytest.raises(ValueError, match=rf"pair 2 has {tokens} tokens; dpo\.max_length is 32"):
        run(policy, long, pairs, renderer, tmp_path, Quiet(), max_length=32)
    with pytest.raises(ValueError, match="there is no pair"):
        run(policy, [], pairs, renderer, tmp_path, Quiet())
    with pytest.raises(ValueError, match="there is no validation pair"):
        run(policy, pairs, [], renderer, tmp_path, Quiet())
