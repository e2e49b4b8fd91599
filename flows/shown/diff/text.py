"""The difference of two sides as people read it in the terminal."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from data_store.catalog.whole import Measured
from data_store.figures import figure, percent
from flows.shown.diff.contents import ContentDifference
from flows.shown.diff.document import AnswerDifference, Comparison, FigureDifference
from flows.shown.differences import Difference
from flows.shown.lineage_text import value_text
from tasks.engine.code_today import few

_WIDTH = 110
_LONG = 300  # characters of a text
_VALUE = 60  # of a value of a config


def diff_lines(found: Comparison) -> Iterator[str]:
    """All of it, a section for each kind of difference; what is empty says so."""
    yield f"{found.what}: a is {found.a}, b is {found.b}"
    for side in ("a", "b"):
        if found.only[side]:
            yield f"only {side} has: {', '.join(found.only[side])}"
    yield from found.notes
    keys = (f"{each.key}: {value_shown(each.a)} → {value_shown(each.b)}  ({few(each.steps)})" for each in found.config)
    yield from _section("Config", keys, "no key differs")
    files = (f"{each.path}: {_hash(each.a)} → {_hash(each.b)}  ({few(each.steps)})" for each in found.code)
    yield from _section("Code", files, "no file differs")
    yield from _section("Figures, b minus a", _figures(found.figures), "no step has figures on both sides")
    yield from _section("Data", (line for each in found.data for line in _content(each)), "no row and no file differs")
    answers = (line for each in found.answers for line in _answer(each))
    yield from _section("Answers that changed most", answers, "no prompt was answered by both")


def _section(title: str, lines: Iterable[str], nothing: str) -> Iterator[str]:
    yield from ("", title)
    content = list(lines)
    yield from (f"  {line}" for line in content or [nothing])


def _figures(found: Sequence[FigureDifference]) -> Iterator[str]:
    for of in dict.fromkeys(each.of for each in found):
        yield of
        for each in (one for one in found if one.of == of and not _is_same(one)):
            yield f"  {each.metric:<34} {_measured(each.a):>30} → {_measured(each.b):<30} {_difference(each)}".rstrip()
        same = [one.metric for one in found if one.of == of and _is_same(one)]
        yield from _wrapped("  the same: ", same)


def _is_same(one: FigureDifference) -> bool:
    return one.a.value == one.b.value and (one.paired is None or not one.paired.changed)


def _measured(found: Measured) -> str:
    interval = "" if found.low is None or found.high is None else f" [{figure(found.low, 2)}, {figure(found.high, 2)}]"
    return f"{figure(found.value)}{interval}" + ("" if found.n is None else f" n {figure(found.n)}")


def _difference(found: FigureDifference) -> str:
    if found.paired is None:
        return f"{found.difference:+.4g}"
    return f"{paired_text(found.paired)}"


def paired_text(found: Difference) -> str:
    """A paired difference with its interval: «+0.12 [+0.04, +0.20], 200 pairs»."""
    if not found.changed:
        return f"no difference in {figure(found.n)} pairs"
    return f"{found.value:+.4g} [{found.low:+.2g}, {found.high:+.2g}], {figure(found.n)} pairs"


def _content(found: ContentDifference) -> Iterator[str]:
    counts = [
        f"{figure(number)} {word}"
        for number, word in ((found.added, "added"), (found.dropped, "dropped"), (found.changed, "changed"))
        if number
    ]
    note = f"  ({found.note})" if found.note else ""
    yield f"{found.name}: {', '.join(counts) or 'nothing'} of its {found.unit}, {figure(found.kept)} kept{note}"
    for word, rows in found.examples.items():
        for row in rows:
            yield f"    {word}: {_short(row if isinstance(row, str) else _row(row))}"


def _row(row: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)


def _answer(found: AnswerDifference) -> Iterator[str]:
    scored = found.score_a is not None and found.score_b is not None
    score = f"score {figure(found.score_a)} → {figure(found.score_b)} by {found.judge}, " if scored else ""
    yield f"{found.of}, prompt {found.prompt_id}: {score}{percent(found.change.words)} of its words are not the same"
    yield f"    asked: {_short(found.messages[-1]['content'])}"
    yield f"    a: {_short(found.a)}"
    yield f"    b: {_short(found.b)}"


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONG else f"{plain[: _LONG - 1]}…"


def value_shown(value: Any) -> str:
    """A value of a config, cut where it is long."""
    text = "none" if value is None else value_text(value)
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 1]}…"


def _hash(sha256: str | None) -> str:
    return "none" if sha256 is None else sha256[:12]


def _wrapped(head: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    return textwrap.wrap(head + ", ".join(items), _WIDTH, subsequent_indent=" " * len(head), break_long_words=False)
