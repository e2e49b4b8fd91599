"""How nodes meet and end: two processes of this machine, each with a training process of its own. The torch in it is a
sum over both."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

from models.config import SFTConfig
from models.training.meeting import Together, ticket_of
from models.training.nodes import Endpoint, NodeLostError, Place, TookPartError, here, reached_through, standing_at
from tests.models.training.launcher import ByFile
from tests.models.training.little_runs import Recorder
from tests.models.training.test_processes import TWO, add_up

FORK = multiprocessing.get_context("fork")


def place(folder: Path, node: int, **changes: Any) -> Place:
    return Place(
        **{"node": node, "nodes": 2, "address": "127.0.0.1", "wait_seconds": 30.0, **changes},
        meeting=ByFile(folder / "told"),
    )


def stand(folder: Path, node: int, fails: str, sending: Connection) -> None:
    work = folder / f"node {node + 1}"
    work.mkdir()
    try:
        with standing_at(place(folder, node)):
            said: Any = add_up(1.5, TWO, work=work, reporter=Recorder(), fails=fails)
    except BaseException as error:
        said = (type(error), str(error))
    sending.send(said)


def both(folder: Path, fails: str = "") -> list[Any]:
    """What comes of the two nodes."""
    found = []
    for node in range(2):
        receiving, sending = FORK.Pipe(duplex=False)
        process = FORK.Process(target=stand, args=(folder, node, fails, sending))
        process.start()
        sending.close()
        found.append((process, receiving))
    said = [receiving.recv() for _, receiving in found]
    for process, _ in found:
        process.join()
    return said


@pytest.mark.slow
def test_two_nodes_of_one_process_each_add_up_and_the_second_has_nothing_left_to_do(tmp_path: Path) -> None:
    first, second = both(tmp_path)
    assert (first["total"], first["processes"]) == (4.5, 2)
    assert second == (TookPartError, "")
    assert here() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "kinds", "words"),
    [
        ("input", ("InputError", "ValueError"), "pairs.jsonl:3: rating: 'fine' is no rating; use better"),
        ("killed", ("ChildProcessError", "NodeLostError"), "training process 2 of 2 ended with code -9"),
    ],
)
@pytest.mark.conformance(
    "a node that failed keeps the others waiting", equation="models.training.meeting:Together.cause"
)
def test_what_ends_the_process_of_one_node_ends_both_at_once_and_both_say_it(
    tmp_path: Path, fails: str, kinds: tuple[str, str], words: str
) -> None:
    """Without a word the other would wait for the sum for half an hour, or tell that a connection was closed."""
    began = time.monotonic()
    first, second = both(tmp_path, fails)
    assert time.monotonic() - began < 15
    assert (second[0].__name__, second[1]) == (kinds[0], words)
    assert (first[0].__name__, first[1]) == (kinds[1], f"{words} (on node 2)")


def test_words_under_another_secret_are_not_heard(tmp_path: Path) -> None:
    """Two trainings on one port are none: the second waits for its own first node."""
    with pytest.raises(RuntimeError, match=r"1 of 2 nodes came within 0\.5 s, missing: 2\. Each needs a worker"):
        _met_by_a_stranger(tmp_path)


def _met_by_a_stranger(folder: Path) -> None:
    class Telling(ByFile):
        def tell(self, endpoint: Endpoint) -> None:
            assert ticket_of(Endpoint(endpoint.address, endpoint.port, "another")) == 1
            assert ticket_of(Endpoint(endpoint.address, endpoint.port, "another")) == 2
            assert ticket_of(endpoint) == 1

    with Together(Place(0, 2, "127.0.0.1", 0.5, Telling(folder / "told")), lambda _text: None):
        raise AssertionError("nobody else has come")


def test_a_first_node_that_is_not_there_and_an_address_that_is_not_ours_are_told(tmp_path: Path) -> None:
    ByFile(tmp_path / "told").tell(Endpoint("127.0.0.1", 1, "secret"))
    with pytest.raises(NodeLostError, match=r"cannot be reached at 127\.0\.0\.1, port 1 .* HALTER_NODE_ADDRESS says"):
        Together(place(tmp_path, 1), lambda _text: None).__enter__()
    with pytest.raises(ValueError, match=r"192\.0\.2\.7, where the other nodes shall find this one: .*assign"):
        Together(place(tmp_path, 0, address="192.0.2.7"), lambda _text: None).__enter__()


def test_processes_that_the_nodes_cannot_share_are_refused(tmp_path: Path) -> None:
    five = SFTConfig(batch_size=5, processes=5)

    class Coming(ByFile):
        def tell(self, endpoint: Endpoint) -> None:
            store = distributed.TCPStore(endpoint.address, endpoint.port, is_master=False, wait_for_workers=False)
            distributed.PrefixStore(endpoint.secret, store).set("here/1", b"")
            distributed.PrefixStore(endpoint.secret, store).set("done/1", b"")

    first = Place(0, 2, "127.0.0.1", 30.0, Coming(tmp_path / "told"))
    with standing_at(first), pytest.raises(ValueError, match="processes 5 cannot be shared by 2 nodes: make it a"):
        add_up(1.5, five, work=tmp_path, reporter=Recorder())


def test_the_interface_of_an_address_is_found_by_it() -> None:
    assert reached_through("127.0.0.1") == "lo"
    assert reached_through("192.0.2.7") is None
