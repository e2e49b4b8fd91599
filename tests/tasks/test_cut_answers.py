"""From the drawing of an answer to the learning of it: what is learned are the ids that were drawn, and no answer that
was cut at the length limit becomes one that ends. The policy is a real Llama of noise: of 90 tokens about every fourth
answer ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models import generation
from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint, scalar_head
from models.config import DPOConfig, RewardConfig, SamplingConfig, SFTConfig
from models.dialogue import Renderer
from models.scoring import score_rows
from tasks.answers import open_renderer
from tasks.dpo import DPOStepConfig, dpo
from tasks.engine.step import Output
from tasks.estimates import value_of
from tasks.fine_tune import FineTuneStepConfig, fine_tune
from tasks.rejection_sample import RejectionConfig, rejection_sample
from tasks.synthesize_gatt import GattStepConfig, best_finished, synthesize_gatt
from tasks.train_reward import RewardStepConfig, train_safety_reward
from tests.tasks.bench import step_run, written
from tests.tasks.little_policy import WORDS, little_policy

PROMPTS = [
    {
        "prompt_id": f"p{number}",
        "source": "test",
        "kind": "ordinary",
        "axis": "safety" if number % 3 == 0 else "helpfulness",
        "split": "train",
        "messages": [{"role": "user", "content": f"the llama {WORDS.split()[number]}"}],
    }
    for number in range(12)
]
INSTRUCTIONS = [
    {"instruction_id": "i", "source": "test", "text": "be kind", "short": "kind", "kind": "manner", "split": "train"}
]
LONG, SHORT = SamplingConfig(max_new_tokens=90), SamplingConfig(max_new_tokens=1)
REJECTED = {
    "candidates": Output("dataset", "response"),
    "scores": Output("dataset", "score"),
    "picks": Output("dataset", "dialogue"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A policy and two reward models that tell texts apart."""
    folder = little_policy(tmp_path_factory.mktemp("models"))
    found = {"policy": folder}
    for seed, axis in enumerate(("safety", "helpfulness")):
        model = reward_from_policy(folder, None, lora=None, seed=seed)
        with torch.no_grad():
            scalar_head(model).weight.normal_(std=1.0, generator=torch.Generator().manual_seed(seed))
        found[f"{axis}_reward"] = tmp_path_factory.mktemp(axis)
        save_checkpoint(model, open_renderer(folder).tokenizer, found[f"{axis}_reward"])
    return found


@pytest.fixture(scope="module")
def renderer(models: dict[str, Path]) -> Renderer:
    return open_renderer(models["policy"])


def rejected(
    folder: Path, models: dict[str, Path], earlier: list[dict[str, Any]] | None = None, part: str = "V1", **given: Any
) -> dict[str, float]:
    """Rejection sampling of four candidates a prompt; its metrics."""
    inputs: dict[str, Any] = {**models, "prompts": ("prompt", PROMPTS)}
    if earlier is not None:
        inputs["candidates"] = ("response", earlier)
    folder.mkdir(exist_ok=True)
    run = step_run(folder, inputs=inputs, outputs=REJECTED, part=part, seed=8)
    config = {"prompts": 9, "temperatures": (1.0,), "samples": 4, "keep": 2, "sampling": LONG, **given}
    return {name: value_of(each) for name, each in rejection_sample.function(run, RejectionConfig(**config)).items()}


