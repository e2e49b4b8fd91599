"""The recipe as a table: what is in it is run, and in an order that its edges give."""

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest

from flows.orders import descendants
from flows.recipe import plan as planning
from flows.recipe.config import RunConfig
from flows.recipe.final_stages.stage import stages
from flows.recipe.places import Row, base, here
from flows.recipe.plan import Plan, build_plan, groups_of
from flows.recipe.table import FIRST_ROWS, FOUNDATION_ROWS, ITERATION_ROWS, LAST_ROWS, STEPS
from tests.flows.recipe.test_plan import PLANS, config_of, imported, on_base

ROWS = (*FOUNDATION_ROWS, *FIRST_ROWS, *ITERATION_ROWS, *LAST_ROWS)


def groups(plan: Plan, part: str) -> list[set[str]]:
    return [{call.step.name for call in group} for group in groups_of(plan, part)]


@pytest.fixture(scope="module")
def two() -> Plan:
    return build_plan(config_of(reward={"gold_percent": 20}))


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
def test_every_step_of_the_plan_is_in_one_group_of_its_part_and_behind_all_that_it_reads(
    changes: dict[str, Any],
) -> None:
    plan = build_plan(config_of(**changes))
    there = set()
    run = []
    for part in dict.fromkeys(part for part, _ in plan):
        for group in groups_of(plan, part):
            for call in group:
                assert {asset for assets in call.assets.values() for asset in assets} <= there, call.key
            there |= {asset for call in group for asset in call.outputs.values()}
            run += [call.key for call in group]
    assert sorted(run) == sorted(plan)


def test_what_does_not_need_each_other_runs_side_by_side(two: Plan) -> None:
    assert groups(two, "base") == [
        {step} for step in ("import_data", "filter_corpus", "train_tokenizer", "fit_context", "pretrain")
    ]
    assert groups(two, "V0") == [{"sft"}, {"evaluate"}]
    assert groups(two, "V2") == [
        {"draw_pairs"},
        {"collect_preferences"},
        {"train_safety_reward", "train_helpfulness_reward", "train_gold_reward"},
        {"rejection_sample", "synthesize_gatt", "measure_reward_models"},
        {"fine_tune"},
        {"ppo", "evaluate_sampled"},
        {"evaluate", "pose_sampled_questions"},
        {"judge_sampled_answers_gold", "pose_questions"},
        {"judge_answers_gold"},
    ]


def test_nothing_is_trained_before_the_lengths_are_checked() -> None:
    """Pretraining reads nothing of `fit_context`, and waits for it all the same."""
    (pretrain,) = (row for row in FOUNDATION_ROWS if row.step.name == "pretrain")
    assert [step.name for step in pretrain.after] == ["fit_context"]
    plan = dict(build_plan(config_of()))
    key = ("base", "pretrain")
    plan[key] = dataclasses.replace(plan[key], after=())
    assert groups(plan, "base")[-1] == {"fit_context", "pretrain"}


@pytest.mark.conformance("a base model that cannot be right", equation="flows.recipe.plan:groups_of")
@pytest.mark.parametrize("given", ["base_model", "judge", "both"])
def test_models_that_somebody_brings_are_looked_at_before_anything_else(tmp_path: Path, given: str) -> None:
    changes: dict[str, Any] = {}
    if given != "base_model":
        changes["collect"] = {"judge": {"folder": str(tmp_path)}}
    config = imported(**changes) if given == "judge" else on_base(tmp_path, **changes)
    plan = build_plan(config)
    assert groups(plan, "base")[0] == {"check_base"}
    assert "import_data" not in groups(plan, "base")[0]
    others = {key for key in plan if key[0] == "base"} - {("base", "check_base"), ("base", "import_data")}
    for key in others:  # each waits for what was imported, and so for the look
        assert key in descendants(plan, "base", "import_data"), key
    call = plan["base", "check_base"]
    roles = {"base_model": {"base"}, "judge": {"judge"}, "both": {"base", "judge"}}[given]
    assert set(call.outputs) == set(call.inputs) == roles
    assert call.files == dict.fromkeys(roles, (tmp_path,))
    for key in (("V0", "sft"), ("V1", "fine_tune")):
        found = [str(asset) for asset in plan[key].assets.get("findings", ())]
        assert found == ([] if given == "judge" else ["dataset/base-findings@base"])


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
def test_where_nobody_brings_a_model_there_is_nothing_to_look_at(changes: dict[str, Any]) -> None:
    assert "check_base" not in {step for _, step in build_plan(config_of(**changes))}


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
def test_training_data_are_held_against_evaluation_sets_where_the_config_asks_for_it_alone(
    changes: dict[str, Any],
) -> None:
    without = build_plan(config_of(**changes))
    assert "measure_contamination" not in {step for _, step in without}
    plan = build_plan(config_of(**changes, contamination={"ngram": 8}))
    call = plan["base", "measure_contamination"]
    assert set(call.inputs) == {"prompts", "corpus", "demonstrations", "tokenizer"}
    assert call.config.model_dump() == {"ngram": 8, "skips": 4}
    evaluations = [key for key in plan if key[1].startswith("evaluate")]
    for key in evaluations:
        assert [str(asset) for asset in plan[key].assets["contamination"]] == ["dataset/contamination@base"]
        assert "contamination" not in without[key].inputs, "what nobody asked for is in no fingerprint"
    assert len(evaluations) >= 2


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
def test_every_policy_is_put_to_the_benchmarks_and_nothing_is_done_before_they_are_read(
    changes: dict[str, Any],
) -> None:
    without = build_plan(config_of(**changes))
    sets = [
        {"name": "own", "suite": "reading", "files": ["/data/a.jsonl", "/data/b.jsonl"]},
        {"name": "tasks", "files": ["/data/tasks"], "tasks": ["eats"]},
    ]
    plan = build_plan(config_of(**changes, benchmarks={"sets": sets}, contamination={}))
    assert groups(plan, "base")[0] == {"import_benchmarks"}, "all others wait"
    assert plan["base", "import_benchmarks"].config.files == (2, 1)
    policies = {part for part, _ in without} - {"base"}
    assert {part for part, step in plan if step == "run_benchmarks"} == policies
    for part in policies:
        call = plan[part, "run_benchmarks"]
        assert [str(path) for path in call.files["folders"]] == ["/data/tasks"], "items are read once, tasks by all"
        assert str(call.assets["policy"][0]) == f"model/policy@{part}"
        assert call.metrics == ("items", "cut", "suite/reading", "suite/other", "seconds", "processor_seconds")
        assert "/data" not in call.config.model_dump_json(), "where a file lies is in no fingerprint"
    assert [str(each) for each in plan["base", "measure_contamination"].assets["benchmarks"]] == [
        "dataset/benchmark-items@base"
    ]


