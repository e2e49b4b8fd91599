import time
from pathlib import Path

import pyarrow as pa
import pytest

from data_store.catalog.query_views import ROW_VIEWS, VIEWS
from data_store.errors import InputError
from tests.data_store.store_bench import Bench


def scored(bench: Bench) -> None:
    """Two iterations of scores, the second version of V1 being the one that counts."""
    for part, values in (("V1", (9.0,)), ("V1", (0.1, 0.7)), ("V2", (0.4,))):
        rows = [
            {"response_id": f"{part}-{n}", "reward_version": "rm", "kind": "safety", "value": value}
            for n, value in enumerate(values)
        ]
        publication = bench.store.publish("dataset", bench.rows("score", rows), row_kind="score")
        bench.run("score", {f"dataset/scores@{part}": publication})


def test_rows_of_all_current_versions_can_be_asked_together(bench: Bench) -> None:
    scored(bench)
    best = bench.store.query("SELECT asset, response_id, value FROM scores ORDER BY value DESC LIMIT 2").to_pylist()
    assert best == [
        {"asset": "dataset/scores@V1", "response_id": "V1-1", "value": 0.7},
        {"asset": "dataset/scores@V2", "response_id": "V2-0", "value": 0.4},
    ]


def test_rows_join_with_the_catalog(bench: Bench) -> None:
    scored(bench)
    sql = """
        SELECT runs.step, count(*) AS n FROM scores JOIN versions USING (asset, version_id)
        JOIN runs ON runs.run_id = versions.made_by GROUP BY runs.step"""
    assert bench.store.query(sql).to_pylist() == [{"step": "score", "n": 3}]


def test_a_kind_without_rows_is_an_empty_table(bench: Bench) -> None:
    assert bench.store.query("SELECT count(*) AS n FROM preferences WHERE rating = 'better'").to_pylist() == [{"n": 0}]


def test_every_view_answers_in_an_empty_store(bench: Bench) -> None:
    names = (*VIEWS, *ROW_VIEWS)
    counts = [f"SELECT '{name}' AS name, count(*) AS n FROM {name}" for name in names]
    answer = bench.store.query(" UNION ALL ".join(counts)).to_pylist()
    assert sorted(row["name"] for row in answer) == sorted(names)
    assert {row["n"] for row in answer} == {0}


@pytest.mark.slow
def test_the_views_tell_versions_edges_and_metrics_by_the_names_of_assets(bench: Bench) -> None:
    scored(bench)
    made = bench.run("train", {"model/policy@V2": "w"}, ("dataset/scores@V1",))
    versions = bench.store.query("SELECT asset, rows, is_current, is_removed FROM versions ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in versions] == [
        ("dataset/scores@V1", 1, False, False),
        ("dataset/scores@V1", 2, True, False),
        ("dataset/scores@V2", 1, True, False),
        ("model/policy@V2", None, True, False),
    ]
    (edge,) = bench.store.query("SELECT step, part, role, asset, run_id FROM inputs").to_pylist()
    assert tuple(edge.values()) == ("train", "V1", "input-0", "dataset/scores@V1", made.run_id)
    assert bench.store.query("SELECT step, state FROM runs WHERE seconds >= 0").num_rows == 4


def test_only_as_many_rows_are_fetched_as_are_asked_for(bench: Bench) -> None:
    answer = bench.store.query("SELECT range AS n FROM range(100000000000)", limit=3)
    assert answer.column("n").to_pylist() == [0, 1, 2]
    assert bench.store.query("SELECT 1 AS n WHERE FALSE", limit=3).column_names == ["n"]


@pytest.mark.parametrize(
    "sql",
    [
        *("DROP TABLE run", "INSERT INTO head SELECT * FROM head", "UPDATE run SET step = 'x'", "DELETE FROM run"),
        *("CREATE TABLE x (i INTEGER)", "SELECT 1; DROP TABLE run", "BEGIN", "CHECKPOINT", "VACUUM", "", "   "),
        *("ATTACH '{store}/catalog.duckdb' AS c", "COPY run TO '{tmp}/out.csv'", "COPY run FROM '{tmp}/secret.csv'"),
        *(
            "EXPORT DATABASE '{tmp}/out'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET threads = 1",
        ),
        *("SET enable_external_access = true", "RESET lock_configuration", "CALL pragma_version()"),
        *("SELECT * FROM read_csv('{tmp}/secret.csv')", "SELECT * FROM '{tmp}/secret.csv'"),
        *("SELECT * FROM read_text('{tmp}/secret.csv')", "SELECT * FROM read_blob('/etc/passwd')"),
        *("SELECT * FROM glob('/etc/*')", "SELECT * FROM read_parquet('https://example.com/x.parquet')"),
        *("SELECT * FROM python_table", "SELECT * FROM sniff_csv('{tmp}/secret.csv')", "SELEC 1"),
        "SELECT * FROM read_parquet('{store}/objects/*/*')",
    ],
)
def test_user_sql_cannot_write_read_files_attach_or_open_doors(bench: Bench, tmp_path: Path, sql: str) -> None:
    python_table = pa.table({"i": [1]})
    assert python_table.num_rows == 1
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with pytest.raises(InputError):
        bench.store.query(sql.format(tmp=tmp_path, store=bench.store.root))
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_only_the_rows_that_were_asked_for_can_be_read(bench: Bench) -> None:
    scored(bench)
    bench.run(
        "filter", {"dataset/documents@V1": bench.store.publish("dataset", bench.documents("a"), row_kind="document")}
    )
    head = bench.store.query("SELECT version_id FROM versions WHERE asset = 'dataset/documents@V1'").to_pylist()
    path = bench.store.checkout(head[0]["version_id"]) / "rows.parquet"
    with pytest.raises(InputError, match="Cannot access file"):
        bench.store.query(f"SELECT count(*) FROM scores, read_parquet('{path}')")


def test_a_query_that_takes_too_long_is_stopped_and_keeps_no_writer_waiting(bench: Bench) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=r"longer than 0\.3 s"):
        bench.store.query(
            "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range = 7", seconds=0.3
        )
    assert time.monotonic() - started < 10
    bench.store.set_override("V1", "s", "k", 1)


def test_a_mistaken_name_is_answered_with_the_names_there_are(bench: Bench) -> None:
    with pytest.raises(InputError, match="There are: runs, versions, "):
        bench.store.query("SELECT * FROM heads")
