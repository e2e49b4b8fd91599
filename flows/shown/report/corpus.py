"""What the corpus filter left, file by file and rule by rule, and what that is made of (Llama 2, section 4.1, tables
9 and 10)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from data_store.corpus.registry import WITH_QUALITY
from data_store.errors import InputError, StoreError
from data_store.figures import FEW, NOT_MEASURED, figure, percent
from data_store.records import Head
from flows.recipe.places import FOUNDATION
from flows.shown.report.facts import Facts
from flows.shown.report.parts import Cell, Section, Table, count, measured, text
from tasks.describe_corpus import JUDGE, LEAST_SHARE, share_of
from tasks.pretrain_sources import OF_SOURCES
from tasks.train_quality_classifier import train_quality_classifier

Rows = Sequence[Mapping[str, Any]]
_TITLES = {
    "language": "Languages of the corpus (the paper's table 10)",
    "pronoun": "Pronouns in the corpus (the paper's table 9)",
    "term": "Words for groups of people in the corpus (the paper's table 9)",
}


def corpus(facts: Facts) -> Section | None:
    """None where no corpus was filtered."""
    stages = _read(facts, "corpus-counts")
    if stages is None:
        return None
    tables = [_stages(*stages, _tokens(facts)), *_quality(facts), *_mix(facts)]
    if (shares := _read(facts, "corpus-shares")) is not None:
        tables += _shares(*shares)
    if (examples := _read(facts, "dropped-examples")) is not None:
        tables += _examples(*examples)
    return Section("corpus", "Corpus", tables=tables)


def _read(facts: Facts, name: str) -> tuple[Head, Rows] | None:
    head = facts.head(f"dataset/{name}", FOUNDATION)
    if head is None:
        return None
    try:
        return head, facts.session.store.rows(head.version_id).to_pylist()
    except (InputError, StoreError):  # damaged: `halter verify` tells
        return None


def _tokens(facts: Facts) -> Mapping[str, float]:
    """File → tokens per character, as the sample of the corpus has them; empty where nobody counted."""
    head = facts.head("report/corpus", FOUNDATION)
    if head is None:
        return {}
    try:
        told = json.loads((facts.session.store.checkout(head.version_id) / "corpus.json").read_bytes())
        return {str(file): float(each) for file, each in told["tokens_per_character"].items()}
    except (InputError, StoreError, OSError, LookupError, TypeError, ValueError, AttributeError):  # damaged, as above
        return {}


def _stages(head: Head, rows: Rows, tokens: Mapping[str, float]) -> Table:
    """Each file as it was read, and after each stage that took something from it."""
    found = []
    ordered = sorted(rows, key=lambda row: (str(row["source"]), row["place"]))  # in the store they lie in another order
    for file, stages in groupby(ordered, key=lambda row: str(row["source"])):
        told = list(stages)
        first = told[0]
        found.append(_line(head, file, "as read", first, "before", tokens))
        found += [
            _line(head, "", str(row["stage"]), row, "after", tokens)
            for row in told
            if any(row[f"{what}_after"] != row[f"{what}_before"] for what in ("documents", "characters"))
        ]
    notes = ["Rules are asked in this order, and the first that drops a document counts."]
    if tokens:
        notes.append(
            "Tokens are estimated: characters by the tokens of a character in a sample of the file's documents."
        )
    columns = ["file", "after", "documents", "characters", *(["tokens, about"] if tokens else [])]
    return Table(
        "stages", "Each file before and after each rule of the filter", columns, found, notes, dict(WITH_QUALITY)
    )


def _line(
    head: Head, file: str, stage: str, row: Mapping[str, Any], when: str, tokens: Mapping[str, float]
) -> Sequence[Cell]:
    of = {"version": head.version_id, "source": str(row["source"]), "stage": str(row["stage"])}
    documents, characters = row[f"documents_{when}"], row[f"characters_{when}"]
    cells = [count(documents, {**of, "of": f"documents_{when}"}), count(characters, {**of, "of": f"characters_{when}"})]
    ratio = tokens.get(str(row["source"]))
    told = NOT_MEASURED if ratio is None else figure(round(float(characters) * ratio))
    about = [text(told)] if tokens else []
    return [text(file), text(stage, note=WITH_QUALITY.get(stage, "")), *cells, *about]


def _quality(facts: Facts) -> Iterator[Table]:
    """How well the classifier that the filter asks tells each of its sources when it has not seen it."""
    maker = facts.maker_of.get((FOUNDATION, train_quality_classifier.name))
    found = {} if maker is None else facts.whole.measured.get(maker.run.run_id, {})
    names = [name.split("/") for name in found if name.startswith("auc/") and name.count("/") == 2]
    rows = [
        [text(language), text(source), measured(found[f"auc/{language}/{source}"])]
        for _, language, source in sorted(names)
    ]
    if rows:
        notes = [
            "Held out together with each source of the other side: how often a good text is scored above a bad one. n "
            "counts the documents of the source."
        ]
        yield Table(
            "quality-sources",
            "The quality classifier on sources that it has not seen",
            ["language", "source", "AUC"],
            rows,
            notes,
        )


def _mix(facts: Facts) -> Iterator[Table]:
    """What pretraining read of each source of a mix, and the loss on what was held out of it."""
    maker = facts.maker_of.get((FOUNDATION, "pretrain"))
    found = {} if maker is None else facts.whole.measured.get(maker.run.run_id, {})
    split = [name.partition("/")[::2] for name in found]
    names = {name for what, name in split if what in ("epochs", "heldout_loss")}
    there = [of for of in OF_SOURCES if any(what == of for what, _ in split)]
    rows = [[text(name), *(measured(found.get(f"{what}/{name}")) for what in there)] for name in sorted(names)]
    if rows:
        notes = [
            "Loss in nats per token, on documents that nothing trained on; its n counts documents. Tokens of two "
            "tokenizers are not the same: there the losses per character compare."
        ]
        columns = ["source", *(what.replace("_", " ") for what in there)]
        yield Table("mix", "What pretraining read of each source", columns, rows, notes)


def _shares(head: Head, rows: Rows) -> Iterator[Table]:
    of_all = [row for row in rows if row["source"] == ""]
    for about, caption in _TITLES.items():
        named = [row for row in of_all if row["about"] == about and row["documents"]]
        if about == "language":
            named = [row for row in named if row["documents"] >= LEAST_SHARE * row["sampled"]]
        named.sort(key=lambda row: (row["axis"], row["name"] != "", -row["documents"], row["name"]))
        judge = JUDGE if about == "language" else None
        notes = ["Shares of the documents that were looked at, with 95 % intervals."]
        if about == "language":
            notes.append(f"By {JUDGE}: code is told by its lines, unknown is what no language has half of.")
        columns = [*(["axis"] if about != "language" else []), "what", "share of documents", "documents"]
        lines = [_share(head, row, judge) for row in named]
        if lines:
            yield Table(f"corpus-{about}s", caption, columns, lines, notes, folded=about != "language")


def _share(head: Head, row: Mapping[str, Any], judge: str | None) -> list[Cell]:
    found = share_of(row["documents"], row["sampled"], judge)
    of = {"version": head.version_id, **{name: str(row[name]) for name in ("about", "axis", "name")}}
    few = [f"n is {figure(found.n)}"] if found.n < FEW else []
    bounds = [] if found.low is None or found.high is None else [f"{percent(found.low, 3)} to {percent(found.high, 3)}"]
    share = Cell(
        percent(found.value, 3),
        found.value,
        {**of, "of": "share"},
        note="; ".join([*bounds, *few]),
        n=found.n,
        low=found.low,
        high=found.high,
        judge=judge,
    )
    axis = [text(row["axis"])] if row["axis"] else []
    return [*axis, text(row["name"] or "any of these"), share, count(row["documents"], {**of, "of": "documents"})]


def _examples(head: Head, rows: Rows) -> Iterator[Table]:
    """The first documents of each reason."""
    places = {reason: place for place, reason in enumerate(WITH_QUALITY)}
    ordered = sorted(rows, key=lambda row: (places.get(row["reason"], len(places)), row["source"]))
    lines = [[text(row[name]) for name in ("reason", "detail", "source", "beginning")] for row in ordered]
    if lines:
        notes = [f"The first 20 of each reason, mended and masked; all are named in version {head.version_id[:16]}."]
        columns = ["reason", "detail", "from", "begins"]
        yield Table("dropped-examples", "Documents that were left out", columns, lines, notes, folded=True)
