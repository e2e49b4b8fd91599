"""Lineage as people read it: what made an asset, back to the source files and their hashes."""

from collections.abc import Mapping
from typing import Any

from data_store.names import AssetName
from data_store.records import LineageGraph
from data_store.store import Store
from tasks.code_today import CodeToday, few


def lineage_document(store: Store, asset: AssetName) -> dict[str, Any]:
    """Everything behind an asset as plain values: runs with config, seed and code; data sets; models; judgements;
    sources."""
    graph = store.lineage(asset)
    order = _topological(graph)
    runs = []
    code = CodeToday()
    for run_id in order:
        record = graph.runs[run_id].run
        runs.append(
            {
                "run": run_id,
                "step": record.step,
                "part": record.part,
                "state": graph.runs[run_id].state,
                "started_at": record.started_at.isoformat(),
                "config": dict(record.config),
                "seed": record.seed,
                "fingerprint": record.fingerprint,
                "code_version": record.code_version,
                "git_commit": record.git_commit,
                "git_dirty": record.git_dirty,
                "code_files": dict(record.code_files),
                "other_code": code.differs(record.code_files),
                "environment": dict(record.env),
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
            origins = [head.reason for head in store.history(each) if head.version_id == version_id]
            groups["sources"].append(
                {
                    **entry,
                    "origin": origins[-1],
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


def lineage_lines(document: Mapping[str, Any]) -> list[str]:
    """The same as text."""
    lines = [f"{document['asset']}  {document['version']}", ""]
    titles = {
        "sources": "Source files",
        "data_sets": "Data sets",
        "judgements": "Judgements",
        "reward_models": "Reward models",
        "models": "Models and reports",
    }
    for group, title in titles.items():
        if document[group]:
            lines.append(title)
        for entry in document[group]:
            extra = ""
            if group == "judgements":
                extra = "  " + ", ".join(f"{count} pairs by {name}" for name, count in entry["by_annotator"].items())
            elif "rows" in entry:
                extra = f"  {entry['rows']} rows"
            lines.append(f"  {entry['asset']:<44} {entry['version'][:16]}{extra}")
            if entry.get("origin"):
                lines.append(f"      {entry['origin']}")
            lines += [
                f"      {file['sha256']}  {file['path']}  {file['bytes']} bytes" for file in entry.get("files", [])
            ]
        if document[group]:
            lines.append("")
    lines.append("Runs, newest first")
    for run in document["runs"]:
        commit = (
            f"commit {run['git_commit'][:10]}{' + changes' if run['git_dirty'] else ''}"
            if run["git_commit"]
            else "no commit"
        )
        lines.append(f"  {run['step']} of {run['part']}  run {run['run'][:12]}  {run['started_at'][:19]} UTC")
        lines.append(
            f"      seed {run['seed']}, code {run['code_version'][:16]} ({len(run['code_files'])} files, {commit})"
        )
        if run["other_code"]:
            lines.append(f"      today's code differs: {few(run['other_code'])}")
        config = {key: value for key, value in run["config"]["config"].items() if value not in (None, [], ())}
        lines.append(f"      config {config}")
        lines += [f"      read  {edge['role']}: {edge['asset']} {edge['version'][:16]}" for edge in run["reads"]]
        lines += [f"      made  {edge['role']}: {edge['asset']} {edge['version'][:16]}" for edge in run["makes"]]
    files: dict[str, str] = {}
    for run in document["runs"]:
        files |= run["code_files"]
    lines += ["", "Source code behind it (sha256)"]
    lines += [f"  {digest}  {path}" for path, digest in sorted(files.items())]
    return lines


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
