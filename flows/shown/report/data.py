"""What it learned from: where data came from, what each set holds, what was dropped and why, and the judged pairs of
each iteration as the paper's table 6 counts them."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_store.catalog.runs import read_origins
from data_store.content.rowsets import load_rows
from data_store.errors import InputError, StoreError
from data_store.figures import NOT_MEASURED, figure, percent, size
from data_store.names import AssetName
from data_store.records import Head
from data_store.rows import AXES, ROW_KINDS, SAFETY_LABELS
from flows.shown.report.dialogues import pair_shown
from flows.shown.report.facts import Facts
from flows.shown.report.parts import Cell, Section, Table, count, text

SAMPLE = 2_000  # rows of a batch whose turns and tokens are counted
_MOST_ROWS = 500_000  # of a version that is read whole for a table
_LETTERS = 20_000  # of one text that is split into tokens
Tokens = Callable[[Sequence[str]], list[int]]


def data(facts: Facts) -> Section:
    """The statement."""
    origins = facts.session.store.catalog.ask("origins", read_origins)
    files = {asset: head for asset, head in facts.whole.heads.items() if asset.kind == "source"}
    texts = [_languages(facts), "No licence is recorded: the store knows where data came from, not on which terms."]
    tables = [
        *_sources(facts, files, origins),
        *_sets(facts),
        *_named_sources(facts),
        *_dropped(facts),
        *_withdrawn(facts),
    ]
    return Section("data", "Data", texts, tables=tables)


def preferences(facts: Facts) -> Section:
    """Judged pairs, iteration by iteration."""
    batches = [(part, head) for part in facts.parts if (head := facts.head("dataset/preferences", part)) is not None]
    rows = {part: found for part, head in batches if (found := _rows(facts, head)) is not None}
    if not rows:
        return Section("preferences", "Judged pairs", ["No pair has been judged yet."])
    tokens = _tokenizer(facts)
    heads = dict(batches)
    return Section(
        "preferences",
        "Judged pairs",
        ["Below the tables stand pairs of the last iteration: of each axis the first two by their id."],
        tables=[_batches(rows, heads, tokens), *_labels(rows, heads), *_judges(rows, heads)],
        extra={"pairs": _examples(list(rows.values())[-1])},
    )


def _languages(facts: Facts) -> str:
    config = facts.session.config
    if config.data.world is not None:
        return f"A little synthetic world in English, generated with seed {config.data.world.seed}: no text of people."
    kept = f"Of the corpus these languages were kept: {', '.join(config.filter.languages)}."
    if config.base_model is not None and config.trains_base:
        return f"What the base model that was given had read before is not recorded. {kept}"
    if config.base_model is not None:
        return "Pretraining was somebody else's: a base model was given. Languages of the files are not recorded."
    return kept


def _sources(
    facts: Facts, files: Mapping[AssetName, Head], origins: Mapping[tuple[str, str], Mapping[str, str]]
) -> Iterator[Table]:
    rows = []
    for asset, head in sorted(files.items()):
        known = origins.get((str(asset), head.version_id), {})
        info = facts.whole.versions.get(head.version_id)
        rows.append(
            [
                text(asset, href=f"#{anchor(head.version_id)}"),
                text(known.get("kind", "unknown")),
                text(known.get("location", head.reason)),
                Cell(NOT_MEASURED) if info is None else Cell(size(info.bytes), float(info.bytes), _of(head, "bytes")),
                text(head.version_id[:16]),
            ]
        )
    if rows:
        yield Table("sources", "From outside", ["source", "kind", "where it came from", "size", "version"], rows)


def _sets(facts: Facts) -> Iterator[Table]:
    rows = []
    for asset, head in facts.whole.heads.items():
        info = facts.whole.versions.get(head.version_id)
        if asset.kind == "dataset" and info is not None and info.row_kind is not None:
            rows.append(
                [
                    text(asset.part),
                    text(asset.name, href=f"#{anchor(head.version_id)}"),
                    text(info.row_kind),
                    count(info.rows, _of(head, "rows")),
                    Cell(size(info.bytes), float(info.bytes), _of(head, "bytes")),
                ]
            )
    rows.sort(key=lambda row: facts.parts.index(row[0].text) if row[0].text in facts.parts else -1)
    if rows:
        yield Table(
            "sets", "Data sets, as they are now", ["part", "data set", "kind", "rows", "size"], rows, folded=True
        )


def _named_sources(facts: Facts) -> Iterator[Table]:
    """The sources that rows name, in the sets that everything else is made of."""
    rows = []
    for asset, head in facts.whole.heads.items():
        if asset.kind != "dataset" or not asset.name.startswith("raw-") or asset.part not in facts.parts:
            continue
        column = _column(facts, head, "source")
        if column is None:
            continue
        names = pc.replace_substring_regex(column, r"[:/]\d+(#\d+)?$", "")
        for name, number in sorted(Counter(names.to_pylist()).items()):
            of = {"version": head.version_id, "of": "rows from", "source": str(name)}
            rows.append([text(asset), text(name), count(number, of)])
    if rows:
        yield Table("named", "What rows name as their source", ["data set", "source", "rows"], rows)


def _dropped(facts: Facts) -> Iterator[Table]:
    rows = []
    for asset, head in facts.whole.heads.items():
        info = facts.whole.versions.get(head.version_id)
        if info is None or info.row_kind != "dropped":
            continue
        column = _column(facts, head, "reason")
        for reason, number in sorted(Counter([] if column is None else column.to_pylist()).items()):
            of = {"version": head.version_id, "of": "rows with reason", "reason": str(reason)}
            rows.append([text(asset), text(reason), count(number, of)])
    if rows:
        yield Table("dropped", "What was left out, and why", ["data set", "reason", "rows"], rows)


def _withdrawn(facts: Facts) -> Iterator[Table]:
    rows = [
        [text(each.what), text(each.name), text(f"{each.at:%Y-%m-%d}"), text(each.reason)]
        for each in facts.session.store.withdrawals()
    ]
    if rows:
        yield Table("withdrawn", "Withdrawn: not to be learned from", ["what", "name", "since", "reason"], rows)


def _batches(rows: Mapping[str, pa.Table], heads: Mapping[str, Head], tokens: Tokens | None) -> Table:
    found = []
    for part, table in rows.items():
        head = heads[part]
        axes = Counter(table.column("axis").to_pylist())
        held_out = sum(split == "heldout" for split in table.column("split").to_pylist())
        sample = table.slice(0, SAMPLE).to_pylist()
        turns = statistics.fmean(sum(m["role"] == "user" for m in row["messages"]) for row in sample)
        prompts = _mean(tokens, [" ".join(m["content"] for m in row["messages"]) for row in sample])
        answers = _response_tokens(tokens, sample)
        found.append(
            [
                text(part),
                count(table.num_rows, _of(head, "rows")),
                *(count(axes[axis], {**_of(head, "pairs of"), "axis": axis}) for axis in ("helpfulness", "safety")),
                count(held_out, _of(head, "pairs held out")),
                Cell(figure(turns, 3), turns, _of(head, "turns")),
                *(
                    Cell(NOT_MEASURED if value is None else figure(value, 3), value, _of(head, f"tokens of {what}"))
                    for what, value in (("prompts", prompts), ("answers", answers))
                ),
            ]
        )
    columns = ["iteration", "pairs", "helpfulness", "safety", "held out", "turns per dialogue"]
    columns += ["tokens per prompt", "tokens per answer"]
    notes = [
        f"As the paper's table 6 counts preference data. Turns and tokens are means over up to {figure(SAMPLE)} pairs, "
        "of answers the tokens that were sampled, of prompts those of the run's tokenizer."
    ]
    return Table("batches", "Judged pairs per iteration", columns, found, notes)


def _labels(rows: Mapping[str, pa.Table], heads: Mapping[str, Head]) -> Iterator[Table]:
    found = []
    for part, table in rows.items():
        counts = Counter(label for label in table.column("safety_label").to_pylist() if label)
        total = sum(counts.values())
        if total:
            of = [{**_of(heads[part], "pairs labelled"), "label": label} for label in SAFETY_LABELS]
            cells = [
                Cell(figure(counts[label]), float(counts[label]), known, note=percent(counts[label] / total))
                for label, known in zip(SAFETY_LABELS, of, strict=True)
            ]
            found.append([text(part), *cells])
    if found:
        notes = [
            "Llama 2 (section 3.2.1) reports 18 / 47 / 35 %; it leaves out pairs whose chosen answer alone is unsafe."
        ]
        columns = ["iteration", *(label.replace("_", " ") for label in SAFETY_LABELS)]
        yield Table("labels", "Safety labels", columns, found, notes)


def _judges(rows: Mapping[str, pa.Table], heads: Mapping[str, Head]) -> Iterator[Table]:
    found = []
    for part, table in rows.items():
        for who, number in sorted(Counter(table.column("annotator").to_pylist()).items()):
            found.append([text(part), text(who), count(number, {**_of(heads[part], "pairs by"), "annotator": who})])
    yield Table("annotators", "Who judged", ["iteration", "annotator", "pairs"], found)


def _examples(table: pa.Table) -> list[dict[str, Any]]:
    found = []
    for axis in AXES:
        of_axis = table.filter(pc.equal(table.column("axis"), axis)).sort_by("preference_id")
        found += [pair_shown(row) for row in of_axis.slice(0, 2).to_pylist()]
    return found


def _response_tokens(tokens: Tokens | None, sample: Sequence[Mapping[str, Any]]) -> float | None:
    sides = [(row[f"token_ids_{side}"], row[f"response_{side}"]) for row in sample for side in "ab"]
    sampled = [len(ids) for ids, _ in sides if ids is not None]
    if len(sampled) == len(sides):
        return statistics.fmean(sampled)
    return _mean(tokens, [said for _, said in sides])


def _mean(tokens: Tokens | None, texts: Sequence[str]) -> float | None:
    return None if tokens is None or not texts else statistics.fmean(tokens(texts))


def _tokenizer(facts: Facts) -> Tokens | None:
    """Counts tokens with the run's own tokenizer; None where it has none in a form that opens without a model's
    library."""
    for wanted in (AssetName("tokenizer", "tokenizer", "base"), AssetName("model", "policy", "V0")):
        head = facts.whole.heads.get(wanted)
        if head is None:
            continue
        try:
            file = facts.session.store.checkout(head.version_id) / "tokenizer.json"
        except (InputError, StoreError):
            continue
        if file.is_file():
            return _counter(file)
    return None


def _counter(file: Path) -> Tokens | None:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # the library raises nothing narrower; a file of somebody else may hold anything
        return None

    def lengths(texts: Sequence[str]) -> list[int]:
        cut = [each[:_LETTERS] for each in texts]
        return [len(found.ids) for found in tokenizer.encode_batch(cut, add_special_tokens=False)]

    return lengths


def _rows(facts: Facts, head: Head) -> pa.Table | None:
    info = facts.whole.versions.get(head.version_id)
    if info is None or info.is_removed or not info.rows or info.rows > _MOST_ROWS or info.row_kind != "preference":
        return None
    try:
        return facts.session.store.rows(head.version_id)
    except (InputError, StoreError):  # damaged: `halter verify` tells
        return None


def _column(facts: Facts, head: Head, name: str) -> pa.ChunkedArray | None:
    """One column of a version whose content is there; its texts stay where they are."""
    info = facts.whole.versions.get(head.version_id)
    if info is None or info.is_removed or not info.rows or name not in ROW_KINDS[str(info.row_kind)].schema.names:
        return None
    store = facts.session.store
    try:
        return load_rows(store.objects, store.version(head.version_id).objects, [name]).column(name)
    except (InputError, StoreError):  # damaged: `halter verify` tells
        return None


def _of(head: Head, what: str) -> dict[str, str]:
    return {"version": head.version_id, "of": what}


def anchor(version_id: str) -> str:
    """Where a version stands on the page."""
    return f"v-{version_id}"
