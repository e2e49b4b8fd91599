"""How a corpus is cut into groups: by characters, over batches, and nothing is lost on the way to another process."""

import pyarrow as pa

from data_store.corpus.groups import groups, packed, unpacked
from data_store.rows import row_kind

EACH = 20  # what a document counts beside its characters


def cut(lengths: list[int], most: int, at_once: int) -> list[list[int]]:
    """The lengths of the documents of each group."""
    ids = [f"d{n}" for n in range(len(lengths))]
    table = pa.table([ids, ids, ["é" * length for length in lengths]], schema=row_kind("document").schema)
    found = list(groups(table.to_batches(max_chunksize=at_once), most))
    assert [each for group in found for each in group.column("doc_id").to_pylist()] == ids
    return [[len(text) for text in group.column("text").to_pylist()] for group in found]


def test_a_group_has_as_many_documents_as_fit_whichever_batches_they_come_in() -> None:
    """Characters, not bytes: 30 + 20 and 50 + 20 are 120, and one more of 0 + 20 is too much for 139."""
    lengths = [30, 50, 0, 10, 40, 40, 5]
    for at_once in (1, 2, 3, 100):
        assert cut(lengths, 140, at_once) == [[30, 50, 0], [10, 40], [40, 5]]
        assert cut(lengths, 139, at_once) == [[30, 50], [0, 10, 40], [40, 5]]


def test_a_document_that_is_larger_than_a_group_is_one_by_itself() -> None:
    assert cut([5, 500, 5, 600, 700], 100, 2) == [[5], [500], [5], [600], [700]]
    assert cut([1, 2], 1, 5) == [[1], [2]]
    assert cut([], 100, 5) == []


def test_a_part_of_a_table_is_packed_without_the_rest() -> None:
    ids = [f"d{n}" for n in range(1000)]
    part = pa.table([ids, ids, ["x" * 1000] * 1000], schema=row_kind("document").schema).slice(10, 3)
    assert unpacked(packed(part)) == part
    assert len(packed(part)) < 10_000
