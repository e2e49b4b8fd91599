"""What of the evaluation sets stands in what the models learn from (Llama 2, appendix A.6; arXiv 2411.03923)."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from data_store.estimate import Estimate
from data_store.figures import interval, percent, size
from models.algorithms.contamination import in_subset
from models.config import Config
from tasks.benchmarks.results import benchmark_set
from tasks.engine.step import Input, Measurements, Output, StepRun, step
from tasks.estimates import rate_of

_COUNTED = ("not_clean", "dirty")
# what is trained on, by role → the field that names its rows
TRAINED_ON = {"corpus": "doc_id", "demonstrations": "dialogue_id"}


class ContaminationConfig(Config):
    """What counts as the same text."""

    ngram: int = Field(default=10, ge=3, description="Tokens, one after the other, with which a match begins")
    skips: int = Field(default=4, ge=0, description="So many tokens behind these may differ in one match")


@step(
    version=1,
    config=ContaminationConfig,
    inputs={
        "prompts": Input("dataset", "prompt", optional=True),
        "benchmarks": Input("dataset", "benchmark_item", optional=True),
        "corpus": Input("dataset", "document", optional=True),
        "demonstrations": Input("dataset", "dialogue", optional=True),
        "tokenizer": Input("tokenizer"),
    },
    outputs={"contamination": Output("dataset", "item_overlap")},
    metrics=("items", "not_clean", "dirty", "too_short", "documents", "training_tokens"),
    headline="not_clean",
    about="Looks what of the evaluation sets stands in the corpus and the demonstrations.",
    tags=("foundation",),
)
def measure_contamination(run: StepRun, config: ContaminationConfig) -> Measurements:
    """Of each item of an evaluation set the share of contaminated tokens, the longest match, and where it stands."""
    from models.algorithms.overlap import OverlapSearch
    from models.tokenizer import decode, load_tokenizer
    from models.word_encoder import WordEncoder

    tokenizer = load_tokenizer(run.path("tokenizer"))
    encode = WordEncoder(tokenizer).encode_all
    names, texts = [], []
    for name, item_id, text in _items(run):
        names.append((name, item_id))
        texts.append(text)
    ids = encode(texts)
    search = OverlapSearch(ids, config.ngram, config.skips)
    documents, tokens, total, started = 0, 0, 0, time.monotonic()
    for role, identity in TRAINED_ON.items():
        for batch in run.batches(role):
            passages = [_text_of(row) for row in batch]
            read = encode(passages)
            search.add([f"{role}/{row[identity]}" for row in batch], read)
            documents, tokens = documents + len(batch), tokens + sum(map(len, read))
            total += sum(len(passage.encode()) for passage in passages)
            run.progress(0.5, f"{documents} documents held against {len(texts)} items")
    found = search.overlaps()
    run.log(f"{size(total)} at {size(total / max(time.monotonic() - started, 1e-9))} a second")
    rows = [
        {
            "evaluation_set": name,
            "item_id": item_id,
            "tokens": each.tokens,
            "contaminated": each.contaminated,
            "share": each.share,
            "longest": each.longest,
            "longest_share": each.longest_share,
            "longest_text": decode(tokenizer, sample[each.start : each.end]),
            "documents": list(each.documents),
        }
        for (name, item_id), sample, each in zip(names, ids, found, strict=True)
    ]
    run.write_rows("contamination", rows)
    run.table("sets", _sets(rows))
    run.table("longest", _longest(rows))
    return {
        "items": float(len(rows)),
        **{name: rate_of([in_subset(each.share, name) for each in found]) for name in _COUNTED if found},
        "too_short": float(sum(len(each) < config.ngram for each in ids)),
        "documents": float(documents),
        "training_tokens": float(tokens),
    }


def set_of(prompt: Mapping[str, Any]) -> str:
    """The evaluation set that a held-out prompt belongs to: its axis, or the borderline ones."""
    return "prompts/borderline" if prompt["kind"] == "borderline" else f"prompts/{prompt['axis']}"


def _items(run: StepRun) -> Iterator[tuple[str, str, str]]:
    """(evaluation set, id, text) of whatever evaluates."""
    for row in run.records("prompts"):
        if row["split"] == "heldout":
            yield set_of(row), row["prompt_id"], _text_of(row)
    for row in run.records("benchmarks"):
        yield benchmark_set(row["benchmark"]), row["item_id"], f"{row['prompt']} {_right_answer(row)}".strip()


def _right_answer(item: Mapping[str, Any]) -> str:
    """Of code there is none; its tests are no text that a model would learn."""
    if item["answer"] is not None:
        return str(item["choices"][item["answer"]])
    return str(item["tests"] or "") if item["form"] == "task" else ""


def _text_of(row: Mapping[str, Any]) -> str:
    """A document's text, or what is said in a dialogue."""
    if "text" in row:
        return str(row["text"])
    return "\n".join(message["content"] for message in row["messages"])


def _sets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line a set, for people."""
    lines = []
    for name in dict.fromkeys(row["evaluation_set"] for row in rows):
        mine = [row for row in rows if row["evaluation_set"] == name]
        line: dict[str, Any] = {"evaluation set": name, "n": len(mine)}
        for subset in _COUNTED:
            line[subset.replace("_", " ")] = _shown(rate_of([in_subset(row["share"], subset) for row in mine]))
        line["mean longest match"] = percent(sum(row["longest_share"] for row in mine) / len(mine), 1)
        lines.append(line)
    return lines


def _shown(share: Estimate) -> str:
    """The share with its interval: «12.5% .9%–52.7%»."""
    bounds = "" if share.low is None or share.high is None else interval(share.low, share.high, _percent)
    return f"{_percent(share.value)} {bounds}".strip()


def _percent(share: float) -> str:
    return percent(share, 1)


def _longest(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The items of which most stands in one document."""
    shown = ("evaluation_set", "item_id", "longest", "tokens", "longest_text")
    most = sorted(rows, key=lambda row: (-row["longest_share"], -row["longest"]))[:20]
    return [
        {**{name: row[name] for name in shown}, "in": ", ".join(row["documents"])} for row in most if row["longest"]
    ]
