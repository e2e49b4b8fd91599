"""Prompts and demonstrations that mean the same as another one, by an encoder whose vectors are bags of words."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from data_store.estimate import Estimate
from tasks.compared_meanings import asked_in
from tasks.drop_similar import drop_similar
from tasks.engine.step import Measurements, StepRun
from tasks.known_languages import Languages
from tasks.similar import SimilarChoice
from tests.models.bag_of_words import write_bag_of_words, write_random
from tests.tasks.bench import step_run, written

COLOURS = ("red", "green", "blue")
_BEGINNINGS = ("lamp", "ship", "rope", "sail", "bell", "tide", "buoy", "mast", "hull", "deck", "pier", "dock")
NOUNS = tuple(f"{first}{last}" for first in _BEGINNINGS for last in ("en", "or", "ish", "al", "ix"))
WORDS = (*COLOURS, "what", "is", "the", "a", *NOUNS)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag_of_words(WORDS, tmp_path_factory.mktemp("encoders") / "bag")


def prompt(name: str, *texts: str, split: str = "train", **words: str) -> dict[str, Any]:
    """User and assistant take turns; the last text is the user's."""
    turns = ("user", "assistant") * len(texts)
    messages = [{"role": role, "content": text} for role, text in zip(turns, texts, strict=False)]
    known = {"prompt_id": name, "source": f"p.jsonl:{name}", "kind": "import", "axis": "helpfulness", "split": split}
    return {**known, "messages": messages, **words}


def demonstration(name: str, *texts: str) -> dict[str, Any]:
    messages = prompt(name, *texts)["messages"]
    return {"dialogue_id": name, "source": f"d.jsonl:{name}", "kind": "import", "messages": messages}


FILLERS = [prompt(f"f{place}", word) for place, word in enumerate(NOUNS)]
"""60 words that nothing else says: there is something to see the encoder by, and few pairs mean the same."""


def dropped(
    folder: Path, encoder: Path, prompts: Sequence[Any], demonstrations: Sequence[Any] = (), **changes: Any
) -> tuple[StepRun, Measurements]:
    inputs: dict[str, Any] = {"encoder": encoder, "prompts": ("prompt", [*prompts, *FILLERS])}
    if demonstrations:
        inputs["demonstrations"] = ("dialogue", list(demonstrations))
    outputs = {role: drop_similar.outputs[role] for role in (*(inputs.keys() - {"encoder"}), "dropped")}
    run = step_run(folder, inputs=inputs, outputs=outputs)
    return run, drop_similar.function(run, SimilarChoice(**{"max_unrelated_share": 0.1, **changes}))


def told(folder: Path) -> dict[str, tuple[str, str]]:
    return {row["doc_id"]: (row["reason"], row["detail"]) for row in written(folder, "dropped")}


def kept(folder: Path, role: str = "prompts") -> list[str]:
    name = {"prompts": "prompt_id", "demonstrations": "dialogue_id"}[role]
    return [row[name] for row in written(folder, role) if not row[name].startswith("f")]


def test_the_first_of_a_group_stays_and_the_others_are_kept_with_reason_cosine_and_partner(
    tmp_path: Path, bag: Path
) -> None:
    """By hand: bags of 3 and 4 words with 3 in common have 3 / √12 = .866, 3 of 3 and 3 have 1, 2 of 3 and 3 .667."""
    rows = [
        prompt("1", "what is red"),
        prompt("2", "red is what"),
        prompt("3", "what is the red"),
        prompt("4", "what is green"),
    ]
    _, metrics = dropped(tmp_path, bag, rows, threshold=0.86)
    assert kept(tmp_path) == ["1", "4"]
    assert told(tmp_path) == {
        "prompts/2": ("similar", "cosine 1 with prompts/1"),
        "prompts/3": ("similar", "cosine 0.866 with prompts/1"),
    }
    assert {row["source"] for row in written(tmp_path, "dropped")} == {"p.jsonl:2", "p.jsonl:3"}
    assert metrics["prompts/dropped_share"] == 2 / 64
    assert (metrics["dropped"], metrics["prompts/kept"], metrics["prompts/similar"]) == (2, 62, 2)
    (shown, _) = json.loads((tmp_path / "tables" / "closest.json").read_text())
    assert (shown["cosine"], shown["dropped"], shown["for"]) == ("0.866", "what is the red", "what is red")


