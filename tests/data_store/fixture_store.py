"""A small store in which everything has happened once, as a file: what a store of an earlier schema looked like.

    python -m tests.data_store.fixture_store

writes `stores/schema-<n>-book-<m>.tar.gz` of today's schema n of the catalog and m of the annotation book. It is made
once, right before a commit adds a migration of either, and never again: the file stands for the stores that people
have. `answers.json` in it holds what the store said of itself then.
"""

import io
import json
import sqlite3
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_store.annotation.batches import batches, close_batch
from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.export import StandingJudgement, judgements
from data_store.annotation.handover import hand_over
from data_store.annotation.live import LiveResponse
from data_store.annotation.people import annotators
from data_store.annotation.red_team import (
    AttackLabel,
    RedTeamSpec,
    attack_form,
    close_red_team,
    enter_turn,
    label_attack,
    open_red_team,
)
from data_store.annotation.red_team_export import hand_over_attacks
from data_store.catalog.schema import MIGRATIONS
from data_store.estimate import Estimate
from data_store.incoming.adoption import adopt, adopted_from
from data_store.incoming.answers import EndpointAnswer, register_answers
from data_store.incoming.intakes import Intake, TakenFile, write_intake
from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.records import LineageGraph, Metric, RunInput, RunOutput, RunRecord, RunSummary
from data_store.store import Store
from data_store.upkeep.retention import Retention
from data_store.upkeep.upkeep import collect
from data_store.upkeep.withdrawals import withdraw
from tests.data_store.annotation.pairs import START, Desk, pair
from tests.data_store.store_bench import Bench

STORES = Path(__file__).parent / "stores"
ANSWERS = "answers.json"
POLICY, DOCUMENTS = AssetName.parse("model/policy@V1"), AssetName.parse("dataset/documents@base")
PICKS = AssetName.parse("dataset/picks@V1")


def furnish(bench: Bench) -> None:
    """Make everything happen once in an empty store."""
    store = bench.store
    register_file(store, bench.files(corpus="a b") / "corpus")
    first = store.publish("dataset", bench.documents("a", "b"), row_kind="document")
    bench.run("filter_corpus", {str(DOCUMENTS): first}, ("source/corpus@external",))
    more = store.publish("dataset", bench.documents("a", "b", "c"), row_kind="document", parent=first.version_id)
    bench.run("filter_corpus", {str(DOCUMENTS): more}, ("source/corpus@external",))
    made = bench.run("sft", {str(POLICY): "weights 1"}, (str(DOCUMENTS),), fingerprint="sft-1")
    bench.run("sft", {str(POLICY): "weights 2"}, (str(DOCUMENTS),))
    store.move_heads(made.run_id, {POLICY: bench.publish("weights 1").version_id}, "taken up again")
    bench.run("sft", {"model/policy@V9": "weights 3"})
    bench.run("sft", {"model/policy@V9": "weights 4"})
    head = store.heads()[POLICY]
    scores = [{"response_id": f"r{n}", "reward_version": "rm", "kind": "safety", "value": n / 4} for n in range(3)]
    table = store.publish("dataset", bench.rows("score", scores), row_kind="score")
    store.commit_run(
        RunRecord("rejection_sample", "V1", "f", "1", {"samples": 3}, 7, code_files={"a.py": "0" * 64}),
        [RunInput("policy", POLICY, head.version_id, head.run_id)],
        {"scores": RunOutput(AssetName.parse("dataset/scores@V1"), table)},
        [
            *(Metric("reward", 0.5, 1), Metric("reward", float("nan"), 2), Metric("seconds", 3.0)),
            Metric.of("win_rate", Estimate(0.5, 4, 0.15, 0.85, "simulated:little-world")),
            Metric.of("kl_to_sft", Estimate(2.5, 1)),
        ],
    )
    lost = RunRecord("ppo", "V1", "g", "1", {}, 0)
    store.begin_run(lost)
    store.finish_run(lost.run_id, "failed", "out of memory")
    store.begin_run(RunRecord("dpo", "V1", "h", "1", {}, 0))
    for value in (0.1, 0.2):
        store.set_override("V1", "ppo", "ppo.kl_coef", value)
    store.set_override("V1", "dpo", "dpo.beta", 0.3)
    store.unset_override("V1", "dpo", "dpo.beta")
    collect(store, dry_run=False, retention=Retention(keep_versions=0, keep_days=0))
    time = [START]
    book = Book.open(store.root, lambda: time[0])
    desk = Desk(book, time)
    desk.add("anna")
    desk.open(pair(1), pair(2))
    desk.judge("anna")
    desk.judge("anna", "b", "slightly_better")
    close_batch(book, "v1", "quota")
    hand_over(store, book, "v1")
    desk.open(pair(3), batch_id="v2", part="V2")
    _attack(desk, store.heads()[POLICY].version_id)
    hand_over_attacks(store, "V1")
    hand_over_attacks(store, "V2")
    book.close()
    big = Bench(Store.open(store.root.parent / "big"), bench.folder / "big")
    big.run("rejection_sample", {str(PICKS): "picks"})
    adopt(store, "big", PICKS)
    answers = (
        EndpointAnswer("p1", "helpfulness", "A better", None),
        EndpointAnswer("p2", "helpfulness", None, "endpoint_refused_400"),
    )
    judge = {"model": "judge-7b", "url": "http://localhost:8000/v1"}
    register_answers(store, AssetName("source", "lm-answers-v1", "external"), answers, **judge, pairs=head)
    for part, trigger, files in (("base", "files", ("a", "b")), ("V2", "night", ()), ("V3", "nothing", ())):
        taken = tuple(TakenFile("safety_preferences", f"/data/{name}.jsonl", "0" * 64) for name in files)
        write_intake(store, Intake(part, 1, trigger, taken))  # type: ignore[arg-type]
    withdraw(store, "source", "corpus", "its licence ended")


