"""What the sentences of older journals tell."""

import pytest

from data_store.catalog.older_origins import facts_in
from data_store.names import AssetName

ID = "0123456789abcdef" * 4
TAKEN = AssetName("source", "taken", "external")
ADOPTED = {"kind": "adopted", "from_asset": "dataset/picks@V1", "from_version": ID}


@pytest.mark.parametrize(
    ("sentence", "facts"),
    [
        ("/data/my file\n.jsonl", {"kind": "file", "path": "/data/my file\n.jsonl"}),
        (
            f"run Big.1: dataset/picks@V1 version {ID}, made by its run r1",
            {**ADOPTED, "run": "Big.1", "made_by": "r1"},
        ),
        (
            f"run big: dataset/picks@V1 version {ID}, made by its run None",
            {**ADOPTED, "run": "big", "made_by": None},
        ),
        (
            "annotation batch v1-ab, closed because all that was asked for is judged: 2 judgements by anna",
            {"kind": "judged", "batch": "v1-ab"},
        ),
        ("annotation batch v1, the book is gone: no judgement", {"kind": "judged", "batch": "v1"}),
        (
            f"/models/judge at 7 at http://h:1/v1 on dataset/pairs@V2 {ID}: 5 answered",
            {
                "kind": "asked",
                "model": "/models/judge at 7",
                "url": "http://h:1/v1",
                "pairs": "dataset/pairs@V2",
                "pairs_version": ID,
            },
        ),
        ("red teams: none has been closed", {"kind": "attacked"}),
        ("V3 took in a.jsonl, b.jsonl", {"kind": "taken_in", "part": "V3"}),
        ("base took in nothing", {"kind": "taken_in", "part": "base"}),
    ],
)
def test_each_sentence_that_was_ever_written_gives_its_facts(sentence: str, facts: dict[str, str]) -> None:
    assert facts_in(TAKEN, sentence) == facts


def test_the_part_that_red_teams_attacked_is_in_the_name_of_the_source() -> None:
    assert facts_in(AssetName("source", "red-team-v12", "external"), "red teams: none has been closed") == {
        "kind": "attacked",
        "part": "V12",
    }


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "tampered with",
        f"run ../evil: dataset/picks@V1 version {ID}, made by its run x",
        f"run .: dataset/picks@V1 version {ID}, made by its run x",
        f"run a/b: dataset/picks@V1 version {ID}, made by its run x",
        f"run big: dataset/../picks@V1 version {ID}, made by its run x",
        "run big: dataset/picks@V1 version abc, made by its run x",
        f"run big: dataset/picks@V1 version {ID}, made by its run ../x",
        f"run big: dataset/picks@V1 version {ID}, made by its run x\n",
        "annotation batch ../evil, closed because enough: no judgement",
        f"m at http://h/v1 on pairs {ID}: 5 answered",
        "../V3 took in a.jsonl",
    ],
)
def test_a_sentence_that_no_halter_wrote_gives_none(sentence: str) -> None:
    assert facts_in(TAKEN, sentence) == {}
