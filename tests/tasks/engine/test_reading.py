"""What a kind of outside input must bring to be one: nothing but itself."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from data_store.catalog.origins import FileOrigin
from data_store.errors import InputError
from data_store.incoming.sources import register
from data_store.names import AssetName
from data_store.records import RunInput
from tasks.engine.call import StepCall
from tasks.engine.outside import Looker, differences
from tasks.engine.reading import Incoming, Outside, Reading
from tests.tasks import little_steps
from tests.tasks.bench import Bench, call_of
from tests.tasks.little_steps import WordConfig

HEARD = AssetName("source", "heard", "external")


@dataclass(frozen=True)
class Heard(Incoming):
    """A kind of which Halter knows nothing: the folder is what somebody says now."""

    folder: Path

    def __str__(self) -> str:
        return "heard"

    def resolve(self, at: Reading) -> RunInput:
        with at.store.collecting_forbidden():
            said = at.store.publish("model", self.folder)
            return at.of_source(register(at.store, HEARD, said, FileOrigin(str(self.folder))))

    def look(self, at: Reading) -> Outside:
        return Outside(at.role, HEARD, at.known(HEARD), "what was heard")


@pytest.fixture
def call(bench: Bench, tmp_path: Path) -> StepCall:
    said = tmp_path / "said"
    said.mkdir()
    (said / "text.txt").write_text("hello")
    joined = call_of(little_steps.join_texts, WordConfig(word="end", ledger=bench.ledger), name="joined")
    return replace(joined, inputs={"texts": (Heard(said),)})


@pytest.mark.slow
def test_a_new_kind_is_read_recorded_cached_and_looked_at(bench: Bench, call: StepCall, tmp_path: Path) -> None:
    outcome = bench.execute(call)
    assert bench.text("model/joined@V1") == "hello | end"
    assert bench.execute(call).cached
    (head,) = bench.store.history(HEARD)
    assert outcome.inputs == (RunInput("texts", HEARD, head.version_id, None),)
    assert bench.store.descendants(HEARD).roots == (outcome.run_id,)
    with Looker.open(bench.store, bench.store.heads(), [call]) as looker:
        assert looker.book is None, "it is not in the annotation book"
        assert differences(looker.look(call), outcome.inputs, {}) == []
    (tmp_path / "said" / "text.txt").write_text("goodbye")
    assert not bench.execute(call).cached
    assert bench.text("model/joined@V1") == "goodbye | end"


def test_an_asset_that_no_step_has_made_is_named_with_who_needs_it(bench: Bench) -> None:
    at = Reading(bench.store, {}, "V2", "sft", "policy", 0)
    with pytest.raises(InputError, match=r"^sft of V2 needs source/heard@external, which no step has made yet: run"):
        at.made(HEARD)
    assert at.known(HEARD) is None
