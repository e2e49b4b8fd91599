"""The views that a user's SQL is written against. Their names and columns stay when the catalog's tables change.

`docs/look-after-a-store.md` lists them; a test holds the page against this file.
"""

from collections.abc import Mapping

from data_store.rows import ROW_KINDS

VIEWS: Mapping[str, str] = {
    "runs": """
        SELECT run.run_id, run.step, run.part, run.attempt, run_state.state, run_state.detail, run.started_at,
            CASE WHEN run_state.state <> 'running' THEN run_state.ts END AS finished_at,
            CASE WHEN run_state.state <> 'running' THEN date_diff('millisecond', run.started_at, run_state.ts) / 1000
                END AS seconds, spent.value AS processor_seconds,
            run.seed, run.config, run.fingerprint, run.code_version, run.git_commit, run.git_dirty, run.host
        FROM run JOIN run_state ON run_state.run_id = run.run_id
        LEFT JOIN metric spent
            ON spent.run_id = run.run_id AND spent.name = 'processor_seconds' AND spent.step = 0""",
    "versions": """
        SELECT named.asset, version.version_id, version.kind, version.row_kind, version.n_rows AS rows, version.bytes,
            named.made_by, named.since, current_head.version_id IS NOT NULL AS is_current,
            coalesce(gone.is_removed, FALSE) AS is_removed
        FROM (SELECT asset_id AS asset, version_id, arg_max(run_id, seq) AS made_by, max(ts) AS since FROM head
            GROUP BY asset_id, version_id) named
        JOIN version ON version.version_id = named.version_id
        LEFT JOIN current_head
            ON current_head.asset_id = named.asset AND current_head.version_id = named.version_id
        LEFT JOIN (SELECT version_id, bool_or(is_retired) AS is_removed FROM current_object GROUP BY version_id) gone
            ON gone.version_id = named.version_id""",
    "files": """
        SELECT version_id, path, sha256, bytes, role FROM current_object""",
    "inputs": """
        SELECT run.run_id, run.step, run.part, read.role, read.asset_id AS asset, read.version_id,
            read.producer_run_id AS made_by
        FROM current_input read JOIN run ON run.run_id = read.run_id""",
    "outputs": """
        SELECT run.run_id, run.step, run.part, run_output.role, run_output.asset_id AS asset, run_output.version_id
        FROM run_output JOIN run ON run.run_id = run_output.run_id""",
    "metrics": """
        SELECT run.run_id, run.step, run.part, metric.name, metric.step AS training_step, metric.value,
            estimate.n, estimate.low, estimate.high, estimate.judge
        FROM metric JOIN run ON run.run_id = metric.run_id
        LEFT JOIN estimate
            ON estimate.run_id = metric.run_id AND estimate.name = metric.name AND metric.step = 0""",
    "history": """
        SELECT asset_id AS asset, version_id, run_id AS made_by, ts AS since, reason FROM head""",
    "sources": """
        SELECT source.asset_id AS asset, source.version_id, source.location, source.ts AS registered_at,
            origin.kind, origin.path, origin.run, origin.from_asset, origin.from_version, origin.made_by, origin.batch,
            origin.part, origin.model, origin.url, origin.pairs, origin.pairs_version
        FROM source LEFT JOIN origin ON origin.seq = source.seq""",
    "withdrawals": """
        SELECT what, name, reason, ts AS since FROM current_withdrawal""",
    "settings": """
        SELECT part, step, name AS key, value_json, ts AS set_at FROM current_override""",
}

# The rows of data sets: the name of the view → the kind of rows.
ROW_VIEWS: Mapping[str, str] = {kind if kind == "dropped" else f"{kind}s": kind for kind in ROW_KINDS}
