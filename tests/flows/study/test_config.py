"""Which runs a study has: what is written wrongly is refused before anything is computed, by name."""

import re
from pathlib import Path

import pytest

from data_store.errors import InputError
from data_store.identity import check_run_name
from flows.recipe.config import load_config
from flows.recipe.plan import build_plan, seed_up_to_v0
from flows.study.config import Study, load_study, open_study, own_steps, study_of
from tests.flows.recipe_runs import POCKET, ROOT

SMOKE = ROOT / "configs" / "smoke.yaml"
SEEDS = "vary: {reward.margins: [none]}\nseeds: 2\n"
OF_REAL_MODELS = ("refusals",)  # tests/test_real_alignment.py has the files that it names
STUDIES = [path for path in sorted((ROOT / "configs" / "studies").glob("*.yaml")) if path.stem not in OF_REAL_MODELS]


def smoke(*vary: str, seeds: int = 1, cross: bool = False) -> Study:
    return open_study(study_of(SMOKE, vary, seeds, cross=cross))


def written(tmp_path: Path, text: str) -> Study:
    (tmp_path / "pocket.yaml").write_text(POCKET)
    (tmp_path / "study.yaml").write_text(f"name: mine\nconfig: pocket.yaml\n{text}")
    return open_study(load_study(tmp_path / "study.yaml"))


def test_one_key_at_a_time_stands_beside_the_config_as_it_is() -> None:
    study = smoke("reward.margins=none,small,large", "ppo.kl_coef=.3,.1")
    assert [variant.label for variant in study.variants] == [
        "as configured: reward.margins=small, ppo.kl_coef=0.3",
        "reward.margins=none",
        "reward.margins=large",
        "ppo.kl_coef=0.1",
    ]
    first, *others = (variant.runs[0] for variant in study.variants)
    assert first.model_copy(update={"name": "smoke"}) == load_config(SMOKE)
    assert [(each.reward.margins, each.ppo.kl_coef) for each in others] == [
        ("none", 0.3),
        ("large", 0.3),
        ("small", 0.1),
    ]


def test_a_value_at_its_default_is_told_as_what_it_is_though_a_config_does_not_write_it_out() -> None:
    assert smoke("sft.sharded=false,true").variants[0].label == "as configured: sft.sharded=false"


def test_crossed_values_are_all_combinations() -> None:
    study = smoke("reward.margins=none,large", "ppo.kl_coef=.3,.1", cross=True)
    values = [(variant.runs[0].reward.margins, variant.runs[0].ppo.kl_coef) for variant in study.variants]
    assert values == [("none", 0.3), ("none", 0.1), ("large", 0.3), ("large", 0.1)]


def test_seeds_follow_the_configs_and_every_variant_has_its_first_seed_before_any_has_its_second() -> None:
    study = smoke("reward.margins=none,small", seeds=2)
    assert [(variant.label[:11], run.seed) for variant, run in study.runs] == [
        ("as configur", 1),
        ("reward.marg", 1),
        ("as configur", 2),
        ("reward.marg", 2),
    ]


def test_runs_have_names_of_their_own_that_stay_when_other_values_and_seeds_are_added() -> None:
    few, many = smoke("reward.margins=none"), smoke("reward.margins=large,none", "ppo.kl_coef=.1", seeds=3)
    names = [run.name for _, run in many.runs]
    assert len(set(names)) == len(names) == 12
    assert {run.name for _, run in few.runs} < set(names)
    assert "smoke" not in names, "the run of the config itself is left alone"
    assert [check_run_name(name) for name in names] == names


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("reward.margins", "write KEY=VALUE,VALUE, for example reward.margins=none,small,large"),
        ("reward.margins=", "write KEY=VALUE,VALUE"),
        ("rewrd.margins=none", "did you mean 'reward'?"),
        ("reward.margin=none", "there is no key reward.margin; did you mean reward.margins?"),
        ("reward.margins=none,smal", "reward.margins=smal: reward.margins: Input should be 'none', 'small' or 'large'"),
        ("ppo.kl_coef=-1", "ppo.kl_coef=-1: ppo.kl_coef: Input should be greater than or equal to 0 (given: -1)"),
        ("dpo.beta=.2,.3", "no step of this run reads what differs between 'as configured: dpo.beta=0.1' and"),
        ("seed=1,2", "seed is no value to compare; give the number of seeds with `seeds`"),
        ("name=a,b", "name is no value to compare"),
        ("reward.margins=small", "only 'as configured: reward.margins=small' is left to compare"),
        ("reward.margins=[none", "the value is not YAML"),
    ],
)
def test_what_does_not_fit_is_refused_by_key_and_value(vary: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        smoke(vary)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 3\n", "nothing is varied: give `vary` or `variants`"),
        ("vari: {}\n", "there is no key vari; did you mean vary?"),
        ("vary: {reward.margins: [none]}\nshare-v0: true\n", "there is no key share-v0; did you mean share_v0?"),
        ("vary: {reward.margins: [none]}\ncross: true\n", "cross combines the values of several keys"),
        ("vary: {reward.margins: []}\n", "vary.reward.margins: no value is given"),
        ("vary: {reward.margins: [none]}\nseeds: 31\n", "less than or equal to 30"),
        ("variants: {a: {gatt: null}, b: {gatt: null}}\n", "'a' and 'b' are the same run; leave one out"),
        (
            "vary: {sft.epochs: [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]}\nseeds: 30\n",
            "240 runs, and a study has at most 200",
        ),
        ("set: {schedule.take_in: next_iteration}\nvary: {reward.margins: [none]}\n", "is no value to compare"),
    ],
)
def test_a_study_file_that_is_written_wrongly_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        written(tmp_path, text)
    assert message in str(refused.value)


