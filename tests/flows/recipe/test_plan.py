"""The wiring of the recipe: what each step of each iteration reads and writes."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from data_store.names import AssetName
from data_store.records import Override
from flows.orders import check_overrides, descendants, find_step
from flows.recipe.config import RunConfig
from flows.recipe.lengths import context_length
from flows.recipe.plan import Plan, build_plan, groups_of
from models.seeds import derive_seed
from tasks.incoming.judged import Judged
from tasks.judging.people import PeopleConfig
from tests.flows.recipe_runs import POCKET


def config_of(**changes: Any) -> RunConfig:
    return RunConfig.model_validate({**yaml.safe_load(POCKET), **changes})


def imported(**changes: Any) -> RunConfig:
    """A run on files, with judged pairs and without an annotator."""
    roles = ("documents", "demonstrations", "helpfulness_preferences", "safety_preferences")
    files = {role: [f"/data/{role}.jsonl"] for role in roles}
    return config_of(**{"data": files, "annotator": None, "gatt": None, **changes})


def on_base(folder: Path, **changes: Any) -> RunConfig:
    """A run on a base model of which only the shape is there."""
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    return imported(base_model=str(folder), **changes)


def reads(plan: Plan, part: str, step: str) -> dict[str, list[str]]:
    return {role: [str(asset) for asset in assets] for role, assets in plan[part, step].assets.items()}


def writes(plan: Plan, part: str, step: str) -> dict[str, str]:
    return {role: str(asset) for role, asset in plan[part, step].outputs.items()}


@pytest.fixture(scope="module")
def five() -> Plan:
    """V1 … V5, Ghost Attention from V3 on, PPO in the last."""
    content = yaml.safe_load(POCKET)
    return build_plan(config_of(iterations=5, gatt={**content["gatt"], "first_iteration": 3}))


PLANS = {
    "five": {"iterations": 5},
    "one": {"iterations": 1},
    "no-final-stage": {"final_stage": "none"},
    "dpo": {"final_stage": "dpo"},
    "no-gatt": {"gatt": None},
    "context-distillation": {"context_distillation": {"first_iteration": 2}},
    "gold": {"reward": {"gold_percent": 20}},
    "lora": {"lora": {"rank": 4}},
}


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
def test_every_input_is_an_output_of_an_earlier_call(changes: dict[str, Any]) -> None:
    made: set[str] = set()
    for call in build_plan(config_of(**changes)).values():
        for role, assets in call.assets.items():
            assert assets, f"{call.key}: {role} is empty"
            assert {str(asset) for asset in assets} <= made, f"{call.key}: {role}"
        outputs = {str(asset) for asset in call.outputs.values()}
        assert not outputs & made, f"{call.key} writes what another call writes"
        made |= outputs


def test_the_parts_and_steps_of_five_iterations(five: Plan) -> None:
    steps = {part: [step for each, step in five if each == part] for part, _ in five}
    assert list(steps) == ["base", "V0", "V1", "V2", "V3", "V4", "V5"]
    assert steps["base"] == ["import_data", "filter_corpus", "train_tokenizer", "fit_context", "pretrain"]
    assert steps["V0"] == ["sft", "evaluate"]
    rewards = ["train_safety_reward", "train_helpfulness_reward"]
    plain = ["draw_pairs", "collect_preferences", *rewards, "rejection_sample"]
    assert steps["V1"] == steps["V2"] == [*plain, "fine_tune", "evaluate", "measure_reward_models"]
    assert steps["V3"] == steps["V4"] == [*plain, "synthesize_gatt", "fine_tune", "evaluate", "measure_reward_models"]
    last = ["ppo", "evaluate_sampled", "evaluate", "measure_reward_models"]
    assert steps["V5"] == [*plain, "synthesize_gatt", "fine_tune", *last]


def test_each_iteration_starts_from_the_policy_before_it(five: Plan) -> None:
    for number in range(1, 6):
        part, before = f"V{number}", [f"model/policy@V{number - 1}"]
        for step in (
            "draw_pairs",
            "train_safety_reward",
            "train_helpfulness_reward",
            "rejection_sample",
            "fine_tune",
        ):
            assert reads(five, part, step)["policy"] == before
    assert reads(five, "V4", "synthesize_gatt")["policy"] == ["model/policy@V3"]


def test_responses_come_from_the_newest_policy_and_the_one_before(five: Plan) -> None:
    previous = [reads(five, f"V{number}", "draw_pairs")["previous"] for number in range(1, 6)]
    assert previous == [[f"model/policy@V{number}"] for number in (0, 0, 1, 2, 3)]


def test_reward_models_learn_from_all_preferences_so_far(five: Plan) -> None:
    for number in range(1, 6):
        so_far = [f"dataset/preferences@V{n}" for n in range(1, number + 1)]
        for step in ("train_safety_reward", "train_helpfulness_reward", "evaluate"):
            assert reads(five, f"V{number}", step)["preferences"] == so_far


@pytest.mark.conformance("best of all iterations", equation="flows.recipe.plan:build_plan")
def test_rejection_sampling_sees_all_earlier_candidates_and_the_newest_reward_models(five: Plan) -> None:
    assert "candidates" not in reads(five, "V1", "rejection_sample")
    assert reads(five, "V4", "rejection_sample")["candidates"] == [f"dataset/candidates@V{n}" for n in (1, 2, 3)]
    assert reads(five, "V4", "rejection_sample")["safety_reward"] == ["model/reward-safety@V4"]
    assert reads(five, "V4", "rejection_sample")["helpfulness_reward"] == ["model/reward-helpfulness@V4"]
    assert reads(five, "V4", "fine_tune")["picks"] == ["dataset/picks@V4"]


def test_ghost_attention_dialogues_are_learned_from_its_first_iteration_on(five: Plan) -> None:
    assert "gatt" not in reads(five, "V2", "fine_tune")
    assert reads(five, "V3", "fine_tune")["gatt"] == ["dataset/gatt@V3"]
    assert reads(five, "V5", "fine_tune")["gatt"] == ["dataset/gatt@V5"]


def test_ppo_comes_on_top_of_rejection_sampling_in_the_last_iteration_only(five: Plan) -> None:
    assert writes(five, "V4", "fine_tune") == {"policy": "model/policy@V4"}
    assert writes(five, "V5", "fine_tune") == {"policy": "model/policy-sampled@V5"}
    assert reads(five, "V5", "ppo")["policy"] == ["model/policy-sampled@V5"]
    assert writes(five, "V5", "ppo") == {"policy": "model/policy@V5", "looks": "dataset/ppo-looks@V5"}
    assert [key for key in five if key[1] == "ppo"] == [("V5", "ppo")]


@pytest.mark.conformance("over-optimisation unseen", equation="flows.recipe.plan:build_plan")
def test_a_gold_reward_model_is_trained_in_each_iteration_and_read_by_its_judge_alone() -> None:
    plan = build_plan(config_of(iterations=3, reward={"gold_percent": 20}, final_stage="dpo"))
    parts = ["V1", "V2", "V3"]
    assert [key for key in plan if key[1] == "train_gold_reward"] == [(part, "train_gold_reward") for part in parts]
    for number, part in enumerate(parts, start=1):
        assert reads(plan, part, "train_gold_reward") == {
            "policy": ["model/policy@V0"],
            "preferences": [f"dataset/preferences@{each}" for each in parts[:number]],
        }
        gold = f"model/reward-gold@{part}"
        readers = {key for key in plan if any(gold in assets for assets in reads(plan, *key).values())}
        sampled = {(part, "judge_sampled_answers_gold")} if part == "V3" else set()
        assert readers == {(part, "judge_answers_gold")} | sampled
    assert [key for key in plan if key[1].startswith("pose")] == [
        *((part, "pose_questions") for part in ("V1", "V2")),
        ("V3", "pose_sampled_questions"),
        ("V3", "pose_questions"),
    ], "nobody is asked of what nobody judges"
    for key in (("V1", "train_safety_reward"), ("V3", "train_gold_reward")):
        assert plan[key].config.model_dump()["training"]["gold_percent"] == 20
    assert plan["V3", "dpo"].config.model_dump()["gold_percent"] == 20


def test_dpo_takes_the_place_of_ppo_and_learns_from_the_newest_preferences() -> None:
    ppo, dpo = (build_plan(config_of(iterations=5, final_stage=stage)) for stage in ("ppo", "dpo"))
    assert [("V5", "dpo") if key == ("V5", "ppo") else key for key in ppo] == list(dpo)
    assert [key for key in dpo if key[1] == "dpo"] == [("V5", "dpo")]
    assert reads(dpo, "V5", "dpo") == {
        "policy": ["model/policy-sampled@V5"],
        "preferences": ["dataset/preferences@V4", "dataset/preferences@V5"],
    }
    assert writes(dpo, "V5", "dpo") == {"policy": "model/policy@V5"}
    same = [key for key in ppo if key in dpo and ppo[key].recipe() == dpo[key].recipe()]
    assert set(ppo) - set(same) == {("V5", "ppo"), ("base", "fit_context")}, "fit_context asks for other splits"


@pytest.mark.parametrize(("batches", "parts"), [(1, ["V3"]), (3, ["V1", "V2", "V3"]), (9, ["V1", "V2", "V3"])])
def test_dpo_reads_as_many_batches_of_preferences_as_the_config_says(batches: int, parts: list[str]) -> None:
    plan = build_plan(config_of(iterations=3, final_stage="dpo", dpo={"preference_batches": batches}))
    assert reads(plan, "V3", "dpo")["preferences"] == [f"dataset/preferences@{part}" for part in parts]


def test_without_a_final_stage_fine_tuning_makes_the_policy() -> None:
    plan = build_plan(config_of(final_stage="none"))
    assert writes(plan, "V2", "fine_tune") == {"policy": "model/policy@V2"}
    assert not {"ppo", "dpo", "evaluate_sampled"} & {step for _, step in plan}


def test_every_policy_is_evaluated_against_sft_by_its_own_reward_models(five: Plan) -> None:
    assert reads(five, "V5", "evaluate")["policy"] == ["model/policy@V5"]
    assert reads(five, "V5", "evaluate_sampled")["policy"] == ["model/policy-sampled@V5"]
    for step in ("evaluate", "evaluate_sampled"):
        found = reads(five, "V5", step)
        assert found["reference"] == ["model/policy@V0"]
        assert found["baseline"] == ["dataset/evaluation-responses@V0"]
        assert found["safety_reward"] == ["model/reward-safety@V5"]
    assert writes(five, "V5", "evaluate_sampled")["evaluation"] == "report/evaluation-sampled@V5"


@pytest.mark.conformance("over-optimisation unseen", equation="tasks.evaluations.win_rate:WinRate.measure")
def test_no_step_that_trains_reads_what_the_evaluation_says(five: Plan) -> None:
    """The annotator's score of held-out answers stays a judge that training never sees."""
    of_evaluation = {
        asset for (part, step) in five if step.startswith("evaluate") for asset in writes(five, part, step).values()
    }
    assert len(of_evaluation) > 5
    readers = {
        step for part, step in five for assets in reads(five, part, step).values() if of_evaluation & set(assets)
    }
    assert readers == {"evaluate", "evaluate_sampled"}


