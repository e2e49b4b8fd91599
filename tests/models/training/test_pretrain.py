"""Pretraining, through transformers' own training step."""

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Trainer

from models.config import PretrainConfig
from models.costs import flops_per_token
from models.dialogue import Renderer
from models.llama_presets import resolve_architecture
from models.training import pretrain as module
from models.training.pretrain import pretrain
from models.training.reporting import Quiet, Reporter
from tests.models.training.first_step import first_step, same_gradients
from tests.models.training.little_runs import LITTLE, QUESTIONS, Recorder

Build = Callable[[ModuleType, Callable[[], object]], Trainer]
RAGGED = [" ".join(QUESTIONS)[: 3 + 4 * i] for i in range(16)]


def run(
    texts: list[str], renderer: Renderer, folder: Path, recorder: Reporter, *, kv_heads: int = 2, **changes: Any
) -> dict[str, float]:
    values = {"learning_rate": 1e-2, "batch_size": 4, "max_steps": 4, "warmup_steps": 0, "sequence_length": 64}
    config = PretrainConfig(**{**values, **changes})
    shape = LITTLE.model_copy(update={"num_kv_heads": kv_heads})
    return pretrain(texts, renderer, shape, config, out=folder / "out", work=folder / "work", seed=3, reporter=recorder)


def document(renderer: Renderer, text: str) -> list[int]:
    (ids,) = renderer.documents([text])
    return ids


