"""What reward models know, set by set: real models of a few weights, whose scores are asked one by one here."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from data_store.errors import InputError
from models.checkpoint import load_reward, reward_from_policy, save_checkpoint, scalar_head
from models.config import SamplingConfig
from tasks.answers import Answer, open_renderer
from tasks.engine.step import StepInput, StepRun
from tasks.import_reward_tests import import_reward_tests
from tasks.measure_reward_models import Scored, measure_reward_models, measured
from tasks.reward_tests import (
    MeasureRewardModelsConfig,
    ReadingTestsConfig,
    RewardTestChoice,
    RewardTestConfig,
    RewardTestsConfig,
)
from tasks.sampling import score
from tests.tasks.bench import PAIR_NOT_SAMPLED, call_of, step_run, written
from tests.tasks.little_policy import WORDS, little_policy

TEXTS = [" ".join(WORDS.split()[n : n + 3]) for n in range(8)]
NULLS = dict.fromkeys(f"{what}_{side}" for what in ("policy_version", "temperature_milli") for side in "ab")


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def pair(number: int, axis: str, **more: Any) -> dict[str, Any]:
    """A pair on a prompt of its own, held out in V1."""
    a, b = TEXTS[number % 8], TEXTS[(number + 3) % 8]
    return {
        **PAIR_NOT_SAMPLED,
        **NULLS,
        "preference_id": f"{axis}-{number}",
        "source": f"pairs.jsonl:{number}",
        "prompt_id": f"p{number}",
        "axis": axis,
        "iteration": "V1",
        "split": "heldout",
        "messages": user(f"{axis} {number}"),
        "response_a": a,
        "response_b": b,
        "chosen": "ab"[number % 2],
        "rating": ("significantly_better", "better")[number // 3 % 2],
        "safety_label": None,
        "annotator": "anna",
        **more,
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = little_policy(tmp_path_factory.mktemp("models"))
    found = {}
    for seed, axis in enumerate(("safety", "helpfulness")):
        model = reward_from_policy(folder, None, lora=None, seed=seed)
        with torch.no_grad():
            scalar_head(model).weight.normal_(std=1.0, generator=torch.Generator().manual_seed(seed))
        found[f"{axis}_reward"] = tmp_path_factory.mktemp(axis)
        save_checkpoint(model, open_renderer(folder).tokenizer, found[f"{axis}_reward"])
    return found


def run_on(
    folder: Path, models: dict[str, Path], pairs: list[dict[str, Any]], tests: list[dict[str, Any]], **config: Any
) -> dict[str, Any]:
    inputs: dict[str, Any] = {**models, "preferences": ("preference", pairs)}
    if tests:
        inputs["tests"] = ("test_pair", tests)
    run = step_run(folder, inputs=inputs, outputs=dict(measure_reward_models.outputs), part="V2")
    sets = tuple(dict.fromkeys(row["test_set"] for row in tests))
    return dict(measure_reward_models.function(run, MeasureRewardModelsConfig(sets=sets, **config)))


def differences(model: Path, pairs: list[dict[str, Any]]) -> list[float]:
    """Chosen less rejected, one dialogue at a time."""
    renderer, reward = open_renderer(model), load_reward(model, None)
    found = []
    for row in pairs:
        answers = [Answer(row[f"response_{side}"], None, True, None, "by hand") for side in "ab"]
        a, b = (score([reward], renderer, [(row["messages"], each)], SamplingConfig())[0][0] for each in answers)
        found.append(a - b if row["chosen"] == "a" else b - a)
    return found


@pytest.mark.conformance(
    "a test set of reward models that they have learned", equation="tasks.measure_reward_models:measure_reward_models"
)
def test_both_models_are_measured_on_every_set_and_what_any_pair_trains_on_is_left_out(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    own = [pair(n, axis, iteration=f"V{1 + n % 2}") for axis in ("helpfulness", "safety") for n in range(12)]
    training = [pair(n, "helpfulness", split="train", preference_id=f"t{n}") for n in range(50, 53)]
    tests = [{"test_set": "outside", **pair(n, "safety", messages=user(f"Helpfulness   {n}"))} for n in range(50, 60)]
    found = run_on(tmp_path, models, [*own, *training], tests)
    assert found["pairs/outside"] == 7
    assert found["left_out/outside/trained_on"] == 3, "their texts are learned from, in other letters"
    rows = written(tmp_path, "scores")
    assert len(rows) == 2 * (12 + 12 + 7)
    assert not {row["preference_id"] for row in rows if row["test_set"] == "outside"} & {
        f"safety-{n}" for n in range(50, 53)
    }
    for axis, folder in models.items():
        model = axis.removesuffix("_reward")
        for name, pairs in {"helpfulness": own[:12], "safety": own[12:], "outside": tests[3:]}.items():
            truth = differences(folder, pairs)
            every = found[f"accuracy/{model}/{name}/all"]
            assert (every.n, every.judge) == (len(pairs), "anna")
            assert every.value == pytest.approx(statistics.fmean(each > 0 for each in truth))
            assert found[f"difference/{model}/{name}/all"].value == pytest.approx(statistics.fmean(truth), abs=1e-5)
    truth = differences(models["helpfulness_reward"], own[:12:2])
    first = found["accuracy/helpfulness/batch/V1"]
    assert (first.n, first.value) == (6, pytest.approx(statistics.fmean(each > 0 for each in truth)))
    assert found["accuracy/helpfulness/batch/V2"].n == 6
    assert set(found) <= {*measure_names("outside")}, "a gate knows every one of them"


def measure_names(*sets: str) -> list[str]:
    inputs = {f"{axis}_reward": (f"model/{axis}@V1",) for axis in ("helpfulness", "safety")}
    config = MeasureRewardModelsConfig(sets=sets)
    call = call_of(
        measure_reward_models,
        config,
        inputs={**inputs, "preferences": ("dataset/preferences@V1", "dataset/preferences@V2")},
    )
    return list(call.metrics)


def test_what_the_models_do_not_hold_and_what_is_over_the_bound_is_left_out(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    long = pair(3, "safety", response_a=" ".join([WORDS] * 30))
    found = run_on(tmp_path, models, [pair(n, "safety") for n in (1, 2)] + [long], [])
    assert (found["pairs/safety"], found["left_out/safety/too_long"]) == (2, 1)
    assert found["pairs/helpfulness"] == 0
    assert "accuracy/safety/helpfulness/all" not in found, "of no pair there is no figure"
    many = run_on(tmp_path / "many", models, [pair(n, "safety") for n in range(9)], [], max_pairs=4)
    again = run_on(tmp_path / "again", models, [pair(n, "safety") for n in range(8, -1, -1)], [], max_pairs=4)
    assert many["pairs/safety"] == 4
    assert many == again, "whatever the order, the same ones"


def test_figures_of_one_model_on_one_set_by_hand() -> None:
    """Differences ln 3 and -ln 3 (probability ¾ each, one right) and 0 (½, half right)."""
    third = math.log(3)
    scored = [
        Scored({"rating": "better", "annotator": "anna"}, third, 0.0),
        Scored({"rating": "better", "annotator": "bo"}, 0.0, third),
        Scored({"rating": "slightly_better", "annotator": "bo"}, 1.0, 1.0),
    ]
    found = measured(scored, "safety/outside", 2)
    assert found["accuracy/safety/outside/all"].value == 0.5
    assert (found["accuracy/safety/outside/better"].n, found["accuracy/safety/outside/better"].judge) == (2, "anna, bo")
    assert found["difference/safety/outside/better"].value == pytest.approx(0)
    assert "accuracy/safety/outside/significantly_better" not in found
    sure, unsure = found["calibration/safety/outside/bin_2"], found["calibration/safety/outside/bin_1"]
    assert (sure.value, sure.n, unsure.value, unsure.n) == (0.5, 2, 0.5, 1)
    assert found["calibration/safety/outside/bin_2/predicted"].value == pytest.approx(0.75)
    # a third of the pairs is as right as predicted, two thirds are off by a quarter
    error = found["ece/safety/outside"]
    assert (error.value, error.n, error.judge) == (pytest.approx(1 / 6), 3, "anna, bo")
    assert error.low == 0, "of three pairs nothing is known"


def imported(folder: Path, files: dict[str, list[dict[str, Any]]], **more: Any) -> StepRun:
    paths = []
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        paths.append(folder / name)
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    inputs = {"files": tuple(StepInput(f"source/{path.name}@external", path.name, path) for path in paths)}
    run = StepRun(
        name="import_reward_tests",
        part="base",
        seed=1,
        inputs=inputs,
        outputs=dict(import_reward_tests.outputs),
        folder=folder,
        **more,
    )
    config = ReadingTestsConfig(
        sets=(RewardTestChoice(name="own", axis="safety"), RewardTestChoice(name="hh", axis="helpfulness")),
        files=(1, len(files) - 1),
    )
    import_reward_tests.function(run, config)
    return run


OWN = [{"prompt": f"p{n}", "response_a": "a", "response_b": "b", "chosen": "a", "annotator": "anna"} for n in range(3)]
HH = [{"chosen": f"\n\nHuman: q{n}\n\nAssistant: yes", "rejected": f"\n\nHuman: q{n}\n\nAssistant: no"} for n in (1, 2)]


def test_each_set_is_read_in_its_own_format_and_all_of_it_is_held_out(tmp_path: Path) -> None:
    same = {"chosen": "\n\nHuman: q\n\nAssistant: x", "rejected": "\n\nHuman: q\n\nAssistant: x"}
    imported(tmp_path, {"own.jsonl": [{**each, "split": "train"} for each in OWN], "hh.jsonl": [*HH, same]})
    rows = written(tmp_path, "tests")
    assert [(row["test_set"], row["axis"], row["split"]) for row in rows] == [
        *[("own", "safety", "heldout")] * 3,
        *[("hh", "helpfulness", "heldout")] * 2,
    ]
    assert {row["annotator"] for row in rows} == {"anna", "import:hh"}
    (refused,) = written(tmp_path, "refused")
    assert (refused["doc_id"], refused["reason"]) == ("hh/hh.jsonl:3", "identical_responses")


def test_withdrawn_rows_test_nothing_and_a_withdrawn_file_is_told(tmp_path: Path) -> None:
    rows = [*OWN, {**OWN[0], "prompt": "other", "annotator": "bo"}]
    imported(tmp_path / "a", {"own.jsonl": rows, "hh.jsonl": HH}, withdrawn=[("annotator", "anna")])
    assert [row["annotator"] for row in written(tmp_path / "a", "tests")] == ["bo", "import:hh", "import:hh"]
    with pytest.raises(InputError, match=r"reward_tests.sets: own: nothing is left that is not withdrawn"):
        imported(tmp_path / "b", {"own.jsonl": OWN, "hh.jsonl": HH}, withdrawn=[("annotator", "anna")])
    run = StepRun(
        name="i", part="base", seed=1, inputs={}, outputs={}, folder=tmp_path, withdrawn=[("source", "own.jsonl")]
    )
    one = ReadingTestsConfig(sets=(RewardTestChoice(name="own", axis="safety"),), files=(1,))
    with pytest.raises(InputError, match=r"files of them are withdrawn \(own.jsonl\)"):
        import_reward_tests.function(run, one)
    own, hh = tmp_path / "a" / "own.jsonl", tmp_path / "a" / "hh.jsonl"
    two = ReadingTestsConfig(
        sets=(RewardTestChoice(name="own", axis="safety"), RewardTestChoice(name="hh", axis="safety")), files=(1, 1)
    )
    enters = import_reward_tests.takes_in
    assert enters(two, {"files": (own, hh)}, "annotator", "bo")
    assert not enters(two, {"files": (own, hh)}, "annotator", "cy")
    assert enters(two, {"files": (own, hh)}, "source", "hh.jsonl")
    assert not enters(two, {"files": (own, hh)}, "source", "h.jsonl")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([{"name": "safety", "axis": "safety", "files": ["a"]}], "names the run's own held-out pairs"),
        ([{"name": "x", "axis": "safety", "files": ["a"]}] * 2, "the name 'x' comes twice"),
        (
            [{"name": "x", "axis": "safety", "files": ["a"], "default_rating": "good"}],
            "'good' is no rating; use one of",
        ),
        ([{"name": "x", "axis": "safety", "files": []}], "at least 1 item"),
    ],
)
def test_what_is_no_test_set_is_refused_before_anything_is_read(sets: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardTestsConfig.model_validate({"sets": sets})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_text("")
    tests = RewardTestsConfig(
        sets=(RewardTestConfig(name="x", axis="safety", files=(Path("there.jsonl"), Path("not.jsonl"))),)
    ).beside(tmp_path)
    assert tests.missing() == f"x: there is no file {tmp_path / 'not.jsonl'}"
