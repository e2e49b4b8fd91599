"""Tasks of lm-evaluation-harness, where it is installed: `pip install 'halter[eval]'`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'halter[eval]'")

from data_store.errors import InputError
from models.checkpoint import load_policy, save_checkpoint
from models.config import SamplingConfig
from tasks.answers import open_renderer
from tasks.benchmarks.answering import Answerer
from tasks.benchmarks.config import BenchmarkChoice
from tasks.benchmarks.harness import items_of, load_tasks, run_tasks
from tasks.benchmarks.harness_model import HarnessModel
from tests.tasks.little_policy import WORDS, little_policy

CHOICE_TASK = """
task: eats
dataset_path: json
dataset_kwargs: {data_files: {test: eats.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
WRITING_TASK = """
task: says
dataset_path: json
dataset_kwargs: {data_files: {test: eats.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[0]}}"
generation_kwargs: {until: ["kind"], max_gen_toks: 5, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With weights ten times the usual: one token more or less in front shows. It says words, for the harness reads
    whole runs of bytes that are no text as something else."""
    folder = little_policy(tmp_path_factory.mktemp("policy"))
    model, renderer = load_policy(folder), open_renderer(folder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.mul_(10)
        model.get_output_embeddings().weight[: renderer.tokenizer.convert_tokens_to_ids("<0xFF>") + 1] = 0.0
    save_checkpoint(model, renderer.tokenizer, folder)
    return folder


@pytest.fixture
def answerer(policy: Path) -> Answerer:
    return Answerer(load_policy(policy), open_renderer(policy), SamplingConfig(max_new_tokens=8, batch_size=3), seed=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = WORDS.split()
    docs = [
        {
            "question": f"the llama eats {words[n]}",
            "choices": [words[n + 1], " ".join(words[n : n + 3])],
            "answer": n % 2,
        }
        for n in range(12)
    ]
    (tmp_path / "eats.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    (tmp_path / "eats.yaml").write_text(CHOICE_TASK)
    (tmp_path / "says.yaml").write_text(WRITING_TASK)
    return tmp_path


def choice(*tasks: str, chat: bool = False, **more: Any) -> BenchmarkChoice:
    return BenchmarkChoice(name="little", suite="knowledge", tasks=tasks, chat=chat, **more)


def hflm(policy: Path, batch_size: int = 2) -> Any:
    from lm_eval.models.huggingface import HFLM

    renderer = open_renderer(policy)
    model: Any = load_policy(policy)
    return HFLM(pretrained=model, tokenizer=renderer.tokenizer, batch_size=batch_size, device="cpu")


@pytest.mark.slow
@pytest.mark.conformance("log-probabilities of choices are not the harness's", equation="models.continuations:of_text")
def test_log_probabilities_are_those_of_the_harness_on_the_same_checkpoint(
    policy: Path, folder: Path, answerer: Answerer, tmp_path: Path
) -> None:
    """The harness gets its BOS in the text: told to add one, it leaves that to the tokenizer, and ours adds none."""
    from lm_eval.evaluator import evaluate

    tasks = load_tasks(folder, choice("eats"), tmp_path / "cache")
    rows, told = run_tasks(tasks, choice("eats"), answerer)
    (folder / "bos.yaml").write_text(CHOICE_TASK.replace("task: eats", "task: bos").replace('"{{q', '"<s>{{q'))
    with_bos = load_tasks(folder, choice("bos"), tmp_path / "cache")
    theirs = evaluate(hflm(policy), {"tasks": with_bos}, bootstrap_iters=0, log_samples=True)
    expected = [[float(each[0][0]) for each in sample["resps"]] for sample in theirs["samples"]["bos"]]
    assert len(rows) == len(expected) == 12
    for row, values in zip(rows, expected, strict=True):
        assert row["logprobs"] == pytest.approx(values, abs=1e-4)
    assert told["eats/acc"] == theirs["results"]["bos"]["acc,none"] == sum(row["score"] for row in rows) / 12
    assert told["eats/acc_norm"] == pytest.approx(sum(row["normalised_score"] for row in rows) / 12)


def test_in_a_dialogue_the_harness_of_the_rendered_prompt_and_the_blank_gives_the_same(
    policy: Path, answerer: Answerer
) -> None:
    """What the harness would do, were the blank not taken away: context `<s>[INST] …[/INST]`, continuation ` word`."""
    from lm_eval.api.instance import Instance

    pairs = [(f"the llama eats {word}", word) for word in WORDS.split()[:6]]
    rendered = [f"<s>[INST] {context}[/INST]" for context, _ in pairs]
    model = hflm(policy)

    def asked(blank: str) -> list[float]:
        arguments = [(context, f"{blank}{word}") for context, (_, word) in zip(rendered, pairs, strict=True)]
        requests = [Instance("loglikelihood", {}, args, n) for n, args in enumerate(arguments)]
        return [value for value, _ in model.loglikelihood(requests, disable_tqdm=True)]

    ours = [value for value, _ in answerer.logprobs(pairs, chat=True)]
    assert ours == pytest.approx(asked(" "), abs=1e-4)
    assert ours != pytest.approx(asked(""), abs=1e-4), "without the blank it is another answer"


def test_texts_are_those_that_the_harness_draws_and_end_at_its_stops(policy: Path, answerer: Answerer) -> None:
    from lm_eval.api.instance import Instance

    asked = {"until": ["kind", "people"], "max_gen_toks": 6, "do_sample": False}

    def requests(bos: str) -> list[Instance]:
        texts = [f"{bos}the llama {word}" for word in WORDS.split()[:8]]
        return [Instance("generate_until", {}, (text, asked), n) for n, text in enumerate(texts)]

    ours = HarnessModel(answerer, chat=False).generate_until(requests(""))
    theirs = hflm(policy).generate_until(requests("<s>"), disable_tqdm=True)
    assert [text.strip() for text in ours] == [text.strip() for text in theirs]
    assert len(set(ours)) > 4
    assert not any(stop in text for text in ours for stop in asked["until"])


@pytest.mark.parametrize("chat", [True, False])
def test_a_task_that_writes_texts_keeps_them(folder: Path, answerer: Answerer, tmp_path: Path, chat: bool) -> None:
    wanted = choice("says", chat=chat, limit=4)
    rows, told = run_tasks(load_tasks(folder, wanted, tmp_path / "cache"), wanted, answerer)
    assert [row["item_id"] for row in rows] == [f"says/{n}" for n in range(4)]
    assert all(isinstance(row["response"], str) and "kind" not in row["response"] for row in rows)
    assert all(row["logprobs"] is None for row in rows)
    assert 0.0 <= told["says/exact_match"] <= 1.0


def test_the_examples_before_a_question_are_the_same_each_time(
    folder: Path, answerer: Answerer, tmp_path: Path
) -> None:
    with_examples = CHOICE_TASK.replace("task: eats", "task: shown\nnum_fewshot: 2\nfewshot_split: test")
    (folder / "shown.yaml").write_text(with_examples)
    found = []
    for n in range(2):
        rows, _ = run_tasks(load_tasks(folder, choice("shown"), tmp_path / f"cache{n}"), choice("shown"), answerer)
        found.append([row["logprobs"] for row in rows])
    assert found[0] == found[1]
    rows, _ = run_tasks(load_tasks(folder, choice("eats"), tmp_path / "cache2"), choice("eats"), answerer)
    assert found[0] != [row["logprobs"] for row in rows], "there are examples"


def test_a_group_stands_for_its_tasks(folder: Path, answerer: Answerer, tmp_path: Path) -> None:
    (folder / "both.yaml").write_text("group: both\ntask: [eats, says]\n")
    asked = choice("both", limit=2)
    tasks = load_tasks(folder, asked, tmp_path / "cache")
    expected = [f"{name}/{n}" for name in ("eats", "says") for n in range(2)]
    assert [item["item_id"] for item in items_of(tasks, asked)] == expected
    rows, told = run_tasks(tasks, asked, answerer)
    assert sorted(row["item_id"] for row in rows) == expected
    assert {"eats/acc", "says/exact_match"} <= set(told)


def test_items_are_told_before_any_model_is_there(folder: Path, tmp_path: Path) -> None:
    items = [*items_of(load_tasks(folder, choice("eats", "says"), tmp_path / "cache"), choice("eats", "says", limit=3))]
    assert [item["item_id"] for item in items] == [*(f"eats/{n}" for n in range(3)), *(f"says/{n}" for n in range(3))]
    assert items[1]["prompt"] == "the llama eats llama"
    assert (items[1]["choices"], items[1]["answer"]) == (["eats", "llama eats green"], 1)
    assert (items[3]["prompt"], items[3]["tests"]) == ("the llama eats the", "llama")


def test_what_cannot_be_run_is_said_before_anything_is(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no task eat; it has eats, says"):
        load_tasks(folder, choice("eat"), tmp_path / "cache")
    (folder / "code.yaml").write_text(WRITING_TASK.replace("task: says", "task: code\nunsafe_code: true"))
    with pytest.raises(InputError, match="code runs programs outside the sandbox"):
        load_tasks(folder, choice("code"), tmp_path / "cache")
    (folder / "whole.yaml").write_text(
        CHOICE_TASK.replace("task: eats", "task: whole").replace("multiple_choice", "loglikelihood_rolling")
    )
    with pytest.raises(InputError, match="whole asks for loglikelihood_rolling"):
        load_tasks(folder, choice("whole"), tmp_path / "cache")
    (folder / "gone.yaml").write_text(
        CHOICE_TASK.replace("task: eats", "task: gone").replace("eats.jsonl", "gone.jsonl")
    )
    with pytest.raises(InputError, match=r"gone cannot be loaded: .*gone\.jsonl"):
        load_tasks(folder, choice("gone"), tmp_path / "cache")
