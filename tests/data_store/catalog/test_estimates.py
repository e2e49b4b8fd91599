"""Of how many a figure is, its interval and who judged: from a step's word to whoever asks."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_store.catalog.journal import Entry
from data_store.errors import StoreError
from data_store.estimate import Estimate
from data_store.names import AssetName
from data_store.records import Metric, RunOutput, RunRecord
from data_store.store import Store
from data_store.upkeep.foreign_events import check_entry
from data_store.upkeep.transfer import import_store
from tests.data_store.store_bench import Bench

WINS = Estimate(0.75, 40, 0.6, 0.86, "simulated:little-world")
SPREAD = Estimate(2.5, 1)
POLICY = AssetName.parse("model/policy@V1")


@pytest.fixture
def measured(bench: Bench) -> RunRecord:
    """A run that measured two figures of samples, one plain number and a curve."""
    record = RunRecord("evaluate", "V1", "f", "1", {}, 0)
    points = [Metric("loss", 3.0, 1), Metric("loss", 2.0, 2), Metric("seconds", 1.5)]
    points += [Metric.of("win_rate", WINS), Metric.of("kl", SPREAD), Metric("win_rate", 0.1, 7)]
    bench.store.commit_run(record, [], {"policy": RunOutput(POLICY, bench.publish("weights"))}, points)
    return record


def known(store: Store) -> dict[str, Estimate]:
    (run,) = store.runs()
    return dict(run.estimates)


@pytest.mark.conformance("a figure without its interval", equation="data_store.catalog.metric_facts:facts_of_metrics")
def test_an_estimate_is_what_it_was_after_journal_and_rebuilding(bench: Bench, measured: RunRecord) -> None:
    assert known(bench.store) == {"win_rate": WINS, "kl": SPREAD}
    points = {(each.name, each.step): each for each in bench.store.metrics(measured.run_id)}
    assert points["win_rate", 0].estimate == WINS
    assert points["win_rate", 7].estimate is points["loss", 2].estimate is points["seconds", 0].estimate is None
    bench.store.rebuild()
    assert known(Store.open(bench.store.root)) == {"win_rate": WINS, "kl": SPREAD}
    finished = bench.store.find_finished("f")
    assert finished is not None
    assert Metric.of("win_rate", WINS) in finished.metrics


def test_sql_sees_it_beside_the_value_and_nothing_beside_a_curve(bench: Bench, measured: RunRecord) -> None:
    sql = "SELECT name, training_step, value, n, low, high, judge FROM metrics ORDER BY name, training_step"
    assert [tuple(row.values()) for row in bench.store.query(sql).to_pylist()] == [
        ("kl", 0, 2.5, 1, None, None, None),
        ("loss", 1, 3.0, None, None, None, None),
        ("loss", 2, 2.0, None, None, None, None),
        ("seconds", 0, 1.5, None, None, None, None),
        ("win_rate", 0, 0.75, 40, 0.6, 0.86, "simulated:little-world"),
        ("win_rate", 7, 0.1, None, None, None, None),
    ]


def test_a_journal_without_estimates_reads_as_before_and_says_nothing_of_them(bench: Bench) -> None:
    bench.run("sft", {str(POLICY): "weights"})
    (entry,) = bench.store.catalog.journal.whole()
    assert "estimates" not in entry.event, "an event says no more than there is"
    assert known(bench.store) == {}


def test_estimates_come_with_an_import_from_another_store(bench: Bench, measured: RunRecord, tmp_path: Path) -> None:
    here = Store.open(tmp_path / "here")
    import_store(here, bench.store.root)
    assert known(here) == {"win_rate": WINS, "kl": SPREAD}


@pytest.fixture
def entry(bench: Bench, measured: RunRecord) -> Entry:
    (found,) = bench.store.catalog.journal.whole()
    check_entry(found, "as it was written")
    return found


@pytest.mark.parametrize(
    "odd",
    [
        ["seconds_", 3, "0.1", "0.2", None],  # of nothing that was measured
        ["loss", 3, "0.1", "0.2", None],  # of a point of a curve
        ["kl", 3, "0.1", "0.2", None],  # a second one
        ["seconds", -1, "0.1", "0.2", None],
        ["seconds", 2.5, "0.1", "0.2", None],
        ["seconds", 3, "0.9", "0.2", None],
        ["seconds", 3, "__import__", "0.2", None],
        ["seconds", 3, 0.1, 0.2, None],
        ["seconds", 3, "0.1", "0.2", "a\x1b[2Jb"],
        ["seconds", 3, "0.1", "0.2", "x" * 300],
        ["seconds", 3, "e", None, None],  # no number
        ["seconds", 3, "0.1", None, None],  # half an interval
        ["seconds", 3, "0.1", "0.2"],
        "seconds",
    ],
)
def test_an_estimate_that_no_halter_writes_is_refused(entry: Entry, odd: Any) -> None:
    event = copy.deepcopy(entry.event)
    event["estimates"].append(odd)
    with pytest.raises(StoreError, match=r"there, event 1: run_succeeded"):
        check_entry(replace(entry, event=event), "there")
    json.dumps(event)  # it is what a journal can hold
