"""A quality classifier in the plan: a step before the filter, which alone has another fingerprint."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import Plan, build_plan
from tests.flows.recipe_runs import POCKET

QUALITY = {
    "languages": ["en"],
    "positives": [{"name": name, "files": [f"{name}.jsonl"]} for name in ("diary", "novel")],
    "negatives": [{"name": "crawl", "files": ["c1.jsonl", "c2.jsonl"]}, {"name": "spam", "files": ["spam.jsonl"]}],
}


def content(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(POCKET), **changes}


def plan(**changes: Any) -> Plan:
    return build_plan(RunConfig.model_validate(content(**changes)))


def test_without_the_section_nothing_of_a_run_has_another_fingerprint_and_with_it_the_filter_alone() -> None:
    without, found = plan(), plan(quality=QUALITY)
    assert set(found) - set(without) == {("base", "train_quality_classifier")}
    assert plan(quality=None).keys() == without.keys()
    assert "quality" not in without["base", "filter_corpus"].inputs
    assert without["base", "filter_corpus"].recipe() == found["base", "filter_corpus"].recipe()
    assert {
        key: (call.recipe(), call.assets)
        for key, call in found.items()
        if key in without and call.step.name != "filter_corpus"
    } == {key: (call.recipe(), call.assets) for key, call in without.items() if call.step.name != "filter_corpus"}
    assert [str(each) for each in found["base", "filter_corpus"].assets["quality"]] == ["classifier/quality@base"]


def test_the_filter_promises_what_the_classifier_drops_only_where_there_is_one() -> None:
    without, found = (each["base", "filter_corpus"].metrics for each in (plan(), plan(quality=QUALITY)))
    assert set(found) - set(without) == {"dropped/low_quality", "quality_left_alone"}


def test_the_step_knows_which_files_are_whose_and_no_paths() -> None:
    call = plan(quality={**QUALITY, "threshold": 0.3})["base", "train_quality_classifier"]
    assert [path.name for path in call.files["files"]] == [
        "diary.jsonl",
        "novel.jsonl",
        "c1.jsonl",
        "c2.jsonl",
        "spam.jsonl",
    ]
    recipe = call.recipe()["config"]
    assert recipe["files"] == [1, 1, 2, 1]
    assert recipe["threshold"] == 0.3
    assert [each["name"] for each in recipe["negatives"]] == ["crawl", "spam"]
    assert "jsonl" not in str(recipe)
    assert {"auc/en", "threshold/en", "lost/en", "caught/en", call.step.headline} <= set(call.metrics)


def test_paths_are_those_beside_the_config_and_a_missing_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(content(quality=QUALITY)))
    with pytest.raises(InputError, match=rf"quality: diary: there is no file {tmp_path}/diary.jsonl"):
        load_config(file)
    for name in ("diary", "novel", "c1", "c2", "spam"):
        (tmp_path / f"{name}.jsonl").touch()
    section = load_config(file).quality
    assert section is not None
    assert section.sources[2].files == (tmp_path / "c1.jsonl", tmp_path / "c2.jsonl")


def test_with_a_base_model_there_is_no_corpus_to_judge() -> None:
    with pytest.raises(ValueError, match="quality judges the corpus, and base_model takes its place"):
        RunConfig.model_validate(content(quality=QUALITY, base_model="/models/m"))