def test_no_two_calls_share_a_seed_and_adding_iterations_changes_none(five: Plan) -> None:
    drawing = {key: call for key, call in five.items() if key[1] != "collect_preferences"}  # which draws nothing
    assert len({call.seed for call in drawing.values()}) == len(drawing)
    two = build_plan(config_of(iterations=2, final_stage="none", gatt=None))
    named = {"draw_pairs": "collect_preferences"}
    assert all(call.seed == derive_seed(3, part, named.get(step, step)) for (part, step), call in five.items())
    assert all(five[key].seed == call.seed for key, call in two.items())


def test_more_iterations_leave_the_earlier_ones_as_they_are() -> None:
    """V1 and V2 of a run are taken up again when V3 is asked for."""
    two, three = (build_plan(config_of(iterations=number, final_stage="none")) for number in (2, 3))
    different = [
        key for key, call in two.items() if call.recipe() != three[key].recipe() or call.inputs != three[key].inputs
    ]
    assert different == []


def override(part: str, step: str, key: str, value: object) -> Override:
    return Override(part, step, key, json.dumps(value), datetime.now(UTC))


def test_an_override_reaches_its_own_step_of_its_own_part_only() -> None:
    config = config_of()
    before = build_plan(config)
    after = build_plan(config, [override("V1", "train_safety_reward", "reward.margins", "large")])
    changed = [key for key in before if before[key].recipe() != after[key].recipe()]
    assert changed == [("V1", "train_safety_reward")]
    assert list(before) == list(after)
    assert all(before[key].inputs == after[key].inputs for key in before)
    assert after["V1", "train_safety_reward"].config.model_dump()["training"]["margins"] == "large"


