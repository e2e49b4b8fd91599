"""The parts of a step that trains on several nodes: what its flow hears of them, where they work, and how they hear of
the first one. By way of a bucket in memory."""

from pathlib import Path
from typing import Any, cast

import pytest
from obstore.store import MemoryStore

from data_store.content.bucket import Bucket
from data_store.errors import InputError
from data_store.locks import unlock
from data_store.records import KWH
from models.training.nodes import Endpoint
from tasks.engine.jobs import StepFailedError
from tasks.engine.remote.among import ByBucket, own_address
from tasks.engine.remote.dispatch import CancelledError, Dispatch, StepLostError
from tasks.engine.remote.messages import Failed, Made, Number, Said, UnreadableError, said
from tasks.engine.remote.others import OtherParts
from tasks.engine.remote.received import _free

PREFIX = f"steps/{'0' * 32}/{'1' * 32}/"


class Pool:
    """What would start the parts, and tell of them."""

    def __init__(self, nodes: int) -> None:
        self.bucket = Bucket("s3://llamas/pocket", MemoryStore(), patience=0.0)
        self.states: dict[str, tuple[str, str]] = {}
        self.ended: list[str] = []
        dispatch = Dispatch(
            "a worker of pool gpu", 1, None, self.start, self.states.__getitem__, self.ended.append, nodes, 60.0
        )
        self.others = OtherParts(self.bucket, PREFIX, dispatch, "sft of V0")
        self.others.begin(cast(Any, None))

    def start(self, _call: object, prefix: str, part: int) -> str:
        assert prefix == PREFIX
        self.states[f"run {part}"] = ("RUNNING", "")
        return f"run {part}"

    def say(self, part: int, number: int, **what: Any) -> None:
        message = Said.model_validate(what)
        self.bucket.create(f"{PREFIX}{said(number, part)}", message.model_dump_json().encode())

    def hello(self, part: int, host: str) -> None:
        self.say(part, 1, code={"files": {}, "git_commit": None, "git_dirty": None, "env": {}, "host": host})


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SECONDS_BETWEEN_LOOKS", "_SECONDS_BETWEEN_QUESTIONS"):
        monkeypatch.setattr(f"tasks.engine.remote.others.{name}", 0.0)


def test_all_but_the_first_part_are_started_and_what_they_spent_counts() -> None:
    pool = Pool(3)
    assert sorted(pool.states) == ["run 1", "run 2"]
    for part, host in ((1, "gpu-2"), (2, "gpu-1")):
        pool.hello(part, host)
        spent = Made(metrics=(), outputs={}, processor_seconds=2.0 * part, energy=(Number(name=KWH, value=0.5),))
        pool.say(part, 2, made=spent)
    pool.others.finish()
    assert pool.others.processor_seconds == 6.0
    assert pool.others.with_energy([Number(name=KWH, value=1.0)]) == [Number(name=KWH, value=2.0)]
    told = "trained on 3 nodes: gpu-1, gpu-2, gpu-1; gpu-1 did several of these beside each other"
    assert pool.others.notes("gpu-1") == [told]
    pool.others.end()
    assert pool.ended == []
    assert Pool(1).others.notes("gpu-1") == []


@pytest.mark.parametrize(
    ("kind", "error"), [("input", InputError), ("died", StepLostError), ("failure", StepFailedError)]
)
@pytest.mark.conformance(
    "a node that failed keeps the others waiting", equation="tasks.engine.remote.others:OtherParts.look"
)
def test_what_ends_one_part_ends_the_step_by_its_own_word(kind: Any, error: type[Exception]) -> None:
    pool = Pool(3)
    pool.hello(2, "gpu-3")
    pool.others.look()
    pool.say(2, 2, failed=Failed(kind=kind, message="no"))
    with pytest.raises(error, match=r"^no \(on node 3, gpu-3\)$"):
        pool.others.look()
    pool.others.end()
    assert pool.ended == ["run 1"]


@pytest.mark.parametrize(("state", "error"), [("CRASHED", StepLostError), ("CANCELLED", CancelledError)])
def test_a_part_that_ends_without_a_word_is_lost_or_was_cancelled(state: str, error: type[Exception]) -> None:
    pool = Pool(2)
    pool.hello(1, "gpu-2")
    pool.states["run 1"] = (state, "as Prefect says")
    pool.others.look()  # what it may have said last comes before that
    with pytest.raises(error, match=r"on node 2, gpu-2.*: as Prefect says"):
        pool.others.look()


def test_a_part_that_says_nothing_any_more_is_lost_and_one_that_nobody_has_taken_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Pool(2)
    monkeypatch.setattr("tasks.engine.remote.others.SILENT_SECONDS", -1.0)
    pool.states["run 1"] = ("RUNNING", "")
    with pytest.raises(StepLostError, match="node 2 has said nothing"):
        pool.others.look()
    monkeypatch.setattr("tasks.engine.remote.others.SILENT_SECONDS", 5.0)
    waiting = Pool(2)
    waiting.states["run 1"] = ("SCHEDULED", "")
    waiting.others.look()


def test_parts_beside_each_other_have_a_folder_each_and_another_sending_waits_for_the_first(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("f", "f.1")]
    first = _free(folders, "one")
    second = _free(folders, "one")
    assert first is not None
    assert second is not None
    assert [first[0], second[0]] == folders
    assert _free(folders, "one") is None
    unlock(second[1])
    assert _free(folders, "another") is None, "a folder is free, and the step's checkpoint is in the other"
    unlock(first[1])
    again = _free(folders, "another")
    assert again is not None
    assert again[0] == folders[0]


def test_the_first_node_is_heard_of_by_the_bucket_and_what_no_node_tells_is_refused() -> None:
    bucket = Bucket("s3://llamas/pocket", MemoryStore(), patience=0.0)
    endpoint = Endpoint("10.0.0.5", 4711, "0" * 32)
    assert ByBucket(bucket, PREFIX).ask() is None
    ByBucket(bucket, PREFIX).tell(endpoint)
    assert ByBucket(bucket, PREFIX).ask() == endpoint
    assert ByBucket(bucket, "steps/another/sending/").ask() is None
    bucket.create("x/meeting", b'{"address": "10.0.0.5 -x", "port": 4711, "secret": "%s"}' % (b"0" * 32))
    with pytest.raises(UnreadableError, match="address"):
        ByBucket(bucket, "x/").ask()


def test_the_address_of_a_node_is_what_its_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_NODE_ADDRESS", "10.0.0.7")
    assert own_address() == "10.0.0.7"
    monkeypatch.delenv("HALTER_NODE_ADDRESS")
    routes = [line.split()[1] for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    if "00000000" in routes:  # the default one
        assert own_address().count(".") == 3
    else:
        with pytest.raises(InputError, match=r"no route to others .* set HALTER_NODE_ADDRESS"):
            own_address()
