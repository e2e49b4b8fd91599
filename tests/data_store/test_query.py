import time
from pathlib import Path

import pyarrow as pa
import pytest

from data_store.errors import InputError
from data_store.schema import PUBLIC_TABLES, PUBLIC_VIEWS
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
    best = bench.store.query("SELECT asset, response_id, value FROM score ORDER BY value DESC LIMIT 2").to_pylist()
    assert best == [
        {"asset": "dataset/scores@V1", "response_id": "V1-1", "value": 0.7},
        {"asset": "dataset/scores@V2", "response_id": "V2-0", "value": 0.4},
    ]


def test_rows_join_with_the_catalog(bench: Bench) -> None:
    scored(bench)
    sql = """
        SELECT run.step, count(*) AS n FROM score JOIN current_head USING (version_id) JOIN run USING (run_id)
        GROUP BY run.step"""
    assert bench.store.query(sql).to_pylist() == [{"step": "score", "n": 3}]


def test_a_kind_without_rows_is_an_empty_table(bench: Bench) -> None:
    assert bench.store.query("SELECT count(*) AS n FROM preference WHERE rating = 'better'").to_pylist() == [{"n": 0}]


def test_every_documented_table_and_view_answers(bench: Bench) -> None:
    counts = [f"SELECT '{name}' AS name, count(*) AS n FROM {name}" for name in (*PUBLIC_TABLES, *PUBLIC_VIEWS)]
    answer = bench.store.query(" UNION ALL ".join(counts)).to_pylist()
    assert sorted(row["name"] for row in answer) == sorted((*PUBLIC_TABLES, *PUBLIC_VIEWS))
    assert {row["n"] for row in answer} == {0}


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


def test_only_the_rows_that_were_asked_for_can_be_read(bench: Bench) -> None:
    scored(bench)
    bench.run(
        "filter", {"dataset/documents@V1": bench.store.publish("dataset", bench.documents("a"), row_kind="document")}
    )
    head = bench.store.query("SELECT version_id FROM current_head WHERE asset_id = 'dataset/documents@V1'").to_pylist()
    path = bench.store.checkout(head[0]["version_id"]) / "rows.parquet"
    with pytest.raises(InputError, match="Cannot access file"):
        bench.store.query(f"SELECT count(*) FROM score, read_parquet('{path}')")


def test_a_query_that_takes_too_long_is_stopped_and_keeps_no_writer_waiting(bench: Bench) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=r"longer than 0\.3 s"):
        bench.store.query(
            "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range = 7", seconds=0.3
        )
    assert time.monotonic() - started < 10
    bench.store.set_override("V1", "s", "k", 1)


def test_a_mistaken_name_is_answered_with_the_names_there_are(bench: Bench) -> None:
    with pytest.raises(InputError, match="There are: current_head, "):
        bench.store.query("SELECT * FROM heads")
