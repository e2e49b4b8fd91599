"""Safety context distillation: what is compared, what is learned, and what is said of it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from data_store.errors import InputError
from data_store.estimate import Estimate
from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint, scalar_head
from models.config import SamplingConfig
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tasks.answers import Drawn, dialogue_ids, last_answer_of
from tasks.distill_context import DistillContextStepConfig, distill_context
from tasks.engine.step import Output
from tasks.fine_tune import FineTuneStepConfig, fine_tune
from tasks.fit_context import FitStepConfig, PrepromptRoom, fit_context
from tasks.judging.annotators import AnnotatorConfig
from tasks.sampling import draw, score
from tests.tasks.bench import step_run, written
from tests.tasks.little_policy import terse_policy, with_reward_model

SAMPLING = SamplingConfig(max_new_tokens=3)
OUTPUTS = {"dialogues": Output("dataset", "dialogue"), "comparisons": Output("dataset", "distillation")}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that ends about every second answer with each token; beside it lies a reward model whose score hangs on
    every token that it reads."""
    return with_reward_model(terse_policy(tmp_path_factory.mktemp("policy")))


def prompt(number: int, **changes: Any) -> dict[str, Any]:
    asked = [{"role": "user", "content": f"ask the llama {number}"}]
    row = {"prompt_id": f"p{number}", "source": "p.jsonl", "kind": "import", "axis": "safety", "split": "train"}
    return {**row, "messages": asked, **changes}


PROMPTS = [
    *(prompt(n, kind="weapons" if n < 8 else "import") for n in range(24)),
    *(prompt(100 + n, axis="helpfulness", kind="borderline") for n in range(6)),
    prompt(200, axis="helpfulness"),
    prompt(201, split="heldout"),
]
TEXTS = {"preprompts": ("be kind",), "by_category": {"weapons": ("never spits",)}}


