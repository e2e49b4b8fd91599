from typing import Any

import pyarrow as pa
import pytest

from data_store.errors import InputError
from data_store.row_checks import conform
from data_store.rows import ROW_KINDS, row_kind

TURN = {"role": "user", "content": "hello"}
PREFERENCE: dict[str, Any] = {
    "preference_id": "p1",
    "source": "a.jsonl:1",
    "prompt_id": "q1",
    "axis": "safety",
    "iteration": "V1",
    "split": "train",
    "messages": [TURN],
    "response_a": "yes",
    "response_b": "no",
    "token_ids_a": [5, 2],
    "token_ids_b": None,
    "finished_a": False,
    "finished_b": None,
    "tokenizer": "tok",
    "policy_version_a": None,
    "policy_version_b": None,
    "temperature_milli_a": 1000,
    "temperature_milli_b": None,
    "chosen": "a",
    "rating": "better",
    "safety_label": None,
    "annotator": "ann",
}


def preferences(*changes: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{**PREFERENCE, "preference_id": f"p{n}", **c} for n, c in enumerate(changes)])


def check(table: pa.Table, kind: str = "preference") -> pa.Table:
    return conform(table, row_kind(kind), "x/rows.parquet")


def test_sound_rows_come_back_in_the_kinds_columns_and_types() -> None:
    table = preferences({}, {"safety_label": "both_safe"})
    shuffled = table.select(sorted(table.column_names))
    assert check(shuffled).schema.equals(ROW_KINDS["preference"].schema)
    assert check(shuffled).column("safety_label").to_pylist() == [None, "both_safe"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rating": "3"}, "row 1: field 'rating' is '3'; use one of significantly_better, better"),
        ({"chosen": "A"}, "row 1: field 'chosen' is 'A'; use one of a, b"),
        ({"axis": None}, "row 1: field 'axis' is empty"),
        ({"split": "validation"}, "row 1: field 'split' is 'validation'"),
        ({"safety_label": "safe"}, "row 1: field 'safety_label' is 'safe'"),
        ({"tokenizer": None}, "row 1: field 'token_ids_a' has ids, 'tokenizer' is empty"),
        ({"token_ids_b": [7]}, "row 1: field 'token_ids_b' has ids, 'finished_b' is empty"),
        ({"messages": []}, "row 1: field 'messages' is an empty list"),
        ({"messages": [TURN, {"role": "bot", "content": "x"}, TURN]}, "row 1: field 'messages' needs a role"),
        ({"messages": [{"role": "user", "content": None}]}, "row 1: field 'messages' needs a role"),
        (
            {"messages": [TURN, {"role": "assistant", "content": "x"}]},
            "row 1: field 'messages' ends with role 'assistant'",
        ),
        ({"preference_id": "p0"}, "row 1: .* is already the key of row 0"),
    ],
)
def test_a_broken_row_is_refused_with_its_file_its_number_and_its_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^x/rows.parquet: {message}"):
        check(preferences({}, change, {}))


def test_missing_and_foreign_columns_are_named() -> None:
    table = preferences({}).drop_columns(["rating"]).append_column("margin", pa.array([1.0]))
    with pytest.raises(InputError, match=r"missing \['rating'\], unknown \['margin'\]"):
        check(table)


def test_a_type_that_would_lose_something_is_refused() -> None:
    table = preferences({})
    position = table.column_names.index("temperature_milli_a")
    with pytest.raises(InputError, match="field 'temperature_milli_a' must be int32"):
        check(table.set_column(position, "temperature_milli_a", pa.array([0.7])))


def test_the_row_number_counts_over_the_chunks_of_a_table() -> None:
    second = preferences({"preference_id": "p7", "messages": []}).cast(preferences({}).schema)
    table = pa.concat_tables([preferences({}, {}), second])
    with pytest.raises(InputError, match="row 2: field 'messages'"):
        check(table)


def test_an_empty_table_is_a_sound_table() -> None:
    assert check(ROW_KINDS["score"].schema.empty_table(), "score").num_rows == 0


def test_one_response_may_have_a_score_per_reward_model_and_kind() -> None:
    rows = [
        {"response_id": "r", "reward_version": version, "kind": kind, "value": 0.5}
        for version in ("v1", "v2")
        for kind in ("safety", "helpfulness")
    ]
    assert check(pa.Table.from_pylist(rows), "score").num_rows == 4
    with pytest.raises(InputError, match="already the key of row 0"):
        check(pa.Table.from_pylist(rows + rows[:1]), "score")


def test_an_unknown_kind_is_refused_with_the_kinds_there_are() -> None:
    with pytest.raises(InputError, match=r"use one of document, dropped, corpus_stage, .*, dialogue, finding"):
        row_kind("documents")


def test_kinds_with_other_schemas_have_other_schema_hashes() -> None:
    assert len({kind.schema_hash for kind in ROW_KINDS.values()}) == len(ROW_KINDS) == 25