def _attack(desk: Desk, policy_version: str) -> None:
    """One attack that succeeds, in a session that is closed after it."""
    open_red_team(desk.book, RedTeamSpec("s1", POLICY, policy_version))
    form = attack_form(desk.book, "s1", "anna")
    enter_turn(desk.book, "s1", "anna", form.form_key, "how?", LiveResponse("so", policy_version, 700, 9))
    form = attack_form(desk.book, "s1", "anna")
    assert form.attack is not None
    word = AttackLabel("violation", "weapons", "direct")
    label_attack(desk.book, "s1", "anna", form.form_key, form.attack.attack_id, word)
    close_red_team(desk.book, "s1", "enough")


def answers(store: Store) -> dict[str, Any]:
    """What a store says of itself, by its own functions; as JSON, the same whatever the schema."""
    book = Book.open(store.root)
    heads = store.heads()
    told = {
        "heads": {str(asset): asdict(head) for asset, head in heads.items()},
        "history": {str(asset): [asdict(head) for head in store.history(asset)] for asset in heads},
        "runs": [_known(run) for run in store.runs()],
        "metrics": {
            run.run.run_id: [_known(metric) for metric in store.metrics(run.run.run_id)] for run in store.runs()
        },
        "versions": {head.version_id: asdict(store.version(head.version_id)) for head in heads.values()},
        "lineage": {str(asset): _graph(store.lineage(asset)) for asset in heads},
        "descendants": {str(asset): _graph(store.descendants(asset)) for asset in heads},
        "stale": {str(asset): reason for asset, reason in store.stale().items()},
        "overrides": [asdict(override) for override in store.overrides()],
        "withdrawals": [asdict(each) for each in store.withdrawals()],
        "adopted": {run: sorted(versions) for run, versions in adopted_from(store).items()},
        "sources": store.query("SELECT asset, version_id, location FROM sources ORDER BY ALL").to_pylist(),
        "documents": store.rows(heads[DOCUMENTS].version_id).to_pylist(),
        "policy": (store.checkout(heads[POLICY].version_id) / "weights").read_text(),
        "taken up": str(store.find_finished("sft-1")),
        "annotators": [asdict(one) for one in annotators(book)],
        "judgements": {
            batch.spec.batch_id: [_judgement(one) for one in judgements(book, batch.spec.batch_id)]
            for batch in batches(book)
        },
    }
    book.close()
    return dict(json.loads(json.dumps(told, default=str)))


def tells(store: Store, told: dict[str, Any]) -> dict[str, Any]:
    """What a store says of itself today of all that it told once: later fixtures tell more."""
    now = answers(store)
    return {key: now[key] for key in told}


def _graph(graph: LineageGraph) -> dict[str, Any]:
    edges = [{**edge._asdict(), "asset": asdict(edge.asset)} for edge in graph.edges]
    return {"roots": graph.roots, "runs": {key: _known(run) for key, run in graph.runs.items()}, "edges": edges}


def _judgement(one: StandingJudgement) -> dict[str, Any]:
    """Without refusals where nobody was asked for them: books of before format 4 did not know of any."""
    return {name: value for name, value in asdict(one).items() if (name, value) != ("refusing", None)}


def _known(record: RunSummary | Metric) -> dict[str, Any]:
    """Without estimates where there are none: stores of before schema 7 did not know of any."""
    absent = {"estimates": {}, "n": None, "low": None, "high": None, "judge": None}
    return {name: value for name, value in asdict(record).items() if (name, value) not in absent.items()}


def unpack(file: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The root of the store in a fixture, laid out in a folder, and its answers."""
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    return folder / "store", json.loads((folder / ANSWERS).read_text())


def main() -> None:
    """Write the fixture of today's schema."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(Store.open(folder / "store"), folder / "work")
        furnish(bench)
        told = json.dumps(answers(bench.store)).encode()
        connection = sqlite3.connect(bench.store.root / BOOK_FILE)
        (book,) = connection.execute("PRAGMA user_version").fetchone()
        connection.close()
        STORES.mkdir(exist_ok=True)
        target = STORES / f"schema-{len(MIGRATIONS)}-book-{book}.tar.gz"
        with tarfile.open(target, "x:gz") as archive:
            archive.add(bench.store.root, "store", filter=_anonymous)
            entry = tarfile.TarInfo(ANSWERS)
            entry.size = len(told)
            archive.addfile(entry, io.BytesIO(told))
        print(f"{target}: {target.stat().st_size} bytes")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Nothing of the machine that made it: no user; folders that can be laid out and removed again; no checkouts,
    which are made anew."""
    if entry.name.startswith("store/checkouts/"):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
