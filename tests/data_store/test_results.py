"""Answers of DuckDB, one after the other on one connection. `make test-duckdb2` runs this with the other version."""

import warnings
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from data_store.names import AssetName
from data_store.results import arrow_table, first_row
from tests.data_store.store_bench import Bench


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE numbers AS SELECT range AS n FROM range(5)")
        yield connection


def test_a_first_row_leaves_the_connection_free_for_a_relation_and_for_a_table_of_ours(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    assert first_row(connection, "SELECT n FROM numbers WHERE n > ? ORDER BY n", [1]) == (2,)
    assert first_row(connection, "SELECT n FROM numbers WHERE n > 4") is None
    assert connection.sql("SELECT sum(n) FROM numbers").fetchall() == [(10,)]
    assert first_row(connection, "SELECT max(n) FROM numbers") == (4,)
    connection.register("more", pa.table({"n": [7]}))
    connection.execute("INSERT INTO numbers FROM more")
    assert first_row(connection, "SELECT max(n) FROM numbers") == (7,)


def test_an_arrow_table_is_had_while_another_answer_is_unfinished_and_nothing_is_warned_of(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    unfinished = connection.execute("SELECT n FROM numbers ORDER BY n")
    assert unfinished.fetchone() == (0,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = arrow_table(
            connection, "SELECT n FROM numbers WHERE n IN (SELECT unnest(?::INT[])) ORDER BY n", [[1, 3]]
        )
    assert table.to_pydict() == {"n": [1, 3]}
    assert unfinished.fetchone() == (1,)


@pytest.mark.slow
def test_more_heads_than_are_written_as_values_go_back_to_an_earlier_run(bench: Bench) -> None:
    """120 new heads are handed to DuckDB as a table, right after questions about each of them."""
    assets = [AssetName.parse(f"model/policy-{n}@V1") for n in range(120)]
    first, second = bench.publish("first"), bench.publish("second")
    earlier = bench.run("train", {str(asset): first for asset in assets})
    bench.run("train", {str(asset): second for asset in assets})
    bench.store.move_heads(earlier.run_id, dict.fromkeys(assets, first.version_id), "taken up again")
    assert {head.version_id for head in bench.store.heads().values()} == {first.version_id}
