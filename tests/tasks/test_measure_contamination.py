"""What of held-out prompts stands in the corpus and the demonstrations, as rows of the store."""

import random
from pathlib import Path
from typing import Any

import pytest

from data_store.estimate import Estimate
from models.config import TokenizerConfig
from models.tokenizer import train_tokenizer
from tasks.estimates import rate_of
from tasks.evaluations.contaminated import Contaminated
from tasks.evaluations.evaluation import Subject
from tasks.measure_contamination import ContaminationConfig, measure_contamination
from tests.tasks.bench import step_run, written
from world.annotator import Judgement

WORDS = [a + b for a in ("mo", "ra", "ti", "lu", "ke", "sa", "no", "vi") for b in ("dal", "ren", "pok", "mish", "tu")]


def text(seed: int, words: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([text(seed, 60) for seed in range(80)], folder, TokenizerConfig(vocab_size=360), seed=1)
    return folder


def prompt(name: str, content: str, *, split: str = "heldout", axis: str = "helpfulness") -> dict[str, Any]:
    kind = "borderline" if name.startswith("borderline") else "import"
    said = {"messages": [{"role": "user", "content": content}], "split": split, "axis": axis, "kind": kind}
    return {"prompt_id": name, "source": "prompts.jsonl:1", **said}


def measured(folder: Path, tokenizer: Path, **rows: tuple[str, list[dict[str, Any]]]) -> tuple[Any, dict[str, Any]]:
    run = step_run(
        folder,
        inputs={"tokenizer": tokenizer, **rows},
        outputs={"contamination": measure_contamination.outputs["contamination"]},
    )
    metrics = measure_contamination.function(run, ContaminationConfig())
    return metrics, {row["item_id"]: row for row in written(folder, "contamination")}


def test_planted_prompts_are_found_with_their_documents_and_others_are_clean(tmp_path: Path, tokenizer: Path) -> None:
    corpus = [{"doc_id": f"corpus.jsonl:{n}", "source": "corpus.jsonl", "text": text(1000 + n, 80)} for n in range(200)]
    verbatim, half = text(1, 30), f"{text(2, 15)} {text(3, 15)}"
    corpus[77]["text"] = f"{text(5, 20)} {verbatim} {text(6, 20)}"
    corpus[99]["text"] = f"{text(7, 20)} {text(2, 15)} {text(8, 20)}"
    told = {"dialogue_id": "sft.jsonl:4", "source": "sft.jsonl:4", "kind": "import"}
    said = [{"role": "user", "content": text(9, 25)}, {"role": "assistant", "content": verbatim}]
    prompts = [
        prompt("verbatim", verbatim),
        prompt("half", half, axis="safety"),
        prompt("borderline-own", text(4, 30)),
        prompt("learned", verbatim, split="train"),
        prompt("short", "Why?"),
    ]
    metrics, rows = measured(
        tmp_path,
        tokenizer,
        prompts=("prompt", prompts),
        corpus=("document", corpus),
        demonstrations=(
            "dialogue",
            [{**told, "messages": said, "token_ids": None, "finished": None, "tokenizer": None}],
        ),
    )
    assert set(rows) == {"verbatim", "half", "borderline-own", "short"}, "what trains is no evaluation set"
    assert rows["verbatim"]["share"] > 0.9
    assert rows["verbatim"]["longest_share"] > 0.9
    assert set(rows["verbatim"]["documents"]) == {"corpus/corpus.jsonl:77", "demonstrations/sft.jsonl:4"}
    assert rows["verbatim"]["longest_text"].strip() in f" {verbatim}"
    assert rows["half"]["documents"] == ["corpus/corpus.jsonl:99"]
    assert 0.35 < rows["half"]["share"] < 0.65
    assert rows["borderline-own"]["contaminated"] == rows["borderline-own"]["longest"] == 0
    assert [rows[name]["evaluation_set"] for name in ("verbatim", "half", "borderline-own")] == [
        "prompts/helpfulness",
        "prompts/safety",
        "prompts/borderline",
    ]
    assert (metrics["items"], metrics["too_short"]) == (4, 1)
    assert (metrics["not_clean"], metrics["dirty"]) == (rate_of([1, 1, 0, 0]), rate_of([1, 0, 0, 0]))
    assert metrics["documents"] == 201


def test_without_a_corpus_the_demonstrations_alone_are_looked_at_and_without_both_all_is_clean(
    tmp_path: Path, tokenizer: Path
) -> None:
    metrics, rows = measured(tmp_path, tokenizer, prompts=("prompt", [prompt("one", text(1, 30))]))
    assert rows["one"]["share"] == 0.0
    assert (metrics["documents"], metrics["not_clean"].value) == (0, 0)


class Judge:
    name = "by hand"


def test_an_evaluation_tells_the_score_of_clean_and_of_contaminated_prompts(tmp_path: Path) -> None:
    """Four prompts with the scores 1 1 0 0, of which the first two are dirty: Z of both is ±sqrt(2)."""
    shares = {"a": 0.9, "b": 0.85, "c": 0.1, "d": 0.0}
    rows = [
        {
            "evaluation_set": "prompts/helpfulness",
            "item_id": name,
            "tokens": 20,
            "share": share,
            "documents": [],
            "contaminated": 1,
            "longest": 1,
            "longest_share": 0.1,
            "longest_text": "",
        }
        for name, share in shares.items()
    ]
    run = step_run(tmp_path, inputs={"contamination": ("item_overlap", rows)})
    subject = Subject(run, None, None, None, Judge(), [prompt(name, name) for name in shares], [], {})  # type: ignore[arg-type]
    judged = [Judgement(score, 0.0, False, False, False, 0.0, 0, 0, False, None) for score in (1.0, 1.0, 0.0, 0.0)]
    subject.__dict__["judgements"] = [(each, each) for each in judged]
    found = Contaminated().measure(subject, None)  # type: ignore[arg-type]
    clean, dirty = (found[f"contamination/{name}/score"] for name in ("clean", "dirty"))
    assert isinstance(clean, Estimate)
    assert (clean.value, clean.n, clean.judge) == (0.0, 2, "by hand")
    assert dirty == rate_of([1.0, 1.0], "by hand")
    assert found["contamination/clean/z"] == pytest.approx(-(2**0.5))
    assert found["contamination/dirty/z"] == pytest.approx(2**0.5)
    assert set(found) <= {each.name for each in Contaminated().metrics(None)}  # type: ignore[arg-type]
