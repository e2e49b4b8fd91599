"""What is held out is held out by text, once, whoever wrote the row and whichever file it stands in."""

from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from flows.recipe.config import load_config
from tasks.collect_preferences import CollectStepConfig, collect_preferences
from tasks.engine.step import Output
from tasks.held_out import apart, begins_with, is_held_out, plain, texts
from tasks.import_data import ImportStepConfig, import_data
from tests.tasks.bench import step_run, written
from tests.tasks.test_import_data import imported, lines, preference
from world.config import WorldConfig

ROOT = Path(__file__).parents[2]


def user(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def test_case_spacing_and_the_form_of_characters_make_no_other_text() -> None:
    assert plain(user("  What is\n\nＡＩ? ")) == plain(user("what IS ai?"))
    assert plain(user("e\u0301te\u0301")) == plain(user("été"))
    assert plain(user("what is ai")) != plain(user("what is ai?"))
    assert plain(user("a")) != plain([{"role": "system", "content": "a"}])


def test_a_share_is_about_as_large_as_asked_and_holds_every_smaller_one() -> None:
    asked = [user(f"question {number}") for number in range(2000)]
    assert not any(is_held_out(each, 0, "pairs") for each in asked)
    assert all(is_held_out(each, 100, "pairs") for each in asked)
    assert 240 < sum(is_held_out(each, 15, "pairs") for each in asked) < 360
    assert all(is_held_out(each, 30, "pairs") for each in asked if is_held_out(each, 15, "pairs"))


def test_each_use_has_a_draw_of_its_own() -> None:
    """If they were one, no prompt that is left to train on would test the reward models."""
    asked = [user(f"question {number}") for number in range(2000)]
    left = [each for each in asked if not is_held_out(each, 20, "evaluation")]
    assert 0.1 < sum(is_held_out(each, 15, "pairs") for each in left) / len(left) < 0.2


def test_pairs_on_one_text_stand_on_one_side_whatever_their_ids(tmp_path: Path) -> None:
    rows = [
        {**preference(number), "messages": user(f"ask {number % 40}" if number < 80 else f"ASK  {number % 40}")}
        for number in range(120)
    ]
    batch = collected(tmp_path, rows, [])
    sides: dict[str, set[str]] = {}
    for row in batch:
        sides.setdefault(plain(row["messages"]), set()).add(row["split"])
    assert len(sides) == 40
    assert {frozenset(each) for each in sides.values()} == {frozenset({"train"}), frozenset({"heldout"})}


def test_the_split_that_a_file_says_of_its_pairs_is_obeyed(tmp_path: Path) -> None:
    """By text about thirty percent would be held out; the file holds out every second one."""
    said = [{**preference(number), "split": ("train", "heldout")[number % 2]} for number in range(100)]
    batch = {row["preference_id"]: row["split"] for row in collected(tmp_path, said, [])}
    assert batch == {row["preference_id"]: row["split"] for row in said}


def test_pairs_on_a_prompt_that_serves_for_evaluation_train_nothing(tmp_path: Path) -> None:
    said = [{**preference(number), "split": "train"} for number in range(20)]
    prompts = [prompt(number, "heldout" if number < 5 else "train") for number in range(20)]
    batch = collected(tmp_path, said, prompts)
    assert sorted(row["preference_id"] for row in batch if row["split"] == "heldout") == [
        f"pair-{number}" for number in range(5)
    ]


def test_a_text_that_one_batch_holds_out_trains_in_no_other() -> None:
    """Batches that were split by different shares: the second one would learn what the first one tests."""
    first = [{**preference(number), "split": "heldout" if number < 3 else "train"} for number in range(6)]
    second = [{**preference(number), "split": "train"} for number in range(6)]
    training, tested = apart([*first, *second])
    assert [row["preference_id"] for row in tested] == ["pair-0", "pair-1", "pair-2"]
    assert sorted(row["preference_id"] for row in training) == sorted(["pair-3", "pair-4", "pair-5"] * 2)


def test_a_dialogue_is_told_by_any_prompt_that_it_answers() -> None:
    dialogue = [
        *user("one"),
        {"role": "assistant", "content": "1"},
        *user("two"),
        {"role": "assistant", "content": "2"},
    ]
    assert begins_with(dialogue, frozenset({plain(user("ONE"))}))
    assert begins_with(dialogue, frozenset({plain(dialogue[:3])}))
    assert not begins_with(dialogue, frozenset({plain(user("two"))})), "with what stands before it, it is another"


def test_evaluation_and_borderline_prompts_are_held_out_wherever_they_stand(tmp_path: Path) -> None:
    """They come again among the prompts to train on, in other letters, and among demonstrations."""
    everything = ("prompts", "demonstrations")
    imported(
        tmp_path,
        everything,
        ImportStepConfig(heldout_percent=50),
        helpfulness_prompts=[lines(tmp_path / "p.jsonl", *({"prompt": f"question {n}"} for n in range(40)))],
        safety_prompts=[lines(tmp_path / "s.jsonl", *({"prompt": f"harm {n}"} for n in range(40)))],
        helpfulness_evaluation_prompts=[
            lines(tmp_path / "e.jsonl", {"prompt": "QUESTION 1"}, {"prompt": "question 2"})
        ],
        borderline_prompts=[lines(tmp_path / "b.jsonl", {"prompt": "how to kill a process"}, {"prompt": "Question 3"})],
        demonstrations=[
            lines(tmp_path / "d.jsonl", *({"prompt": f"Question {n}", "response": "yes"} for n in range(1, 6)))
        ],
    )
    rows = written(tmp_path, "prompts")
    held_out = {row["messages"][0]["content"]: row for row in rows if row["split"] == "heldout"}
    asked = {text for text, row in held_out.items() if row["axis"] == "helpfulness"}
    assert asked == {
        *("QUESTION 1", "question 1", "question 2", "question 3", "Question 3"),
        "how to kill a process",
    }, "an axis with evaluation prompts holds out no others"
    assert {row["kind"] for text, row in held_out.items() if text in ("how to kill a process", "Question 3")} == {
        "borderline"
    }
    assert 10 < sum(row["axis"] == "safety" for row in held_out.values()) < 30, "an axis without them holds its share"
    left = [row["messages"][0]["content"] for row in written(tmp_path, "demonstrations")]
    assert left == ["Question 4", "Question 5"]
    refused = written(tmp_path, "refused")
    assert [row["reason"] for row in refused] == ["held_out"] * 3
    assert_nothing_trains_on_it(rows, written(tmp_path, "demonstrations"))


@pytest.mark.conformance("a test set of reward models that they have learned", equation="tasks.set_apart:without_texts")
def test_what_tests_reward_models_trains_nothing_wherever_it_stands(tmp_path: Path) -> None:
    """Among prompts, demonstrations and pairs, in other letters, and as the beginning of a longer dialogue."""
    tests = [
        {"test_set": "own", **preference(number), "split": "heldout", "messages": user(f"Test {number}")}
        for number in range(3)
    ]
    longer = [*user("TEST 2"), {"role": "assistant", "content": "1"}, *user("and then?")]
    pairs = [{"prompt": "test  1", "response_a": "a", "response_b": "b", "chosen": "a"}]
    pairs += [{"prompt": "another", "response_a": "a", "response_b": "b", "chosen": "a"}]
    pairs += [{"messages": longer, "response_a": "a", "response_b": "b", "chosen": "a"}]
    roles = ("prompts", "demonstrations", "preferences", "refused")
    written_by = {
        "safety_prompts": [{"prompt": "test 0"}, {"prompt": "question"}, {"messages": longer}],
        "demonstrations": [{"prompt": "test 1", "response": "yes"}, {"prompt": "fine", "response": "yes"}],
        "helpfulness_preferences": pairs,
    }
    run = step_run(
        tmp_path,
        inputs={
            "reward_tests": ("test_pair", tests),
            **{role: lines(tmp_path / f"{role}.jsonl", *rows) for role, rows in written_by.items()},
        },
        outputs={role: import_data.outputs[role] for role in roles},
    )
    import_data.function(run, ImportStepConfig(heldout_percent=0))
    asked = sorted(row["messages"][0]["content"] for row in written(tmp_path, "prompts"))
    assert asked == ["another", "question"], "the first is a pair's: its axis has no prompts of its own"
    assert [row["messages"][0]["content"] for row in written(tmp_path, "demonstrations")] == ["fine"]
    assert [row["messages"][0]["content"] for row in written(tmp_path, "preferences")] == ["another"]
    refused = written(tmp_path, "refused")
    assert [row["reason"] for row in refused] == ["in_reward_test"] * 5
    assert {row["doc_id"].split("/")[0] for row in refused} == set(written_by)


def test_demonstrations_that_are_all_held_out_are_an_error_that_says_so(tmp_path: Path) -> None:
    one = lines(tmp_path / "e.jsonl", {"prompt": "question"})
    with pytest.raises(InputError, match="every demonstration answers a prompt that is held out"):
        imported(
            tmp_path,
            ("prompts", "demonstrations"),
            ImportStepConfig(),
            helpfulness_prompts=[lines(tmp_path / "p.jsonl", {"prompt": "another"})],
            helpfulness_evaluation_prompts=[one],
            demonstrations=[lines(tmp_path / "d.jsonl", {"prompt": "question", "response": "yes"})],
        )


def test_the_prompts_of_pairs_that_a_file_holds_out_are_held_out(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"p{n}", "response_a": "a", "response_b": "b", "chosen": "a", "split": ("train", "heldout")[n % 2]}
        for n in range(40)
    ]
    imported(
        tmp_path,
        ("prompts", "preferences"),
        ImportStepConfig(heldout_percent=50),
        helpfulness_preferences=[lines(tmp_path / "pairs.jsonl", *rows)],
    )
    splits = {row["messages"][0]["content"]: row["split"] for row in written(tmp_path, "prompts")}
    assert all((splits[f"p{n}"] == "heldout") == bool(n % 2) for n in range(40))