def nll_by_hand(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    """-log p(ids[t] | ids[<t]) for t = 1 … , each from a pass over the ids before it alone."""
    with torch.no_grad():
        return torch.stack(
            [
                -model(input_ids=torch.tensor([ids[:t]]), use_cache=False).logits[0, -1].log_softmax(-1)[ids[t]]
                for t in range(1, len(ids))
            ]
        )


@pytest.mark.conformance("labels shifted once too often", equation="models.training.packing:pack")
def test_the_loss_of_five_tokens_is_the_nll_by_hand(build: Build, renderer: Renderer, tmp_path: Path) -> None:
    """Labels shifted once: token t is predicted from those before it, and BOS by nothing."""
    [text] = [question for question in ("the", "a li", "it.") if len(document(renderer, question)) == 5][:1]
    trainer = build(module, lambda: run([text], renderer, tmp_path, Quiet(), batch_size=1))
    expected = nll_by_hand(trainer.model, document(renderer, text))
    assert len(expected) == 4
    loss, _ = first_step(trainer)
    assert loss == pytest.approx(float(expected.mean()), abs=1e-5)


@pytest.mark.slow
def test_the_loss_of_a_batch_is_the_mean_over_all_its_tokens(build: Build, renderer: Renderer, tmp_path: Path) -> None:
    texts = RAGGED[1:9]
    trainer = build(module, lambda: run(texts, renderer, tmp_path, Quiet(), batch_size=2))
    assert len(trainer.train_dataset) == 2
    expected = torch.cat([nll_by_hand(trainer.model, document(renderer, text)) for text in texts]).mean()
    loss, _ = first_step(trainer)
    assert loss == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("kv_heads", [4, 2], ids=["mha", "gqa"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.conformance("packing leaks", equation="models.training.packing:PackedCollator")
def test_packed_documents_do_not_leak_into_each_other(
    build: Build, renderer: Renderer, tmp_path: Path, attention: str, kv_heads: int
) -> None:
    trainer = build(module, lambda: run(RAGGED[1:9], renderer, tmp_path, Quiet(), kv_heads=kv_heads, batch_size=2))
    model = trainer.model.eval()
    model.set_attn_implementation(attention)
    batch = {key: value for key, value in next(iter(trainer.get_train_dataloader())).items() if key != "labels"}
    starts = batch["position_ids"] == 0
    assert int(starts.sum()) >= 8
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
            for first, last in pairwise(places):  # each document as if it stood alone
                alone = model(input_ids=batch["input_ids"][row : row + 1, first:last]).logits[0]
                torch.testing.assert_close(before[row, first:last], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.conformance("accumulation normalised per micro-batch", equation="models.training.pretrain:pretrain")
def test_one_pass_over_sixteen_ragged_rows_has_the_gradient_of_eight_passes_over_two(
    build: Build, renderer: Renderer, tmp_path: Path
) -> None:
    texts = [" ".join(QUESTIONS)[: 60 + 4 * i] for i in range(16)]

    def built(steps: int) -> Trainer:
        size = min(128, 2 * len(document(renderer, texts[0])) - 1)  # no two documents fit into a row
        return build(
            module,
            lambda: run(
                texts, renderer, tmp_path, Quiet(), batch_size=16, accumulation_steps=steps, sequence_length=size
            ),
        )

    whole, parts = built(1), built(8)
    assert len({len(row) for row in whole.train_dataset["input_ids"]}) > 8
    assert len(whole.train_dataset) == 16
    loss, gradients = first_step(whole)
    accumulated_loss, accumulated = first_step(parts)
    assert accumulated_loss == pytest.approx(loss, abs=1e-5)
    same_gradients(gradients, accumulated)


@pytest.mark.slow
def test_it_learns_and_writes_a_model_that_opens_in_plain_transformers(
    renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    metrics = run(QUESTIONS, renderer, tmp_path, recorder, max_steps=40)
    losses = recorder.curve("pretrain/loss")
    assert len(losses) == 10
    assert metrics["loss"] == losses[-1] < losses[0] - 1
    shape = resolve_architecture(LITTLE, len(renderer.tokenizer))
    assert metrics["mfu"] == pytest.approx(
        metrics["tokens_per_second"] * flops_per_token(shape, 64) / metrics["peak_flops"]
    )
    assert recorder.lines[-1].startswith(f"pretrain: {metrics['tokens_per_second']:,.0f} tokens/s")
    assert recorder.texts[-1].startswith("pretrain step 40/40, loss ")
    assert re.search(r"\d tokens/s, ends at \d\d:\d\d$", recorder.texts[-1])
    assert metrics["corpus_tokens"] == sum(len(document(renderer, text)) for text in QUESTIONS)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert metrics["parameters"] == sum(parameter.numel() for parameter in plain.parameters())
    assert float(nll_by_hand(plain, document(renderer, QUESTIONS[0])).mean()) < losses[0] - 1


def test_long_documents_are_cut_and_nothing_is_lost(build: Build, renderer: Renderer, tmp_path: Path) -> None:
    text = " ".join(QUESTIONS)
    trainer = build(module, lambda: run([text, "it."], renderer, tmp_path, Quiet(), sequence_length=32))
    rows = trainer.train_dataset["input_ids"]
    assert max(map(len, rows)) <= 32
    expected = Counter(document(renderer, text) + document(renderer, "it."))
    assert Counter(token for row in rows for token in row) == expected


@pytest.mark.conformance(
    "continued pretraining begins with fresh weights", equation="models.training.pretrain:pretrain"
)
def test_going_on_begins_with_the_weights_of_the_base_and_its_loss(
    build: Build, renderer: Renderer, gqa_policy: Path, tmp_path: Path
) -> None:
    """The first loss is the base model's own by hand; nothing is drawn."""
    text = QUESTIONS[0]
    trainer = build(
        module,
        lambda: pretrain(
            [text],
            renderer,
            gqa_policy,
            PretrainConfig(batch_size=1, max_steps=1, warmup_steps=0, sequence_length=64),
            out=tmp_path / "out",
            work=tmp_path / "work",
            seed=3,
            reporter=Quiet(),
        ),
    )
    base = AutoModelForCausalLM.from_pretrained(gqa_policy)
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, base.get_parameter(name)), name
    loss, _ = first_step(trainer)
    assert loss == pytest.approx(float(nll_by_hand(base, document(renderer, text)).mean()), abs=1e-5)


def test_rows_longer_than_the_context_are_refused(renderer: Renderer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pretrain\.sequence_length 256 exceeds the context of 128"):
        run(QUESTIONS, renderer, tmp_path, Quiet(), sequence_length=256)
