import random
from typing import Any

import pytest

from tasks.candidates import combined
from tasks.rejection_sample import RejectionConfig, _batch
from tasks.train_reward import mix, sides
from tests.tasks.bench import PAIR_NOT_SAMPLED


def prompts_of(safety: int, helpfulness: int) -> dict[str, dict[str, Any]]:
    """So many prompts of each axis, by id."""
    rows = [("s", "safety", n) for n in range(safety)] + [("h", "helpfulness", n) for n in range(helpfulness)]
    return {f"{letter}{n}": {"prompt_id": f"{letter}{n}", "axis": axis} for letter, axis, n in rows}


def counts(batch: list[dict[str, Any]], seen: set[str]) -> dict[str, int]:
    """How many of each axis, and how many of these were answered before."""
    found = {"safety": 0, "helpfulness": 0, "again": 0}
    for row in batch:
        found[row["axis"]] += 1
        found["again"] += row["prompt_id"] in seen
    return found


def test_the_batch_has_its_shares_of_adversarial_and_of_repeated_prompts() -> None:
    config = RejectionConfig(prompts=20, safety_share=0.4, repeat_share=0.25)
    seen = {f"s{n}" for n in range(10)} | {f"h{n}" for n in range(10)}
    batch = _batch(config, prompts_of(40, 40), seen, seed=1)
    # 20 · 0.4 = 8 of safety, of which 8 · 0.25 = 2 again; 12 others, of which 3 again
    assert counts(batch, seen) == {"safety": 8, "helpfulness": 12, "again": 5}
    assert len({row["prompt_id"] for row in batch}) == 20


def test_the_first_iteration_has_new_prompts_only() -> None:
    batch = _batch(RejectionConfig(prompts=10, safety_share=0.5), prompts_of(10, 10), set(), seed=1)
    assert counts(batch, set()) == {"safety": 5, "helpfulness": 5, "again": 0}


def test_where_new_prompts_run_out_the_batch_is_smaller_and_repeats_none() -> None:
    seen = {f"s{n}" for n in range(4)}
    batch = _batch(RejectionConfig(prompts=10, safety_share=1.0, repeat_share=0.2), prompts_of(6, 0), seen, seed=1)
    assert counts(batch, seen) == {"safety": 4, "helpfulness": 0, "again": 2}
    assert len({row["prompt_id"] for row in batch}) == 4


def test_the_batch_follows_from_its_seed() -> None:
    config = RejectionConfig(prompts=6)
    drawn = [_batch(config, prompts_of(30, 30), set(), seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_safety_model_decides_on_adversarial_prompts_and_below_the_threshold() -> None:
    """logit(0.15) = -1.7346."""
    prompts = prompts_of(1, 1)
    rows = [{"prompt_id": name} for name in ("s0", "h0", "h0")]
    raw = [(2.0, 5.0), (-1.73, 6.0), (-1.74, 7.0)]
    assert combined(rows, raw, prompts, 0.15) == pytest.approx([2.0, 6.0, -1.74])
    assert combined(rows, raw, prompts, 0.0) == pytest.approx([2.0, 6.0, 7.0]), "without a level only the prompt counts"


def pairs(axis: str, number: int) -> list[dict[str, Any]]:
    return [{"axis": axis, "id": f"{axis}{n}"} for n in range(number)]


def test_the_mix_has_all_own_pairs_and_the_share_of_others_in_the_whole() -> None:
    rows = pairs("safety", 90) + pairs("helpfulness", 200)
    random.Random(3).shuffle(rows)
    mixed = mix(rows, "safety", 0.1, seed=1)
    assert [row["axis"] for row in mixed].count("safety") == 90
    assert len(mixed) == 100  # 10 others are a tenth of the whole, not of the own
    assert len({row["id"] for row in mixed}) == 100
    assert mix(rows, "safety", 0.1, seed=1) == mixed != mix(rows, "safety", 0.1, seed=2)


def test_the_mix_takes_what_there_is_where_that_is_less_and_nothing_where_the_share_is_none() -> None:
    rows = pairs("safety", 10) + pairs("helpfulness", 4)
    assert len(mix(rows, "safety", 0.5, seed=1)) == 14
    assert mix(rows, "safety", 0.0, seed=1) == pairs("safety", 10)
    assert mix(pairs("helpfulness", 5), "safety", 0.5, seed=1) == []


def test_the_sides_of_a_pair_are_chosen_first() -> None:
    unknown = PAIR_NOT_SAMPLED
    row = {**unknown, "preference_id": "p", "messages": [], "response_a": "A", "response_b": "B"}
    for chosen, texts in (("a", ["A", "B"]), ("b", ["B", "A"])):
        assert [answer.text for _, answer in sides({**row, "chosen": chosen})] == texts
