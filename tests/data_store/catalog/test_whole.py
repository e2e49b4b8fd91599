"""The catalog read whole says what it says when it is asked for one thing after the other."""

import math

import pytest

from data_store.catalog.whole import Measured, read_curves, read_whole
from data_store.estimate import Estimate
from data_store.records import Metric, RunInput, RunOutput, RunRecord
from tests.data_store.store_bench import Bench


@pytest.fixture
def full(bench: Bench) -> Bench:
    """Rows, a model made of them twice, a failure, and a metric that was reported again and again."""
    rows = bench.store.publish("dataset", bench.documents("a", "b", "c"), row_kind="document")
    bench.run("filter_corpus", {"dataset/corpus@base": rows})
    bench.run("sft", {"model/policy@V0": "weights 1"}, ("dataset/corpus@base",))
    bench.run("sft", {"model/policy@V0": "weights 2"}, ("dataset/corpus@base",))
    lost = RunRecord("ppo", "V1", "g", "1", {}, 0)
    bench.store.begin_run(lost)
    bench.store.finish_run(lost.run_id, "failed", "out of memory")
    head = next(head for asset, head in bench.store.heads().items() if asset.kind == "model")
    bench.store.commit_run(
        RunRecord("evaluate", "V0", "h", "1", {}, 0, run_id="e" * 32),
        [RunInput("policy", head.asset, head.version_id, head.run_id)],
        {"evaluation": RunOutput(head.asset.parse("report/evaluation@V0"), bench.publish("figures", "report"))},
        [
            Metric("loss", 3.0, 1),
            Metric("loss", 2.0, 2),
            Metric.of("win_rate", Estimate(0.5, 40, 0.35, 0.65, "anna")),
            Metric("broken", math.nan),
        ],
    )
    return bench


@pytest.mark.slow
def test_heads_runs_edges_and_versions_are_those_of_single_questions(full: Bench) -> None:
    store = full.store
    whole = store.catalog.ask("whole", read_whole)
    assert whole.heads == store.heads()
    assert list(whole.runs) == [run.run.run_id for run in store.runs()], "newest first"
    for run_id, summary in whole.runs.items():
        assert summary.state == store.runs(run_id=run_id)[0].state
    graph = store.lineage(store.heads()[next(a for a in store.heads() if a.kind == "report")].version_id)
    assert len(graph.runs) == 3
    for run_id in graph.runs:
        assert whole.reads.get(run_id, ()) == graph.inputs_of(run_id)
        assert whole.makes[run_id] == graph.outputs_of(run_id)
    for version, size in whole.versions.items():
        info = store.version(version)
        assert (size.row_kind, size.rows, size.bytes, size.is_removed) == (
            info.row_kind,
            info.n_rows,
            info.bytes,
            False,
        )
    assert sorted(size.rows for size in whole.versions.values() if size.rows is not None) == [3]


def test_who_read_a_version_is_told_by_the_run_that_made_it(full: Bench) -> None:
    whole = full.store.catalog.ask("whole", read_whole)
    corpus = next(head for asset, head in whole.heads.items() if asset.name == "corpus")
    steps = [whole.runs[run_id].run.step for run_id in whole.readers[corpus.version_id, corpus.run_id]]
    assert steps == ["sft", "sft"]
    assert (corpus.version_id, None) not in whole.readers


def test_of_a_metric_the_last_value_is_measured_and_those_reported_again_are_curves(full: Bench) -> None:
    measured = full.store.catalog.ask("whole", read_whole).measured["e" * 32]
    assert measured["loss"] == Measured("e" * 32, "loss", 2.0)
    assert measured["win_rate"] == Measured("e" * 32, "win_rate", 0.5, 40, 0.35, 0.65, "anna")
    assert math.isnan(measured["broken"].value)
    curves = full.store.catalog.ask("curves", read_curves)
    assert curves == {"e" * 32: [("loss", 1, 3.0), ("loss", 2, 2.0)]}


def test_the_objects_that_versions_share_are_counted_once(full: Bench) -> None:
    count, size = full.store.catalog.ask("whole", read_whole).objects
    files = [path for path in (full.store.root / "objects").rglob("*") if path.is_file()]
    assert (count, size) == (len(files), sum(path.stat().st_size for path in files))