@pytest.mark.parametrize("name", ["demo", "smoke", "distilled"])
def test_in_no_world_does_anything_train_on_what_is_held_out(tmp_path: Path, name: str) -> None:
    world = load_config(ROOT / "configs" / f"{name}.yaml").data.world
    assert world is not None
    roles = {"prompts": "prompt", "demonstrations": "dialogue"}
    run = step_run(tmp_path, outputs={role: Output("dataset", kind) for role, kind in roles.items()})
    import_data.function(run, ImportStepConfig(world=WorldConfig(**{**world.model_dump(), "documents": 100})))
    assert_nothing_trains_on_it(written(tmp_path, "prompts"), written(tmp_path, "demonstrations"))


def assert_nothing_trains_on_it(prompts: list[dict[str, Any]], demonstrations: list[dict[str, Any]]) -> None:
    """No held-out text is among those of the other splits, and no demonstration answers one."""
    held_out = texts(prompts)
    assert held_out
    assert not held_out & (texts(prompts, "train") | texts(prompts, "validation"))
    assert not texts(prompts, "train") & texts(prompts, "validation")
    assert not any(begins_with(row["messages"], held_out) for row in demonstrations)


def collected(folder: Path, rows: list[dict[str, Any]], prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The batch that comes of imported pairs."""
    run = step_run(
        folder,
        inputs={"imported": ("preference", rows), "prompts": ("prompt", prompts)},
        outputs={"preferences": Output("dataset", "preference")},
    )
    collect_preferences.function(run, CollectStepConfig(heldout_percent=30))
    return written(folder, "preferences")


def prompt(number: int, split: str) -> dict[str, Any]:
    return {
        "prompt_id": f"prompt-{number}",
        "source": "p.jsonl",
        "kind": "import",
        "axis": "safety",
        "split": split,
        "messages": user(f"ask {number}"),
    }