@pytest.mark.conformance(
    "a training prompt that says in other words what a held-out one says", equation="tasks.drop_similar:drop_similar"
)
def test_nothing_trains_on_what_means_the_same_as_a_held_out_prompt_and_no_held_out_one_goes_for_it(
    tmp_path: Path, bag: Path
) -> None:
    rows = [
        prompt("t1", "what is red"),
        prompt("v1", "red what is", split="validation"),
        prompt("h1", "is red what", split="heldout"),
        prompt("h2", "what red is", split="heldout", axis="safety"),
        prompt("t2", "the blue"),
        prompt("v2", "blue the", split="validation"),
    ]
    answers = [
        demonstration("d1", "is what red", "yes"),
        demonstration("d2", "green", "yes", "a green", "no"),
        demonstration("d3", "what is red", "yes", "a green a green a blue", "no"),
        demonstration("d4", "green", "no"),
    ]
    _, metrics = dropped(tmp_path, bag, rows, answers)
    assert kept(tmp_path) == ["h1", "h2", "v2"]
    assert kept(tmp_path, "demonstrations") == ["d2", "d4"]
    leak = ("similar_to_held_out", "cosine 1 with prompts/h1")
    assert told(tmp_path) == {
        "prompts/t1": leak,
        "prompts/v1": leak,
        "prompts/t2": ("similar", "cosine 1 with prompts/v2"),
        "demonstrations/d1": leak,
        "demonstrations/d3": leak,
    }
    assert metrics["prompts/similar_to_held_out"] == metrics["demonstrations/similar_to_held_out"] == 2


def test_rows_are_the_same_only_with_the_same_axis_kind_and_system_message(tmp_path: Path, bag: Path) -> None:
    system = prompt("4", "what is red")
    system["messages"] = [{"role": "system", "content": "Be brief."}, *system["messages"]]
    rows = [
        prompt("1", "what is red"),
        prompt("2", "what is red", axis="safety"),
        prompt("3", "what is red", kind="borderline"),
        system,
    ]
    dropped(tmp_path, bag, rows)
    assert kept(tmp_path) == ["1", "2", "3", "4"]


def test_what_is_longer_than_the_encoder_reads_stays_and_drops_nothing(tmp_path: Path, bag: Path) -> None:
    long = "red " * 17
    rows = [prompt("1", long), prompt("2", long), prompt("3", "red")]
    _, metrics = dropped(tmp_path, bag, rows)
    assert kept(tmp_path) == ["1", "2", "3"]
    assert metrics["too_long"] == 2
    assert "2 of 63 rows are longer than the 16 tokens" in (tmp_path / "notes.jsonl").read_text()


def test_where_nothing_means_the_same_the_rows_are_what_they_were(tmp_path: Path, bag: Path) -> None:
    run, metrics = dropped(tmp_path, bag, [prompt("1", "what is red")])
    assert (tmp_path / "in" / "prompts" / "rows.parquet").exists()
    assert written(tmp_path, "prompts") == run.records("prompts")
    assert written(tmp_path, "dropped") == []
    assert metrics["dropped"] == 0


