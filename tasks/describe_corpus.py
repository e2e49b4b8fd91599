"""What the filtered corpus is made of: languages, pronouns and words for groups of people (Llama 2, tables 9 and 10),
and how many tokens each file comes to."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow.parquet as pq
from pydantic import Field

from data_store.corpus.batch import Batch
from data_store.corpus.counts import file_of
from data_store.corpus.describing import ALL_FILES, UNKNOWN, Shares
from data_store.estimate import Estimate
from data_store.figures import percent
from models.algorithms.intervals import wilson_interval
from models.config import Config
from tasks.answers import open_renderer
from tasks.engine.step import Input, Measurements, Output, StepRun, step

JUDGE = "fastText lid.176"
_ROWS_AT_ONCE = 256
_CHARACTERS = 20_000
_TOKENIZED = 2_000
"""Of a document at hand so many characters are read, and so many split into tokens."""
LEAST_SHARE = 0.00005
"""Languages below .005 % are not shown by the paper's table 10."""


class DescribeConfig(Config):
    """How closely the corpus is looked at."""

    documents: int = Field(
        default=20_000,
        ge=100,
        description="Of more documents every second, third … is looked at, so that about so many are; of 20,000 one is "
        ".005 %, the smallest share of a language in the paper's table 10",
    )


@step(
    version=3,
    config=DescribeConfig,
    inputs={
        "corpus": Input("dataset", "document"),
        "counts": Input("dataset", "corpus_stage"),
        "examples": Input("dataset", "dropped_example"),
        "tokenizer": Input("tokenizer"),
    },
    outputs={"shares": Output("dataset", "corpus_share"), "report": Output("report")},
    metrics=("sampled", "tokens", "tokens_per_character", "languages", "unknown_language"),
    headline="tokens",
    about="Counts what the corpus is made of: languages, pronouns, words for groups of people, tokens.",
    tags=("foundation",),
)
def describe_corpus(run: StepRun, config: DescribeConfig) -> Measurements:
    """Look at a sample of the kept documents, spread evenly over them."""
    renderer = open_renderer(run.path("tokenizer"))
    total = pq.read_metadata(run.path("corpus") / "rows.parquet").num_rows
    shares, lengths = Shares(), dict[str, list[tuple[int, int]]]()
    for batch, files in _sampled(run, -(-total // config.documents)):
        shares.add(batch, files)
        beginnings = [sample[:_TOKENIZED] for sample in batch.samples]
        for file, sample, ids in zip(files, beginnings, renderer.documents(beginnings), strict=True):
            lengths.setdefault(file, []).append((len(ids), len(sample)))
        run.progress(shares.sampled[ALL_FILES] / min(total, config.documents), "looking at documents")
    rows = list(shares.rows())
    counts = sorted(run.records("counts"), key=lambda row: (row["source"], row["place"]))  # as they were asked
    tokens = tokens_of(counts, lengths)
    told = [_told(row) for row in rows]
    run.write_rows("shares", rows)
    report = {
        "documents": total,
        "sampled": shares.sampled[ALL_FILES],
        "tokens_per_character": tokens,
        "stages": counts,
        "shares": told,
        "examples": sorted(run.records("examples"), key=lambda row: (row["reason"], row["source"])),
    }
    (run.output("report") / "corpus.json").write_text(json.dumps(report, indent=1, ensure_ascii=False))
    run.table("stages", [{**row, "tokens after": _tokens_after(row, tokens)} for row in counts if _matters(row)])
    for about, key in (("language", "languages"), ("pronoun", "pronouns"), ("term", "terms")):
        of_all = [row for row in told if row["about"] == about and row["source"] == ALL_FILES and row["documents"]]
        of_all.sort(key=lambda row: (row["axis"], -row["documents"]))
        run.table(key, [_shown(row) for row in of_all])
    languages = [row for row in rows if row["about"] == "language" and row["source"] == ALL_FILES]
    unknown = sum(row["documents"] for row in languages if row["name"] == UNKNOWN)
    sampled = shares.sampled[ALL_FILES]
    total_tokens = sum(_kept_characters(counts, file) * each for file, each in tokens.items())
    return {
        "sampled": float(sampled),
        "tokens": float(round(total_tokens)),
        "tokens_per_character": total_tokens / max(sum(_kept_characters(counts, file) for file in tokens), 1),
        "languages": float(sum(row["documents"] >= LEAST_SHARE * sampled for row in languages)),
        "unknown_language": share_of(unknown, sampled, JUDGE),
    }


def tokens_of(counts: list[dict[str, Any]], lengths: Mapping[str, list[tuple[int, int]]]) -> dict[str, float]:
    """File → tokens per character, by its sampled documents (tokens, characters); of a file of which none was sampled,
    as of all others together."""
    every_pair = [pair for pairs in lengths.values() for pair in pairs]
    files = dict.fromkeys(row["source"] for row in counts)
    of = {file: lengths.get(file) or every_pair for file in files}
    return {
        file: sum(tokens for tokens, _ in pairs) / max(sum(signs for _, signs in pairs), 1)
        for file, pairs in of.items()
    }


def _sampled(run: StepRun, every: int) -> Iterator[tuple[Batch, list[str]]]:
    """Every so-many-th kept document, some at a time, and the file of each as the filter names it."""
    known = {row["source"] for row in run.records("counts")}
    rows = (row for batch in run.batches("corpus", _ROWS_AT_ONCE) for row in batch)
    chosen = islice(rows, 0, None, every)
    while some := list(islice(chosen, _ROWS_AT_ONCE)):
        texts = [row["text"] for row in some]
        batch = Batch([row["doc_id"] for row in some], texts, [{} for _ in some], _CHARACTERS)
        yield batch, [file_of(row["source"], known) for row in some]


def _kept_characters(counts: list[dict[str, Any]], file: str) -> int:
    *_, last = (row for row in counts if row["source"] == file)
    return int(last["characters_after"])


def _tokens_after(row: Mapping[str, Any], tokens: Mapping[str, float]) -> int:
    return round(float(row["characters_after"]) * tokens[row["source"]])


def _matters(row: Mapping[str, Any]) -> bool:
    """Whether the stage took something away, or is the first one."""
    return not row["place"] or row["documents_after"] < row["documents_before"]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """With the share and its interval."""
    judge = JUDGE if row["about"] == "language" else None
    return {**row, **share_of(row["documents"], row["sampled"], judge).as_json()}


def share_of(documents: int, sampled: int, judge: str | None = None) -> Estimate:
    """The share of the sampled documents; some being sampled."""
    return Estimate(documents / sampled, sampled, *wilson_interval(documents, sampled), judge)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"axis": row["axis"]} if row["axis"] else {}
    return {
        **shown,
        "what": row["name"] or "any of these",
        "share": percent(row["value"], 3),
        "interval": f"{percent(row['low'], 3)}–{percent(row['high'], 3)}",
        "documents": row["documents"],
        "of": row["sampled"],
    }
