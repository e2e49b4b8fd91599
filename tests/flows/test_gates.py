"""Gates: which are refused before anything is computed, and which stop a run."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_store.errors import InputError
from flows.gates import Stop, StoppedAtGateError, check_gates, stops_of
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import Plan, build_plan
from flows.recipe.watch_config import GateConfig
from tests.flows.recipe_runs import POCKET, Finished, Home, ask


@pytest.fixture
def pocket(tmp_path: Path) -> Callable[[str], RunConfig]:
    """The pocket recipe with these gates, written as in YAML."""

    def read(gates: str) -> RunConfig:
        path = tmp_path / "pocket.yaml"
        path.write_text(f"{POCKET}gates: [{gates}]\n")
        return load_config(path)

    return read


@pytest.fixture
def plan(pocket: Callable[[str], RunConfig]) -> Plan:
    return build_plan(pocket(""))


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("{step: ppo, metric: kl}", "a gate needs a bound: give at_least, at_most or both"),
        ("{step: ppo, metric: kl, at_most: .inf}", "must be a finite number"),
        ("{step: ppo, metric: kl, at_least: 2, at_most: 1}", "at_least 2 is above at_most 1"),
        ("{step: ppo, metrik: kl, at_most: 1}", "there is no key gates.0.metrik; did you mean gates.0.metric?"),
    ],
)
def test_a_gate_that_is_written_wrongly_is_refused_by_name(
    pocket: Callable[[str], RunConfig], gate: str, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        pocket(gate)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (GateConfig(step="pppo", metric="kl", at_most=1), "no step 'pppo'; did you mean 'ppo'?"),
        (GateConfig(step="safety-reward", metric="accuracy/all", at_least=0.6), "mean 'train_safety_reward'?"),
        (GateConfig(step="dpo", metric="loss", at_most=1), "this run has no step 'dpo'"),
        (GateConfig(step="ppo", metric="KL", at_most=1), "gates, entry 1: ppo of V2 measures no 'KL'"),
        (GateConfig(step="ppo", metric="kl_k4", at_most=1), "did you mean 'kl_k3'?"),
        (GateConfig(step="evaluate", metric="violations", at_most=1), "did you mean 'violation'?"),
        (GateConfig(step="ppo", metric="kl", at_most=1, iterations=("V1",)), "ppo is not in 'V1'; it is in V2"),
        (GateConfig(step="evaluate", metric="kl_to_sft", at_most=1, iterations=("V0",)), "evaluate of V0 measures no"),
    ],
)
def test_a_gate_that_the_run_does_not_have_is_refused_with_the_right_name(
    plan: Plan, gate: GateConfig, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        check_gates([gate], plan)
    assert message in str(refused.value)


def test_metrics_that_need_an_annotator_are_unknown_without_one(plan: Plan) -> None:
    call = plan["V1", "evaluate"]
    assert {"violation", "instruction/trained/turn_2", "kl_to_sft"} <= set(call.metrics)
    assert "reward/gold" not in call.metrics, "no gold reward model in this recipe"
    alone = call.config.model_copy(update={"annotator": None})
    unjudged = replace(call, config=alone).metrics
    assert "violation" not in unjudged
    assert "kl_to_sft" in unjudged


def test_a_gate_stands_in_every_rlhf_iteration_or_where_it_says(plan: Plan) -> None:
    gate = GateConfig(step="evaluate", metric="violation", at_most=0.1)
    bad = {"violation": 0.2}
    assert [part for part in ("V0", "V1", "V2") if stops_of([gate], plan, part, "evaluate", bad)] == ["V1", "V2"]
    only = gate.model_copy(update={"iterations": ("V2",)})
    assert [part for part in ("V0", "V1", "V2") if stops_of([only], plan, part, "evaluate", bad)] == ["V2"]
    foundation = GateConfig(step="pretrain", metric="loss", at_most=4.0)
    assert stops_of([foundation], plan, "base", "pretrain", {"loss": 4.1})
    assert stops_of([gate], plan, "V1", "evaluate_sampled", bad) == []


@pytest.mark.parametrize(
    ("value", "passes"), [(0.1, True), (0.3, True), (0.2, True), (0.31, False), (0.09, False), (math.nan, False)]
)
def test_bounds_themselves_are_allowed_and_what_is_no_number_never_passes(value: float, passes: bool) -> None:
    assert GateConfig(step="ppo", metric="kl", at_least=0.1, at_most=0.3).holds(value) is passes


def test_what_was_not_measured_does_not_pass(plan: Plan) -> None:
    gate = GateConfig(step="train-safety-reward", metric="accuracy/better", at_least=0.6)
    (stop,) = stops_of([gate], plan, "V1", "train_safety_reward", {"accuracy/all": 0.9})
    assert str(stop) == "V1 train_safety_reward: accuracy/better was not measured, and must be at least 0.6"


def test_the_message_names_gate_value_bound_and_what_to_do() -> None:
    gate = GateConfig(step="train_safety_reward", metric="accuracy/all", at_least=0.6)
    text = str(StoppedAtGateError([Stop("V2", "train_safety_reward", gate, 0.5212)]))
    assert "V2 train_safety_reward: accuracy/all is 0.5212 (near chance), and must be at least 0.6" in text
    assert "halter rerun V2 train-safety-reward --set KEY=VALUE" in text
    assert "gates" in text


def test_every_metric_that_a_step_reports_is_one_that_a_gate_can_name(first_run: tuple[Home, Finished]) -> None:
    plan = build_plan(load_config_of(first_run[0]))
    curves = ("pretrain/", "sft/", "fine_tune/", "ppo/", "look/", "shift/")  # and histograms
    for run in first_run[0].store.runs():
        known = plan[run.run.part, run.run.step].metrics
        reported = {name for name in run.metrics if not name.startswith(curves)}
        if run.run.step.startswith("train_"):
            reported -= {"reward/grad_norm", "reward/learning_rate", "reward/loss"}  # curves too
        assert reported <= set(known), run.run.step


def load_config_of(home: Home) -> RunConfig:
    from flows.recipe.config import parse_config

    return parse_config((home.folder / home.name / "config.json").read_text())


@pytest.mark.slow
def test_a_gate_on_a_step_that_runs_alone_stops_the_run(copy_of_first_run: Callable[[], Home], tmp_path: Path) -> None:
    """The other one stands on a step that runs beside another."""
    config = tmp_path / "gated.yaml"
    config.write_text(f"{POCKET}gates: [{{step: pretrain, metric: loss, at_most: 0.001}}]\n")
    stopped = copy_of_first_run().halter("run", config, "--json")
    assert stopped.code == 1
    assert re.search(r"base pretrain: loss is [\d.]+, and must be at most 0\.001", stopped.err), stopped.err
    assert "Traceback" not in stopped.err


@pytest.mark.slow
def test_a_run_stops_at_a_gate_keeps_the_result_and_goes_on_when_the_bound_is_changed(
    copy_of_first_run: Callable[[], Home], tmp_path: Path
) -> None:
    """Every step but the evaluations is finished before. What is taken up again has to pass the gate too."""
    home = copy_of_first_run()
    before = home.runs()
    (sampled,) = home.store.runs(part="V2", step="rejection_sample")
    picks = int(sampled.metrics["picks"])
    config = tmp_path / "gated.yaml"
    gate = "{step: rejection-sample, metric: picks, at_least: 1000, iterations: [V2]}"
    config.write_text(f"{POCKET}gates: [{gate}]\n".replace("  safety_prompts: 6", "  safety_prompts: 5"))

    stopped = home.halter("run", config, "--json")
    assert stopped.code == 1
    assert f"V2 rejection_sample: picks is {picks}, and must be at least 1,000" in stopped.err
    assert "Traceback" not in stopped.err
    ran = home.runs()[len(before) :]
    assert ran == [("V0", "evaluate", "succeeded"), ("V1", "evaluate", "succeeded")], "what comes before, nothing after"

    status = home.look("status", "--json").document
    cells = {(cell["part"], cell["step"]): cell for cell in status["steps"]}
    at_gate = cells["V2", "rejection_sample"]
    assert (at_gate["state"], at_gate["gate"]) == ("fresh", f"picks is {picks}, and must be at least 1,000")
    assert at_gate["outputs"]["picks"] == home.head("dataset/picks@V2"), "its result stays"
    assert [key for key, cell in cells.items() if cell["gate"]] == [("V2", "rejection_sample")]
    stale = {key for key, cell in cells.items() if cell["state"] != "fresh"}
    assert stale == {("V2", "evaluate"), ("V2", "evaluate_sampled")}, "a gate makes nothing stale"
    assert f"V2 rejection_sample is at a gate: picks is {picks}" in home.look("status").out

    runs = ask(home.server or "", "flow_runs/filter", sort="START_TIME_DESC", limit=30)
    newest = next(run for run in runs if run["name"] == "pocket")
    assert (newest["state_type"], newest["state_name"]) == ("FAILED", "Stopped at a gate")
    artifacts = ask(home.server or "", "artifacts/latest/filter", limit=200)
    assert "gate-rejection-sample-v2" in {each["key"] for each in artifacts}

    config.write_text(config.read_text().replace("at_least: 1000", f"at_least: {picks}"))
    on = home.halter("run", config, "--json")
    assert on.code == 0, on.err
    assert {(part, step) for part, step, _ in home.runs()[len(before) + 2 :]} == stale
    assert set(home.states().values()) == {"fresh"}
