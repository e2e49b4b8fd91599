"""A step that is done on another machine, without Prefect between: a thread with a folder of its own does it, by way of
a bucket in memory."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from data_store.content.bucket import Bucket
from data_store.content.bucket_objects import BucketObjects
from data_store.errors import InputError
from data_store.places import Places
from data_store.upkeep.retention import Retention
from data_store.upkeep.upkeep import collect
from tasks.engine.call import StepCall
from tasks.engine.execute import Outcome
from tasks.engine.jobs import StepFailedError
from tasks.engine.meter import NO_METER
from tasks.engine.remote.dispatch import CancelledError, Dispatch, StepLostError
from tasks.engine.remote.line import FlowGoneError
from tasks.engine.remote.messages import File, Made, Order, Said, UnreadableError, read, said
from tasks.engine.remote.received import carry_out, prepared
from tasks.engine.remote.sent import Sent
from tests.s3_server import keys
from tests.tasks.bench import Bench, call_of, wait_for
from tests.tasks.little_steps import (
    CountConfig,
    MisbehaviourConfig,
    WordConfig,
    count_slowly,
    join_texts,
    misbehave,
    write_documents,
    write_word,
)

STORE = ("0123abcd", "pocket")


class OtherMachine:
    """Does what is sent to it in a thread, in its own folder. `states` is what Prefect would say of each sending."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.bucket, self.folder = bucket, folder
        self.prefixes: list[str] = []
        self.threads: list[threading.Thread] = []
        self.states: dict[str, tuple[str, str]] = {}
        self.ended: list[str] = []
        self.does: Callable[[str], None] = self.carry_out

    def dispatch(self, attempts: int = 1) -> Dispatch:
        return Dispatch(
            "a worker of pool gpu", attempts, None, self.start, lambda run: self.states[run], self.ended.append
        )

    def start(self, _call: StepCall, prefix: str, part: int) -> str:
        self.prefixes.append(prefix)
        self.states[prefix] = ("RUNNING", "")
        self.threads.append(threading.Thread(target=self._run, args=(prefix,)))
        self.threads[-1].start()
        return prefix

    def carry_out(self, prefix: str) -> None:
        reader = self.bucket.read(f"{prefix}order")
        assert reader is not None
        root = prepared(self.folder)
        objects = BucketObjects(root / "objects", root / "tmp", self.bucket, STORE)
        carry_out(read(Order, reader, reader.size), objects, prefix, root, "gpu-1", NO_METER, lambda _text: None)

    def _run(self, prefix: str) -> None:
        try:
            self.does(prefix)
        except FlowGoneError as error:
            self.states[prefix] = ("CANCELLED", str(error))
        else:
            self.states[prefix] = ("COMPLETED", "")

    def say(self, prefix: str, number: int, what: Said) -> None:
        self.bucket.create(f"{prefix}{said(number)}", what.model_dump_json().encode())


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("s3://llamas/pocket", MemoryStore(), patience=0.0)


@pytest.fixture
def flow(bench: Bench, bucket: Bucket) -> Bench:
    """A bench whose objects lie in the bucket."""
    store = bench.store
    store.places = Places(objects="s3://llamas/pocket", store=STORE[0])
    store.objects = BucketObjects(store.root / "objects", store.root / "tmp", bucket, STORE)
    store.checkouts.objects = store.objects
    return bench


@pytest.fixture
def other(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OtherMachine]:
    monkeypatch.setattr("tasks.engine.remote.sent._SECONDS_BETWEEN_QUESTIONS", 0.1)
    monkeypatch.setattr("data_store.store.check_unmoved", lambda *_: None)
    machine = OtherMachine(bucket, tmp_path / "gpu")
    yield machine
    for thread in machine.threads:
        thread.join(30)


def word(flow: Bench, text: str = "llama", name: str = "word") -> StepCall:
    return call_of(write_word, WordConfig(word=text, ledger=flow.ledger), name=name)


def facts(outcome: Outcome) -> tuple[Any, ...]:
    """What came of it, but for times."""
    kept = {name: value for name, value in outcome.metrics.items() if "seconds" not in name}
    return dict(outcome.outputs), kept, outcome.estimates["vowels"], outcome.tables, outcome.curves, outcome.notes


@pytest.mark.slow
@pytest.mark.conformance(
    "where a step is done changes what it makes",
    equation="tasks.engine.remote.received:carry_out",
)
def test_a_step_done_elsewhere_gives_all_that_it_gives_here_and_is_the_same_step(
    flow: Bench, other: OtherMachine
) -> None:
    here = flow.execute(word(flow))
    there = flow.execute(word(flow), force=True, dispatch=other.dispatch())
    assert facts(there) == facts(here)
    first, second = reversed(flow.store.runs())
    assert first.run.fingerprint == second.run.fingerprint
    assert second.run.host == "gpu-1"
    assert second.metrics["processor_seconds"] > 0
    assert flow.text("model/word@V1") == "llama 7"
    assert [key for key in keys(other.bucket) if key.startswith("steps/")] == []
    assert flow.execute(word(flow), dispatch=other.dispatch()).cached
    assert len(other.prefixes) == 1


