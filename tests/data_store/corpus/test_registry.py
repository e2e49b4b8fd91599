"""What the filters bring is told apart: reasons, changes and keys have names of their own."""

from collections import Counter

from data_store.corpus.registry import CHANGED, CHANGES, FILTERS, REASONS, FilterConfig


def twice(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def test_no_two_filters_bring_a_reason_or_a_change_of_one_name() -> None:
    assert len(REASONS) == sum(len(each.reasons) for each in FILTERS)
    assert len(CHANGED) == sum(len(each.counted) for each in CHANGES)
    assert all(each.reasons for each in FILTERS)


def test_no_two_filters_bring_a_key_of_one_name() -> None:
    keys = [key for base in FilterConfig.__bases__ for key in vars(base)["__annotations__"]]
    assert twice(keys) == set()
