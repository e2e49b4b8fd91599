"""Whose rows are these: every form of a source leads to its file."""

import pyarrow as pa
import pytest

from data_store.row_sources import is_from, without


@pytest.mark.parametrize(
    "source",
    ["a.json:7", "a.json:7#0", "a.json:7#0#2", "a.json:7+8", "x/a.json:7+8#1", "a.json/3"],
)
def test_a_source_is_of_the_file_that_it_names_whichever_rows_of_it_it_means(source: str) -> None:
    assert is_from(pa.chunked_array([[source]]), "source", "a.json").to_pylist() == [True]


@pytest.mark.parametrize("source", ["ba.json:7", "a.jsonl:7", "a.json", "a.json:7#", "a.json:x", "a.json.gz:1"])
def test_a_source_of_another_file_is_not(source: str) -> None:
    assert is_from(pa.chunked_array([[source]]), "source", "a.json").to_pylist() == [False]


def test_rows_of_a_pair_of_lines_go_with_their_file() -> None:
    table = pa.table({"source": ["a.json:1+2", "b.json:1+2", "a.json:3#0#1"]})
    assert without(table, "source", ["a.json"]).column("source").to_pylist() == ["b.json:1+2"]