def test_several_overrides_of_one_step_hold_together() -> None:
    given = [override("V2", "ppo", "ppo.batch_size", 9), override("V2", "ppo", "ppo.mini_batch_size", 3)]
    training = build_plan(config_of(), given)["V2", "ppo"].config.model_dump()["training"]
    assert (training["batch_size"], training["mini_batch_size"]) == (9, 3)


def test_an_override_that_no_longer_fits_the_config_is_named() -> None:
    with pytest.raises(
        InputError,
        match=r"safety_reward --unset reward\.margin --run pocket` takes it back\): there is no key reward\.margin",
    ):
        build_plan(config_of(), [override("V1", "train_safety_reward", "reward.margin", "large")])


def test_an_override_of_a_step_that_is_not_in_the_plan_is_left_alone() -> None:
    assert build_plan(config_of(final_stage="none"), [override("V2", "ppo", "ppo.batch_size", 9)])


def test_a_run_on_files_imports_its_pairs_once_and_deals_them_out() -> None:
    plan = build_plan(imported())
    sources = plan["base", "import_data"].files
    assert sources["safety_preferences"] == (Path("/data/safety_preferences.jsonl"),)
    assert set(sources) == {"documents", "demonstrations", "helpfulness_preferences", "safety_preferences"}
    assert writes(plan, "base", "fit_context")["preferences"] == "dataset/preferences@base"
    for part in ("V1", "V2"):
        read = reads(plan, part, "collect_preferences")
        assert read == {"prompts": ["dataset/prompts@base"], "imported": ["dataset/preferences@base"]}
        assert plan[part, "collect_preferences"].config.model_dump()["iterations"] == 2
    assert "instructions" not in reads(plan, "V2", "evaluate")


