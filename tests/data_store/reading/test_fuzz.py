"""Real-shaped records of every format, changed at random: each is read, refused with its line, or named by an error.

Never anything else: a traceback of Python's own would be a hole in a reader.
"""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from data_store.reading.bad_rows import BadRows
from data_store.reading.readers import read_dialogues, read_preferences, read_prompts
from data_store.reading.row_import import Imported
from tests.data_store.reading.format_samples import DIALOGUES, PREFERENCES

# What a field may hold that nobody expects there.
ODD: tuple[Any, ...] = (
    *(None, "", " ", "\x00", "\ud800", "nan", "-1", "5", "true", "[", "[{", "{}", "\n\nHuman:", "### Human:"),
    *(0, 1, -1, 3.5, 10**400, float("nan"), float("inf"), True, False),
    *([], [None], [[]], [{}], {}, {"a": None}, {"role": "user"}, [{"role": "user", "content": None}]),
    *([["a", "b"]], [1, 2], {"value": [], "status": "submitted"}, {"content": {"x": 1}}, "x" * 5000),
)
NAMES = (
    "system",
    "history",
    "weight",
    "split",
    "axis",
    "rating",
    "annotator",
    "messages",
    "prompt",
    "tools",
    "question",
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything inside a record."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places(each, (*path, key))


def changed(record: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """The record with one to three things removed, replaced, doubled, or put where they do not belong."""
    record = copy.deepcopy(record)
    for _ in range(draw.randint(1, 3)):
        ways = list(places(record))
        if not ways or draw.random() < 0.15:
            record[draw.choice(NAMES)] = copy.deepcopy(draw.choice(ODD))
            continue
        *way, last = draw.choice(ways)
        holder: Any = record
        for key in way:
            holder = holder[key]
        what = draw.random()
        if what < 0.2:
            del holder[last]
        elif what < 0.3 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        elif what < 0.4:
            *other, end = draw.choice(ways)
            found: Any = record
            try:
                for key in (*other, end):
                    found = found[key]
            except (KeyError, IndexError, TypeError):
                continue
            holder[last] = copy.deepcopy(found)
        else:
            holder[last] = copy.deepcopy(draw.choice(ODD))
    return record


def records_of(sample: list[dict[str, Any]], draw: random.Random) -> list[dict[str, Any]]:
    """The sample's records, some of them changed, and the sample itself behind them."""
    return [*(changed(each, draw) if draw.random() < 0.7 else each for each in sample), *sample]


def check(path: Path, read: Imported) -> None:
    """Rows are of their kind (the reader has looked), and each line is accounted for."""
    named = [row["source"] for row in (*read.rows.to_pylist(), *read.refused.to_pylist())]
    assert all(source.startswith(f"{path.name}:") for source in named)
    assert all(row["reason"] for row in read.refused.to_pylist())
    for row in read.refused.to_pylist():
        if row["reason"] == "bad_row":
            assert row["detail"].startswith(path.name), "and says nothing of where it lay"


def attempts(samples: list[tuple[str, list[dict[str, Any]]]], count: int, seed: int) -> Iterator[tuple[str, list[Any]]]:
    draw = random.Random(seed)
    for number in range(count):
        name, sample = samples[number % len(samples)]
        yield name, records_of(sample, draw)


def run(folder: Path, count: int, seed: int) -> dict[str, int]:
    """How many files were read, and how many were refused with an error that names them."""
    outcomes = {"read": 0, "refused": 0, "unnamed": 0}
    pairs = [(format, list(records)) for format, each in PREFERENCES.items() for records in each.values()]
    dialogues = [(format, [record]) for format, record in DIALOGUES.items()]
    path = folder / "a.jsonl"
    readers = (
        (pairs, lambda name, bad: read_preferences([path], axis="safety", bad=bad)),
        (pairs, lambda name, bad: read_preferences([path], name, bad=bad)),
        (dialogues, lambda name, bad: read_dialogues([path], bad=bad)),
        (dialogues, lambda name, bad: read_dialogues([path], format=name, bad=bad)),
        (dialogues, lambda name, bad: read_prompts([path], bad=bad)),
    )
    for samples, reader in readers:
        for number, (name, records) in enumerate(attempts(samples, count, seed)):
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
            try:
                check(path, reader(name, BadRows(drop=number % 2 == 0)))
                outcomes["read"] += 1
            except InputError as error:
                outcomes["refused" if path.name in str(error) else "unnamed"] += 1
            except Exception as error:
                raise AssertionError(f"{name}: {json.dumps(records)}") from error
    return outcomes


@pytest.mark.conformance(
    "a foreign record ends as something else", equation="data_store.reading.preference_readers:read_preferences"
)
def test_changed_records_end_as_rows_as_counted_refusals_or_as_an_error_with_their_line(tmp_path: Path) -> None:
    outcomes = run(tmp_path, count=26, seed=0)
    assert outcomes["unnamed"] == 0
    assert min(outcomes["read"], outcomes["refused"]) > 20, outcomes


@pytest.mark.soak
def test_many_changed_records_of_every_format(tmp_path: Path) -> None:
    outcomes = run(tmp_path, count=2000 * len(DIALOGUES), seed=1)
    assert outcomes["unnamed"] == 0
    assert min(outcomes["read"], outcomes["refused"]) > 1000, outcomes
