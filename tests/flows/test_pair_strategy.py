"""A pair strategy in the config, in the plan and among the gates."""

from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from flows.gates import check_gates
from flows.orders import check_overrides, descendants
from flows.recipe.config import RunConfig, dump_config, parse_config
from flows.recipe.plan import build_plan
from flows.recipe.watch_config import GateConfig
from tests.flows.recipe_runs import POCKET

BOTH = {"uncertain_share": 0.4, "iterations_disagree_share": 0.1}


def config_of(strategy: dict[str, Any] | None, iterations: int = 3, **changes: Any) -> RunConfig:
    content = yaml.safe_load(POCKET)
    collect = {**content["collect"], **({} if strategy is None else {"strategy": strategy})}
    return RunConfig.model_validate({**content, "iterations": iterations, "collect": collect, **changes})


def reads(config: RunConfig, part: str) -> dict[str, list[str]]:
    inputs = build_plan(config)[part, "draw_pairs"].inputs
    return {role: [str(asset) for asset in assets] for role, assets in inputs.items()}


def test_without_a_strategy_drawing_reads_and_says_what_it_did_before_there_were_any() -> None:
    call = build_plan(config_of(None))["V2", "draw_pairs"]
    assert set(call.inputs) == {"policy", "previous", "prompts"}
    assert set(call.recipe()["config"]) == {"ordinary_prompts", "safety_prompts", "temperatures", "sampling"}


def test_a_strategy_changes_the_drawing_from_v2_on_and_no_other_step() -> None:
    before, after = build_plan(config_of(None)), build_plan(config_of({}))
    assert list(before) == list(after)
    changed = [
        key
        for key, call in before.items()
        if call.recipe() != after[key].recipe() or call.inputs != after[key].inputs or call.seed != after[key].seed
    ]
    assert changed == [("V2", "draw_pairs"), ("V3", "draw_pairs")]


def test_the_reward_models_of_the_iteration_before_and_all_earlier_pairs_are_inputs() -> None:
    plain = {"policy": ["model/policy@V2"], "previous": ["model/policy@V1"], "prompts": ["dataset/prompts@base"]}
    models = {
        "safety_reward": ["model/reward-safety@V2"],
        "helpfulness_reward": ["model/reward-helpfulness@V2"],
        "preferences": ["dataset/preferences@V1", "dataset/preferences@V2"],
    }
    assert reads(config_of({}), "V3") == {**plain, **models}
    older = {
        "earlier_safety_reward": ["model/reward-safety@V1"],
        "earlier_helpfulness_reward": ["model/reward-helpfulness@V1"],
    }
    assert reads(config_of(BOTH), "V3") == {**plain, **models, **older}
    assert not set(older) & set(reads(config_of(BOTH), "V2")), "before V1 there is none"


def test_another_reward_model_makes_the_next_iterations_pairs_stale() -> None:
    later = descendants(build_plan(config_of({}, final_stage="none")), "V1", "train_safety_reward")
    assert ("V2", "draw_pairs") in later
    call = build_plan(config_of({}))["V2", "draw_pairs"]
    ids = {role: tuple(map(str, assets)) for role, assets in call.inputs.items()}
    other = {**ids, "safety_reward": ("another",)}
    assert call.fingerprint(ids) != call.fingerprint(other)


def test_with_adapters_the_step_reads_the_base_that_the_reward_models_stand_on() -> None:
    assert reads(config_of({}, lora={"rank": 4}), "V2")["base"] == ["model/base@base"]


@pytest.mark.parametrize(
    ("strategy", "changes", "message"),
    [
        ({"uncertain_share": 0.7, "axes_disagree_share": 0.4}, {}, r"the shares add up to 1\.1"),
        ({"uncertain_share": 0}, {}, "all shares are 0, so nothing would be chosen"),
        ({"draw_factor": 1}, {}, "greater than 1"),
        ({"unsure_below": 0.5}, {}, r"greater than 0\.5"),
        ({"unsure_share": 0.5}, {}, "unsure_share"),
        ({}, {"iterations": 1}, "needs the reward models of an earlier iteration: raise iterations"),
        (BOTH, {"iterations": 2}, "iterations_disagree_share needs the reward models of two earlier iterations"),
        (
            {},
            {
                "annotator": None,
                "gatt": None,
                "data": {
                    role: ["/data/x.jsonl"]
                    for role in ("documents", "demonstrations", "helpfulness_preferences", "safety_preferences")
                },
            },
            "chooses among drawn pairs, and none are drawn: take it out",
        ),
        ({}, {"distill": {"run": "other"}, "gatt": None, "final_stage": "none"}, "and none are drawn: take it out"),
    ],
    ids=["shares", "nothing", "factor", "certainty", "word", "one-iteration", "two-iterations", "imported", "distil"],
)
def test_a_strategy_that_cannot_work_is_refused(
    strategy: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(strategy, **changes)


def test_a_config_with_a_strategy_is_read_back_the_same() -> None:
    config = config_of(BOTH)
    assert parse_config(dump_config(config)) == config


def test_one_iteration_alone_can_be_drawn_another_way_but_not_the_first() -> None:
    check_overrides(config_of({}), "V2", "draw_pairs", {"collect.strategy.uncertain_share": 1.0})
    check_overrides(config_of(None), "V2", "draw_pairs", {"collect.strategy": {"uncertain_share": 1.0}})
    with pytest.raises(InputError, match="step draw_pairs of V1 does not read it"):
        check_overrides(config_of({}), "V1", "draw_pairs", {"collect.strategy.uncertain_share": 1.0})


def test_a_gate_can_ask_for_what_only_a_strategy_measures() -> None:
    gates = [
        GateConfig(step="draw_pairs", metric=metric, at_least=0, iterations=("V3",))
        for metric in ("drawn", "kept/unsure", "scale/safety", "scale/earlier_safety")
    ]
    check_gates(gates, build_plan(config_of(BOTH)))
    with pytest.raises(InputError, match=r"draw_pairs of V3 measures no 'scale/earlier_safety'"):
        check_gates(gates, build_plan(config_of({})))
    with pytest.raises(InputError, match="measures no 'drawn'"):
        check_gates(gates, build_plan(config_of(None)))
