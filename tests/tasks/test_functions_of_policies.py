"""What the steps compute around a model, by hand-worked numbers; the models are real Llamas of a few weights."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from data_store.errors import InputError
from models.checkpoint import reward_from_policy, save_checkpoint, scalar_head
from models.config import SamplingConfig, TokenizerConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from models.tokenizer import load_tokenizer, train_tokenizer
from tasks.answers import Answer, Dialogue, Drawn, answered
from tasks.engine.step import Output
from tasks.estimates import rate_of
from tasks.evaluations.divergence import response_kl
from tasks.evaluations.evaluation import Subject
from tasks.evaluations.registry import EVALUATIONS, EvaluateConfig, held_out_prompts
from tasks.evaluations.reward_models import threshold_quality
from tasks.fine_tune import render_gatt
from tasks.fit_context import FitStepConfig, fit_context
from tasks.sampling import draw, score
from tasks.train_reward import accuracy_by_rating
from tests.tasks.bench import NOT_SAMPLED, PAIR_NOT_SAMPLED, step_run, written
from world.annotator import Annotator
from world.content import World
from world.phrases import ask

WORDS = "the llama eats green grass and never spits at people who ask it to be kind"
SAMPLING = SamplingConfig(max_new_tokens=4)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [" ".join(WORDS.split()[i:]) for i in range(12)] * 20
    train_tokenizer(texts, folder, TokenizerConfig(vocab_size=320, character_coverage=1.0), seed=1)
    return folder


@pytest.fixture(scope="module")
def renderer(tokenizer_folder: Path) -> Renderer:
    return Renderer(load_tokenizer(tokenizer_folder))


@pytest.fixture(scope="module")
def policy(renderer: Renderer) -> torch.nn.Module:
    shape = Architecture(16, 1, 2, 2, 32, context_length=128, vocab_size=len(renderer.tokenizer))
    return build_llama(shape, 5, renderer.pad_id, 1, renderer.tokenizer.eos_token_id).eval()


@pytest.fixture(scope="module")
def reward(policy: torch.nn.Module, renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    """A reward model that tells texts apart (its head is drawn at random, not zero)."""
    folder = tmp_path_factory.mktemp("policy")
    save_checkpoint(policy, renderer.tokenizer, folder)
    model = reward_from_policy(folder, None, lora=None, seed=0).eval()
    with torch.no_grad():
        scalar_head(model).weight.normal_(std=1.0, generator=torch.Generator().manual_seed(3))
    return model


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def said(messages: list[dict[str, str]], text: str) -> Dialogue:
    """An answer of which nothing but the text is known."""
    return messages, Answer(text, None, True, None, "by hand")


def drawn(text: str, ids: list[int]) -> Drawn:
    """An answer that the model ended."""
    return Drawn(text, ids, True, "the tokenizer", "by hand")


def pair(a: str, b: str, chosen: str = "a", rating: str = "better", label: str | None = None) -> dict[str, Any]:
    return {
        **PAIR_NOT_SAMPLED,
        "preference_id": f"{a} or {b}",
        "messages": user("be kind"),
        "response_a": a,
        "response_b": b,
        "chosen": chosen,
        "rating": rating,
        "safety_label": label,
        "annotator": "anna",
    }


@pytest.fixture(scope="module")
def ranked(reward: torch.nn.Module, renderer: Renderer) -> list[tuple[float, str]]:
    """Five answers with their scores, the lowest first."""
    texts = ["the llama", "green grass", "never spits", "people ask", "kind"]
    scores = score([reward], renderer, [said(user("be kind"), text) for text in texts], SAMPLING)
    found = sorted((value, text) for (value,), text in zip(scores, texts, strict=True))
    assert len({value for value, _ in found}) == 5
    return found


def test_accuracy_counts_by_rating_and_a_tie_counts_half(
    reward: torch.nn.Module, renderer: Renderer, ranked: list[tuple[float, str]]
) -> None:
    low, high = ranked[0][1], ranked[-1][1]
    rows = [
        pair(high, low, "a", "significantly_better"),  # right
        pair(low, high, "b", "better"),  # right, with the chosen one in the other place
        pair(low, high, "a", "better"),  # wrong
        pair(low, low, "b", "negligibly_better"),  # a tie
    ]
    found = accuracy_by_rating(reward, renderer, rows, SAMPLING)
    assert {rating: (each.value, each.n) for rating, each in found.items()} == {
        "significantly_better": (1.0, 1),
        "better": (0.5, 2),
        "negligibly_better": (0.5, 1),
        "all": (0.625, 4),
    }
    assert {each.judge for each in found.values()} == {"anna"}, "who judged is whoever chose"
    assert found["significantly_better"].low == pytest.approx(0.2065, abs=1e-4), "one of one is not certain"
    assert list(found) == ["significantly_better", "better", "negligibly_better", "all"]


def test_accuracy_of_no_pairs_is_no_number(reward: torch.nn.Module, renderer: Renderer) -> None:
    assert accuracy_by_rating(reward, renderer, [], SAMPLING) == {}


def test_the_threshold_is_judged_on_labelled_answers(
    reward: torch.nn.Module, renderer: Renderer, ranked: list[tuple[float, str]]
) -> None:
    """Two of five answers score below the threshold. Unsafe by label are: the rejected one of a mixed pair, both of an
    unsafe pair. A label names the chosen answer, whichever place it has.
    """
    (_, first), (s1, second), (s2, third), (_, fourth), (_, fifth) = ranked
    threshold = 1 / (1 + math.exp(-(s1 + s2) / 2))
    rows = [
        pair(fifth, first, "a", label="chosen_safe_other_unsafe"),  # the flagged one is unsafe: a hit
        pair(third, fourth, "b", label="both_unsafe"),  # neither is flagged: two misses
        pair(second, fourth, "a", label="both_safe"),  # the flagged one is safe: a false alarm
        pair(first, third, "b", label="chosen_safe_other_unsafe"),  # chosen is b; the flagged a is unsafe: a hit
        pair(first, second, "a"),  # no label: not counted
    ]
    found = threshold_quality(reward, renderer, rows, threshold, SAMPLING)
    assert {name: (each.value, each.n) for name, each in found.items()} == {
        "threshold/precision": (pytest.approx(2 / 3), 3),
        "threshold/recall": (pytest.approx(2 / 4), 4),
    }


def test_a_threshold_that_flags_nothing_has_no_precision(
    reward: torch.nn.Module, renderer: Renderer, ranked: list[tuple[float, str]]
) -> None:
    rows = [pair(ranked[0][1], ranked[1][1], label="both_unsafe")]
    assert threshold_quality(reward, renderer, rows, 1e-9, SAMPLING) == {"threshold/recall": rate_of([0, 0], "anna")}
    safe = [pair(ranked[0][1], ranked[1][1], label="both_safe")]
    assert threshold_quality(reward, renderer, safe, 1e-9, SAMPLING) == {}


def test_scores_do_not_depend_on_the_company_or_on_shards(reward: torch.nn.Module, renderer: Renderer) -> None:
    dialogues = [said(user("be kind"), text) for text in ("grass", "the llama eats green grass", "kind")]
    together = score([reward], renderer, dialogues, SAMPLING)
    alone = [score([reward], renderer, [dialogue], SAMPLING)[0] for dialogue in dialogues]
    assert [value for (value,) in together] == pytest.approx([value for (value,) in alone], abs=1e-5)
    torch.set_num_threads(1)
    sharded = score([reward, reward], renderer, dialogues, SAMPLING.model_copy(update={"shards": 2}))
    assert [first for first, _ in sharded] == pytest.approx([value for (value,) in together], abs=1e-5)
    assert score([reward], renderer, [], SAMPLING) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_models_are_read_with_as_many_threads_as_the_config_says(
    policy: torch.nn.Module, reward: torch.nn.Module, renderer: Renderer, threads: int
) -> None:
    config = SAMPLING.model_copy(update={"threads": threads})
    seen: list[int] = []
    hook = register_module_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    try:
        draw(policy, renderer, [user("be kind")], config, temperatures=[1.0], seed=1)
        by_drawing = len(seen)
        score([reward], renderer, [said(user("be kind"), "grass")], config)
    finally:
        hook.remove()
        torch.set_num_threads(1)
    assert 0 < by_drawing < len(seen), "both were read"
    assert set(seen) == {threads}


def test_the_divergence_of_a_policy_from_itself_is_nothing(policy: torch.nn.Module, renderer: Renderer) -> None:
    prompts = [{"messages": user("be kind")}, {"messages": user("the llama eats")}]
    answers = [drawn("grass", renderer.tokenizer.encode("grass")), drawn("", [renderer.end_ids[0]])]
    assert response_kl(policy, policy, renderer, prompts, answers, 0.7, SAMPLING) == [0.0, 0.0]


def test_the_divergence_of_each_answer_is_the_sum_of_log_ratios_of_its_tokens(
    policy: torch.nn.Module, renderer: Renderer
) -> None:
    torch.manual_seed(0)
    other = build_llama(
        Architecture(16, 1, 2, 2, 32, context_length=128, vocab_size=len(renderer.tokenizer)),
        6,
        renderer.pad_id,
        1,
        2,
    ).eval()
    prompts = [{"messages": user("be kind")}, {"messages": user("the llama eats green grass")}]
    answers = [drawn("", [*renderer.tokenizer.encode(text), renderer.end_ids[0]]) for text in ("grass", "and people")]
    by_hand = []
    for prompt, answer in zip(prompts, answers, strict=True):
        before = renderer.prompt(prompt["messages"])
        ids = torch.tensor([before + answer.ids])
        with torch.no_grad():
            ours, theirs = (torch.log_softmax(model(ids).logits[0] / 0.7, -1) for model in (policy, other))
        places = enumerate(answer.ids, start=len(before))
        by_hand.append(sum(float(ours[place - 1, token] - theirs[place - 1, token]) for place, token in places))
    assert response_kl(policy, other, renderer, prompts, answers, 0.7, SAMPLING) == pytest.approx(by_hand, abs=1e-4)


def test_the_same_seed_draws_the_same_answers(policy: torch.nn.Module, renderer: Renderer) -> None:
    def drawn(seed: int) -> list[list[list[int]]]:
        answers = draw(policy, renderer, [user("be kind"), user("grass")], SAMPLING, temperatures=[1.0] * 3, seed=seed)
        return [[response.ids for response in row] for row in answers]

    assert drawn(1) == drawn(1) != drawn(2)
    assert [len(row) for row in drawn(1)] == [3, 3]


@pytest.mark.conformance("GAtt", equation="tasks.fine_tune:render_gatt")
def test_only_the_last_answer_of_a_ghost_attention_dialogue_is_learned(renderer: Renderer) -> None:
    messages = [
        {"role": "user", "content": "end every answer with kind. the llama"},
        {"role": "assistant", "content": "eats kind"},
        {"role": "user", "content": "grass"},
        {"role": "assistant", "content": "never kind"},
    ]
    rendered = render_gatt(renderer, said(messages[:-1], messages[-1]["content"]))
    assert rendered.input_ids == renderer.dialogue(messages).input_ids
    learned = [token for token, counts in zip(rendered.input_ids, rendered.loss_mask, strict=True) if counts]
    assert learned[-1] == renderer.end_ids[0]
    assert renderer.response(learned) == "never kind"
    assert rendered.loss_mask == sorted(rendered.loss_mask), "all before it is not learned"
    assert sum(renderer.dialogue(messages).loss_mask) > sum(rendered.loss_mask)


DIALOGUE = {
    "dialogue_id": "d1",
    "source": "d.jsonl:1",
    "kind": "import",
    "messages": answered(user("be kind"), "the llama"),
    **NOT_SAMPLED,
}
PROMPTS = [
    {
        "prompt_id": split,
        "source": f"p.jsonl:{n}",
        "kind": "i",
        "axis": "safety",
        "split": split,
        "messages": user("ask"),
    }
    for n, split in enumerate(("train", "validation", "heldout"))
]
FITTED = {
    "demonstrations": Output("dataset", "dialogue"),
    "prompts": Output("dataset", "prompt"),
    "dropped": Output("dataset", "dropped"),
}


def fit(
    folder: Path, tokenizer: Path, dialogues: list[dict[str, Any]], prompts: list[dict[str, Any]], **given: Any
) -> Any:
    """Run fit_context on dialogues and prompts; returns its metrics."""
    inputs = {"tokenizer": tokenizer, "demonstrations": ("dialogue", dialogues), "prompts": ("prompt", prompts)}
    run = step_run(folder, inputs=inputs, outputs=FITTED)
    limits = {"dialogue_tokens": 100, "prompt_tokens": 100, "pair_tokens": 100, **given}
    return fit_context.function(run, FitStepConfig(**limits))


def test_a_row_of_exactly_the_length_fits_and_one_more_token_does_not(
    tmp_path: Path, tokenizer_folder: Path, renderer: Renderer
) -> None:
    tokens = len(renderer.dialogue(DIALOGUE["messages"]).input_ids)
    fit(tmp_path / "a", tokenizer_folder, [DIALOGUE], PROMPTS, dialogue_tokens=tokens)
    assert written(tmp_path / "a", "demonstrations") == [DIALOGUE]
    message = rf"d\.jsonl:1: demonstration of {tokens} tokens; {tokens - 1} fit\. .* set fit\.too_long: drop"
    with pytest.raises(ValueError, match=message):
        fit(tmp_path / "b", tokenizer_folder, [DIALOGUE], PROMPTS, dialogue_tokens=tokens - 1)


def test_roles_that_the_chat_template_refuses_are_said_with_their_row(tmp_path: Path, tokenizer_folder: Path) -> None:
    twice = {**DIALOGUE, "messages": [*user("be"), *DIALOGUE["messages"]]}
    message = r"d\.jsonl:1: demonstration d1: the chat template refuses .* the roles user, user.* must alternate"
    with pytest.raises(InputError, match=message):
        fit(tmp_path / "a", tokenizer_folder, [twice], PROMPTS)
    asked = [{**PROMPTS[0], "messages": user("be") * 2}, *PROMPTS[1:]]
    with pytest.raises(InputError, match=r"p\.jsonl:0: prompt train: the chat template refuses"):
        fit(tmp_path / "b", tokenizer_folder, [DIALOGUE], asked)


def test_rows_that_are_too_long_are_dropped_by_name_and_counted(
    tmp_path: Path, tokenizer_folder: Path, renderer: Renderer
) -> None:
    long = {**DIALOGUE, "dialogue_id": "d2", "source": "d.jsonl:2", "messages": answered(user(WORDS), WORDS)}
    tokens = len(renderer.dialogue(long["messages"]).input_ids)
    metrics = fit(tmp_path, tokenizer_folder, [DIALOGUE, long], PROMPTS, dialogue_tokens=tokens - 1, too_long="drop")
    assert written(tmp_path, "demonstrations") == [DIALOGUE]
    assert written(tmp_path, "prompts") == [{**row, "category": None} for row in PROMPTS]
    (dropped,) = written(tmp_path, "dropped")
    assert dropped == {
        "doc_id": "demonstrations/d2",
        "source": "d.jsonl:2",
        "reason": "too_long",
        "detail": f"{tokens} tokens, {tokens - 1} fit",
    }
    assert (metrics["demonstrations/kept"], metrics["prompts/kept"], metrics["dropped"]) == (1.0, 3.0, 1.0)


@pytest.mark.conformance("most of the data are dropped under the word done", equation="tasks.fit_context:_check_share")
def test_where_most_rows_are_too_long_the_run_stops_and_says_how_many_of_which_set(
    tmp_path: Path, tokenizer_folder: Path, renderer: Renderer
) -> None:
    long = {**DIALOGUE, "source": "d.jsonl:2", "messages": answered(user(WORDS), WORDS)}
    rows = [DIALOGUE, *({**long, "dialogue_id": f"long {number}"} for number in range(3))]
    tokens = len(renderer.dialogue(long["messages"]).input_ids)
    how: dict[str, Any] = {"dialogue_tokens": tokens - 1, "too_long": "drop"}
    with pytest.raises(InputError) as caught:
        fit(tmp_path / "a", tokenizer_folder, rows, PROMPTS, **how)
    said = str(caught.value)
    assert said.startswith(f"demonstrations: 3 of 4 (75%) are longer than the {tokens - 1} tokens that fit, and fit.")
    assert said.endswith(f"The first is d.jsonl:2 with {tokens} tokens, {tokens - 1} fit")
    metrics = fit(tmp_path, tokenizer_folder, rows, PROMPTS, **how, max_dropped_share=0.75)
    assert (metrics["demonstrations/too_long_share"], metrics["prompts/too_long_share"]) == (0.75, 0.0)
    (note,) = (tmp_path / "notes.jsonl").read_text().splitlines()
    assert json.loads(note).endswith(f"3 of 4 (75%) are longer than the {tokens - 1} tokens that fit and left out")


def test_where_nothing_is_dropped_an_empty_list_takes_the_place_of_an_older_one(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    assert fit(tmp_path, tokenizer_folder, [DIALOGUE], PROMPTS)["dropped"] == 0.0
    assert written(tmp_path, "dropped") == []


def test_dropping_all_rows_is_an_error(tmp_path: Path, tokenizer_folder: Path) -> None:
    with pytest.raises(ValueError, match="demonstrations fit"):
        fit(tmp_path, tokenizer_folder, [DIALOGUE], PROMPTS, dialogue_tokens=3, too_long="drop")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("heldout", r"no prompt is held out .* raise data\.heldout_percent"),
        ("validation", "no prompt is left for validation"),
        ("train", "no prompt is left to train on"),
    ],
)
def test_prompts_that_later_steps_cannot_do_without_are_asked_for_before_anything_is_trained(
    tmp_path: Path, tokenizer_folder: Path, split: str, message: str
) -> None:
    rest = [row for row in PROMPTS if row["split"] != split]
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, tokenizer_folder, [DIALOGUE], rest, splits=("train", "validation", "heldout"))


def prompt(number: int, axis: str, kind: str = "import", split: str = "heldout") -> dict[str, Any]:
    return {"prompt_id": f"{number:02}", "axis": axis, "kind": kind, "split": split, "messages": user("ask")}


def test_evaluation_takes_the_first_held_out_prompts_of_each_group_by_id() -> None:
    prompts = [
        prompt(9, "helpfulness"),
        prompt(3, "helpfulness"),
        prompt(4, "helpfulness", "borderline"),
        prompt(1, "helpfulness", split="train"),
        prompt(8, "safety"),
        prompt(2, "safety"),
        prompt(6, "safety"),
    ]
    config = EvaluateConfig(ordinary_prompts=1, borderline_prompts=5, safety_prompts=2)
    chosen = [row["prompt_id"] for row in held_out_prompts(prompts, config)]
    assert chosen == ["03", "04", "02", "06"]
    assert [row["prompt_id"] for row in held_out_prompts(prompts[::-1], config)] == chosen
    with pytest.raises(ValueError, match="there is no held-out prompt"):
        held_out_prompts([prompt(1, "safety", split="train")], config)


def test_the_judge_counts_wins_violations_and_refusals_on_their_own_prompts(tmp_path: Path) -> None:
    """An answer in nobody's words: worth nothing to an ordinary question, unsafe to an adversarial one; the same on
    both sides is half a win.
    """
    world = World(1)
    questions = {kind: world.questions(kind, "heldout")[0] for kind in ("adversarial", "borderline")}
    prompts = [
        {**prompt(1, "safety", "adversarial"), "messages": user(ask(questions["adversarial"], 0))},
        {**prompt(2, "helpfulness", "borderline"), "messages": user(ask(questions["borderline"], 0))},
    ]
    answers = [drawn("grass grass", []), drawn("grass grass", [])]
    baseline = {row["prompt_id"]: {"text": "grass grass", "finished": True} for row in prompts}
    run = step_run(tmp_path)
    subject = Subject(run, None, None, None, Annotator(world), prompts, answers, baseline)
    estimates: dict[str, Any] = {}
    for each in EVALUATIONS:
        if each.judged and not each.inputs:
            estimates |= each.measure(subject, EvaluateConfig())
    assert {each.judge for each in estimates.values()} == {"simulated:little-world"}
    assert {name: each.n for name, each in estimates.items() if "/" not in name} == {
        "win_rate": 2, "oracle_score": 2, "violation": 1, "false_refusal": 1,
    }  # fmt: skip
    found = {name: each.value for name, each in estimates.items()}
    assert found["win_rate"] == found["win_rate/helpfulness"] == found["win_rate/safety"] == 0.5
    assert found["violation"] == 1.0
    assert found["false_refusal"] == 0.0
    assert "ordinary_refusal" not in found, "there was no ordinary prompt"
    assert found["oracle_score/safety"] == 0.0


@pytest.mark.parametrize("shards", [1, 2])
def test_candidates_are_scored_as_if_alone_whatever_shares_a_row_or_a_process(
    reward: torch.nn.Module, renderer: Renderer, shards: int
) -> None:
    """Three answers to each of three prompts, in mixed order: they share rows, and a shard gets whole prompts."""
    prompts = [WORDS, f"who {WORDS}", f"why {WORDS}"]
    dialogues = [said(user(prompt), answer) for answer in ("the llama", "green grass", "never") for prompt in prompts]
    alone = [score([reward], renderer, [dialogue], SAMPLING)[0][0] for dialogue in dialogues]
    config = SAMPLING.model_copy(update={"shards": shards, "batch_size": 4})
    found = score([reward, reward], renderer, dialogues, config)
    assert len({round(value, 4) for value in alone}) == 9
    assert [first for first, _ in found] == pytest.approx(alone, abs=1e-5)
    assert [second for _, second in found] == [first for first, _ in found]
