"""Supervised fine-tuning, through TRL's own training step."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import Trainer

from models.checkpoint import load_policy
from models.config import SFTConfig
from models.dialogue import Rendered, Renderer
from models.training import sft as module
from models.training.packing import pack
from models.training.reporting import Quiet, Reporter
from models.training.sft import fine_tune
from tests.models.training.first_step import first_step, same_gradients
from tests.models.training.little_runs import LORA, Recorder, dialogues

Build = Callable[[ModuleType, Callable[[], object]], Trainer]
FIVE = Rendered([1, 30, 31, 32, 2], [False, False, True, True, True], [2, 3])


def run(
    policy: Path, rendered: list[Rendered], renderer: Renderer, folder: Path, reporter: Reporter, **changes: Any
) -> dict[str, float]:
    values = {"learning_rate": 1e-2, "batch_size": 2, "epochs": 1, "warmup_ratio": 0.0, "sequence_length": 64}
    config = SFTConfig(**{**values, **changes})
    model = load_policy(policy, trainable=True)
    return fine_tune(
        model, rendered, renderer, config, out=folder / "out", work=folder / "work", seed=3, reporter=reporter
    )


def ragged(renderer: Renderer, count: int) -> list[Rendered]:
    """Dialogues with answers of different lengths, each longer than half a row of 64."""
    question = {"role": "user", "content": "Who keeps the lamp? " * 4}
    return [
        renderer.dialogue([question, {"role": "assistant", "content": "The keeper keeps it."[: 3 + i]}])
        for i in range(count)
    ]


def nll_by_hand(model: torch.nn.Module, dialogue: Rendered) -> torch.Tensor:
    """-log p(ids[t] | ids[<t]) of what the model says, each from a pass over the ids before it alone."""
    ids = dialogue.input_ids
    with torch.no_grad():
        return torch.stack(
            [
                -model(input_ids=torch.tensor([ids[:t]]), use_cache=False).logits[0, -1].log_softmax(-1)[ids[t]]
                for t in range(1, len(ids))
                if dialogue.loss_mask[t]
            ]
        )


@pytest.mark.slow
@pytest.mark.conformance("labels shifted once too often", equation="models.training.packing:pack")
def test_the_loss_of_five_tokens_is_the_nll_by_hand(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    """Tokens 2, 3 and the end of sequence count, each predicted from those before it."""
    trainer = build(module, lambda: run(policy_folder, [FIVE], renderer, tmp_path, Quiet(), batch_size=1))
    expected = nll_by_hand(trainer.model, FIVE)
    assert len(expected) == 3
    loss, _ = first_step(trainer)
    assert loss == pytest.approx(float(expected.mean()), abs=1e-5)


@pytest.mark.slow
@pytest.mark.conformance("labels shifted once too often", equation="models.training.packing:pack")
def test_the_loss_of_a_batch_is_the_mean_over_all_tokens_that_the_model_says(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    rendered = [renderer.dialogue(messages) for messages in dialogues()]
    trainer = build(module, lambda: run(policy_folder, rendered, renderer, tmp_path, Quiet(), batch_size=4))
    assert len(trainer.train_dataset) <= 4
    expected = torch.cat([nll_by_hand(trainer.model, dialogue) for dialogue in rendered]).mean()
    loss, _ = first_step(trainer)
    assert loss == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.slow
def test_loss_and_gradients_are_the_same_with_trls_fused_head(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = [renderer.dialogue(messages) for messages in dialogues()]
    fused: list[bool] = []

    def step_one(folder: str) -> tuple[float, dict[str, torch.Tensor]]:
        trainer = build(
            module, lambda: run(policy_folder, rendered, renderer, tmp_path / folder, Quiet(), batch_size=4)
        )
        trainer.model.register_forward_pre_hook(
            lambda _model, _args, kwargs: fused.append("fused_lm_head" in kwargs), with_kwargs=True
        )
        return first_step(trainer)

    loss, gradients = step_one("plain")
    monkeypatch.setattr(module, "_FUSE_FROM_LOGITS", 0)
    same_loss, same = step_one("fused")
    assert same_loss == pytest.approx(loss, abs=1e-5)
    same_gradients(gradients, same)
    assert fused == [True]  # the other goes to the transformer itself, past the model's own head


@pytest.mark.conformance("pad = eos masks EOS from the loss", equation="models.training.sft:fine_tune")
def test_the_label_at_every_final_eos_counts_also_where_padding_is_eos(
    build: Build, policy_folder: Path, pad_is_eos: Renderer, tmp_path: Path
) -> None:
    rendered = [pad_is_eos.dialogue(messages) for messages in dialogues()]
    trainer = build(module, lambda: run(policy_folder, rendered, pad_is_eos, tmp_path, Quiet(), batch_size=4))
    batch = next(iter(trainer.get_train_dataloader()))
    real = (batch["labels"] == pad_is_eos.end_ids[0]).sum()
    assert int(real) == len(rendered)
    assert int((batch["labels"] != -100).sum()) == sum(sum(dialogue.loss_mask) for dialogue in rendered)
    assert int((batch["input_ids"] == pad_is_eos.end_ids[0]).sum()) > len(rendered)  # there is padding, and it is EOS


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.conformance("packing leaks", equation="models.training.packing:PackedCollator")
def test_packed_dialogues_do_not_leak_into_each_other(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path, attention: str
) -> None:
    rendered = [renderer.dialogue(messages) for messages in dialogues()]
    trainer = build(module, lambda: run(policy_folder, rendered, renderer, tmp_path, Quiet(), batch_size=4))
    model = trainer.model.eval()
    model.set_attn_implementation(attention)
    batch = {key: value for key, value in next(iter(trainer.get_train_dataloader())).items() if key != "labels"}
    starts = batch["position_ids"] == 0
    assert int(starts.sum()) >= len(rendered)
    with torch.no_grad():
        before = model(**batch).logits
        for row in range(len(starts)):
            places = [*starts[row].nonzero()[:, 0].tolist(), starts.shape[1]]
            begin, end = places[0], places[1]
            changed = batch["input_ids"].clone()
            changed[row, begin:end] = (changed[row, begin:end] + 11) % 400 + 8
            after = model(**{**batch, "input_ids": changed}).logits
            assert float((after[row, begin:end] - before[row, begin:end]).abs().max()) > 0.1
            torch.testing.assert_close(after[row, end:], before[row, end:], atol=1e-5, rtol=0)
            for first, last in pairwise(places):
                alone = model(input_ids=batch["input_ids"][row : row + 1, first:last]).logits[0]
                torch.testing.assert_close(before[row, first:last], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.conformance("accumulation normalised per micro-batch", equation="models.training.sft:fine_tune")
def test_one_pass_over_sixteen_ragged_rows_has_the_gradient_of_eight_passes_over_two(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    rendered = ragged(renderer, 16)

    def built(steps: int) -> Trainer:
        changes = {"batch_size": 16, "accumulation_steps": steps}
        return build(module, lambda: run(policy_folder, rendered, renderer, tmp_path, Quiet(), **changes))

    whole, parts = built(1), built(8)
    assert len(whole.train_dataset) == 16
    assert len({sum(dialogue.loss_mask) for dialogue in rendered}) > 4
    loss, gradients = first_step(whole)
    accumulated_loss, accumulated = first_step(parts)
    assert accumulated_loss == pytest.approx(loss, abs=1e-5)
    same_gradients(gradients, accumulated)


@pytest.mark.slow
def test_an_adapter_learns_the_answers_and_leaves_the_base_alone(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    rendered = [renderer.dialogue(messages) for messages in dialogues()]
    model = load_policy(gqa_policy, lora=LORA, trainable=True)
    base = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    config = SFTConfig(learning_rate=2e-2, batch_size=2, epochs=15, sequence_length=64)
    metrics = fine_tune(
        model, rendered, renderer, config, out=tmp_path / "out", work=tmp_path / "work", seed=3, reporter=recorder
    )
    assert metrics["loss"] < recorder.curve("sft/loss")[0] - 1
    assert all(torch.equal(p, base[name]) for name, p in model.named_parameters() if not p.requires_grad)
    again = load_policy(tmp_path / "out", gqa_policy)
    before = torch.cat([nll_by_hand(load_policy(gqa_policy), dialogue) for dialogue in rendered]).mean()
    assert torch.cat([nll_by_hand(again, dialogue) for dialogue in rendered]).mean() < before - 1


@pytest.mark.conformance("all-zero loss mask", equation="models.training.sft:fine_tune")
def test_a_dialogue_without_a_token_to_learn_is_refused_by_its_number(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    silent = Rendered(FIVE.input_ids, [False] * 5, FIVE.message_lengths)
    with pytest.raises(ValueError, match="dialogue 2 of 3 has no token to learn from"):
        run(gqa_policy, [FIVE, silent, FIVE], renderer, tmp_path, Quiet())
    assert not (tmp_path / "out").exists()


def test_a_dialogue_longer_than_a_row_is_refused_by_its_number_and_never_cut(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    long = Rendered([1, *[30] * 64, 2], [False, *[True] * 65], [1, 65])
    with pytest.raises(ValueError, match=r"dialogue 2 of 2 has 66 tokens; sft\.sequence_length is 64"):
        run(gqa_policy, [FIVE, long], renderer, tmp_path, Quiet())


@pytest.mark.slow
def test_a_row_of_its_own_for_each_dialogue_learns_what_packed_rows_learn(
    tmp_path: Path, gqa_policy: Path, renderer: Renderer
) -> None:
    """Six dialogues in one step: the loss is a mean over their tokens, however many rows they stand in."""
    rendered = ragged(renderer, 6)
    ids = [each.input_ids for each in rendered]
    alone = pack(ids, ids, 512, seed=3, together=False)
    assert sorted(alone["input_ids"]) == sorted(ids)
    assert alone["seq_lengths"] == [[len(row)] for row in alone["input_ids"]]
    assert len(pack(ids, ids, 512, seed=3)) == 1
    losses = []
    for together in (True, False):
        config = SFTConfig(learning_rate=1e-3, batch_size=6, epochs=1, warmup_ratio=0.0, sequence_length=512)
        metrics = fine_tune(
            load_policy(gqa_policy, trainable=True),
            rendered,
            renderer,
            config,
            out=tmp_path / f"out-{together}",
            work=tmp_path / f"work-{together}",
            seed=3,
            reporter=Quiet(),
            together=together,
        )
        assert metrics["steps"] == 1
        losses.append(metrics["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