def test_what_people_judge_is_read_beside_the_pairs_and_changes_no_other_step() -> None:
    collect = yaml.safe_load(POCKET)["collect"]
    simulated, people = (config_of(), config_of(annotator=None, collect={**collect, "people": {"per_item": 2}}))
    plan, before = build_plan(people), build_plan(simulated)
    call = plan["V2", "collect_preferences"]
    assert call.inputs["judgements"] == (Judged(AssetName("dataset", "pairs", "V2"), PeopleConfig(per_item=2)),)
    read = reads(plan, "V2", "collect_preferences")
    assert read == {"prompts": ["dataset/prompts@base"], "pairs": ["dataset/pairs@V2"]}
    assert [key for key, call in plan.items() if call.of(Judged)] == [(f"V{n}", "collect_preferences") for n in (1, 2)]
    assert not any(call.of(Judged) for call in before.values())
    changed = {step for (part, step), call in plan.items() if call.recipe() != before[part, step].recipe()}
    assert changed == {"collect_preferences", "evaluate", "evaluate_sampled"}, "the annotator is gone"


def test_what_is_asked_of_people_makes_nothing_stale() -> None:
    """The judgements themselves are an input; how they were asked for is not."""
    collect = yaml.safe_load(POCKET)["collect"]
    one, other = (
        build_plan(config_of(annotator=None, collect={**collect, "people": people}))
        for people in ({}, {"per_item": 3, "deadline_hours": 5, "quota_percent": 10, "attention_checks": 9})
    )
    assert [key for key in one if one[key].recipe() != other[key].recipe()] == []