@pytest.mark.slow
def test_its_inputs_come_from_the_bucket_and_its_rows_are_rows_of_the_store(flow: Bench, other: OtherMachine) -> None:
    flow.execute(word(flow))
    joined = call_of(
        join_texts, WordConfig(word="x", ledger=flow.ledger), name="both", inputs={"texts": ("model/word@V1",)}
    )
    flow.execute(joined, dispatch=other.dispatch())
    assert flow.text("model/both@V1") == "llama 7 | x"
    rows = call_of(write_documents, CountConfig(limit=2, seconds=0.0, ledger=flow.ledger), name="rows")
    there = flow.execute(rows, dispatch=other.dispatch())
    here = flow.execute(rows, force=True)
    assert there.outputs == here.outputs
    assert not list(other.folder.rglob("*.duckdb"))


@pytest.mark.parametrize(
    ("how", "error", "state"),
    [("input", InputError, "failed"), ("failure", StepFailedError, "failed"), ("nothing", StepFailedError, "failed")],
)
@pytest.mark.slow
def test_what_a_step_says_no_to_elsewhere_is_said_as_if_it_were_here(
    flow: Bench, other: OtherMachine, how: Any, error: type[Exception], state: str
) -> None:
    call = call_of(misbehave, MisbehaviourConfig(how=how), name="bad")
    with pytest.raises(error, match="gpu-1"):
        flow.execute(call, dispatch=other.dispatch(3))
    assert flow.states("misbehave") == [state]
    assert len(other.prefixes) == 1, "a step that says no is not sent again"


@pytest.mark.slow
@pytest.mark.conformance(
    "a step whose machine dies is sent again for ever, or not at all", equation="tasks.engine.execute:_send"
)
def test_a_step_that_is_killed_elsewhere_is_sent_again_as_often_as_is_said_and_each_attempt_stands_in_the_journal(
    flow: Bench, other: OtherMachine
) -> None:
    call = call_of(misbehave, MisbehaviourConfig(how="killed"), name="bad")
    with pytest.raises(StepLostError, match="the last words"):
        flow.execute(call, dispatch=other.dispatch(2))
    assert flow.states("misbehave") == ["crashed", "crashed"]
    assert [run.run.attempt for run in flow.store.runs()] == [2, 1]
    assert flow.store.heads() == {}