def test_the_same_rows_are_dropped_however_many_come_at_once(
    tmp_path: Path, bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ("what is red", "red is what", "the blue", "a green", "blue the", "green a", "is what red")
    splits = ("train", "heldout", "train", "validation", "train", "heldout", "train")
    rows = [prompt(str(n), text, split=split) for n, (text, split) in enumerate(zip(texts, splits, strict=True))]
    found = []
    for number in (1, 3, 256):
        monkeypatch.setattr("tasks.drop_similar._ROWS", number)
        dropped(tmp_path / str(number), bag, rows)
        found.append((kept(tmp_path / str(number)), told(tmp_path / str(number))))
    assert found[0] == found[1] == found[2]
    assert found[0][0] == ["1", "2", "5"]


@pytest.mark.conformance("an encoder that gives all texts one vector", equation="tasks.known_languages:look")
def test_an_encoder_that_does_not_tell_texts_apart_is_refused_with_language_figures_and_what_to_do(
    tmp_path: Path,
) -> None:
    encoder = write_random(WORDS, tmp_path / "random")
    with pytest.raises(InputError) as caught:
        dropped(tmp_path, encoder, [], threshold=0.5, max_unrelated_share=0.01)
    message = str(caught.value)
    assert message.startswith("similar.encoder: rare languages and texts too short to tell: ")
    assert "of 1,770 pairs of different texts, drawn by chance, have a cosine of 0.5 or more" in message
    assert "99 of 100 lie below" in message
    assert "similar.max_unrelated_share is 0.01" in message
    assert "similar.languages" in message
    assert not (tmp_path / "out").exists(), "nothing was compared"


@pytest.mark.conformance("an encoder whose tokenizer does not know a language", equation="tasks.known_languages:look")
def test_a_tokenizer_that_does_not_know_the_letters_of_a_language_is_refused(tmp_path: Path, bag: Path) -> None:
    korean = [prompt(f"k{place}", f"이 도시의 이름은 무엇인가요 {word}") for place, word in enumerate(NOUNS)]
    with pytest.raises(
        InputError, match=r"similar.encoder: ko: its tokenizer does not know \d\d.\d% of the letters of 60"
    ):
        dropped(tmp_path, bag, [*korean, prompt("1", "red"), prompt("2", "red")])
    _, metrics = dropped(tmp_path / "left", bag, [*korean, prompt("1", "red"), prompt("2", "red")], languages=("en",))
    assert kept(tmp_path / "left") == [*(f"k{place}" for place in range(60)), "1"]
    assert metrics["left_alone"] >= 60
    assert "rows are compared with none: languages that are left alone" in (tmp_path / "left/notes.jsonl").read_text()


def test_no_threshold_is_taken_on_trust_the_step_tells_what_unrelated_pairs_have(tmp_path: Path, bag: Path) -> None:
    """Of 60 one-word texts and one of two of these words, 2 of 1,830 pairs have a cosine of 1 / √2, all others 0."""
    _, metrics = dropped(tmp_path, bag, [prompt("1", f"{NOUNS[0]} {NOUNS[1]}")])
    assert metrics["unrelated_p99"] == metrics["unrelated_p99/others"] == Estimate(pytest.approx(0.0, abs=1e-6), 1830)
    assert metrics["cut_letters"] == 0
    (row,) = json.loads((tmp_path / "tables" / "languages.json").read_text())
    assert (row["language"], row["texts"], row["pairs of unrelated"]) == ("others", 61, 1830)


def test_too_few_rows_to_see_the_encoder_by_are_refused(tmp_path: Path, bag: Path) -> None:
    outputs = {role: drop_similar.outputs[role] for role in ("prompts", "dropped")}
    run = step_run(tmp_path, inputs={"encoder": bag, "prompts": ("prompt", FILLERS[:20])}, outputs=outputs)
    with pytest.raises(InputError, match="fewer than 21 different prompts and demonstrations"):
        drop_similar.function(run, SimilarChoice())


def test_more_than_the_share_that_may_go_stops_the_run_with_the_first_of_them(tmp_path: Path, bag: Path) -> None:
    rows = [prompt(str(place), "red") for place in range(11)]
    with pytest.raises(InputError, match=r"prompts: 10 \(14%\) mean the same .* first is p.jsonl:1: prompts/1, c"):
        dropped(tmp_path, bag, rows, max_dropped_share=0.1)


def test_a_language_has_its_own_texts_and_rare_ones_are_looked_at_together() -> None:
    english = [f"The keeper of the lighthouse has written {n} letters to the harbour this year." for n in range(30)]
    german = [f"Der Wärter des Leuchtturms hat in diesem Jahr {n} Briefe geschrieben." for n in range(20)]
    korean = ["이 도시의 이름은 무엇인가요", "오늘 날씨가 어때요"]
    languages = Languages(SimilarChoice(), seed=1)
    found = languages.add([*english, *german, *korean], [True] * 52)
    assert [found.count(name) for name in ("en", "de", "ko")] == [30, 20, 2]
    assert {name: len(texts) for name, texts in languages.groups().items()} == {"en": 30, "others": 22}


def test_a_text_whose_script_tells_its_language_is_of_it_however_sure_the_classifier_is_of_another() -> None:
    texts = ["응응", "뭐해?", "ok", "да", "12"]
    of_english = Languages(SimilarChoice(languages=("en",)), seed=1).add(texts, [True] * 5)
    assert [each is not None for each in of_english] == [False, False, True, False, False]
    assert Languages(SimilarChoice(languages=("ko",)), seed=1).add(texts, [True] * 5)[:2] == ["ko", "ko"]


def test_what_is_asked_is_the_dialogue_before_each_answer_without_the_system_message() -> None:
    system = {"role": "system", "content": "Be brief."}
    row = demonstration("1", "a", "b", "c", "d")
    assert asked_in({"messages": [system, *row["messages"]]}) == ["a", "a\nb\nc"]
    assert asked_in(prompt("1", "a", "b", "c")) == ["a\nb\nc"]
