import random
from pathlib import Path
from typing import Any

import pytest

from models.config import SamplingConfig
from tasks.candidates import combined, scored_again
from tasks.estimates import value_of
from tasks.rejection_sample import RejectionConfig, _batch, rejection_sample
from tasks.train_reward import mix, sides
from tests.tasks.bench import PAIR_NOT_SAMPLED, step_run, written
from tests.tasks.little_policy import SAMPLED, llama_prompts, terse_policy, with_reward_model


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


CANDIDATES = {"p0": 2, "p1": 3, "p2": 2, "p3": 1, "p4": 2}


def test_a_prompt_without_a_choice_or_with_new_candidates_is_scored_whatever_the_most_is() -> None:
    assert scored_again(CANDIDATES, {"p1", "p2", "p4"}, 0, seed=1) == {"p0", "p3"}
    assert scored_again(CANDIDATES, {"p1", "p2", "p4"}, 4, seed=1) == {"p0", "p3"}, "3 are asked for already"
    assert scored_again(CANDIDATES, {"p1"}, 5, seed=1) == {"p0", "p2", "p3", "p4"}


def test_settled_prompts_are_scored_whole_as_far_as_the_most_allows_and_all_of_them_where_it_allows_all() -> None:
    assert scored_again(CANDIDATES, set(CANDIDATES), 10, seed=1) == set(CANDIDATES)
    for seed in range(20):
        asked = scored_again(CANDIDATES, set(CANDIDATES), 6, seed)
        assert 5 <= sum(CANDIDATES[name] for name in asked) <= 6
        assert asked == scored_again(dict(reversed(CANDIDATES.items())), set(CANDIDATES), 6, seed)
    every = set().union(*(scored_again(CANDIDATES, set(CANDIDATES), 2, seed) for seed in range(40)))
    assert every == set(CANDIDATES) - {"p1"}, "each has its turn; three do not fit into two"


ASKED = llama_prompts(12)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy; beside it a reward model with an opinion."""
    return with_reward_model(terse_policy(tmp_path_factory.mktemp("policy")))


def second_iteration(
    folder: Path, policy: Path, earlier: list[dict[str, Any]], picks: list[dict[str, Any]], score_again: int
) -> dict[str, float]:
    """Of twelve prompts six have been answered; two of these are answered again, and two others."""
    inputs: dict[str, Any] = {
        "policy": policy,
        **dict.fromkeys(("safety_reward", "helpfulness_reward"), policy.parent / "reward"),
        "prompts": ("prompt", ASKED),
    }
    if earlier:
        inputs |= {"candidates": ("response", earlier), "earlier_picks": ("dialogue", picks)}
    folder.mkdir()
    run = step_run(folder, inputs=inputs, outputs=SAMPLED, part="V2" if earlier else "V1")
    config = RejectionConfig(
        prompts=4 if earlier else 6,
        safety_share=0,
        repeat_share=0.5,
        temperatures=(1.0,),
        samples=4,
        unfinished="score",
        score_again=score_again,
        sampling=SamplingConfig(max_new_tokens=4),
    )
    return {name: value_of(each) for name, each in rejection_sample.function(run, config).items()}


@pytest.mark.slow
@pytest.mark.conformance(
    "a choice mixes scores of two versions of a reward model, or an earlier choice is lost",
    equation="tasks.candidates:scored_again",
)
def test_a_choice_is_made_anew_where_all_candidates_are_scored_and_stands_where_they_are_not(
    policy: Path, tmp_path: Path
) -> None:
    second_iteration(tmp_path / "first", policy, [], [], 100)
    earlier = written(tmp_path / "first", "candidates")
    best = {row["dialogue_id"]: row for row in written(tmp_path / "first", "picks")}
    assert (len(earlier), len(best)) == (12, 6)
    # of each prompt the other one, so that it is seen what stands
    worse = [row["response_id"] for row in earlier if row["response_id"] not in best]
    picks = [{**next(iter(best.values())), "dialogue_id": name} for name in worse]
    prompt_of = {row["response_id"]: row["prompt_id"] for row in earlier}

    metrics = second_iteration(tmp_path / "all", policy, earlier, picks, 12)
    anew = {row["dialogue_id"] for row in written(tmp_path / "all", "picks")}
    assert (metrics["scored_again"], metrics["picks/not_chosen_anew"], metrics["pool"]) == (12, 0, 20)
    repeated = {row["prompt_id"] for row in written(tmp_path / "all", "candidates")} & set(prompt_of.values())
    assert len(repeated) == 2
    untouched = {name for name in best if prompt_of[name] not in repeated}
    assert untouched <= anew, "the same reward models choose what they chose"
    assert not anew & set(worse)

    metrics = second_iteration(tmp_path / "none", policy, earlier, picks, 0)
    found = {row["dialogue_id"]: row for row in written(tmp_path / "none", "picks")}
    assert (metrics["scored_again"], metrics["picks"], metrics["picks/not_chosen_anew"]) == (4, 8, 0.5)
    standing = {name for name in worse if prompt_of[name] not in repeated}
    assert found.keys() == standing | (anew - untouched), "what is answered anew is chosen among all its candidates"
    for row in earlier:
        if row["response_id"] in standing:
            assert found[row["response_id"]]["messages"][-1]["content"] == row["text"]
    scored = {row["response_id"] for row in written(tmp_path / "none", "scores")}
    assert {prompt_of[name] for name in scored if name in prompt_of} == repeated