@pytest.mark.slow
def test_a_step_that_was_killed_elsewhere_goes_on_from_its_checkpoint_there(flow: Bench, other: OtherMachine) -> None:
    call = call_of(count_slowly, CountConfig(limit=12, seconds=0.1, ledger=flow.ledger), name="number")

    def kill() -> None:
        wait_for(lambda: len(flow.computed()) >= 5, "four numbers")
        os.kill(int(flow.computed()[0].split()[1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    flow.execute(call, dispatch=other.dispatch(2))
    killer.join()
    assert flow.states("count_slowly") == ["crashed", "succeeded"]
    starts = [int(line.split()[2]) for line in flow.computed() if line.startswith("start")]
    assert starts[0] == 0
    assert starts[1] >= 3


def _made(file: File) -> Made:
    return Made(metrics=(), outputs={"text": (file,)}, processor_seconds=0.0)


@pytest.mark.slow
@pytest.mark.conformance(
    "a machine is believed what it says that it made", equation="tasks.engine.remote.sent:Sent._verified"
)
@pytest.mark.parametrize("fault", ["missing", "size", "content", "role", "none"])
def test_what_is_not_there_as_it_was_told_is_no_result(flow: Bench, other: OtherMachine, fault: str) -> None:
    def lie(prefix: str) -> None:
        code = flow.workers.code(write_word.module)
        hello = {"code": {**vars(code), "host": "gpu-1"}}
        other.say(prefix, 1, Said.model_validate(hello))
        sha256, size, _ = flow.store.objects.put_bytes(b"made")
        if fault == "content":
            key = f"objects/{sha256[:2]}/{sha256}"
            other.bucket.delete([key])
            other.bucket.create(key, b"Made")
        file = File(path="text.txt", sha256="0" * 64 if fault == "missing" else sha256, bytes=size + (fault == "size"))
        made = _made(file)
        if fault == "role":
            made = made.model_copy(update={"outputs": {"other": (file,)}})
        if fault == "none":
            made = made.model_copy(update={"outputs": {"text": ()}})
        other.say(prefix, 2, Said(made=made))

    other.does = lie
    with pytest.raises(StepFailedError, match=r"missing|damaged|gave"):
        flow.execute(word(flow), dispatch=other.dispatch())
    assert flow.store.heads() == {}


@pytest.mark.parametrize(
    "told",
    [
        b'{"made": {"metrics": [], "outputs": {}, "processor_seconds": 0, "run": "mine"}}',
        b'{"log": 3}',
        b"[",
        b'{"made": {"metrics": [], "outputs": {"text": [{"path": "../../x", "sha256": "%s", "bytes": 1}]}, '
        b'"processor_seconds": 0}}' % (b"0" * 64),
        b'{"made": {"metrics": [], "outputs": {}, "processor_seconds": 0, "tables": {"../x": []}}}',
        b'{"progress": [2.0, "more than all"]}',
    ],
)
def test_a_message_that_is_none_is_refused(bucket: Bucket, told: bytes) -> None:
    bucket.create("x", told)
    reader = bucket.read("x")
    assert reader is not None
    with pytest.raises(UnreadableError):
        read(Said, reader, reader.size)


@pytest.mark.slow
@pytest.mark.conformance(
    "a step is done elsewhere by other code than is recorded", equation="tasks.engine.remote.received:_say_code"
)
def test_other_code_is_refused_with_both_hashes_before_anything_runs(
    flow: Bench, other: OtherMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = flow.workers.code(write_word.module)
    edited = replace(known, files={**known.files, "tests/tasks/little_steps.py": "0" * 64})
    monkeypatch.setattr(flow.workers, "code", lambda _module: edited)
    with pytest.raises(InputError, match=r"is other code on gpu-1 \([0-9a-f]{12}\) than at the flow \([0-9a-f]{12}\)"):
        flow.execute(word(flow), dispatch=other.dispatch(3))
    assert flow.computed() == []
    assert flow.store.runs() == []


@pytest.mark.slow
def test_a_machine_with_other_libraries_is_told_of_beside_what_it_made(
    flow: Bench, other: OtherMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = flow.workers.code(write_word.module)
    older = replace(known, env={**known.env, "torch": "2.0.1"})
    monkeypatch.setattr(flow.workers, "code", lambda _module: older)
    there = flow.execute(word(flow), dispatch=other.dispatch())
    (told,) = [note for note in there.notes if "torch" in note]
    assert told == (
        f"done on gpu-1, which has torch {known.env['torch']} (here 2.0.1): here it could have come out otherwise"
    )
    (run,) = flow.store.runs()
    assert run.run.env["torch"] == known.env["torch"]


@pytest.mark.slow
def test_a_flow_that_is_stopped_ends_the_step_elsewhere(
    flow: Bench, other: OtherMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = call_of(count_slowly, CountConfig(limit=10_000, seconds=0.05, ledger=flow.ledger), name="number")
    monkeypatch.setattr(
        flow.workers, "is_stopped", lambda: bool(flow.states("count_slowly")) and len(flow.computed()) > 3
    )
    with pytest.raises(KeyboardInterrupt):
        flow.execute(call, dispatch=other.dispatch(3))
    assert flow.states("count_slowly") == ["cancelled"]
    assert other.ended == other.prefixes
    wait_for(lambda: other.states[other.prefixes[0]][0] == "CANCELLED", "its end", 20)
    assert [key for key in keys(other.bucket) if key.startswith("steps/")] == []
    counted = len(flow.computed())
    time.sleep(0.3)
    assert len(flow.computed()) == counted


@pytest.mark.slow
@pytest.mark.conformance(
    "a machine trains on for a flow that is gone", equation="tasks.engine.remote.line:Line._look_for_the_flow"
)
def test_a_step_whose_flow_says_nothing_any_more_ends(
    flow: Bench, other: OtherMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.engine.remote.line.LEASE_SECONDS", 1.0)
    monkeypatch.setattr("tasks.engine.remote.line._SECONDS_BETWEEN_LOOKS", 0.2)
    call = call_of(count_slowly, CountConfig(limit=10_000, seconds=0.05, ledger=flow.ledger), name="number")
    code = flow.workers.code(call.step.module)
    folder = flow.store.root / "work" / ("0" * 32)
    folder.mkdir(parents=True)
    sent = Sent(flow.store, call, folder, other.dispatch(), lambda: False, lambda _fraction, _text: None)
    sent.begin((), code)
    wait_for(lambda: other.states[other.prefixes[0]][0] == "CANCELLED", "its end", 30)
    assert "not been heard of" in other.states[other.prefixes[0]][1]


@pytest.mark.slow
@pytest.mark.parametrize(("state", "error"), [("CRASHED", StepLostError), ("CANCELLED", CancelledError)])
def test_a_flow_run_that_ends_without_a_word_is_lost_or_was_cancelled(
    flow: Bench, other: OtherMachine, state: str, error: type[Exception]
) -> None:
    def end(prefix: str) -> None:
        code = flow.workers.code(write_word.module)
        other.say(prefix, 1, Said.model_validate({"code": {**vars(code), "host": "gpu-1"}}))
        other.states[prefix] = (state, "as Prefect says")
        time.sleep(1.0)

    other.does = end
    with pytest.raises(error, match="as Prefect says"):
        flow.execute(word(flow), dispatch=other.dispatch())
    assert flow.states("write_word") == ["crashed" if state == "CRASHED" else "cancelled"]


@pytest.mark.slow
@pytest.mark.conformance(
    "a step whose machine dies is sent again for ever, or not at all",
    equation="tasks.engine.remote.sent:Sent._next_said",
)
def test_a_machine_that_says_nothing_any_more_is_lost_and_the_step_sent_to_another(
    flow: Bench, other: OtherMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes with its worker, so that for Prefect it is still at work."""
    monkeypatch.setattr("tasks.engine.remote.sent.SILENT_SECONDS", 8.0)  # more than the second one takes to load

    def die(prefix: str) -> None:
        if len(other.prefixes) == 2:
            other.carry_out(prefix)
            return
        code = flow.workers.code(write_word.module)
        other.say(prefix, 1, Said.model_validate({"code": {**vars(code), "host": "gpu-0"}}))
        time.sleep(12.0)

    other.does = die
    flow.execute(word(flow), dispatch=other.dispatch(2))
    assert [(run.run.host, run.state) for run in flow.store.runs()] == [("gpu-1", "succeeded"), ("gpu-0", "crashed")]
    assert other.ended == other.prefixes[:1]


@pytest.mark.slow
def test_the_collector_leaves_what_a_step_elsewhere_reads_and_what_it_has_sent_and_nobody_committed_yet(
    flow: Bench, other: OtherMachine
) -> None:
    flow.execute(word(flow))
    collected = []

    def collect_around(prefix: str) -> None:
        collected.append(collect(flow.store, dry_run=False, retention=Retention(keep_versions=0, keep_days=0)))
        other.carry_out(prefix)
        collected.append(collect(flow.store, dry_run=False, retention=Retention(keep_versions=0, keep_days=0)))

    other.does = collect_around
    texts = {"texts": ("model/word@V1",)}
    joined = call_of(join_texts, WordConfig(word="x", ledger=flow.ledger), name="both", inputs=texts)
    flow.execute(joined, dispatch=other.dispatch())
    for thread in other.threads:
        thread.join(30)
    assert [each.garbage for each in collected] == [(), ()]
    assert flow.text("model/both@V1") == "llama 7 | x"


@pytest.mark.slow
def test_a_step_that_no_worker_has_taken_yet_is_waited_for(
    flow: Bench, other: OtherMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.engine.remote.sent.SILENT_SECONDS", 8.0)

    def take_later(prefix: str) -> None:
        other.states[prefix] = ("SCHEDULED", "")
        time.sleep(10.0)
        other.states[prefix] = ("RUNNING", "")
        other.carry_out(prefix)

    other.does = take_later
    flow.execute(word(flow), dispatch=other.dispatch(1))
    assert flow.states("write_word") == ["succeeded"]


@pytest.mark.slow
def test_an_input_outside_the_store_keeps_a_step_here(flow: Bench, other: OtherMachine, tmp_path: Path) -> None:
    (tmp_path / "said.txt").write_text("said")
    call = call_of(join_texts, WordConfig(ledger=flow.ledger), sources={"files": (tmp_path / "said.txt",)})
    with pytest.raises(InputError, match="lies on this machine's disk"):
        flow.execute(call, dispatch=other.dispatch())
    assert other.prefixes == []


@pytest.mark.slow
def test_without_a_bucket_nothing_is_sent_and_it_is_said_how_to_get_one(
    bench: Bench, bucket: Bucket, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"halter move-store store --objects s3://BUCKET/PREFIX"):
        bench.execute(word(bench), dispatch=OtherMachine(bucket, tmp_path).dispatch())


def test_what_was_said_of_a_step_goes_with_the_collector_when_nobody_has_heard_of_it_for_long(
    bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "objects").mkdir()
    objects = BucketObjects(tmp_path / "objects", tmp_path, bucket, STORE)
    bucket.create("steps/f/one/order", b"{}")
    bucket.touch("steps/f/one/alive")
    objects.tidy([], 60.0)
    assert keys(bucket) == ["steps/f/one/alive", "steps/f/one/order"]
    objects.tidy([], -1.0)
    assert keys(bucket) == []
