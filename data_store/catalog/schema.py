"""The catalog's schema as appended migrations. The text runs unchanged on DuckDB and on PostgreSQL.

Rules: a migration that has been released is never edited, only followed by another. The tables are append-only: nothing
is updated or deleted, state is the newest event (DuckDB cannot reliably update an indexed column).
There are no foreign keys and no indexes besides the keys. Times are UTC.
"""

from collections.abc import Callable

from data_store.encoding import text_hash

Migration = Callable[[], str]


def tables() -> str:
    """1: the tables."""
    return """
CREATE TABLE asset (asset_id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, part TEXT NOT NULL);
CREATE TABLE object (sha256 TEXT PRIMARY KEY, bytes BIGINT NOT NULL);
CREATE TABLE version (
    version_id TEXT PRIMARY KEY, kind TEXT NOT NULL, row_kind TEXT, set_hash TEXT NOT NULL, schema_hash TEXT NOT NULL,
    n_rows BIGINT, bytes BIGINT NOT NULL, parent_id TEXT, created_at TIMESTAMP NOT NULL);
CREATE TABLE version_object (
    version_id TEXT NOT NULL, seq BIGINT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, bytes BIGINT NOT NULL,
    role TEXT NOT NULL, PRIMARY KEY (version_id, seq, path));
CREATE TABLE retired (
    version_id TEXT NOT NULL, seq BIGINT NOT NULL, ts TIMESTAMP NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (version_id, seq));
CREATE TABLE source (
    seq BIGINT PRIMARY KEY, asset_id TEXT NOT NULL, version_id TEXT NOT NULL, location TEXT NOT NULL,
    ts TIMESTAMP NOT NULL);
CREATE TABLE run (
    run_id TEXT PRIMARY KEY, step TEXT NOT NULL, part TEXT NOT NULL, attempt INTEGER NOT NULL,
    fingerprint TEXT NOT NULL, code_version TEXT NOT NULL, git_commit TEXT, git_dirty BOOLEAN,
    config_hash TEXT NOT NULL, config TEXT NOT NULL, seed BIGINT NOT NULL, env_hash TEXT NOT NULL, env TEXT NOT NULL,
    prefect_flow_run_id TEXT, prefect_task_run_id TEXT, prefect_root_flow_run_id TEXT,
    host TEXT NOT NULL, started_at TIMESTAMP NOT NULL);
CREATE TABLE run_code (
    run_id TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (run_id, path));
CREATE TABLE run_event (
    run_id TEXT NOT NULL, seq BIGINT NOT NULL, state TEXT NOT NULL, ts TIMESTAMP NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (run_id, seq));
CREATE TABLE run_input (
    run_id TEXT NOT NULL, role TEXT NOT NULL, asset_id TEXT NOT NULL, version_id TEXT NOT NULL, producer_run_id TEXT,
    PRIMARY KEY (run_id, role, asset_id));
CREATE TABLE run_output (
    run_id TEXT NOT NULL, role TEXT NOT NULL, asset_id TEXT NOT NULL, version_id TEXT NOT NULL,
    PRIMARY KEY (run_id, role));
CREATE TABLE head (
    asset_id TEXT NOT NULL, seq BIGINT NOT NULL, version_id TEXT NOT NULL, run_id TEXT, ts TIMESTAMP NOT NULL,
    reason TEXT NOT NULL, PRIMARY KEY (asset_id, seq));
CREATE TABLE metric (
    run_id TEXT NOT NULL, name TEXT NOT NULL, step BIGINT NOT NULL, value DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run_id, name, step));
CREATE TABLE config_override (
    seq BIGINT PRIMARY KEY, part TEXT NOT NULL, step TEXT NOT NULL, name TEXT NOT NULL, value_json TEXT,
    ts TIMESTAMP NOT NULL);
CREATE TABLE applied_event (
    event_id TEXT PRIMARY KEY, seq BIGINT NOT NULL, prev TEXT NOT NULL, sha256 TEXT NOT NULL, outcome TEXT NOT NULL);
"""


def views() -> str:
    """2: the views by which people and the store itself read the newest state."""
    return """
CREATE VIEW current_head AS
    SELECT head.asset_id, head.version_id, head.run_id, head.seq, head.ts, head.reason
    FROM head JOIN (SELECT asset_id, max(seq) AS seq FROM head GROUP BY asset_id) newest
        ON head.asset_id = newest.asset_id AND head.seq = newest.seq;
CREATE VIEW current_object AS
    SELECT version_object.version_id, version_object.path, version_object.sha256, version_object.bytes,
        version_object.role, version_object.seq, gone.seq IS NOT NULL AS is_retired
    FROM version_object
    JOIN (SELECT version_id, max(seq) AS seq FROM version_object GROUP BY version_id) newest
        ON version_object.version_id = newest.version_id AND version_object.seq = newest.seq
    LEFT JOIN (SELECT version_id, max(seq) AS seq FROM retired GROUP BY version_id) gone
        ON gone.version_id = version_object.version_id AND gone.seq > version_object.seq;
CREATE VIEW run_state AS
    SELECT run_event.run_id, run_event.state, run_event.ts, run_event.detail, run_event.seq
    FROM run_event JOIN (SELECT run_id, max(seq) AS seq FROM run_event GROUP BY run_id) newest
        ON run_event.run_id = newest.run_id AND run_event.seq = newest.seq;
CREATE VIEW last_metric AS
    SELECT metric.run_id, metric.name, metric.value
    FROM metric JOIN (SELECT run_id, name, max(step) AS step FROM metric GROUP BY run_id, name) newest
        ON metric.run_id = newest.run_id AND metric.name = newest.name AND metric.step = newest.step;
CREATE VIEW current_override AS
    SELECT config_override.part, config_override.step, config_override.name, config_override.value_json,
        config_override.ts, config_override.seq
    FROM config_override
    JOIN (SELECT part, step, name, max(seq) AS seq FROM config_override GROUP BY part, step, name) newest
        ON config_override.seq = newest.seq
    WHERE config_override.value_json IS NOT NULL;
"""


