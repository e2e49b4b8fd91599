"""Drawing pairs and judging them, each by itself; the policy is a real Llama of a few weights."""

from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import save_checkpoint
from models.config import SamplingConfig, TokenizerConfig
from models.llama import build_llama
from models.llama_presets import Architecture
from models.tokenizer import load_tokenizer, train_tokenizer
from tasks.answers import open_renderer
from tasks.collect_preferences import CollectStepConfig, collect_preferences
from tasks.draw_pairs import DrawStepConfig, draw_pairs
from tasks.engine.step import Output
from tasks.held_out import is_held_out
from tasks.judging.annotators import AnnotatorConfig
from tasks.judging.people import PeopleConfig
from tests.tasks.bench import step_run, written

WORDS = "the llama eats green grass and never spits at people who ask it to be kind"
PROMPTS = [
    {
        "prompt_id": f"p{number:02}",
        "source": "test",
        "kind": "ordinary",
        "axis": "safety" if number % 3 == 0 else "helpfulness",
        "split": "heldout" if number % 5 == 0 else "train",
        "messages": [{"role": "user", "content": f"the llama {WORDS.split()[number % 12]} {number}"}],
    }
    for number in range(30)
]
DRAW = DrawStepConfig(ordinary_prompts=12, safety_prompts=6, sampling=SamplingConfig(max_new_tokens=6))
JUDGE = CollectStepConfig(annotator=AnnotatorConfig(world_seed=1), heldout_percent=30)


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two policies, by role."""
    folder = tmp_path_factory.mktemp("policies")
    texts = [" ".join(WORDS.split()[i:]) for i in range(12)] * 20
    train_tokenizer(texts, folder / "tokenizer", TokenizerConfig(vocab_size=320, character_coverage=1.0), seed=1)
    tokenizer = load_tokenizer(folder / "tokenizer")
    shape = Architecture(16, 1, 2, 2, 32, context_length=128, vocab_size=len(tokenizer))
    for seed, name in ((5, "policy"), (6, "previous")):
        model = build_llama(shape, seed, tokenizer.pad_token_id, 1, tokenizer.eos_token_id).eval()
        save_checkpoint(model, tokenizer, folder / name)
    return {name: folder / name for name in ("policy", "previous")}


def drawn(folder: Path, policies: dict[str, Path], seed: int = 7) -> list[dict[str, Any]]:
    """The pairs that are drawn."""
    run = step_run(
        folder,
        inputs={**policies, "prompts": ("prompt", PROMPTS)},
        outputs={"pairs": Output("dataset", "pair")},
        seed=seed,
    )
    metrics = draw_pairs.function(run, DRAW)
    rows = written(folder, "pairs")
    assert metrics["pairs"] == len(rows)
    return rows


def judged(folder: Path, kind: str, role: str, rows: list[dict[str, Any]], config: CollectStepConfig) -> Any:
    """The preferences that come of rows under a role."""
    run = step_run(folder, inputs={role: (kind, rows)}, outputs={"preferences": Output("dataset", "preference")})
    collect_preferences.function(run, config)
    return written(folder, "preferences")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, policies: dict[str, Path]) -> list[dict[str, Any]]:
    return drawn(tmp_path_factory.mktemp("drawn"), policies)


@pytest.mark.conformance("what is learned is not what was sampled", equation="tasks.draw_pairs:_rows")
def test_a_judged_pair_has_the_ids_that_were_drawn_and_whether_each_answer_was_cut(
    tmp_path: Path, policies: dict[str, Path], pairs: list[dict[str, Any]]
) -> None:
    rows = judged(tmp_path, "pair", "pairs", pairs, JUDGE)
    drawn_as = {pair["pair_id"]: pair for pair in pairs}
    renderer = open_renderer(policies["policy"])
    for row in rows:
        for side in "ab":
            ids, finished = row[f"token_ids_{side}"], row[f"finished_{side}"]
            assert (ids, finished) == tuple(
                drawn_as[row["preference_id"]][f"{n}_{side}"] for n in ("token_ids", "finished")
            )
            assert (ids[-1] in renderer.end_ids) == finished
            assert renderer.response(ids) == row[f"response_{side}"]
        assert row["tokenizer"] == renderer.identity
    assert {row[f"finished_{side}"] for row in rows for side in "ab"} >= {False}


def test_the_same_seed_draws_the_same_pairs_and_another_seed_others(
    tmp_path: Path, policies: dict[str, Path], pairs: list[dict[str, Any]]
) -> None:
    assert drawn(tmp_path / "same", policies) == pairs
    assert drawn(tmp_path / "other", policies, seed=8) != pairs


def test_a_pair_has_two_variants_two_temperatures_and_no_side_of_its_own(pairs: list[dict[str, Any]]) -> None:
    assert len(pairs) > 12
    for pair in pairs:
        assert {pair["policy_version_a"], pair["policy_version_b"]} == {"version-of-policy", "version-of-previous"}
        assert pair["temperature_milli_a"] != pair["temperature_milli_b"]
        assert pair["response_a"] != pair["response_b"]
    assert {pair["policy_version_a"] for pair in pairs} == {"version-of-policy", "version-of-previous"}
    held_out = {prompt["prompt_id"] for prompt in PROMPTS if prompt["split"] == "heldout"}
    assert not held_out & {pair["prompt_id"] for pair in pairs}


def test_what_people_judged_is_taken_as_it_is_and_held_out_by_the_text_of_the_prompt(
    tmp_path: Path, pairs: list[dict[str, Any]]
) -> None:
    rows = judged(tmp_path / "simulated", "pair", "pairs", pairs, JUDGE)
    said = [{**row, "split": None, "annotator": "anna"} for row in rows]
    found = judged(tmp_path / "people", "preference", "judgements", said, CollectStepConfig(heldout_percent=30))
    assert {row["split"] for row in found} == {"train", "heldout"}
    assert all((row["split"] == "heldout") == is_held_out(row["messages"], 30, "pairs") for row in found)
    assert [{**row, "split": None} for row in found] == said


@pytest.mark.parametrize(
    ("people", "pairs_there", "wanted"),
    [
        ({}, 48, 48),
        ({"quota_percent": 50}, 48, 24),
        ({"quota_percent": 50}, 7, 4),  # three and a half
        ({"quota": 30}, 48, 30),
        ({"quota": 31, "per_item": 3}, 48, 11),  # ten pairs give thirty
        ({"quota": 1000, "per_item": 2}, 48, 48),
    ],
)
def test_the_quota_is_said_in_judgements_or_as_a_share_of_the_pairs(
    people: dict[str, int], pairs_there: int, wanted: int
) -> None:
    assert PeopleConfig(**people).pairs_wanted(pairs_there) == wanted


def test_two_quotas_are_refused() -> None:
    with pytest.raises(ValueError, match="give one of them"):
        PeopleConfig(quota=10, quota_percent=50)
