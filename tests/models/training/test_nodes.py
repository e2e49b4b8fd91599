"""A training on several nodes: each is a process with folders of its own, as a machine has them, and what they learn is
what as many processes of one machine learn. Real processes, gloo and torch's store between them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.models.training.little_runs import contents
from tests.models.training.test_two_processes import CHANGES

Launch = Callable[..., int]
TWO: dict[str, Any] = {"nodes": 2, "processes": 2}
OF_ALL: dict[str, dict[str, Any]] = {**CHANGES, "ppo": {"batch_size": 8}}


def done(launch: Launch, trainer: str, folder: Path, **changes: Any) -> Path:
    wanted = {"batch_size": 4, "learning_rate": 1e-3, **OF_ALL[trainer], **changes}
    assert launch(trainer, folder, **wanted) == 0, (folder / "output.txt").read_text()[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "spread"])
@pytest.mark.parametrize("trainer", list(OF_ALL))
@pytest.mark.conformance("how many nodes train changes what they make", equation="models.training.meeting:Together")
def test_two_nodes_make_the_bytes_of_two_processes_of_one_machine(
    launch: Launch, tmp_path: Path, trainer: str, sharded: bool
) -> None:
    spread = {"sharded": True} if sharded else {}
    here = done(launch, trainer, tmp_path / "here", processes=2, **spread)
    nodes = done(launch, trainer, tmp_path / "nodes", **TWO, **spread)
    assert contents(nodes / "out") == contents(here / "out")
    assert json.loads((nodes / "metrics.json").read_text()) == json.loads((here / "metrics.json").read_text())
    assert (nodes / "curves.txt").read_text() == (here / "curves.txt").read_text()
    assert not (nodes / "node 2" / "out").exists()
    assert not (nodes / "node 2" / "metrics.json").exists()