def reads() -> str:
    """3: what a run that has begun reads, known before it ends; the edges of lineage are written when it succeeds."""
    return """
CREATE TABLE run_read (run_id TEXT NOT NULL, version_id TEXT NOT NULL, PRIMARY KEY (run_id, version_id));
"""


def withdrawal_tables() -> str:
    """4: whose rows are withdrawn, which versions held them then, and what a run that is taken up again reads today."""
    return """
CREATE TABLE withdrawal (
    seq BIGINT PRIMARY KEY, what TEXT NOT NULL, name TEXT NOT NULL, in_force BOOLEAN NOT NULL, reason TEXT NOT NULL,
    ts TIMESTAMP NOT NULL);
CREATE TABLE withdrawn_rows (
    seq BIGINT NOT NULL, version_id TEXT NOT NULL, n_rows BIGINT NOT NULL, PRIMARY KEY (seq, version_id));
CREATE TABLE run_input_again (
    run_id TEXT NOT NULL, seq BIGINT NOT NULL, role TEXT NOT NULL, asset_id TEXT NOT NULL, version_id TEXT NOT NULL,
    producer_run_id TEXT, PRIMARY KEY (run_id, seq, role, asset_id));
"""


def withdrawal_views() -> str:
    """5: the withdrawals in force, and what each run reads by its newest word."""
    return """
CREATE VIEW current_withdrawal AS
    SELECT withdrawal.seq, withdrawal.what, withdrawal.name, withdrawal.reason, withdrawal.ts
    FROM withdrawal JOIN (SELECT what, name, max(seq) AS seq FROM withdrawal GROUP BY what, name) newest
        ON withdrawal.seq = newest.seq
    WHERE withdrawal.in_force;
CREATE VIEW current_input AS
    SELECT run_input.run_id, run_input.role, run_input.asset_id, run_input.version_id, run_input.producer_run_id
    FROM run_input LEFT JOIN (SELECT DISTINCT run_id FROM run_input_again) again ON again.run_id = run_input.run_id
    WHERE again.run_id IS NULL
    UNION ALL
    SELECT again.run_id, again.role, again.asset_id, again.version_id, again.producer_run_id
    FROM run_input_again again
    JOIN (SELECT run_id, max(seq) AS seq FROM run_input_again GROUP BY run_id) newest
        ON newest.run_id = again.run_id AND newest.seq = again.seq;
"""


def origins() -> str:
    """6: where a source came from, as facts that can be asked for: a row beside the one of `source` with this seq."""
    return """
CREATE TABLE origin (
    seq BIGINT PRIMARY KEY, kind TEXT NOT NULL, path TEXT, run TEXT, from_asset TEXT, from_version TEXT, made_by TEXT,
    batch TEXT, part TEXT, model TEXT, url TEXT, pairs TEXT, pairs_version TEXT);
"""


def estimates() -> str:
    """7: of how many items a metric is, its interval at 95 %, and who judged: a row beside the one of `metric` with
    step 0."""
    return """
CREATE TABLE estimate (
    run_id TEXT NOT NULL, name TEXT NOT NULL, n BIGINT NOT NULL, low DOUBLE PRECISION, high DOUBLE PRECISION,
    judge TEXT, PRIMARY KEY (run_id, name));
"""


VIEWS_SQL = views() + withdrawal_views()
MIGRATIONS: tuple[Migration, ...] = (tables, views, reads, withdrawal_tables, withdrawal_views, origins, estimates)

# What the views of `halter query` are made of.
PUBLIC_TABLES = (
    "asset",
    "version",
    "version_object",
    "retired",
    "source",
    "origin",
    "run",
    "run_code",
    "run_event",
    "run_input",
    "run_output",
    "head",
    "metric",
    "estimate",
    "config_override",
    "withdrawal",
    "withdrawn_rows",
    "run_input_again",
)


def statements(upto: int | None = None) -> list[tuple[int, str, str]]:
    """(n, sql, sha256 of the sql) of the first `upto` migrations, all by default; n counts from 1."""
    chosen = MIGRATIONS if upto is None else MIGRATIONS[:upto]
    return [(n, sql, text_hash(sql)) for n, sql in enumerate((migration() for migration in chosen), start=1)]
