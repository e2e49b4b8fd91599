"""Tables by group of prompts, by turn and of reward models show the figures that there are, each in its place."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from data_store.catalog.whole import Measured
from data_store.records import RunRecord, RunSummary
from flows.shown.policies import Policy, measure_of
from flows.shown.report.by_group import by_group
from flows.shown.report.kept import kept_plots, kept_tables
from flows.shown.report.parts import Table
from flows.shown.report.reward_models import reward_models


def summary(step: str, part: str) -> RunSummary:
    return RunSummary(
        RunRecord(step, part, "f", "1", {"config": {"annotator": None}}, 0), "succeeded", "", 1, None, None, {}
    )


def figure(name: str, value: float, n: int = 40, judge: str | None = "anna") -> Measured:
    return Measured("r", name, value, n, max(value - 0.1, 0.0), min(value + 0.1, 1.0), judge)


def policy(part: str, figures: dict[str, float], *judges: str, n: int = 40) -> Policy:
    measured = {name: figure(name, value, n, "lm:big" if "@" in name else "anna") for name, value in figures.items()}
    judged = {judge: summary(f"judge_answers_{judge}", part) for judge in judges}
    return Policy(part, part, "evaluate", summary("evaluate", part), judged, figures=measured)


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_rates_stand_by_category_and_by_turns_with_the_judge_of_each_row() -> None:
    first = policy("V1", {"false_refusal": 0.5, "false_refusal/category/homonyms": 0.25, "violation/single_turn": 0.1})
    second = policy(
        "V2",
        {"false_refusal/category/safe_targets@big": 0.75, "violation/single_turn": 0.0, "violation/multi_turn": 0.2},
        "big",
        n=7,
    )
    refusals, turns = by_group([first, second])
    assert refusals.columns == ["policy", "judge", "homonyms", "safe targets"]
    assert texts(refusals) == [["V1", "anna", "25.0", "–"], ["V2", "lm:big", "–", "75.0"]]
    assert "few" in refusals.rows[1][3].note, "of seven prompts"
    assert sorted(turns.columns[2:]) == ["violation/multi turn", "violation/single turn"]
    assert texts(turns)[0][1] == "anna"
    assert not list(by_group([policy("V1", {"violation": 0.1})])), "no group, no table"


def test_a_figure_of_a_category_is_written_and_explained_as_its_rate_is() -> None:
    found = measure_of("false_refusal/category/homonyms@big")
    assert found is not None
    assert (found.form(0.5), found.meaning) == ("50.0", "Refusals of prompts that only sound dangerous: homonyms")
    assert measure_of("nothing/category/homonyms") is None
    assert measure_of("violation/multi_turn@big") is not None


def facts(*found: Policy, **steps: dict[str, Measured]) -> Any:
    """`steps`: STEP_PART → its figures."""
    runs, measured = {}, {}
    for key, figures in steps.items():
        step, _, part = key.rpartition("_")
        runs[part, step] = summary(step, part)
        measured[runs[part, step].run.run_id] = figures
    return cast(Any, SimpleNamespace(policies=found, maker_of=runs, whole=SimpleNamespace(measured=measured)))


def test_instructions_stand_turn_by_turn_with_who_has_learned_to_keep_them() -> None:
    def kept(part: str, *shares: float, reminded: bool = False) -> Policy:
        figures = {f"instruction/held_out/turn_{turn}": share for turn, share in enumerate(shares, start=1)}
        more = {f"instruction/held_out/reminded/turn_{turn}": 1.0 for turn in (1, 2)} if reminded else {}
        return policy(part, {**figures, **more})

    of = facts(kept("V1", 1.0, 0.1), kept("V2", 1.0, 0.9, 0.8, reminded=True), synthesize_gatt_V2={})
    (table,) = kept_tables(of)
    assert table.columns[:5] == ["policy", "Ghost Attention", "instructions", "said in", "judge"]
    assert table.columns[5:] == ["turn 1", "turn 2", "turn 3"]
    assert texts(table) == [
        ["V1", "no", "not trained on", "first turn", "anna", "100%", "10%", "–"],
        ["V2", "yes", "not trained on", "first turn", "anna", "100%", "90%", "80%"],
        ["V2", "yes", "not trained on", "every turn", "anna", "100%", "100%", "–"],
    ]
    plots = {plot.key: plot for plot in kept_plots(of) if plot.picture}
    assert set(plots) == {"turns-held_out", "turns-reminded"}
    assert plots["turns-held_out"].picture.count("<polyline") == 2
    assert plots["turns-held_out"].caption == "Judged by: anna."
    assert not list(kept_tables(facts(policy("V0", {"win_rate": 0.5}))))


def test_reward_models_stand_by_set_rating_and_batch_with_their_calibration() -> None:
    def known(*sets: str) -> dict[str, Measured]:
        found = {}
        for model in ("helpfulness", "safety"):
            for number, name in enumerate(sets):
                of = f"{model}/{name}"
                names = [f"accuracy/{of}/all", f"accuracy/{of}/better", f"ece/{of}", f"difference/{of}/better"]
                found |= {each: figure(each, 0.6 + number / 10) for each in names}
                for place in (2, 10):
                    found[f"calibration/{of}/bin_{place}"] = figure(f"calibration/{of}/bin_{place}", 0.5)
                    name = f"calibration/{of}/bin_{place}/predicted"
                    found[name] = Measured("r", name, 0.5 + place / 20, 40)
            for batch in ("V1", "V2"):
                found[f"accuracy/{model}/batch/{batch}"] = figure("x", 0.7)
        return found

    sets = ("helpfulness", "safety", "outside")
    section = reward_models(facts(measure_reward_models_V1=known(*sets), measure_reward_models_V2=known(*sets)))
    tables = {table.key: table for table in section.tables}
    assert list(tables) == ["test-sets", "accuracy", "by-batch", "calibration", "bins"]
    assert tables["test-sets"].columns == ["iteration", "reward model", *sets]
    assert texts(tables["test-sets"])[0] == ["V1", "helpfulness", "0.60", "0.70", "0.80"]
    assert len(tables["accuracy"].rows) == len(tables["calibration"].rows) == 2 * 2 * 3
    assert [row[2:] for row in texts(tables["bins"])[:2]] == [["0.60", "0.50"], ["1.00", "0.50"]]
    assert {plot.key for plot in section.plots} == {
        "accuracy-over-iterations-helpfulness",
        "accuracy-over-iterations-safety",
        "accuracy-by-rating",
        "difference-by-rating",
        "calibration-helpfulness",
        "calibration-safety",
    }
    assert "few" not in str(tables["test-sets"].rows[0][2].note)
    assert reward_models(facts()).texts == ["No accuracy of a reward model is known."]


@pytest.mark.parametrize("name", ["accuracy/x", "accuracy/safety/all", "accuracy/safety/<img>/all/more"])
def test_names_of_other_stores_that_are_no_set_are_passed_by(name: str) -> None:
    found = reward_models(facts(measure_reward_models_V1={name: figure(name, 0.5)}))
    assert found.texts == ["No accuracy of a reward model is known."]