def test_on_files_people_judge_pairs_that_are_drawn_and_none_are_imported() -> None:
    plan = build_plan(imported(collect={"people": {}}))
    assert "preferences" not in plan["base", "import_data"].outputs
    assert reads(plan, "V1", "draw_pairs")["prompts"] == ["dataset/prompts@base"]
    assert "draw_pairs" not in {step for _, step in build_plan(imported())}


def test_a_base_model_takes_the_place_of_the_foundation(tmp_path: Path) -> None:
    plan = build_plan(on_base(tmp_path))
    assert [step for part, step in plan if part == "base"] == ["check_base", "import_data", "fit_context"]
    assert plan["base", "fit_context"].files == {"tokenizer": (tmp_path,)}
    assert plan["V0", "sft"].files == {"base": (tmp_path,)}
    assert "base" not in reads(plan, "V0", "sft")
    assert not any("base" in call.files for (part, _), call in plan.items() if part not in ("base", "V0"))


def test_every_step_that_reads_the_base_models_tokenizer_is_told_the_date_for_its_template(tmp_path: Path) -> None:
    plan = build_plan(on_base(tmp_path, template_date="2025-03-09", collect={"red_team": {}}))
    told = {key: call.config.template_date for key, call in plan.items() if hasattr(call.config, "template_date")}
    readers = {key for key, call in plan.items() for files in call.files.values() if tmp_path in files}
    assert told == dict.fromkeys(readers, date(2025, 3, 9))
    assert {step for _, step in told} == {"check_base", "fit_context", "sft", "extend_prompts"}


def test_the_date_for_the_base_models_template_holds_for_a_whole_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="template_date: this holds for a whole run"):
        check_overrides(on_base(tmp_path), "V0", "sft", {"template_date": "2025-03-09"})


def test_own_answers_are_the_base_models_and_are_learned_and_replayed_beside_the_demonstrations(tmp_path: Path) -> None:
    plan = build_plan(on_base(tmp_path, own_answers={"prompts": 5}))
    assert plan["base", "draw_own_answers"].files == {"base": (tmp_path,)}
    assert reads(plan, "base", "draw_own_answers")["prompts"] == ["dataset/prompts@base"]
    for part, step in (("V0", "sft"), ("V1", "fine_tune")):
        both = ["dataset/demonstrations@base", "dataset/own-answers@base"]
        assert reads(plan, part, step)["demonstrations"] == both
    without = build_plan(on_base(tmp_path))
    assert ("base", "draw_own_answers") not in without
    assert reads(without, "V0", "sft")["demonstrations"] == ["dataset/demonstrations@base"]


def test_own_answers_are_refused_where_no_model_can_give_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="own_answers are those of a base model, and stand beside demonstrations"):
        config_of(own_answers={})


def test_distilled_answers_are_drawn_from_the_policy_before_and_learned_from_their_first_iteration_on() -> None:
    plan = build_plan(config_of(iterations=3, context_distillation={"first_iteration": 2}))
    assert ("V1", "distill_context") not in plan
    assert "distilled" not in reads(plan, "V1", "fine_tune")
    for number in (2, 3):
        part = f"V{number}"
        given = reads(plan, part, "distill_context")
        assert given["policy"] == [f"model/policy@V{number - 1}"]
        assert given["safety_reward"] == [f"model/reward-safety@{part}"]
        assert reads(plan, part, "fine_tune")["distilled"] == [f"dataset/context-distilled@{part}"]
        # beside rejection sampling: neither waits for the other
        (group,) = (found for found in groups_of(plan, part) if "distill_context" in {call.step.name for call in found})
        assert "rejection_sample" in {call.step.name for call in group}


