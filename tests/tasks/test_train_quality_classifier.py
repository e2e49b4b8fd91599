"""The quality classifiers: tried on sources that they have not seen, refused where they do not know these, and asked
by the filter."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_store.corpus.quality import LOW_QUALITY
from data_store.corpus.registry import FilterConfig
from data_store.errors import InputError
from tasks.engine.step import StepInput, StepRun
from tasks.filter_corpus import filter_corpus
from tasks.quality import QualityConfig, QualitySourceChoice, QualityStepConfig
from tasks.train_quality_classifier import JUDGE, open_judge, train_quality_classifier
from tests.tasks.bench import call_of, step_run, written

NAMES = "Anna Peter Clara Thomas Emma Henry Alice George Martha Samuel Julia Edward".split()  # noqa: SIM905
TIMES = ("in the morning", "after the rain", "before the winter", "at the end of the day", "in the old town")
GARDEN = "sat in the garden and read a long letter about the harbor and the quiet river"
BARGAIN = "could buy the cheap shoes in our online shop and save a lot of money with this offer"
GERMAN = "Der Hund schläft unter dem alten Baum und wir haben gestern einen langen Spaziergang am See gemacht."


def texts(own: str, shared: str, n: int = 25) -> list[str]:
    """English sentences of one source, each with a word of its own and what its side has in common."""
    rng = random.Random(own + shared)
    found = []
    for number in range(n):
        name, other = rng.sample(NAMES, 2)
        found.append(f"The {own} says that {name} and {other} {shared} {rng.choice(TIMES)}, number {number}.")
    return found


def planted(good: str = GARDEN, bad: str = BARGAIN) -> dict[str, list[str]]:
    return {
        "diary": texts("diary", good),
        "novel": texts("novel", good),
        "crawl": texts("crawl", bad),
        "spam": texts("spam", bad),
    }


def learned(
    folder: Path, sources: Mapping[str, Sequence[str]], languages: Sequence[str] = ("en",), **values: Any
) -> dict[str, Any]:
    """The first two are the positives."""
    folder.mkdir(parents=True, exist_ok=True)
    names, given = list(sources), []
    for name, rows in sources.items():
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
        given.append(StepInput(f"source/{name}@external", "v", file))
    config = QualityStepConfig(
        languages=tuple(languages),  # type: ignore[arg-type]
        positives=tuple(QualitySourceChoice(name=name) for name in names[:2]),
        negatives=tuple(QualitySourceChoice(name=name) for name in names[2:]),
        files=(1,) * len(names),
        filter=values.pop("filter", FilterConfig()),
        **values,
    )
    outputs = dict(train_quality_classifier.outputs)
    run = StepRun(name="little", part="base", seed=1, inputs={"files": tuple(given)}, outputs=outputs, folder=folder)
    found = dict(train_quality_classifier.function(run, config))
    call = call_of(train_quality_classifier, config, part="base")
    assert set(train_quality_classifier.measures(call)) <= set(found), "what gates know is given"
    return found


def test_planted_sources_are_told_when_they_are_held_out_with_n_and_interval(tmp_path: Path) -> None:
    found = learned(tmp_path, planted())
    for name in ("worst_auc", "auc/en", *(f"auc/en/{name}" for name in planted())):
        assert (found[name].value, found[name].n, found[name].judge) == (1.0, 25, JUDGE)
        assert 0.8 < found[name].low < found[name].high == 1
    assert (found["documents"], found["other_languages"]) == (100, 0)
    assert (found["lost/en"].value, found["lost/en"].n) == (0.02, 50), "of 25 one may be lost, so of the other none is"
    assert (found["caught/en"].value, found["caught/en"].n) == (1.0, 50)
    assert 0.5 < found["threshold/en"] < 1
    tables = {path.stem: json.loads(path.read_text()) for path in tmp_path.rglob("tables/*.json")}
    assert [(row["side"], row["source"], row["documents"]) for row in tables["sources"]] == [
        *(("positives", "diary", 25), ("positives", "novel", 25)),
        *(("negatives", "crawl", 25), ("negatives", "spam", 25)),
    ]


@pytest.mark.conformance(
    "a quality classifier that has learned its sources",
    equation="tasks.train_quality_classifier:train_quality_classifier",
)
def test_a_classifier_that_knows_its_sources_alone_is_refused_and_the_worst_source_is_named(tmp_path: Path) -> None:
    of_one_kind = planted("was in the house", "was in the house")
    with pytest.raises(
        InputError, match=r"quality: en: held out, \w+ is told by an AUC of \S+, and 0\.8 is needed"
    ) as e:
        learned(tmp_path, of_one_kind)
    assert "each held out in turn: diary" in str(e.value)
    assert "take en out of quality.languages" in str(e.value)
    assert not list((tmp_path / "out").rglob("*.safetensors")), "nothing can be filtered by it"


def test_the_same_sources_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        learned(tmp_path / folder, planted())
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / folder / "out" / "classifier").iterdir()}
        for folder in ("one", "other")
    ]
    assert sorted(files[0]) == ["en.safetensors", "thresholds.json"]
    assert files[0] == files[1]


def test_of_a_large_source_some_are_drawn_by_the_seed_and_a_text_of_two_sources_counts_in_none(tmp_path: Path) -> None:
    sources = planted()
    sources["diary"] = texts("diary", GARDEN, 120)
    sources["spam"] += sources["crawl"][:3] + sources["spam"]
    found = learned(tmp_path, sources, documents=50)
    assert [found[f"auc/en/{name}"].n for name in sources] == [50, 25, 22, 25]


def test_other_languages_and_a_source_with_too_few_documents_are_told(tmp_path: Path) -> None:
    sources = planted()
    sources["novel"] = [*sources["novel"][:5], *([GERMAN] * 30)]
    message = r"quality.positives: en: two sources with 20 documents .* there are diary 25, novel 5\. Give another"
    with pytest.raises(InputError, match=message):
        learned(tmp_path, sources)
    sources = planted()
    sources["crawl"].append(GERMAN)
    found = learned(tmp_path / "other", sources)
    assert (found["other_languages"], found["auc/en/crawl"].n) == (1, 25)
    with pytest.raises(InputError, match=r"quality.positives: de: .* there are diary 0, novel 0"):
        learned(tmp_path / "german", sources, languages=("en", "de"))


def test_a_source_of_too_few_documents_beside_others_is_left_out_and_told(tmp_path: Path) -> None:
    sources = {**planted(), "leaflet": texts("leaflet", BARGAIN, 7)}
    found = learned(tmp_path, sources)
    assert "auc/en/leaflet" not in found
    assert "less than 20 documents, so it learns nothing from them: leaflet 7" in (tmp_path / "notes.jsonl").read_text()


def test_what_it_learns_from_is_mended_as_what_it_judges(tmp_path: Path) -> None:
    """Addresses, which the filter masks, teach what masks teach."""
    written = {"address": "ann@example.com", "mask": "<EMAIL>"}
    for name, what in written.items():
        learned(tmp_path / name, {of: [f"{text} Write to {what}." for text in rows] for of, rows in planted().items()})
    weights = [(tmp_path / name / "out" / "classifier" / "en.safetensors").read_bytes() for name in written]
    assert weights[0] == weights[1]


def test_a_threshold_of_the_config_is_taken_as_it_is(tmp_path: Path) -> None:
    found = learned(tmp_path, planted(), threshold=0.001)
    assert found["threshold/en"] == 0.001
    assert (found["lost/en"].value, found["caught/en"].value) == (0, 0)


def test_a_score_does_not_depend_on_what_is_asked_beside_it(tmp_path: Path) -> None:
    learned(tmp_path, planted())
    score, asked = open_judge(tmp_path / "out" / "classifier").scores["en"], [each[0] for each in planted().values()]
    assert score(asked) == [score([text])[0] for text in asked]
    assert all(0 < each < 1 for each in score([*asked, ""]))


def test_the_filter_drops_what_is_like_the_negatives_and_counts_it_like_any_other_reason(tmp_path: Path) -> None:
    learned(tmp_path / "learned", planted())
    good, bad = texts("almanac", GARDEN, 3), texts("leaflet", BARGAIN, 2)
    rows = [
        {"doc_id": f"d{number}", "source": f"a:{number}", "text": text}
        for number, text in enumerate([*good, *bad, GERMAN])
    ]
    inputs: dict[str, Any] = {
        "documents": ("document", rows),
        "quality": tmp_path / "learned" / "out" / "classifier",
    }
    run = step_run(tmp_path / "filtered", inputs=inputs, outputs=filter_corpus.outputs)
    config = FilterConfig(languages=("en", "de"), near_duplicate_similarity=1)
    found = filter_corpus.function(run, config)
    assert [row["text"] for row in written(tmp_path / "filtered", "corpus")] == [*good, GERMAN]
    assert (found[f"dropped/{LOW_QUALITY}"], found["quality_left_alone"], found["kept"]) == (2, 1, 4)
    examples = written(tmp_path / "filtered", "examples")
    assert [(row["reason"], row["beginning"]) for row in examples] == [(LOW_QUALITY, text) for text in bad]
    (stage,) = (row for row in written(tmp_path / "filtered", "counts") if row["stage"] == LOW_QUALITY)
    assert (stage["documents_before"], stage["documents_after"]) == (6, 4)
    notes = (tmp_path / "filtered" / "notes.jsonl").read_text()
    assert "no classifier for 1 documents, which are left alone: de 1" in notes


def test_a_withdrawn_file_stops_the_step_and_its_name_is_known(tmp_path: Path) -> None:
    sources = [QualitySourceChoice(name=name) for name in ("a", "b", "c", "d")]
    config = QualityStepConfig(
        languages=("en",), positives=sources[:2], negatives=sources[2:], files=(1, 1, 1, 1), filter=FilterConfig()
    )
    enters = train_quality_classifier.takes_in
    files = {"files": (tmp_path / "a.jsonl",)}
    assert enters(config, files, "source", "a.jsonl")
    assert not enters(config, files, "source", "z.jsonl")
    assert not enters(config, files, "annotator", "a.jsonl")
    outputs = dict(train_quality_classifier.outputs)
    run = StepRun(
        name="little",
        part="base",
        seed=1,
        inputs={},
        outputs=outputs,
        folder=tmp_path,
        withdrawn=[("source", "a.jsonl")],
    )
    with pytest.raises(InputError, match=r"files of its sources are withdrawn \(a.jsonl\)"):
        train_quality_classifier.function(run, config)


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    sources = planted()
    sources["spam"][3] = 7  # type: ignore[call-overload]
    with pytest.raises(InputError, match=r"spam.jsonl line 4: field 'text' must be text, not a number"):
        learned(tmp_path, sources)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"negatives": [{"name": "c", "files": ["c"]}]}, "at least 2 items"),
        ({"negatives": [{"name": "a", "files": ["c"]}, {"name": "d", "files": ["d"]}]}, "the name 'a' comes twice"),
        ({"negatives": [{"name": "c", "files": ["a"]}, {"name": "d", "files": ["d"]}]}, "a is given twice"),
        ({"languages": ["en", "en"]}, "languages: one comes twice"),
        ({"languages": []}, "at least 1 item"),
        ({"languages": ["xx"]}, "Input should be 'en'"),
        ({"treshold": 0.5}, "Extra inputs are not permitted"),
        ({"threshold": 1}, "less than 1"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(change: dict[str, Any], message: str) -> None:
    both = {
        side: [{"name": name, "files": [name]} for name in names]
        for side, names in (("positives", "ab"), ("negatives", "cd"))
    }
    QualityConfig.model_validate({"languages": ["en"], **both})
    with pytest.raises(ValidationError, match=message):
        QualityConfig.model_validate({"languages": ["en"], **both, **change})