@pytest.fixture(scope="module")
def rejection(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("rejection")
    return folder, rejected(folder, models)


@pytest.mark.conformance(
    "a cut answer is learned as a finished one", equation="tasks.rejection_sample:rejection_sample"
)
def test_rejection_sampling_keeps_and_picks_finished_candidates_alone_and_counts_the_others(
    rejection: tuple[Path, dict[str, float]], renderer: Renderer
) -> None:
    folder, metrics = rejection
    candidates, picks = written(folder, "candidates"), written(folder, "picks")
    assert all(row["finished"] and row["token_ids"][-1] in renderer.end_ids for row in [*candidates, *picks])
    assert 0 < metrics["finished"] < 1
    prompts = {row["prompt_id"] for row in candidates}
    assert metrics["prompts/without_finished"] == 9 - len(prompts) > 0
    assert metrics["picks"] == len(picks) == len(prompts)
    assert metrics["candidates"] == 36


@pytest.mark.conformance("what is learned is not what was sampled", equation="tasks.rejection_sample:_picked")
def test_picks_have_the_ids_of_their_candidates_and_scores_are_of_these_ids(
    rejection: tuple[Path, dict[str, float]], models: dict[str, Path], renderer: Renderer
) -> None:
    folder, _ = rejection
    candidates = {row["response_id"]: row for row in written(folder, "candidates")}
    scores = {(row["response_id"], row["kind"]): row["value"] for row in written(folder, "scores")}
    for pick in written(folder, "picks"):
        candidate = candidates[pick["dialogue_id"]]
        assert pick["messages"][-1] == {"role": "assistant", "content": candidate["text"]}
        assert [pick[n] for n in ("token_ids", "tokenizer")] == [candidate["token_ids"], renderer.identity]
    for axis in ("safety", "helpfulness"):
        model = load_reward(models[f"{axis}_reward"], None)
        ids = [renderer.prompt(row["messages"]) + row["token_ids"] for row in candidates.values()]
        expected = score_rows(model, ids, renderer.pad_id, 4)
        assert [scores[name, axis] for name in candidates] == pytest.approx(expected, abs=1e-5)


def test_cut_candidates_compete_where_the_config_says_so_and_stay_without_an_end(
    models: dict[str, Path], renderer: Renderer, tmp_path: Path
) -> None:
    metrics = rejected(tmp_path, models, sampling=SHORT, unfinished="score")
    picks = written(tmp_path, "picks")
    assert (metrics["finished"], metrics["prompts/without_finished"], metrics["picks"]) == (0.0, 9.0, 9.0)
    assert not any(row["finished"] or row["token_ids"][-1] in renderer.end_ids for row in picks)


def test_where_no_candidate_is_finished_the_step_says_what_to_change_before_anything_is_scored(
    models: dict[str, Path], tmp_path: Path
) -> None:
    unread = {**models, "safety_reward": tmp_path / "nothing here"}
    message = r"none of 36 candidates ended within 1 tokens.*raise rejection\.sampling\.max_new_tokens"
    with pytest.raises(ValueError, match=message):
        rejected(tmp_path, unread, sampling=SHORT)


def test_cut_candidates_of_an_earlier_iteration_are_left_out_too(
    rejection: tuple[Path, dict[str, float]], models: dict[str, Path], tmp_path: Path
) -> None:
    before = written(rejection[0], "candidates")
    earlier = [before[0], {**before[1], "finished": False}]
    cut = before[1]["response_id"]
    rejected(tmp_path / "left out", models, earlier, "V2", sampling=SHORT)
    assert [row["dialogue_id"] for row in written(tmp_path / "left out", "picks")] == [before[0]["response_id"]]
    rejected(tmp_path / "scored", models, earlier, "V2", sampling=SHORT, unfinished="score")
    assert cut in {row["response_id"] for row in written(tmp_path / "scored", "scores")}


def gatt(folder: Path, models: dict[str, Path], **given: Any) -> dict[str, float]:
    """Ghost Attention's dialogues; its metrics."""
    inputs = {
        **{role: models[role] for role in ("policy", "helpfulness_reward")},
        "prompts": ("prompt", PROMPTS),
        "instructions": ("instruction", INSTRUCTIONS),
    }
    folder.mkdir(exist_ok=True)
    run = step_run(folder, inputs=inputs, outputs={"dialogues": Output("dataset", "dialogue")})
    config = {"dialogues": 12, "min_turns": 1, "max_turns": 1, "samples": 2, "temperature": 1.0, "sampling": LONG}
    return dict(synthesize_gatt.function(run, GattStepConfig(**{**config, "dialogue_tokens": 128, **given})))


@pytest.mark.conformance("a cut answer is learned as a finished one", equation="tasks.synthesize_gatt:synthesize_gatt")
def test_ghost_attention_leaves_out_and_counts_dialogues_whose_last_answer_was_cut(
    models: dict[str, Path], renderer: Renderer, tmp_path: Path
) -> None:
    metrics = gatt(tmp_path, models)
    rows = written(tmp_path, "dialogues")
    assert metrics["dialogues"] == len(rows) == 12 - metrics["left_out/cut"]
    assert 0 < metrics["left_out/cut"] < 12
    assert 0 < metrics["finished"] < 1
    for row in rows:
        assert row["finished"]
        assert row["token_ids"][-1] in renderer.end_ids
        assert renderer.response(row["token_ids"]) == row["messages"][-1]["content"]


def test_ghost_attention_goes_on_from_a_cut_answer_as_context_and_learns_the_last(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """Two turns of up to 12 tokens: most first answers are cut."""
    short = SamplingConfig(max_new_tokens=12)
    metrics = gatt(tmp_path, models, dialogues=48, min_turns=2, max_turns=2, sampling=short)
    rows = written(tmp_path, "dialogues")
    assert {len(row["messages"]) for row in rows} == {4}
    assert metrics["finished"] < 0.2
    assert all(row["finished"] for row in rows)


@pytest.mark.slow
def test_no_two_turns_or_shards_of_ghost_attention_share_their_random_numbers(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shards of a turn are done one after the other here, so that their seeds can be looked at."""
    seeds = []
    exact = generation.sample

    def noted(model: Any, requests: Any, *arguments: Any, **options: Any) -> Any:
        seeds.extend((request.seed, tuple(request.ids)) for request in requests)
        return exact(model, requests, *arguments, **options)

    def in_turn(part: Callable[[Any, int], Any], rows: Any, count: int) -> list[Any]:
        of = [part(rows[k::count], k) for k in range(count)]
        return [of[i % count][i // count] for i in range(len(rows))]

    monkeypatch.setattr(generation, "sample", noted)
    monkeypatch.setattr("models.shards.map_shards", in_turn)
    few = SamplingConfig(max_new_tokens=12, shards=2)
    gatt(tmp_path, models, dialogues=48, min_turns=3, max_turns=3, sampling=few)
    assert len({seed for seed, _ in seeds}) == len(seeds) > 6, "a dialogue in a turn, each with its own"


def test_ghost_attention_without_a_finished_answer_says_what_to_change(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"within 1 tokens: raise gatt\.sampling\.max_new_tokens"):
        gatt(tmp_path, models, sampling=SHORT)


@pytest.mark.parametrize(
    ("finished", "scores", "best"),
    [
        ([False, True, True], [9.0, 1.0, 2.0], 2),  # the highest of the finished ones, not of all
        ([False, False], [1.0, 3.0], 1),
        ([True, True], [2.0, 2.0], 0),
    ],
)
def test_the_best_answer_of_a_turn_is_the_best_finished_one(
    finished: list[bool], scores: list[float], best: int
) -> None:
    assert best_finished(finished, scores) == best


def learned_by(monkeypatch: pytest.MonkeyPatch, trainer: str) -> Callable[[], tuple[Any, ...]]:
    """The trainer is not run; what it was given is told."""
    given: list[tuple[Any, ...]] = []

    def note(*arguments: Any, **_: Any) -> dict[str, float]:
        given.append(arguments)
        return {"loss": 0.0, "steps": 40.0}

    monkeypatch.setattr(trainer, note)
    return lambda: given[0]


@pytest.mark.slow
@pytest.mark.conformance("what is learned is not what was sampled", equation="tasks.fine_tune:fine_tune")
@pytest.mark.conformance("a cut answer is learned as a finished one", equation="tasks.fine_tune:fine_tune")
def test_fine_tuning_learns_the_ids_that_were_drawn_and_of_a_cut_pick_no_end(
    models: dict[str, Path], renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected(tmp_path, models, unfinished="score")
    gatt(tmp_path / "gatt", models)
    picks, dialogues = written(tmp_path, "picks"), written(tmp_path / "gatt", "dialogues")
    assert {row["finished"] for row in picks} == {True, False}
    learned = learned_by(monkeypatch, "models.training.sft.fine_tune")
    run = step_run(
        tmp_path / "fine_tune",
        inputs={"policy": models["policy"], "picks": ("dialogue", picks), "gatt": ("dialogue", dialogues)},
        outputs={"policy": Output("model")},
    )
    metrics = fine_tune.function(run, FineTuneStepConfig(training=SFTConfig(sequence_length=512)))
    assert metrics["read_from_text"] == 0
    rows = learned()[1]
    said = [[t for t, counts in zip(row.input_ids, row.loss_mask, strict=True) if counts] for row in rows]
    assert sorted(said) == sorted(row["token_ids"] for row in [*picks, *dialogues])
    prompts = [row.input_ids[: -len(ids)] for row, ids in zip(rows, said, strict=True)]
    assert sorted(prompts) == sorted(renderer.prompt(row["messages"][:-1]) for row in [*picks, *dialogues])


def judged_pairs(models: dict[str, Path], folder: Path) -> list[dict[str, Any]]:
    """A finished answer against a cut one, for each prompt that has both: the cut one is chosen."""
    rejected(folder, models, unfinished="score", samples=8, keep=8)
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in written(folder, "candidates"):
        by_prompt.setdefault(row["prompt_id"], []).append(row)
    rows = []
    for prompt_id, candidates in by_prompt.items():
        done = [row for row in candidates if row["finished"]]
        cut = [row for row in candidates if not row["finished"]]
        if not done or not cut:
            continue
        sides = {"a": done[0], "b": cut[0]}
        rows.append(
            {
                "preference_id": prompt_id, "source": "test", "prompt_id": prompt_id, "axis": "safety",
                "iteration": "V1", "split": "train", "messages": done[0]["messages"], "chosen": "b",
                "rating": "significantly_better", "safety_label": "both_safe", "annotator": "anna",
                "tokenizer": done[0]["tokenizer"],
                **{f"response_{side}": row["text"] for side, row in sides.items()},
                **{f"{name}_{side}": row[name] for side, row in sides.items() for name in ("token_ids", "finished")},
            }
        )  # fmt: skip
    assert len(rows) > 4
    return rows


@pytest.mark.slow
@pytest.mark.conformance("what is learned is not what was sampled", equation="tasks.dpo:preference")
@pytest.mark.conformance("a cut answer is learned as a finished one", equation="tasks.dpo:preference")
def test_dpo_and_reward_models_learn_the_ids_of_a_pair_the_cut_one_without_an_end(
    models: dict[str, Path], renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = judged_pairs(models, tmp_path)
    wanted = sorted((renderer.prompt(row["messages"]), row["token_ids_b"], row["token_ids_a"]) for row in rows)
    assert not any(chosen[-1] in renderer.end_ids for _, chosen, _ in wanted)
    assert all(other[-1] in renderer.end_ids for _, _, other in wanted)

    learned = learned_by(monkeypatch, "models.training.dpo.train_dpo")
    inputs = {"policy": models["policy"], "preferences": ("preference", rows)}
    run = step_run(tmp_path / "dpo", inputs=inputs, outputs={"policy": Output("model")})
    dpo.function(run, DPOStepConfig(training=DPOConfig()))
    pairs = [*learned()[1], *learned()[2]]
    assert sorted((list(p.prompt_ids), list(p.chosen_ids), list(p.rejected_ids)) for p in pairs) == wanted

    learned = learned_by(monkeypatch, "models.training.reward.train_reward")
    run = step_run(tmp_path / "reward", inputs=inputs, outputs={"reward": Output("model")})
    train_safety_reward.function(run, RewardStepConfig(training=RewardConfig()))
    read = sorted((list(pair.chosen_ids), list(pair.rejected_ids)) for pair in learned()[1])
    assert read == sorted((prompt + chosen, prompt + other) for prompt, chosen, other in wanted)


def test_the_policy_of_these_tests_says_what_is_drawn_from_it(models: dict[str, Path]) -> None:
    """Its weights were never trained: every id is about as likely, the end too."""
    logits = load_policy(models["policy"])(torch.tensor([[1, 5, 9]])).logits[0, -1]
    assert logits.std() < 1
