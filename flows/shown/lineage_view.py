"""What made an asset, back to the source files and their hashes, as plain values."""

from typing import Any

from pydantic import BaseModel

from data_store.catalog.runs import read_origins
from data_store.names import AssetName
from data_store.records import LineageGraph
from data_store.store import Store
from flows.recipe.defaults import differing
from flows.recipe.table import STEPS
from tasks.engine.code_today import CodeToday


def lineage_document(store: Store, asset: AssetName) -> dict[str, Any]:
    """Everything behind an asset as plain values: runs with config, seed and code; data sets; models; judgements;
    sources. `depth` of a run: 1 for the one that made the asset, 2 for those that it read from. `set`: which values of
    its config are not the defaults of today; `estimates`: what it measured on samples. `facts` of a source: where it
    came from (`data_store/catalog/origins.py`); none where it came with an import."""
    graph = store.lineage(asset)
    order = _topological(graph)
    depths = _depths(graph)
    runs = []
    code = CodeToday()
    for run_id in order:
        record = graph.runs[run_id].run
        runs.append(
            {
                "run": run_id,
                "step": record.step,
                "part": record.part,
                "depth": depths[run_id],
                "state": graph.runs[run_id].state,
                "started_at": record.started_at.isoformat(),
                "config": dict(record.config),
                "set": differing(
                    (STEPS[record.step].config if record.step in STEPS else None), record.config.get("config", {})
                ),
                "seed": record.seed,
                "fingerprint": record.fingerprint,
                "code_version": record.code_version,
                "git_commit": record.git_commit,
                "git_dirty": record.git_dirty,
                "code_files": dict(record.code_files),
                "other_code": code.differs(record.code_files),
                "environment": dict(record.env),
                "estimates": {name: each.as_json() for name, each in graph.runs[run_id].estimates.items()},
                "prefect_flow_run_id": record.prefect_flow_run_id,
                "prefect_root_flow_run_id": record.prefect_root_flow_run_id,
                "reads": [_edge(edge) for edge in graph.inputs_of(run_id)],
                "makes": [_edge(edge) for edge in graph.outputs_of(run_id)],
            }
        )
    used: dict[tuple[str, str], Any] = {}
    for run_id in order:
        for edge in (*graph.outputs_of(run_id), *graph.inputs_of(run_id)):
            used[str(edge.asset), edge.version_id] = edge.asset
    origins = store.catalog.ask("origins", read_origins)
    groups: dict[str, list[dict[str, Any]]] = {
        "sources": [],
        "data_sets": [],
        "judgements": [],
        "reward_models": [],
        "models": [],
    }
    for (name, version_id), each in sorted(used.items()):
        entry: dict[str, Any] = {"asset": name, "version": version_id}
        info = store.version(version_id)
        if each.kind == "source":
            reasons = [head.reason for head in store.history(each) if head.version_id == version_id]
            groups["sources"].append(
                {
                    **entry,
                    "origin": reasons[-1],
                    "facts": origins.get((name, version_id), {}),
                    "files": [{"path": o.path, "sha256": o.sha256, "bytes": o.bytes} for o in info.objects],
                }
            )
        elif each.name == "preferences" and info.row_kind == "preference":
            groups["judgements"].append({**entry, "pairs": info.n_rows, "by_annotator": _annotators(store, version_id)})
        elif each.kind == "dataset":
            groups["data_sets"].append({**entry, "rows": info.n_rows})
        elif each.name.startswith("reward-"):
            groups["reward_models"].append(entry)
        else:
            groups["models"].append(entry)
    head = store.head(asset)
    return {"asset": str(asset), "version": head.version_id if head else None, **groups, "runs": runs}


def _edge(edge: Any) -> dict[str, Any]:
    return {
        "role": edge.role,
        "asset": str(edge.asset),
        "version": edge.version_id,
        "made_by_run": edge.producer_run_id,
    }


def _annotators(store: Store, version_id: str) -> dict[str, int]:
    counts = store.rows(version_id).group_by("annotator").aggregate([("annotator", "count")]).to_pylist()
    return {row["annotator"]: row["annotator_count"] for row in sorted(counts, key=lambda row: str(row["annotator"]))}


def _depths(graph: LineageGraph) -> dict[str, int]:
    """How many runs each one lies behind the asset, by the shortest way."""
    depths = dict.fromkeys(graph.roots, 1)
    waiting = list(graph.roots)
    for run_id in waiting:
        for edge in graph.inputs_of(run_id):
            if edge.producer_run_id and edge.producer_run_id not in depths:
                depths[edge.producer_run_id] = depths[run_id] + 1
                waiting.append(edge.producer_run_id)
    return depths


def _topological(graph: LineageGraph) -> list[str]:
    """Runs, each before the runs that it read from."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(run_id: str) -> None:
        if run_id in seen:
            return
        seen.add(run_id)
        for edge in graph.inputs_of(run_id):
            if edge.producer_run_id:
                visit(edge.producer_run_id)
        order.append(run_id)

    for root in graph.roots:
        visit(root)
    return order[::-1]


def _config_of(step: str) -> type[BaseModel] | None:
    """The config of a step, also of one that today's plan has no place for."""
    return STEPS[step].config if step in STEPS else None