def test_each_evaluation_reads_the_answers_of_all_policies_before_it_and_the_last_one_ppos_looks(five: Plan) -> None:
    answers = [f"dataset/evaluation-responses@V{number}" for number in range(5)]
    for number in range(1, 5):
        assert reads(five, f"V{number}", "evaluate")["earlier_responses"] == answers[:number]
    found = reads(five, "V5", "evaluate")
    assert found["earlier_responses"] == [*answers, "dataset/evaluation-responses-sampled@V5"]
    assert found["looks"] == ["dataset/ppo-looks@V5"]
    for key in five:
        if key[1] != "evaluate" or key[0] == "V0":
            assert not {"earlier_responses", "looks"} & set(reads(five, *key)), key
    dpo = build_plan(config_of(iterations=2, final_stage="dpo"))
    assert "looks" not in reads(dpo, "V2", "evaluate")
    assert len(reads(dpo, "V2", "evaluate")["earlier_responses"]) == 3


def test_a_temperature_that_is_tuned_needs_prompts_to_tune_it_on() -> None:
    for changes, wanted in (
        ({}, ("train", "heldout")),
        ({"rejection": {"temperatures": "auto"}}, ("train", "validation", "heldout")),
        ({"rejection": {"temperatures": "auto"}, "final_stage": "ppo"}, ("train", "validation", "heldout")),
    ):
        plan = build_plan(config_of(**{"final_stage": "none", **changes}))
        assert plan["base", "fit_context"].config.model_dump()["splits"] == wanted


def test_without_context_distillation_no_step_knows_of_it() -> None:
    """Its key in the config makes nothing of an earlier run stale."""
    for call in build_plan(config_of()).values():
        assert "preprompts" not in call.config.model_dump()
        assert "preprompts" not in call.inputs


