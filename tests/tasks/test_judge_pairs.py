"""A language model's folder as judge: a random Llama, real prompts, both orders."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from data_store.errors import InputError
from models.checkpoint import backbone, output_embeddings, save_checkpoint
from models.config import TokenizerConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from models.tokenizer import load_tokenizer, train_tokenizer
from models.verdicts import verdict_tokens
from tasks.collect_preferences import CollectStepConfig, collect_preferences
from tasks.engine.step import Output
from tasks.judge_pairs import judge_pairs
from tasks.judging.annotators import AnnotatorConfig
from tasks.judging.guidelines import LETTERS, comparison, response_in, safety_by_letter
from tasks.judging.registry import JudgePairsConfig
from tasks.judging.shares import SharesConfig
from tests.tasks.bench import step_run, written

ALL = SharesConfig(lm=1)
SIDES = ("response", "finished", "policy_version", "temperature_milli")
TEXT = "the llama eats green grass and never spits at people who ask it to be kind"
WORDS = TEXT.split()


def pair_row(number: int) -> dict[str, Any]:
    return {
        "pair_id": f"pair-{number:02}",
        "source": "draw_pairs@V1",
        "prompt_id": f"prompt-{number}",
        "axis": "safety" if number % 3 == 0 else "helpfulness",
        "iteration": "V1",
        "messages": [{"role": "user", "content": f"question {WORDS[number % 12]} {number}"}],
        "response_a": " ".join(WORDS[: 2 + number % 5]),
        "response_b": " ".join(WORDS[4 : 7 + number % 7]),
        "finished_a": True,
        "finished_b": False,
        "policy_version_a": "new",
        "policy_version_b": "old",
        "temperature_milli_a": 700,
        "temperature_milli_b": 1000,
    }


PAIRS = [pair_row(number) for number in range(18)]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama that has opinions: the two letters' rows of its head differ by a random direction in which its
    states at the questions have mean 0 and standard deviation 2."""
    folder = tmp_path_factory.mktemp("judge")
    texts = [comparison("safety", PAIRS[0]["messages"], ("x", True), ("y", False), rated=False)]
    texts += [safety_by_letter(PAIRS[0]["messages"], ("x", True), "A"), " ".join(WORDS)]
    train_tokenizer(texts * 30, folder / "tokenizer", TokenizerConfig(vocab_size=420, character_coverage=1.0), seed=1)
    tokenizer = load_tokenizer(folder / "tokenizer")
    shape = Architecture(16, 1, 2, 2, 32, context_length=1024, vocab_size=len(tokenizer))
    model = build_llama(shape, 3, tokenizer.pad_token_id, 1, tokenizer.eos_token_id).eval()
    renderer = Renderer(tokenizer)
    tokens = verdict_tokens(renderer, LETTERS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.mul_(10)
        states = []
        for pair in PAIRS:
            for first, second in (("a", "b"), ("b", "a")):
                sides = (response_in(pair, first), response_in(pair, second))
                text = comparison(pair["axis"], pair["messages"], *sides, rated=False)
                ids = [*renderer.prompt([{"role": "user", "content": text}]), *tokens.before]
                states.append(backbone(model)(torch.tensor([ids])).last_hidden_state[0, -1])
        seen = torch.stack(states)
        mean = seen.mean(0)
        direction = torch.randn(len(mean), generator=torch.Generator().manual_seed(2))
        direction -= mean * (direction @ mean) / (mean @ mean)
        direction *= 2 / (seen @ direction).std()
        head = output_embeddings(model).weight
        head[tokens.ids[0]] = head[tokens.ids[1]] + direction
    save_checkpoint(model, tokenizer, folder / "judge-model")
    return folder / "judge-model"


def config(**values: Any) -> JudgePairsConfig:
    return JudgePairsConfig.model_validate({"annotator": "lm:judge-model", "shares": ALL, **values})


def judged(
    folder: Path, judge: Path, pairs: list[dict[str, Any]], **values: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
    """(judgements, refused) by pair, and the metrics."""
    run = step_run(folder, inputs={"pairs": ("pair", pairs), "judge": judge}, outputs=dict(judge_pairs.outputs))
    metrics = judge_pairs.function(run, config(**values))
    rows = {row["preference_id"]: row for row in written(folder, "judgements")}
    return rows, {row["doc_id"]: row for row in written(folder, "refused")}, dict(metrics)


def swapped(pair: dict[str, Any]) -> dict[str, Any]:
    other = {"a": "b", "b": "a"}
    return {**pair, **{f"{name}_{side}": pair[f"{name}_{other[side]}"] for name in SIDES for side in "ab"}}


def test_swapping_the_responses_mirrors_every_judgement(tmp_path: Path, judge: Path) -> None:
    values = {"disagreement": "negligibly_better"}
    there, refused, _ = judged(tmp_path / "there", judge, PAIRS, **values)
    back, refused_back, _ = judged(tmp_path / "back", judge, [swapped(pair) for pair in PAIRS], **values)
    assert len({row["rating"] for row in there.values()}) > 1
    assert {row["chosen"] for row in there.values()} == {"a", "b"}
    assert {key: row["reason"] for key, row in refused.items()} == {
        key: row["reason"] for key, row in refused_back.items()
    }
    for key, row in there.items():
        mirror = back[key]
        assert {row["chosen"], mirror["chosen"]} == {"a", "b"}
        assert row[f"response_{row['chosen']}"] == mirror[f"response_{mirror['chosen']}"]
        assert [row[name] for name in ("rating", "safety_label")] == [
            mirror[name] for name in ("rating", "safety_label")
        ]


def test_every_pair_is_judged_or_refused_by_name_and_counted(tmp_path: Path, judge: Path) -> None:
    rows, refused, metrics = judged(tmp_path, judge, PAIRS)
    assert rows.keys() | refused.keys() == {pair["pair_id"] for pair in PAIRS}
    assert not rows.keys() & refused.keys()
    assert {row["reason"] for row in refused.values()} <= {"orders_disagree", "chosen_unsafe_other_safe"}
    disagreeing = sum(row["reason"] == "orders_disagree" for row in refused.values())
    assert disagreeing > 0, "a random judge goes by the letter now and then"
    assert metrics["orders_disagree"] == disagreeing / len(PAIRS)
    assert metrics["judged"] + sum(n for name, n in metrics.items() if name.startswith("refused/")) == len(PAIRS)
    for row in rows.values():
        assert (row["annotator"], row["source"]) == ("lm:judge-model", "judge_pairs@V1")
        assert (row["safety_label"] is None) == (row["axis"] == "helpfulness")


def test_the_same_folder_judges_the_same_each_time(tmp_path: Path, judge: Path) -> None:
    assert judged(tmp_path / "one", judge, PAIRS) == judged(tmp_path / "two", judge, PAIRS)


def test_a_pair_that_the_judge_cannot_read_whole_is_refused(tmp_path: Path, judge: Path) -> None:
    long = {**PAIRS[1], "response_a": "grass " * 1500}
    _, refused, metrics = judged(tmp_path, judge, [long, *PAIRS[2:]], disagreement="negligibly_better")
    assert refused[long["pair_id"]]["reason"] == "too_long"
    assert "tokens; the judge reads" in refused[long["pair_id"]]["detail"]
    assert metrics["refused/too_long"] == 1


def test_a_judge_that_judges_nothing_stops_the_step(tmp_path: Path, judge: Path) -> None:
    long = {**PAIRS[1], "response_a": "grass " * 1500}
    with pytest.raises(InputError, match=r"lm:judge-model judged none of 1 pairs; refused: \{'too_long': 1\}"):
        judged(tmp_path, judge, [long])


def test_two_sources_judge_their_shares_and_are_counted(tmp_path: Path, judge: Path) -> None:
    shares = SharesConfig(simulated=0.5, lm=0.5)
    rows, _, metrics = judged(tmp_path / "lm", judge, PAIRS, shares=shares, disagreement="negligibly_better")
    assert metrics["pairs"] == 9
    inputs = {"pairs": ("pair", PAIRS), "lm": ("preference", list(rows.values()))}
    run = step_run(tmp_path / "both", inputs=inputs, outputs={"preferences": Output("dataset", "preference")})
    both = collect_preferences.function(run, CollectStepConfig(annotator=AnnotatorConfig(world_seed=1), shares=shares))
    found = written(tmp_path / "both", "preferences")
    by = {
        who: {row["preference_id"] for row in found if row["annotator"] == who}
        for who in {r["annotator"] for r in found}
    }
    assert by["lm:judge-model"] == set(rows)
    assert by["simulated:little-world"] <= {pair["pair_id"] for pair in PAIRS} - shares.pairs_of(
        "lm", [p["pair_id"] for p in PAIRS]
    )
    assert both["pairs"] == len(rows) + len(by["simulated:little-world"]) > len(rows)
    told = {
        row["judged by"]: row["pairs"]
        for row in json.loads((tmp_path / "both" / "tables" / "sources.json").read_text())
    }
    assert told == {who: len(ids) for who, ids in by.items()}