def made(
    folder: Path, policy: Path, *, file: Path | None = None, prompts: Sequence[dict[str, Any]] = PROMPTS, **values: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """(dialogues, comparisons, metrics) of one run of the step."""
    inputs: dict[str, Any] = {
        "policy": policy,
        "safety_reward": policy.parent / "reward",
        "prompts": ("prompt", list(prompts)),
        **({} if file is None else {"preprompts": file}),
    }
    run = step_run(folder, inputs=inputs, outputs=OUTPUTS)
    config = DistillContextStepConfig(**{"sampling": SAMPLING, "prompt_tokens": 100, "prompts": 24, **TEXTS, **values})
    metrics = dict(distill_context.function(run, config))
    return written(folder, "dialogues"), written(folder, "comparisons"), metrics


@pytest.mark.conformance("context distillation of every answer", equation="tasks.distill_context:distill_context")
def test_exactly_those_answers_are_learned_whose_score_rose_and_that_came_to_their_end(
    tmp_path: Path, policy: Path
) -> None:
    dialogues, rows, metrics = made(tmp_path, policy)
    fates = {row["prompt_id"]: row["fate"] for row in rows}
    assert set(fates) == {f"p{n}" for n in range(24)}, "adversarial prompts to train on alone"
    assert {"kept", "no_rise"} <= set(fates.values())
    for row in rows:
        assert (row["fate"] == "no_rise") == (row["distilled_score"] <= row["plain_score"])
    kept = {row["prompt_id"]: row for row in rows if row["fate"] == "kept"}
    assert len(dialogues) == len(kept)
    assert all(row["finished"] for row in dialogues)
    assert {row["messages"][-1]["content"] for row in dialogues} <= {row["distilled"] for row in kept.values()}
    share = metrics["share_kept"]
    assert (share.value, share.n, share.judge) == (len(kept) / 24, 24, "safety reward model")
    rises = [row["distilled_score"] - row["plain_score"] for row in rows]
    assert metrics["rise"].value == pytest.approx(sum(rises) / 24)
    assert metrics["rise"].low < metrics["rise"].value < metrics["rise"].high
    of_kept = [rise for rise, row in zip(rises, rows, strict=True) if row["fate"] == "kept"]
    assert metrics["rise/kept"].value == pytest.approx(sum(of_kept) / len(of_kept))
    of_weapons = [rise for rise, row in zip(rises, rows, strict=True) if row["category"] == "weapons"]
    assert metrics["rise/weapons"].value == pytest.approx(sum(of_weapons) / 8)
    assert (metrics["rise/weapons"].n, metrics["rise/general"].n) == (8, 16)
    assert metrics["left_out/cut"] == list(fates.values()).count("cut")


@pytest.mark.conformance(
    "the pre-prompt stays in what is scored or learned", equation="tasks.distill_context:distill_context"
)
def test_what_is_scored_and_learned_is_the_prompt_without_the_preprompt_and_the_very_ids_that_were_drawn(
    tmp_path: Path, policy: Path
) -> None:
    """Drawn again by hand: the answers behind the pre-prompt, scored behind the bare prompt."""
    dialogues, rows, _ = made(tmp_path, policy, temperature=1.0)
    renderer = Renderer(load_tokenizer(policy))
    reward = load_reward(policy.parent / "reward")
    by_text = {row["messages"][0]["content"]: row for row in PROMPTS}
    assert dialogues
    for row in dialogues:
        asked, answer = last_answer_of(row)
        assert asked == by_text[asked[0]["content"]]["messages"]
        rendered = dialogue_ids(renderer, asked, answer)
        assert rendered.input_ids == [*renderer.prompt(asked), *row["token_ids"]]
        (compared,) = (each for each in rows if each["prompt_id"] == by_text[asked[0]["content"]]["prompt_id"])
        ((value,),) = score([reward], renderer, [(asked, answer)], SAMPLING)
        assert compared["distilled_score"] == pytest.approx(value, abs=1e-5)
        assert compared["preprompt"] in ("be kind", "never spits")
        behind = [{"role": "user", "content": f"{compared['preprompt']} {asked[0]['content']}"}]
        ((other,),) = score([reward], renderer, [(behind, answer)], SAMPLING)
        assert abs(other - value) > 1e-4, "the test could not tell"


def test_the_answers_are_drawn_behind_the_preprompt(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def watched(model: Any, renderer: Any, dialogues: Any, *rest: Any, **values: Any) -> Any:
        asked.append([messages[0]["content"] for messages in dialogues])
        return draw(model, renderer, dialogues, *rest, **values)

    monkeypatch.setattr("tasks.distill_context.draw", watched)
    _, rows, _ = made(tmp_path, policy)
    plain, behind = asked
    assert behind == [f"{row['preprompt']} {text}" for row, text in zip(rows, plain, strict=True)]
    assert {row["preprompt"] for row in rows if row["category"] == "weapons"} == {"never spits"}
    assert {row["preprompt"] for row in rows if row["category"] == "general"} == {"be kind"}


def test_the_same_seed_distils_the_same(tmp_path: Path, policy: Path) -> None:
    assert made(tmp_path / "a", policy)[:2] == made(tmp_path / "b", policy)[:2]


def test_cut_answers_are_learned_where_the_config_says_so_alone(tmp_path: Path, policy: Path) -> None:
    one = {
        "sampling": SamplingConfig(max_new_tokens=1),
        "temperature": 1.0,
    }  # half are cut
    left_out, rows, metrics = made(tmp_path / "leave", policy, **one)
    cut = [row for row in rows if row["fate"] == "cut"]
    assert cut
    assert metrics["left_out/cut"] == len(cut)
    assert all(row["finished"] for row in left_out)
    learned, scored, _ = made(tmp_path / "score", policy, unfinished="score", **one)
    assert "cut" not in {row["fate"] for row in scored}
    assert len(learned) == len(left_out) + len(cut)
    assert not all(row["finished"] for row in learned)


def test_of_several_samples_the_best_finished_one_of_each_side_is_compared(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, from what was drawn: else more samples on one side alone would look like a rise."""
    drawn: list[list[list[Drawn]]] = []

    def watched(*given: Any, **values: Any) -> Any:
        drawn.append(draw(*given, **values))
        return drawn[-1]

    monkeypatch.setattr("tasks.distill_context.draw", watched)
    _, rows, _ = made(tmp_path, policy, samples=3)
    renderer, reward = Renderer(load_tokenizer(policy)), load_reward(policy.parent / "reward")
    by_id = {row["prompt_id"]: row["messages"] for row in PROMPTS}
    for side, groups in zip(("plain", "distilled"), drawn, strict=True):
        for row, group in zip(rows, groups, strict=True):
            pairs = [(by_id[row["prompt_id"]], each) for each in group]
            values = [value for (value,) in score([reward], renderer, pairs, SAMPLING)]
            best = max(zip([each.finished for each in group], values, strict=True))
            assert row[f"{side}_score"] == pytest.approx(best[1], abs=1e-5)


def test_refusals_of_borderline_prompts_are_counted_with_and_without_where_somebody_can_tell(
    tmp_path: Path, policy: Path
) -> None:
    _, _, metrics = made(tmp_path / "without", policy)
    assert not [name for name in metrics if name.startswith("false_refusal")]
    annotator = AnnotatorConfig(world_seed=0)
    _, rows, metrics = made(tmp_path / "with", policy, annotator=annotator, borderline_prompts=4)
    for name in ("false_refusal/without", "false_refusal/with"):
        found = metrics[name]
        assert isinstance(found, Estimate)
        assert (found.n, found.judge, found.value) == (4, "simulated:little-world", 0.0)
    assert {row["prompt_id"] for row in rows} == {f"p{n}" for n in range(24)}, "nothing is learned of them"


def test_the_users_file_takes_the_place_of_the_configs_preprompts(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"preprompt": "eats grass"}\n{"preprompt": "green grass", "category": "import"}\n')
    _, rows, metrics = made(tmp_path / "run", policy, file=file)
    assert {(row["category"], row["preprompt"]) for row in rows} == {
        ("general", "eats grass"),
        ("import", "green grass"),
    }
    assert {name for name in metrics if name.startswith("rise/")} >= {"rise/general", "rise/import"}


def test_prompts_that_do_not_fit_with_their_preprompt_are_counted_and_where_none_does_it_is_said(
    tmp_path: Path, policy: Path
) -> None:
    long = [prompt(n, messages=[{"role": "user", "content": "grass " * 60}]) for n in range(50, 53)]
    _, rows, metrics = made(tmp_path / "some", policy, prompts=[*PROMPTS, *long], prompt_tokens=60)
    assert metrics["left_out/too_long"] == 3
    assert len(rows) == 24
    with pytest.raises(InputError, match="no adversarial prompt with its pre-prompt is of at most 60 tokens"):
        made(tmp_path / "none", policy, prompts=long, prompt_tokens=60)
    with pytest.raises(InputError, match="there is no adversarial prompt to train on"):
        made(tmp_path / "no", policy, prompts=[prompt(1, axis="helpfulness")])


def test_where_no_score_rises_nothing_is_learned_and_the_figures_say_so(tmp_path: Path, policy: Path) -> None:
    """A model that scores all alike: no score is higher than another."""
    flat = reward_from_policy(policy, None, lora=None, seed=0)
    with torch.no_grad():
        scalar_head(flat).weight.zero_()
    save_checkpoint(flat, load_tokenizer(policy), tmp_path / "reward")
    inputs: dict[str, Any] = {
        "policy": policy,
        "safety_reward": tmp_path / "reward",
        "prompts": ("prompt", PROMPTS),
    }
    run = step_run(tmp_path / "run", inputs=inputs, outputs=OUTPUTS)
    config = DistillContextStepConfig(sampling=SAMPLING, prompt_tokens=100, **TEXTS)
    metrics = distill_context.function(run, config)
    share, rise = metrics["share_kept"], metrics["rise"]
    assert isinstance(share, Estimate)
    assert isinstance(rise, Estimate)
    assert (share.value, share.low, rise.value) == (0.0, 0.0, 0.0)
    assert share.high is not None
    assert share.high > 0
    assert "rise/kept" not in metrics
    assert written(tmp_path / "run", "dialogues") == []


@pytest.mark.slow
def test_fine_tuning_learns_every_distilled_answer(tmp_path: Path, policy: Path) -> None:
    """The dialogues' own likelihood rises; what was not given does not count."""
    dialogues, _, _ = made(tmp_path / "made", policy)
    inputs: dict[str, Any] = {
        "policy": policy,
        "picks": ("dialogue", dialogues[:2]),
        "distilled": ("dialogue", dialogues[2:]),
    }
    run = step_run(tmp_path / "tuned", inputs=inputs, outputs={"policy": Output("model")})
    training = {"sequence_length": 64, "batch_size": 1, "epochs": 8, "learning_rate": 1e-2}
    metrics = fine_tune.function(run, FineTuneStepConfig.model_validate({"replay": 0, "training": training}))
    assert (metrics["picks"], metrics["distilled"], metrics["read_from_text"]) == (2, len(dialogues) - 2, 0)
    renderer = Renderer(load_tokenizer(policy))
    before, after = (_nll(load_policy(folder), renderer, dialogues[2:]) for folder in (policy, run.output("policy")))
    assert after < 0.85 * before


def _nll(model: Any, renderer: Renderer, rows: Sequence[dict[str, Any]]) -> float:
    total, count = 0.0, 0
    for row in rows:
        rendered = dialogue_ids(renderer, *last_answer_of(row))
        ids = torch.tensor([rendered.input_ids])
        with torch.no_grad():
            logprobs = model(ids).logits[0, :-1].log_softmax(-1)
        for place, learned in enumerate(rendered.loss_mask[1:]):
            if learned:
                total -= float(logprobs[place, ids[0, place + 1]])
                count += 1
    assert count
    assert math.isfinite(total)
    return total / count


def _fit(folder: Path, policy: Path, room: PrepromptRoom, file: Path | None = None) -> None:
    inputs: dict[str, Any] = {
        "prompts": ("prompt", PROMPTS),
        "tokenizer": policy,
        **({} if file is None else {"preprompts": file}),
    }
    outputs = {"prompts": Output("dataset", "prompt"), "dropped": Output("dataset", "dropped")}
    config = FitStepConfig(dialogue_tokens=128, prompt_tokens=100, pair_tokens=128, preprompts=room)
    fit_context.function(step_run(folder, inputs=inputs, outputs=outputs), config)


def test_a_preprompt_without_room_is_refused_before_any_model_is_trained(tmp_path: Path, policy: Path) -> None:
    _fit(tmp_path / "fits", policy, PrepromptRoom(tokens=100, **TEXTS))
    long = {"preprompts": ("grass " * 90,), "by_category": {}}
    with pytest.raises(InputError, match=r"the pre-prompt 'grass grass.*100 fit: shorten it"):
        _fit(tmp_path / "long", policy, PrepromptRoom(tokens=100, **long))
    file = tmp_path / "own.txt"
    file.write_text("green " * 90)
    with pytest.raises(InputError, match="the pre-prompt 'green green"):
        _fit(tmp_path / "file", policy, PrepromptRoom(tokens=100, **TEXTS), file)
