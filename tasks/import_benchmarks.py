"""Benchmarks as rows, and whether what they need is there, before anything is trained."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from data_store.errors import InputError
from data_store.reading.benchmark_items import read_benchmark
from data_store.rows import row_kind
from tasks.benchmarks.config import ReadingConfig
from tasks.benchmarks.harness import items_of, load_tasks
from tasks.engine.step import Input, Output, StepRun, step
from tasks.sandbox.sandbox import find_sandbox

_CODE = ("humaneval", "mbpp")


@step(
    version=1,
    config=ReadingConfig,
    inputs={"files": Input("file", many=True)},
    outputs={"items": Output("dataset", "benchmark_item"), "refused": Output("dataset", "dropped")},
    metrics=("items", "refused"),
    headline="items",
    about="Reads the benchmarks, and looks whether a sandbox is there for those of code.",
    tags=("foundation",),
)
def import_benchmarks(run: StepRun, config: ReadingConfig) -> Mapping[str, float]:
    """Raises InputError for records of no known format, tasks that cannot be loaded, and code without a sandbox."""
    paths = [entry.path for entry in run.all_inputs("files")]
    items: list[dict[str, Any]] = []
    refused: list[pa.Table] = [row_kind("dropped").schema.empty_table()]
    counts = []
    for choice, count in zip(config.sets, config.files, strict=True):
        mine, paths = paths[:count], paths[count:]
        if choice.tasks:
            found = [*items_of(load_tasks(mine[0], choice, run.work), choice)]
        else:
            read = read_benchmark(mine, choice.name, choice.suite)
            found = read.rows.to_pylist()[: choice.limit]
            refused.append(read.refused)
        if not found:
            raise InputError(f"benchmark {choice.name}: there is no item in it")
        items += found
        counts.append({"benchmark": choice.name, "suite": choice.suite, "items": len(found), "form": found[0]["form"]})
    if any(item["form"] in _CODE for item in items):
        run.log(f"programs are run in a sandbox: {find_sandbox().name}")
    run.write_rows("items", items)
    dropped = pa.concat_tables(refused)
    run.write_rows("refused", dropped)
    run.table("benchmarks", counts)
    return {"items": float(len(items)), "refused": float(len(dropped))}
