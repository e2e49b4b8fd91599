"""Little models of every family through all checks; docs/base-models.md says what came of it."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from models.base_checks import reading
from models.base_checks.examine import examine_base, examine_judge
from models.base_checks.reading import check_reading
from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint, scalar_head
from models.config import LoraConfig
from models.dialogue import Renderer
from models.kv_cache import RoomyCache
from models.tokenizer import load_tokenizer
from models.verdicts import log_odds, verdict_tokens
from tests.models.base_checks.conftest import Brought
from tests.models.families import FAMILIES, LINEAR_LAYERS

PAGE = Path(__file__).parents[3] / "docs" / "base-models.md"
ROWS = [[cell.strip() for cell in line[1:-1].split("|")] for line in PAGE.read_text().splitlines() if line[:1] == "|"]
MATRIX = {row[0]: row for row in ROWS if row[0] in FAMILIES}
QUICK = {*list(FAMILIES)[:11], "Granite", "OPT", "Qwen3.5"}
WORKS, ALONE, REFUSED = "works", "works, one dialogue a row", "refused"
HEADS = ("GPT-NeoX", "GPT-2", "Gemma 2", "Phi-3", "Qwen3.5")


def lora_of(family: str, **values: Any) -> LoraConfig:
    return LoraConfig(rank=2, target_modules=LINEAR_LAYERS.get(family, ("q_proj",)), **values)


def test_the_page_has_a_row_for_each_family_that_is_looked_at() -> None:
    assert list(MATRIX) == list(FAMILIES)


@pytest.mark.conformance("a base model that cannot be right", equation="models.base_checks.examine:examine_base")
@pytest.mark.parametrize(
    "family", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_each_family_works_or_is_refused_by_name_as_the_page_says(brought: Brought, family: str) -> None:
    folder = brought(family)
    _, architecture, outcome, detail = MATRIX[family]
    assert architecture == f"`{AutoConfig.from_pretrained(folder).model_type}`"
    if outcome == REFUSED:
        with pytest.raises(ValueError, match=re.escape(detail.replace("`", ""))):
            examine_base(folder, lora_of(family))
        return
    found = {each.check: each for each in examine_base(folder, lora_of(family))}
    assert outcome == (ALONE if found["packing"].alone else WORKS)
    assert {"packing", "padding", "cache", "reward head", "lora.target_modules"} <= set(found)
    names = re.findall(r"`([^`]+)`", detail)
    assert names == list(LINEAR_LAYERS.get(family, ())), "names that differ from those that `lora` has by default"


@pytest.mark.parametrize("family", HEADS)
@pytest.mark.parametrize("with_lora", [False, True], ids=["whole", "adapters"])
def test_a_reward_model_of_any_family_begins_with_zeros_and_opens_as_it_was_saved(
    tmp_path: Path, brought: Brought, family: str, with_lora: bool
) -> None:
    base = brought(family)
    tokenizer = load_tokenizer(base)
    ids = torch.tensor([tokenizer.encode("Who keeps the lamp?")])
    policy = base
    lora = lora_of(family) if with_lora else None
    if lora is not None:
        policy = tmp_path / "policy"
        save_checkpoint(load_policy(base, lora=lora, trainable=True), tokenizer, policy)
    model = reward_from_policy(policy, base, lora=lora, seed=1).eval()
    assert model(ids).logits.abs().max() == 0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)), alpha=0.1)
    wanted = model(ids).logits
    assert wanted.abs().max() > 1e-3
    save_checkpoint(model, tokenizer, tmp_path / "reward")
    opened = load_reward(tmp_path / "reward", base)
    torch.testing.assert_close(opened(ids).logits, wanted)
    if lora is not None:
        torch.testing.assert_close(load_reward(tmp_path / "reward", load_policy(base))(ids).logits, wanted)
    assert all(not parameter.requires_grad for parameter in scalar_head(opened).parameters())


@pytest.mark.parametrize("family", ["Granite", "Cohere", "Gemma 2", "Llama 3.x"])
def test_a_judge_is_read_by_the_logits_that_its_model_makes(brought: Brought, family: str) -> None:
    """Granite divides what its head gives by 4, Cohere multiplies it by 0.25, Gemma 2 caps it at 30."""
    folder = brought(family)
    assert examine_judge(folder, ("A", "B"))
    model, renderer = load_policy(folder), Renderer(load_tokenizer(folder))
    tokens = verdict_tokens(renderer, ("A", "B"))
    rows = [renderer.prompt([{"role": "user", "content": text}]) for text in ("A or B?", "Which is better, A or B?")]
    for row, found in zip(rows, log_odds(model, rows, tokens, renderer.pad_id, 2), strict=True):
        with torch.no_grad():
            logprobs = model(torch.tensor([[*row, *tokens.before]])).logits[0, -1].log_softmax(-1)
        assert found == pytest.approx(float(logprobs[tokens.ids[0]] - logprobs[tokens.ids[1]]), abs=1e-4)


@pytest.mark.conformance("an architecture without position ids", equation="models.base_checks.reading:check_reading")
def test_one_leak_is_found_wherever_it_is(brought: Brought, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of reading is spoiled by the code that it goes through; so each probe sees its own."""
    folder = brought()
    model, renderer = load_policy(folder), Renderer(load_tokenizer(folder))
    assert [each.check for each in check_reading(model, renderer)] == [
        "packing",
        "padding",
        "cache",
        "reward head",
        "prefix trees",
    ]
    select, repeat = RoomyCache.batch_select_indices, RoomyCache.batch_repeat_interleave
    spoiled = {
        "positions_of": ("models.scoring.positions_of", lambda mask: mask.cumsum(1) * 3, "padding gives other results"),
        "a row that leaves": (
            "models.kv_cache.RoomyCache.batch_select_indices",
            lambda cache, rows: select(cache, torch.arange(len(rows))),
            "sampling from its cache gives other results",
        ),
        "rows that are repeated": (
            "models.kv_cache.RoomyCache.batch_repeat_interleave",
            lambda cache, repeats: (repeat(cache, repeats), select(cache, torch.tensor([0, 2, 1, 3]))),
            "sampling from its cache gives other results",
        ),
        "tree_mask": (
            "models.prefix_tree.tree_mask",
            lambda ends, _: torch.ones(len(ends), 1, ends.shape[1], ends.shape[1], dtype=torch.bool).tril(),
            "prefix trees gives other results",
        ),
    }
    for place, instead, message in spoiled.values():
        with monkeypatch.context() as patch:
            patch.setattr(place, instead)
            with pytest.raises(ValueError, match=f"LlamaForCausalLM cannot be aligned here: {message}"):
                check_reading(model, renderer)
    with monkeypatch.context() as patch:  # with positions that go on, the second sequence sees the first
        collate = reading.PackedCollator.__call__
        patch.setattr(
            reading.PackedCollator,
            "__call__",
            lambda self, rows: {
                **(made := collate(self, rows)),
                "position_ids": torch.arange(made["input_ids"].shape[1])[None],
            },
        )
        assert check_reading(model, renderer)[0].alone


def test_an_architecture_that_fails_in_the_middle_is_refused_with_the_reason(
    brought: Brought, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = brought()
    model, renderer = load_policy(folder), Renderer(load_tokenizer(folder))

    def broken(*_: object, **__: object) -> None:
        raise AttributeError("no such cache")

    monkeypatch.setattr(reading, "sample", broken)
    with pytest.raises(ValueError, match=r"sampling from its cache fails \(AttributeError: no such cache\)"):
        check_reading(model, renderer)
