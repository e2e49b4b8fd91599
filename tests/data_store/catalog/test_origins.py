"""Where a source came from: a sentence for people, and facts that hold what they promise."""

import json
from dataclasses import replace
from typing import Any

import pytest

from data_store.catalog.origins import (
    AdoptedOrigin,
    AskedOrigin,
    AttackedOrigin,
    FileOrigin,
    JudgedOrigin,
    Origin,
    RedTeamSession,
    StoredOrigin,
    TakenInOrigin,
    check_facts,
    columns_of,
    facts_of,
)

ID = "0123456789abcdef" * 4
SESSION = RedTeamSession("s1", "model/policy@V1", ID, 3, 2)
SENTENCES: dict[Origin, str] = {
    FileOrigin("/data/a b.jsonl"): "/data/a b.jsonl",
    AdoptedOrigin("big", "dataset/picks@V1", ID, "r1"): f"run big: dataset/picks@V1 version {ID}, made by its run r1",
    StoredOrigin("model/policy@V1", ID, "r1"): f"model/policy@V1 version {ID}, made by run r1",
    AdoptedOrigin("big", "source/a@external", ID, None): f"run big: source/a@external version {ID}, a source there",
    AttackedOrigin("V1", ()): "red teams: none has been closed",
    AttackedOrigin("V1", None): "red teams: the book is gone",
    AttackedOrigin("V1", (SESSION, replace(SESSION, session="s2"))): (
        "red teams: s1 against model/policy@V1 0123456789abcdef: 3 attacks, 2 violations; "
        "s2 against model/policy@V1 0123456789abcdef: 3 attacks, 2 violations"
    ),
    TakenInOrigin("V3", "files", ("a.jsonl", "b.jsonl")): "V3 took in a.jsonl, b.jsonl",
    TakenInOrigin("V3", "night", ()): "V3 took in another round of judging",
    TakenInOrigin("V3", "nothing", ()): "V3 took in nothing",
}
COUNTED: list[tuple[Origin, str]] = [
    (JudgedOrigin("v1", "enough", {}), "annotation batch v1, closed because enough: no judgement"),
    (
        JudgedOrigin("v1", None, {"ben": 2, "anna": 1}),
        "annotation batch v1, the book is gone: 1 judgements by anna, 2 judgements by ben",
    ),
    (
        JudgedOrigin("v1", "enough", {"anna": 2}, 2, (ID, "live")),
        "annotation batch v1, closed because enough: 2 judgements by anna; 2 on prompts of their own, answered by "
        "0123456789abcdef, live",
    ),
    (
        AskedOrigin("m", "http://h/v1", "dataset/pairs@V1", ID, {"refused_400": 1, "answered": 5}),
        f"m at http://h/v1 on dataset/pairs@V1 {ID}: 5 answered, 1 refused_400",
    ),
]
ALL = [*SENTENCES.items(), *COUNTED]


@pytest.mark.parametrize(("origin", "sentence"), ALL, ids=[sentence[:30] for _, sentence in ALL])
def test_an_origin_is_one_sentence_and_the_same_again_out_of_a_journal(origin: Origin, sentence: str) -> None:
    assert str(origin) == sentence
    assert check_facts(json.loads(json.dumps(facts_of(origin)))) == origin


GOOD = facts_of(AdoptedOrigin("big", "dataset/picks@V1", ID, "r1"))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        *[({"run": odd}, "adopted.run") for odd in ("../evil", "/evil", ".", "..", "", "a b", "a\nb", "b" * 256, 7)],
        *[({"from_asset": odd}, "adopted.from_asset") for odd in ("picks", "dataset/../evil@V1", "", None)],
        *[({"from_version": odd}, "adopted.from_version") for odd in ("0" * 63, "A" * 64, "../evil", None)],
        *[({"made_by": odd}, "adopted.made_by") for odd in ("../evil", "", "r\n", 7)],
        *[({"kind": odd}, "origin") for odd in ("evil", "", None, 7)],
    ],
)
def test_a_fact_that_could_lead_elsewhere_is_refused_by_its_name(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ValueError, match=f"^{where}: ") as caught:
        check_facts(GOOD | changes)
    assert "\n" not in str(caught.value)


def test_a_fact_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"^adopted\.run: Field required"):
        check_facts({name: value for name, value in GOOD.items() if name != "run"})


def test_counts_are_numbers() -> None:
    facts = facts_of(JudgedOrigin("v1", None, {"anna": 1}))
    for odd in (-1, "1", True, 1.5, 2**63):
        with pytest.raises(ValueError, match=r"^judged\.judgements\.anna: "):
            check_facts(facts | {"judgements": {"anna": odd}})


def test_the_catalog_takes_the_facts_of_the_kind_alone() -> None:
    """A later halter may have added some; nothing reads them, wherever they lead."""
    facts = {"kind": "file", "path": "/data", "run": "../evil", "more": [1]}
    check_facts(facts)
    assert [value for value in columns_of(facts) if value is not None] == ["file", "/data"]
    assert not any(columns_of({"kind": "later", "run": "../evil"}))
    assert not any(columns_of({}))
