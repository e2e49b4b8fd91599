"""What is said of pairs outside the store: named by the pairs, and there when it was prepared."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from data_store.catalog.origins import FileOrigin
from data_store.errors import InputError
from data_store.incoming.sources import register
from data_store.names import AssetName
from data_store.store import Store
from tasks.engine.reading import Outside, Reading
from tasks.incoming.asked import Asked
from tasks.incoming.judged import Judged
from tasks.incoming.of_pairs import OfPairs
from tasks.judging.endpoint import EndpointConfig
from tasks.judging.people import PeopleConfig
from tasks.judging.shares import SharesConfig
from tests.data_store.store_bench import Bench

PAIRS = AssetName("dataset", "pairs", "V2")
ASKED = Asked(PAIRS, EndpointConfig(url="http://localhost:1/v1", model="big"), SharesConfig(lm=1.0, simulated=0.0))
JUDGED = Judged(PAIRS, PeopleConfig())


@dataclass(frozen=True)
class Rumoured(OfPairs):
    """A third kind."""

    def __str__(self) -> str:
        return f"rumoured {self.pairs}"

    def source(self, part: str, pairs_version: str) -> AssetName:
        return AssetName("source", f"rumours-{part.lower()}-{pairs_version[:8]}", "external")

    def lacking(self) -> str:
        return "nobody has said anything; listen"

    def said(self, at: Reading) -> str:
        return f"what is rumoured in {at.part}"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store.open(tmp_path / "store"), tmp_path / "work")


def reading(store: Store) -> Reading:
    return Reading(store, store.heads(), "V2", "collect_preferences", "verdicts", 0)


@pytest.mark.parametrize("incoming", [ASKED, JUDGED, Rumoured(PAIRS)], ids=["asked", "judged", "a new kind"])
def test_without_pairs_nothing_can_be_told_and_the_step_says_what_it_needs(bench: Bench, incoming: OfPairs) -> None:
    at = reading(bench.store)
    assert incoming.look(at) is None
    with pytest.raises(InputError, match="V2 needs dataset/pairs@V2, which no step has made yet"):
        incoming.resolve(at)


@pytest.mark.parametrize(
    ("incoming", "lacking"),
    [
        (ASKED, "big at http://localhost:1/v1 was not asked yet; `halter run CONFIG` asks it"),
        (JUDGED, "people have not finished; they judge on the page of `halter annotate`"),
        (Rumoured(PAIRS), "nobody has said anything; listen"),
    ],
    ids=["asked", "judged", "a new kind"],
)
def test_what_is_not_prepared_is_named_by_the_pairs_with_what_to_do(
    bench: Bench, incoming: OfPairs, lacking: str
) -> None:
    bench.run("draw_pairs", {str(PAIRS): "pairs"})
    at = reading(bench.store)
    source = incoming.source_at(at)
    assert source == incoming.source("V2", at.heads[PAIRS].version_id)
    with pytest.raises(InputError) as caught:
        incoming.resolve(at)
    assert str(caught.value) == f"collect_preferences of V2 needs {source}: {lacking}"
    assert incoming.look(at) == Outside("verdicts", source, None, incoming.said(at))
    head = register(bench.store, source, bench.publish("said"), FileOrigin("/said"))
    at = reading(bench.store)
    assert incoming.resolve(at).version_id == head.version_id
    assert incoming.look(at) == Outside("verdicts", source, head.version_id, incoming.said(at))


def test_other_pairs_other_parts_and_other_questions_are_other_sources() -> None:
    for incoming in (ASKED, JUDGED, Rumoured(PAIRS)):
        names = {incoming.source(part, version * 64) for part in ("V1", "V2") for version in "ab"}
        assert len(names) == 4
    other = replace(ASKED, endpoint=ASKED.endpoint.model_copy(update={"model": "bigger"}))
    assert other.source("V1", "a" * 64) != ASKED.source("V1", "a" * 64)