def test_a_run_that_grows_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "pocket.yaml").write_text(f"{POCKET}schedule: {{take_in: next_iteration, max_iterations: 5}}\n")
    with pytest.raises(InputError, match="the runs would grow while they are compared"):
        open_study(study_of(tmp_path / "pocket.yaml", ["reward.margins=none"], 1, cross=False))


def test_values_of_all_variants_and_variants_of_several_values(tmp_path: Path) -> None:
    study = written(
        tmp_path,
        "set: {sft.epochs: 2}\nvariants: {plain: {}, both: {reward.margins: large, gatt: null}}\n",
    )
    plain, both = (variant.runs[0] for variant in study.variants)
    assert (plain.sft.epochs, both.sft.epochs) == (2, 2)
    assert (plain.reward.margins, plain.gatt is None) == ("small", False)
    assert (both.reward.margins, both.gatt) == ("large", None)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_ready_made_studies_compare_what_differs(path: Path) -> None:
    study = open_study(load_study(path))
    assert study.config.name == path.stem
    assert study.config.seeds == (3 if study.config.scaling is None else 1)
    assert len(study.variants) >= 2
    for _, run in study.runs:
        assert re.fullmatch(rf"{re.escape(path.stem)}\..+-s[0123]", check_run_name(run.name))


def test_the_share_of_safety_data_leaves_the_ordinary_prompts_alone() -> None:
    (path,) = [each for each in STUDIES if each.stem == "safety-share"]
    runs = [variant.runs[0] for variant in open_study(load_study(path)).variants]
    safety = [round(run.rejection.prompts * run.rejection.safety_share) for run in runs]
    assert safety == [0, 8, 79], "0, 10 and 100 % of 79"
    assert {run.rejection.prompts - count for run, count in zip(runs, safety, strict=True)} == {161}
    assert [run.fine_tune.picks * 2 / 3 for run in runs] == pytest.approx([161, 169, 240], abs=0.5)
    demo = load_config(ROOT / "configs" / "demo.yaml")
    assert (runs[-1].rejection, runs[-1].fine_tune) == (demo.rejection, demo.fine_tune)


def test_seeds_that_share_v0_differ_from_v1_on_and_the_first_is_the_run_as_it_would_be_alone(tmp_path: Path) -> None:
    shared, apart = written(tmp_path, f"{SEEDS}share_v0: true\n"), written(tmp_path, SEEDS)
    (one, two), (first, second) = (
        [{key: call.seed for key, call in build_plan(run).items()} for run in study.variants[0].runs]
        for study in (shared, apart)
    )
    later = {key for key in one if key[0] not in ("base", "V0")}
    assert {key for key in one if one[key] != two[key]} == later
    assert one == first
    assert all(first[key] != second[key] for key in first), "without it every step's seed is another"
    assert own_steps(build_plan(run) for _, run in shared.runs)[2] == len(later)


def test_v0_of_a_run_whose_config_gives_it_a_seed_of_its_own_stays_that_ones(tmp_path: Path) -> None:
    (tmp_path / "pocket.yaml").write_text(f"{POCKET}v0_seed: 7\n")
    study = open_study(study_of(tmp_path / "pocket.yaml", ["reward.margins=none"], 2, share_v0=True, cross=False))
    assert [(run.seed, seed_up_to_v0(run)) for run in study.variants[0].runs] == [(3, 7), (4, 7)]


def test_what_a_variant_has_of_its_own_begins_with_the_step_that_reads_the_value() -> None:
    plans = [build_plan(variant.runs[0]) for variant in smoke("ppo.kl_coef=.1", "ppo.clip_range=.1").variants]
    # PPO, the evaluation after it, and nothing else
    assert own_steps(plans) == [26, 2, 2]
    assert own_steps(plans[:1] * 2) == [26, 0]
