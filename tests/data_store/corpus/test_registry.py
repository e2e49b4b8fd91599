"""What the filters bring is told apart: their SQL stands in one query, their parameters in one set."""

import re
from collections import Counter

from data_store.corpus.features import PARAMETERS
from data_store.corpus.registry import CORPUS_FILTERS, DOCUMENT_FILTERS, FILTERS, REASONS, FilterConfig

CONFIG = FilterConfig()


def twice(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def test_no_two_filters_bring_a_measure_a_table_a_parameter_or_a_reason_of_one_name() -> None:
    measures = [name for each in DOCUMENT_FILTERS for name in (*each.of_sample, *each.of_words, *each.tables)]
    parameters = [*PARAMETERS, *FilterConfig.model_fields, *(n for each in FILTERS for n in each.parameters(CONFIG))]
    assert twice(measures) == twice(parameters) == set()
    assert len(REASONS) == sum(len(each.reasons) for each in FILTERS)


def test_a_rule_drops_for_a_reason_that_its_filter_explains() -> None:
    for each in DOCUMENT_FILTERS:
        assert {reason for reason, _, _ in each.rules} == set(each.reasons)
    assert all(each.reasons for each in CORPUS_FILTERS)


def test_every_parameter_that_a_rule_names_is_given() -> None:
    for each in DOCUMENT_FILTERS:
        given = {*PARAMETERS, *FilterConfig.model_fields, *each.parameters(CONFIG)}
        sql = " ".join([*each.of_sample.values(), *each.of_words.values(), *each.tables.values(), str(each.rules)])
        assert set(re.findall(r"\$([a-z_0-9]+)", sql)) <= given