def test_the_file_of_preprompts_is_read_where_their_room_is_checked_and_where_they_are_used(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("be kind\n")
    plan = build_plan(config_of(context_distillation={"file": str(own)}))
    reading = {key for key, call in plan.items() if call.files.get("preprompts") == (own,)}
    assert reading == {("base", "fit_context"), ("V1", "distill_context"), ("V2", "distill_context")}


def test_adapters_find_their_base_model_in_every_step_that_opens_a_model(tmp_path: Path) -> None:
    opening = {
        "check_base",
        "sft",
        "train_safety_reward",
        "train_helpfulness_reward",
        "rejection_sample",
        "fine_tune",
        "ppo",
        "evaluate",
        "evaluate_sampled",
        "measure_reward_models",
    }
    given = build_plan(on_base(tmp_path, lora={"rank": 4}))
    assert {step for (_, step), call in given.items() if call.files.get("base") == (tmp_path,)} == opening
    trained = build_plan(config_of(lora={"rank": 4}))
    with_base = {step for (_, step), call in trained.items() if "base" in call.inputs}
    assert with_base == opening - {"check_base"} | {"draw_pairs", "synthesize_gatt"}


def test_whole_models_need_no_base_beside_them() -> None:
    with_base = {step for (_, step), call in build_plan(config_of()).items() if "base" in call.inputs}
    assert with_base == {"sft"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "max_position_embeddings is missing"),
        ("[]", "max_position_embeddings is missing"),
        ('{"max_position_embeddings": "2048"}', "max_position_embeddings is missing"),
        ('{"text_config": {"max_position_embeddings": 2048}}', "reads more than text: give .* its text model alone"),
        ("no json", "not JSON"),
    ],
)
def test_a_base_model_without_a_context_length_is_refused(tmp_path: Path, text: str, message: str) -> None:
    config = on_base(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        build_plan(config)
    assert str(tmp_path / "config.json") in str(caught.value)


def test_the_context_length_of_gpt_2_is_read_under_its_own_name(tmp_path: Path) -> None:
    config = on_base(tmp_path)
    (tmp_path / "config.json").write_text('{"n_positions": 300}')
    assert context_length(config) == 300


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"model\.preset: unknown 'llama9'; there are llama1-7b"):
        build_plan(config_of(model={"preset": "llama9"}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"preset": "little", "hidden_size": 36}, "model: hidden_size / num_heads must be even"),
        ({"preset": "little", "num_heads": 5}, "model: hidden_size must be a multiple of num_heads"),
    ],
)
def test_a_model_whose_heads_do_not_fit_is_refused_before_any_step(model: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_plan(config_of(model=model))


def test_the_descendants_of_a_step_are_all_that_it_feeds_in_later_iterations_too() -> None:
    plan = build_plan(config_of())
    assert descendants(plan, "V1", "train_safety_reward") == [
        ("V1", "rejection_sample"),
        ("V1", "fine_tune"),
        ("V1", "evaluate"),
        ("V1", "measure_reward_models"),
        ("V2", "draw_pairs"),
        ("V2", "collect_preferences"),
        ("V2", "train_safety_reward"),
        ("V2", "train_helpfulness_reward"),
        ("V2", "rejection_sample"),
        ("V2", "synthesize_gatt"),
        ("V2", "fine_tune"),
        ("V2", "ppo"),
        ("V2", "evaluate_sampled"),
        ("V2", "evaluate"),
        ("V2", "measure_reward_models"),
    ]
    assert descendants(plan, "V2", "evaluate") == []
    assert set(descendants(plan, "base", "import_data")) == set(plan) - {("base", "import_data")}


@pytest.mark.parametrize(
    ("part", "name", "found"),
    [
        ("V1", "safety-reward", "train_safety_reward"),
        ("V1", "train_safety_reward", "train_safety_reward"),
        ("V2", "evaluate", "evaluate"),
        ("V2", "gatt", "synthesize_gatt"),
        ("V2", "collect", "collect_preferences"),
        ("base", "tokenizer", "train_tokenizer"),
    ],
)
def test_a_step_is_found_by_what_people_call_it(part: str, name: str, found: str) -> None:
    assert find_step(build_plan(config_of()), part, name) == found


@pytest.mark.parametrize(
    ("part", "name", "message"),
    [
        ("V9", "ppo", "there is no iteration 'V9'; there are base, V0, V1, V2"),
        ("V1", "ppo", "V1 has no step 'ppo'; there are draw-pairs, collect-preferences, train-safety-reward"),
        ("V1", "reward", "V1 has no step 'reward'"),
    ],
)
def test_a_step_that_is_not_there_or_not_one_is_refused(part: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_step(build_plan(config_of()), part, name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sft.epochs": 3}, "--set sft.epochs: step train_safety_reward of V1 does not read it"),
        ({"reward.margin": "large"}, "did you mean reward.margins"),
        ({"iterations": 3}, "this holds for a whole run; change it in the config file"),
        ({"data.world.seed": 3}, "this holds for a whole run"),
        ({"final_stage": "dpo"}, "this holds for a whole run"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_value_that_the_step_does_not_read_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_overrides(config_of(), "V1", "train_safety_reward", values)


def test_a_value_that_takes_the_step_itself_away_is_refused() -> None:
    with pytest.raises(InputError, match="--set gatt: with it V2 has no step synthesize_gatt; to leave a step out"):
        check_overrides(config_of(), "V2", "synthesize_gatt", {"gatt": None})


def test_setting_a_value_to_what_it_is_is_no_error() -> None:
    check_overrides(config_of(), "V1", "train_safety_reward", {"reward.margins": "small"})


def test_values_set_at_once_are_judged_together() -> None:
    check_overrides(config_of(), "V2", "ppo", {"ppo.batch_size": 9, "ppo.mini_batch_size": 3})
    with pytest.raises(InputError, match="batch_size 8 must be a multiple of mini_batch_size 3"):
        check_overrides(config_of(), "V2", "ppo", {"ppo.mini_batch_size": 3})


def test_a_value_is_judged_with_those_set_before() -> None:
    """Else the store would hold values that no plan can be made with."""
    held = [override("V2", "ppo", "ppo.batch_size", 6), override("V1", "train_safety_reward", "reward.epochs", 2)]
    check_overrides(config_of(), "V2", "ppo", {"ppo.mini_batch_size": 3}, held)
    with pytest.raises(InputError, match="batch_size 6 must be a multiple of mini_batch_size 4"):
        check_overrides(config_of(), "V2", "ppo", {"ppo.mini_batch_size": 4}, held)


def test_a_key_is_looked_at_by_its_value_where_that_is_what_is_set() -> None:
    """`sft.sequence_length` decides how long a dialogue may be, so fit_context reads it as well as SFT."""
    check_overrides(config_of(), "V0", "sft", {"sft.sequence_length": 400})
