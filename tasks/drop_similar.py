"""Prompts and demonstrations that say in other words what another one says are dropped before anything is trained
(arXiv 2407.21783, section 4.2.3), by a sentence encoder that the user brings."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from data_store.content.row_batches import row_dicts
from data_store.errors import InputError
from data_store.estimate import Estimate
from data_store.figures import figure, percent
from tasks.engine.step import Input, Measurements, Output, StepRun, step
from tasks.known_languages import LEAST, OTHERS, Languages, Looked, look
from tasks.similar import SIMILAR, TO_HELD_OUT, SimilarChoice

if TYPE_CHECKING:
    from models.sentence_encoder import SentenceEncoder
    from tasks.compared_meanings import Drop, Row

COMPARED = {"prompts": "prompt", "demonstrations": "dialogue"}
"""Role → kind of its rows."""
_SPLITS = ("heldout", "validation", "train")
"""The order in which prompts are kept: none is dropped for one of a later split."""
_ROWS = 256
_SHOWN, _CHARACTERS = 20, 300
Fates = Mapping[str, list[str | None]]
"""Role → of each row its language, or None where the row is left alone."""


@step(
    version=1,
    config=SimilarChoice,
    inputs={
        **{role: Input("dataset", rows, optional=True) for role, rows in COMPARED.items()},
        "encoder": Input("file"),
    },
    outputs={
        **{role: Output("dataset", rows, passes_on=(role,)) for role, rows in COMPARED.items()},
        "dropped": Output("dataset", "dropped"),
    },
    metrics=(
        *("dropped", "unrelated_p99", "cut_letters", "left_alone", "too_long"),
        *(f"{role}/{what}" for role in COMPARED for what in ("kept", "dropped_share", SIMILAR, TO_HELD_OUT)),
    ),
    headline="dropped",
    about="Drops prompts and demonstrations that mean the same as another one.",
    tags=("foundation",),
)
def drop_similar(run: StepRun, config: SimilarChoice) -> Measurements:
    """Raises InputError for an encoder that does not know a language of the rows, for rows that are too few to tell,
    and where more than `max_dropped_share` would go."""
    from models.devices import use_threads
    from models.sentence_encoder import open_encoder
    from tasks.compared_meanings import Comparison

    use_threads(config.threads)
    encoder = open_encoder(run.path("encoder"))
    fates, too_long, seen = _looked_at(run, encoder, config)
    run.table("languages", [_shown(name, each) for name, each in seen.items()])
    comparison, total, done = Comparison(encoder, config.threshold), sum(map(len, fates.values())), 0
    for role, rows in _in_order(run, fates):
        comparison.add(role, rows)
        done += len(rows)
        run.progress(0.1 + 0.9 * done / total, f"{figure(done)} of {figure(total)} rows compared")
    metrics = _write(run, config, comparison.drops)
    alone = sum(fate is None for of in fates.values() for fate in of)
    if alone:
        run.note(f"{figure(alone)} of {figure(total)} rows are compared with none: languages that are left alone")
    if too_long:
        run.note(
            f"{figure(too_long)} of {figure(total)} rows are longer than the {figure(encoder.most_tokens)} tokens that "
            "the encoder reads: they stay, and none is dropped for them"
        )
    return {**metrics, **_measured(seen), "left_alone": float(alone), "too_long": float(too_long)}


def _looked_at(
    run: StepRun, encoder: "SentenceEncoder", config: SimilarChoice
) -> tuple[Fates, int, Mapping[str, Looked]]:
    """The fates of all rows, how many are longer than the encoder reads, and what it makes of the languages."""
    from tasks.compared_meanings import asked_in

    languages, too_long = Languages(config, run.seed), 0
    found: dict[str, list[str | None]] = {}
    for role in filter(run.wants, COMPARED):
        found[role] = []
        for rows in run.batches(role, _ROWS):
            texts = [(asked_in(row) or [""])[-1] for row in rows]
            fits = [len(ids) <= encoder.most_tokens for ids in encoder.encode(texts)]
            too_long += fits.count(False)
            found[role] += languages.add(texts, fits)
    groups = languages.groups()
    if not groups:
        raise InputError(
            f"similar: fewer than {LEAST} different prompts and demonstrations are of languages that are compared, too "
            "few to see whether the encoder tells them apart: give more, or take similar out"
        )
    seen = look(encoder, groups, config, run.seed)
    rest = OTHERS if OTHERS in groups else None
    fates = {role: [name if name is None or name in groups else rest for name in of] for role, of in found.items()}
    return fates, too_long, seen


def _in_order(run: StepRun, fates: Fates) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rows that are compared, some at a time, in the order in which they are kept."""
    for role in fates:
        for split in _SPLITS if role == "prompts" else (None,):
            start = 0
            for rows in run.batches(role, _ROWS):
                of = fates[role][start : start + len(rows)]
                start += len(rows)
                here = [
                    row for row, fate in zip(rows, of, strict=True) if fate is not None and row.get("split") == split
                ]
                if here:
                    yield role, here