def test_steps_that_wait_for_one_another_are_named(two: Plan) -> None:
    plan = {key: call for key, call in two.items() if key[0] == "V0"}
    plan["V0", "sft"] = dataclasses.replace(plan["V0", "sft"], after=("evaluate",))
    with pytest.raises(ValueError, match="steps of V0 wait for one another: sft, evaluate"):
        groups_of(plan, "V0")


def in_front_of(monkeypatch: pytest.MonkeyPatch, row: Row) -> RunConfig:
    """A recipe in which this row is the first of an iteration."""
    monkeypatch.setattr(planning, "ITERATION_ROWS", (row, *ITERATION_ROWS))
    return config_of()


def test_a_row_that_reads_what_no_step_makes_is_told_when_the_plan_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row.step.name: row for row in ITERATION_ROWS}
    gatt = rows["synthesize_gatt"]
    wrong = dataclasses.replace(gatt, reads={**gatt.reads, "prompts": base("dataset/promts")}, when=lambda _at: True)
    config = in_front_of(
        monkeypatch, dataclasses.replace(wrong, reads={**wrong.reads, "helpfulness_reward": base("model/base")})
    )
    with pytest.raises(
        ValueError, match="synthesize_gatt of V1 reads dataset/promts@base, which no step before it makes"
    ):
        build_plan(config)


def test_a_row_that_reads_rows_of_another_kind_is_told_when_the_plan_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    extend = next(row for row in ITERATION_ROWS if row.step.name == "extend_prompts")
    reads = {**extend.reads, "prompts": base("dataset/instructions")}
    wrong = dataclasses.replace(extend, reads=reads, when=lambda at: at.number > 0)
    message = "dataset/instructions@base holds rows of kind instruction, and 'prompts' reads prompt"
    with pytest.raises(ValueError, match=f"extend_prompts of V1: {message}"):
        build_plan(in_front_of(monkeypatch, wrong))


def test_a_row_with_a_role_that_its_step_does_not_declare_is_told_when_the_plan_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = next(row for row in ITERATION_ROWS if row.step.name == "draw_pairs")
    wrong = dataclasses.replace(draw, reads={**draw.reads, "polcy": here("model/policy")})
    with pytest.raises(ValueError, match="draw_pairs of V1: the step declares no input 'polcy'"):
        build_plan(in_front_of(monkeypatch, wrong))


def test_the_final_stages_of_the_config_are_those_that_there_are() -> None:
    assert {*stages(), "none"} == set(get_args(RunConfig.model_fields["final_stage"].annotation))


@pytest.mark.parametrize(
    "config", [config_of(), imported(), config_of(final_stage="dpo")], ids=["world", "files", "dpo"]
)
def test_the_headline_of_a_step_is_a_metric_that_it_measures(config: RunConfig) -> None:
    for call in build_plan(config).values():
        if call.step.name.startswith("evaluate") and config.annotator is None:
            continue  # the win rate needs a judge
        assert call.step.headline in call.metrics, call.key


def test_every_step_says_what_it_does() -> None:
    # a row for each judge, and each policy to compare with, that a config names
    judged = {"pose_questions", "pose_sampled_questions", "judge_answers", "answer_held_out"}
    assert {row.step.name for row in ROWS} | judged == set(STEPS)
    for step in STEPS.values():
        assert step.about.endswith(".")
        assert step.tags
