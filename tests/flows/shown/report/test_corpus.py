"""The corpus in a report, whatever the order in which the store keeps rows."""

from datetime import UTC, datetime
from itertools import permutations

from data_store.names import AssetName
from data_store.records import Head
from flows.shown.report.corpus import _stages

HEAD = Head(AssetName.parse("dataset/corpus-counts@base"), "0" * 64, None, 1, datetime(2026, 1, 1, tzinfo=UTC), "made")


def stage(source: str, place: int, stage: str, before: int, after: int) -> dict[str, object]:
    documents = {"documents_before": before, "documents_after": after}
    return {
        "source": source,
        "place": place,
        "stage": stage,
        **documents,
        "characters_before": 10 * before,
        "characters_after": 10 * after,
    }


def test_each_file_begins_as_it_was_read_and_loses_what_each_rule_took_in_their_order() -> None:
    rows = [
        stage("a.jsonl", 0, "mended", 9, 9),
        stage("a.jsonl", 1, "too_short", 9, 7),
        stage("a.jsonl", 2, "near_duplicate", 7, 4),
        stage("b.jsonl", 0, "mended", 5, 5),
        stage("b.jsonl", 1, "too_short", 5, 5),
    ]
    for shuffled in permutations(rows):
        table = _stages(HEAD, shuffled, {})
        assert [[cell.text for cell in row[:3]] for row in table.rows] == [
            ["a.jsonl", "as read", "9"],
            ["", "too_short", "7"],
            ["", "near_duplicate", "4"],
            ["b.jsonl", "as read", "5"],
        ]
