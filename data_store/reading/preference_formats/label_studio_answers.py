"""What an annotation of Label Studio says of two texts, by whichever tag compares them."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.preference_formats.scores import SCORES_OF_FIVE, score_of
from data_store.reading.source_files import Record

_SIDES = {
    **dict.fromkeys(("left", "a", "1", "first", "response a", "response_a", "answer a"), "left"),
    **dict.fromkeys(("right", "b", "2", "second", "response b", "response_b", "answer b"), "right"),
    **dict.fromkeys(("none", "tie", "equal", "same", "both"), "tie"),
}
_BESIDE = ("rating", "safety_label")
_TEXTS = ("body", "html", "text", "title")


class Names(NamedTuple):
    """Fields of the data on the left and right, and the tag that compares, where it is named."""

    left: str
    right: str
    question: str | None


class Comparison(NamedTuple):
    """Two texts, which side is the better one, and by how much where the tag tells."""

    left: str
    right: str
    selected: str
    rating: str | None = None


def compared(record: Record, annotation: Mapping[str, Any], where: str, names: Names) -> list[Comparison]:
    """The comparisons of an annotation.

    Raises RefusedRowError for a tie and where nothing was answered, InputError where several tags compare and none is
    named, and for a project that does not compare.
    """
    results = results_of(record, annotation, where)
    if names.question is not None:
        results = [each for each in results if each.get("from_name") == names.question]
    beside = names.question is None
    tags = {str(each.get("from_name")): each for each in results if not beside or each.get("from_name") not in _BESIDE}
    if not tags:
        asked = "nothing" if names.question is None else f"not {names.question!r}"
        raise RefusedRowError("no_judgement", f"{where} answers {asked}")
    pairwise = [name for name, each in tags.items() if each.get("type") == "pairwise"]
    if len(pairwise) > 1:
        raise InputError(
            f"{record.where}: {where} has answers to {' and '.join(map(repr, pairwise))}, and each compares: say in "
            f"the config which one the file is given for, as {{path: …, question: {pairwise[0]}}}"
        )
    if pairwise:
        return [_sides(record, names, value_of(record, annotation, where, "pairwise", pairwise[0]), where)]
    kinds = {str(each.get("type")) for each in tags.values()}
    if kinds == {"ranker"}:
        return _ranked(record, next(iter(tags.values())), where)
    if kinds == {"rating"} and {str(each.get("to_name")) for each in results} >= {names.left, names.right}:
        return [_rated(record, results, names)]
    if kinds == {"choices"} and names.question is not None:
        chosen = value_of(record, annotation, where, "choices", names.question)
        return [_sides(record, names, chosen[0] if isinstance(chosen, list) and len(chosen) == 1 else chosen, where)]
    told = ", ".join(f"{name!r} ({each.get('type')})" for name, each in tags.items())
    raise InputError(
        f"{record.where}: {where} compares nothing: it answers {told}. A Pairwise tag, a Ranker or a Rating of each "
        f"side is wanted, or Choices that name a side: say which one, as {{path: …, question: {next(iter(tags))}}}"
    )


def results_of(record: Record, annotation: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """The results of an annotation; null is none."""
    results = annotation.get("result")
    if results is None:
        return []
    if not isinstance(results, list) or not all(isinstance(each, Mapping) for each in results):
        raise InputError(f"{record.where}: field '{where}.result' must be a list of results")
    return results


def value_of(record: Record, annotation: Mapping[str, Any], where: str, kind: str, tag: str) -> Any:
    """What the tag's result of this type holds; None where there is none."""
    field = {"pairwise": "selected"}.get(kind, kind)
    for result in results_of(record, annotation, where):
        if result.get("type") == kind and result.get("from_name") == tag:
            value = result.get("value")
            if not isinstance(value, Mapping):
                raise InputError(f"{record.where}: field '{where}.result' has a {kind} without a value")
            return value.get(field)
    return None


def _sides(record: Record, names: Names, selected: Any, where: str) -> Comparison:
    side = _SIDES.get(str(selected).strip().lower())
    if selected is None or side == "tie":
        raise RefusedRowError("tie", "neither response was selected")
    if side is None:
        raise InputError(f"{record.where}: {where} selected {selected!r}; use one of left, right")
    return Comparison(_text(record, names.left, "left"), _text(record, names.right, "right"), side)


def _text(record: Record, field: str, side: str) -> str:
    data = Record(record.where, record.source, dict(record.value("data")))
    if field in data.fields and data.fields[field] is None:
        return ""
    try:
        return data.text(field)
    except InputError as error:
        raise InputError(f"{error}; data.preference_options.label_studio.{side} names the field") from None


def _rated(record: Record, results: list[Mapping[str, Any]], names: Names) -> Comparison:
    scores = dict[str, float | None]()
    for each in results:
        value = each.get("value")
        scores[str(each.get("to_name"))] = score_of(
            Record(record.where, record.source, {"value": value}), "value.rating"
        )
    left, right = scores[names.left], scores[names.right]
    if left is None or right is None:
        raise RefusedRowError("no_score", "a side has no rating")
    if left == right:
        raise RefusedRowError("tie", f"both ratings are {left:g}")
    found = _sides(record, names, "left" if left > right else "right", "the ratings")
    return found._replace(rating=SCORES_OF_FIVE.word(abs(left - right)))


def _ranked(record: Record, result: Mapping[str, Any], where: str) -> list[Comparison]:
    """Every two items of a ranked list, in the order of the list; by how much nobody said."""
    value = result.get("value")
    ranker = value.get("ranker") if isinstance(value, Mapping) else None
    order = next(iter(ranker.values()), None) if isinstance(ranker, Mapping) and len(ranker) == 1 else ranker
    data = record.value("data")
    lists = [each for each in data.values() if isinstance(each, list) and each and _is_items(each)]
    if not isinstance(order, list) or len(lists) != 1:
        raise InputError(
            f"{record.where}: {where} ranks in a way that is not known: one list of items, one order of ids"
        )
    items = {str(each["id"]): each for each in lists[0]}
    ranks = {str(name): rank for rank, name in enumerate(order)}
    if unknown := sorted(set(ranks) - set(items)):
        raise InputError(
            f"{record.where}: {where} ranks {unknown[0]!r}, which is no item; there are {', '.join(items)}"
        )
    if len(ranks) < 2:
        raise RefusedRowError("no_pair", f"{len(ranks)} items are ranked")
    texts = {name: _item_text(record, name, items[name]) for name in items if name in ranks}
    return [
        Comparison(texts[first], texts[second], "left" if ranks[first] < ranks[second] else "right")
        for first, second in combinations(texts, 2)
    ]


def _is_items(items: list[Any]) -> bool:
    return all(isinstance(each, Mapping) and "id" in each and not {*_TEXTS}.isdisjoint(each) for each in items)


def _item_text(record: Record, name: str, item: Mapping[str, Any]) -> str:
    field = next(each for each in _TEXTS if item.get(each) is not None or each == _TEXTS[-1])
    text = item.get(field)
    return record.check_text(f"items[{name}].{field}", "" if text is None else text)
