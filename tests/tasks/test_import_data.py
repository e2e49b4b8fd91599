import json
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from tasks.answers import row_id
from tasks.collect_preferences import CollectStepConfig, collect_preferences
from tasks.engine.step import Output, StepInput, StepRun
from tasks.held_out import is_held_out
from tasks.import_data import ImportStepConfig, import_data
from tests.tasks.bench import step_run, written
from world.config import WorldConfig

SETS = dict(import_data.outputs)


def lines(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def imported(folder: Path, outputs: tuple[str, ...], config: ImportStepConfig, **files: list[Path]) -> dict[str, float]:
    """Run the import on these files; returns its metrics."""
    inputs = {role: tuple(StepInput(f"source/{p.name}@external", p.name, p) for p in ps) for role, ps in files.items()}
    wanted = {role: SETS[role] for role in (*outputs, "refused")}
    run = StepRun(name="import_data", part="base", seed=1, inputs=inputs, outputs=wanted, folder=folder)
    return dict(import_data.function(run, config))


def hh(prompt: str, chosen: str, rejected: str) -> dict[str, str]:
    start = f"\n\nHuman: {prompt}\n\nAssistant: "
    return {"chosen": start + chosen, "rejected": start + rejected}


def test_a_world_gives_the_data_sets_that_are_asked_for(tmp_path: Path) -> None:
    config = ImportStepConfig(world=WorldConfig(documents=100, demonstrations=7, train_ordinary=5, train_adversarial=3))
    run = step_run(tmp_path, outputs={role: import_data.outputs[role] for role in ("demonstrations", "prompts")})
    metrics = import_data.function(run, config)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["demonstrations", "prompts"]
    assert len(written(tmp_path, "demonstrations")) == metrics["rows/demonstrations"] == 7
    splits = [(row["split"], row["axis"]) for row in written(tmp_path, "prompts")]
    assert splits.count(("train", "helpfulness")) == 5
    assert splits.count(("train", "safety")) == 3


def test_prompts_that_are_not_given_are_those_of_the_pairs_each_once(tmp_path: Path) -> None:
    helpful = lines(tmp_path / "help.jsonl", hh("hello", "good day", "what"), hh("hello", "good day", "no"))
    safe = lines(tmp_path / "safe.jsonl", hh("harm", "I will not", "so do it"))
    metrics = imported(
        tmp_path,
        ("preferences", "prompts"),
        ImportStepConfig(heldout_percent=0),
        helpfulness_preferences=[helpful],
        safety_preferences=[safe],
    )
    pairs, prompts = written(tmp_path, "preferences"), written(tmp_path, "prompts")
    assert sorted((row["axis"], row["messages"][-1]["content"]) for row in prompts) == [
        ("helpfulness", "hello"),
        ("safety", "harm"),
    ]
    assert {row["prompt_id"] for row in pairs} == {row["prompt_id"] for row in prompts}
    assert {row["rating"] for row in pairs} == {"better"}
    assert {row["source"].rpartition("/")[2] for row in pairs} == {"help.jsonl:1", "help.jsonl:2", "safe.jsonl:1"}
    assert (metrics["rows/preferences"], metrics["rows/prompts"]) == (3.0, 2.0)


def test_where_one_axis_alone_has_prompts_of_its_own_those_of_the_other_are_its_pairs(tmp_path: Path) -> None:
    imported(
        tmp_path,
        ("preferences", "prompts"),
        ImportStepConfig(heldout_percent=0),
        safety_prompts=[lines(tmp_path / "asked.jsonl", {"prompt": "weapons"})],
        helpfulness_preferences=[lines(tmp_path / "help.jsonl", hh("hello", "good day", "what"))],
        safety_preferences=[lines(tmp_path / "safe.jsonl", hh("harm", "I will not", "so do it"))],
    )
    asked = sorted((row["axis"], row["messages"][-1]["content"]) for row in written(tmp_path, "prompts"))
    assert asked == [("helpfulness", "hello"), ("safety", "weapons")]


def test_the_share_of_held_out_prompts_follows_from_their_texts(tmp_path: Path) -> None:
    prompts = lines(tmp_path / "prompts.jsonl", *({"prompt": f"question {n}"} for n in range(300)))
    imported(tmp_path, ("prompts",), ImportStepConfig(heldout_percent=20), helpfulness_prompts=[prompts])
    rows = written(tmp_path, "prompts")
    assert [row["split"] == "heldout" for row in rows] == [
        is_held_out(row["messages"], 20, "evaluation") for row in rows
    ]
    splits = [row["split"] for row in rows]
    assert 35 < splits.count("heldout") < 85  # 60 of 300 are meant
    assert 8 < splits.count("validation") < 45  # a tenth of the other 240


def test_a_split_that_the_file_names_stands(tmp_path: Path) -> None:
    prompts = lines(tmp_path / "p.jsonl", {"prompt": "a", "split": "heldout"}, {"prompt": "b", "split": "validation"})
    imported(tmp_path, ("prompts",), ImportStepConfig(heldout_percent=0), helpfulness_prompts=[prompts])
    assert [row["split"] for row in written(tmp_path, "prompts")] == ["heldout", "validation"]


def test_refused_rows_are_kept_with_their_reason(tmp_path: Path) -> None:
    pairs = lines(tmp_path / "help.jsonl", hh("hello", "the same", "the same"), hh("hello", "good day", "no"))
    imported(tmp_path, ("preferences",), ImportStepConfig(), helpfulness_preferences=[pairs])
    (refused,) = written(tmp_path, "refused")
    assert (refused["reason"], refused["source"]) == ("identical_responses", "help.jsonl:1")
    assert len(written(tmp_path, "preferences")) == 1


def test_where_nothing_is_refused_an_empty_list_is_written(tmp_path: Path) -> None:
    pairs = lines(tmp_path / "help.jsonl", hh("hello", "good day", "no"))
    imported(tmp_path, ("preferences",), ImportStepConfig(), helpfulness_preferences=[pairs])
    assert written(tmp_path, "refused") == []


@pytest.mark.parametrize(
    ("role", "wanted", "rows", "message"),
    [
        ("documents", "documents", [{"text": "fine"}, "{broken"], r"docs\.jsonl.*2"),
        ("documents", "documents", [{"body": "no text"}], r"docs\.jsonl.*1.*text"),
        ("documents", "documents", [], r"docs\.jsonl"),
        (
            "safety_preferences",
            "preferences",
            [{"prompt": "p", "response_a": "a", "response_b": "b", "chosen": "a", "rating": "fine"}],
            r"docs\.jsonl.*1.*rating.*fine.*slightly_better",
        ),
    ],
    ids=["broken-line", "missing-field", "empty", "unknown-rating"],
)
def test_broken_files_are_named_by_file_line_and_field(
    tmp_path: Path, role: str, wanted: str, rows: list[Any], message: str
) -> None:
    path = lines(tmp_path / "docs.jsonl", *rows)
    with pytest.raises(InputError, match=message):
        imported(tmp_path, (wanted,), ImportStepConfig(preference_format="rows"), **{role: [path]})


def preference(number: int) -> dict[str, Any]:
    return {
        "preference_id": f"pair-{number}",
        "source": f"p.jsonl:{number}",
        "prompt_id": f"prompt-{number}",
        "axis": "safety",
        "iteration": "V0",
        "split": None,
        "messages": [{"role": "user", "content": f"ask {number}"}],
        "response_a": "a",
        "response_b": "b",
        "policy_version_a": None,
        "policy_version_b": None,
        "temperature_milli_a": None,
        "temperature_milli_b": None,
        "chosen": "a",
        "rating": "better",
        "safety_label": None,
        "annotator": "import:rows",
    }


def test_imported_pairs_are_dealt_out_over_the_iterations_each_once(tmp_path: Path) -> None:
    rows = [preference(number) for number in range(60)]
    dealt: list[str] = []
    for part in ("V1", "V2", "V3"):
        run = step_run(
            tmp_path / part,
            inputs={"imported": ("preference", rows)},
            outputs={"preferences": Output("dataset", "preference")},
            part=part,
        )
        metrics = collect_preferences.function(run, CollectStepConfig(iterations=3, heldout_percent=30))
        batch = written(tmp_path / part, "preferences")
        assert metrics["pairs"] == metrics["pairs/safety"] == len(batch) > 8
        assert {row["iteration"] for row in batch} == {part}
        assert all((row["split"] == "heldout") == is_held_out(row["messages"], 30, "pairs") for row in batch)
        dealt += [row["preference_id"] for row in batch]
    assert sorted(dealt) == sorted(row["preference_id"] for row in rows)


def test_an_id_depends_on_its_parts_and_where_they_are_cut() -> None:
    assert row_id("V1", "p", 0.7, 1) == row_id("V1", "p", 0.7, 1)
    assert len({row_id("a", "bc"), row_id("ab", "c"), row_id("abc")}) == 3
    assert len(row_id("a")) == 24