def _write(run: StepRun, config: SimilarChoice, drops: Mapping[str, "Drop"]) -> dict[str, float]:
    """Write what stays and what goes. Raises InputError where too much goes."""
    from tasks.compared_meanings import name_of

    lowest = sorted(drops, key=lambda name: (drops[name].cosine, name))[:_SHOWN]
    wanted = {each for name in lowest for each in (name, drops[name].partner)}
    texts, dropped = dict[str, str](), list[dict[str, Any]]()
    metrics: dict[str, float] = {"dropped": float(len(drops))}
    for role in filter(run.wants, COMPARED):
        kept, reasons, first = 0, Counter[str](), ""
        with run.writing_rows(role) as write:
            for batch in run.record_batches(role, _ROWS):
                stays = list[bool]()
                for row in row_dicts(batch):
                    name = name_of(role, row)
                    drop = drops.get(name)
                    stays.append(drop is None)
                    if name in wanted:
                        texts[name] = _beginning(row)
                    if drop is not None:
                        first = first or f"{row['source']}: {name}, {drop.detail}"
                        reasons[drop.reason] += 1
                        dropped.append(
                            {"doc_id": name, "source": row["source"], "reason": drop.reason, "detail": drop.detail}
                        )
                kept += sum(stays)
                write(pa.Table.from_batches([batch]).filter(pa.array(stays, pa.bool_())))
        share = reasons.total() / max(kept + reasons.total(), 1)
        _check_share(role, share, reasons.total(), first, config)
        metrics |= {f"{role}/kept": float(kept), f"{role}/dropped_share": share}
        metrics |= {f"{role}/{reason}": float(reasons[reason]) for reason in (SIMILAR, TO_HELD_OUT)}
        if reasons:
            run.note(f"{role}: {figure(reasons.total())} ({percent(share)}) mean the same as one that stays: left out")
    run.write_rows("dropped", dropped)
    run.table("closest", [_pair(name, drops[name], texts) for name in lowest])
    return metrics


def _check_share(role: str, share: float, rows: int, first: str, config: SimilarChoice) -> None:
    if share > config.max_dropped_share:
        raise InputError(
            f"{role}: {figure(rows)} ({percent(share)}) mean the same as another one, and similar.max_dropped_share is "
            f"{figure(config.max_dropped_share)}: raise similar.threshold, or it. The first is {first}"
        )


def _beginning(row: "Row") -> str:
    from tasks.compared_meanings import asked_in

    return " ".join((asked_in(row) or [""])[-1].split())[:_CHARACTERS]


def _pair(name: str, drop: "Drop", texts: Mapping[str, str]) -> dict[str, Any]:
    """For people: the pairs that are least alike tell whether the threshold is right."""
    return {
        "reason": drop.reason,
        "cosine": figure(drop.cosine, 3),
        "dropped": texts[name],
        "for": texts[drop.partner],
        "its id": name,
    }


def _shown(name: str, seen: Looked) -> dict[str, Any]:
    return {
        "language": name,
        "texts": seen.texts,
        "pairs of unrelated": seen.pairs,
        "99 of 100 below": figure(seen.p99, 3),
        "at the threshold": percent(seen.share, 2),
        "letters cut": percent(seen.cut_letters, 1),
    }


def _measured(seen: Mapping[str, Looked]) -> dict[str, float | Estimate]:
    """Of unrelated pairs by language, and of the worst one."""
    of_languages = {f"unrelated_p99/{name}": Estimate(each.p99, each.pairs) for name, each in seen.items()}
    worst = max(of_languages.values(), key=lambda each: each.value)
    return {
        "unrelated_p99": worst,
        "cut_letters": max(each.cut_letters for each in seen.values()),
        **of_languages,
        **{f"cut_letters/{name}": each.cut_letters for name, each in seen.items()},
    }
