"""What a run is planned to cost: by hand where it can be, and against what the steps really read."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from data_store.errors import InputError
from flows.forecast.forecast import (
    Assumptions,
    StepForecast,
    clock_seconds,
    forecast,
    seconds_of,
    shape_of,
    side_by_side,
    speed,
)
from flows.forecast.volumes import characters_per_token, volume_of
from flows.forecast.workload import Passes, Work, training
from flows.recipe.config import RunConfig, load_config, with_values
from flows.recipe.plan import build_plan
from models.config import PretrainConfig, SFTConfig
from models.costs import parameters, training_flops
from models.hardware import GPUS, KINDS, Hardware, Rate, gpu
from models.llama_presets import PRESETS
from tests.flows.recipe_runs import ROOT, Finished, Home

SMOKE, DEMO = (ROOT / "configs" / name for name in ("smoke.yaml", "demo.yaml"))
PLAIN = Rate(0.0, 1e9)
MACHINE = Hardware(
    "a machine", {k: {"float32": PLAIN, "bfloat16": PLAIN} for k in KINDS}, 1e12, 1e9, 100.0, 0.0, True, 2
)


def rows_of(config: RunConfig, machine: Hardware = MACHINE) -> Mapping[tuple[str, str], StepForecast]:
    return {(row.part, row.step): row for row in forecast(config, build_plan(config), machine, Assumptions())}


@pytest.mark.conformance("costs that the paper's own figures contradict", equation="flows.forecast.forecast:forecast")
@pytest.mark.parametrize(
    ("hours", "watts", "tonnes"),
    [(184_320, 400, 31.22), (368_640, 400, 62.44), (1_038_336, 350, 153.90), (1_720_320, 400, 291.42)],
)
def test_the_papers_carbon_follows_from_its_hours_and_the_defaults(hours: float, watts: float, tonnes: float) -> None:
    assumed = Assumptions()
    kwh = hours * watts / 1000 * assumed.power_usage_effectiveness
    assert kwh * assumed.kg_per_kwh / 1000 == pytest.approx(tonnes, abs=0.01)


def test_pretraining_a_7b_at_the_papers_size_takes_the_papers_hours() -> None:
    """500,000 steps of 1,024 rows of 4,096 tokens, nine tenths full: at the utilisation that the paper's hours imply
    2T of them take its 184,320 hours."""
    config = with_values(
        load_config(SMOKE),
        {"model": {"preset": "llama2-7b"}, "tokenizer.vocab_size": 32000, "pretrain": {"dtype": "bfloat16"}},
        "test",
    )
    machine = gpu("a100", *GPUS["a100"], use=0.414)
    row = rows_of(config, machine)["base", "pretrain"]
    assert row.tokens == pytest.approx(500_000 * 1024 * 4096 * 0.9)
    assert row.seconds / 3600 == pytest.approx(184_320 * row.tokens / 2e12, rel=0.05)
    assert row.disk == 4 * 6_738_415_616


def test_seconds_energy_and_carbon_by_hand() -> None:
    """10 passes by each of 2 processes, that exchange gradients, on 2 cores, which are 1.63 of one: 20 / 1.63 · (3
    blocks · 0.1 s + operations / 1e9 + 5 ms)."""
    shape = PRESETS["little"]
    machine = Hardware("m", {"train": {"float32": Rate(0.1, 1e9)}}, 1e12, 1e9, 100.0, 0.0, True, 2)
    passes = Passes("train", 10, 2, 64, processes=2)
    each = 3 * 0.1 + training_flops(shape, 128, 32) / 1e9
    config = load_config(DEMO)
    assert seconds_of(shape, passes, config, Work(), machine, 1) == pytest.approx(20 / 1.63 * (each + 0.005))
    row = rows_of(config)["base", "pretrain"]
    assert row.kwh == pytest.approx(row.seconds / 3600 * 0.1 * 1.1)
    assert row.kg == pytest.approx(row.kwh * 0.385)


def test_steps_side_by_side_slow_each_other_down_as_far_as_the_machine_is_full() -> None:
    """One that fills the machine for 10 s beside one that would for 2: half as fast until the second ends at 4, then 8
    more. Two that fill half of it each do not hurt each other."""
    assert side_by_side([10, 2], [2, 2], 2) == [12, 4]
    assert side_by_side([10, 2], [1, 1], 2) == [10, 2]
    assert side_by_side([3], [1], 2) == [3]
    assert [speed(processes, MACHINE) for processes in (1, 2, 4)] == [1, 1.63, 1.63]


def test_a_run_takes_the_longest_of_what_runs_side_by_side_and_the_energy_of_all_of_it() -> None:
    rows = [row for row in rows_of(load_config(SMOKE)).values() if row.part == "V1"]
    rewards = [row for row in rows if row.step.endswith("_reward")]
    assert len({row.group for row in rewards}) == 1
    assert clock_seconds(rewards, lambda row: row.seconds) == max(row.seconds for row in rewards)
    assert clock_seconds(rows, lambda row: row.seconds) < sum(row.seconds for row in rows)
    whole = clock_seconds(rewards, lambda row: row.seconds) / 3600 * 0.1 * 1.1
    assert whole / 2 < sum(row.kwh for row in rewards) <= whole


def test_one_row_is_decoded_as_fast_as_weights_are_read() -> None:
    """7B in bfloat16: 13.5 GB at 2,039 GB/s are 6.6 ms a token, though its operations take 0.1 ms."""
    shape = PRESETS["llama2-7b"]
    machine = gpu("a100", *GPUS["a100"], use=0.4)
    config = load_config(SMOKE)
    taken = seconds_of(shape, Passes("decode", 100, 1, 100, dtype="bfloat16"), config, Work(), machine, 1)
    reading = 2 * parameters(shape) / 2.039e12
    assert taken / 100 == pytest.approx(32 * 0.0008 + reading, rel=0.02)


def test_optimizer_steps_are_those_of_the_trainer() -> None:
    """100 rows in batches of 8, 2 epochs: 25 steps; 2 processes with 2 passes of 2 rows each: 50 passes."""
    of = training(SFTConfig(batch_size=8, accumulation_steps=2, processes=2), 100, 2, 320)
    assert (of.count, of.rows, of.tokens, of.processes) == (50, 2, 320, 2)
    assert of.all_tokens == 100 * 2 * 320
    assert PretrainConfig().dtype == of.dtype == "float32"


def test_every_step_of_the_shipped_recipe_has_a_figure_and_more_iterations_cost_more() -> None:
    demo = rows_of(load_config(DEMO))
    assert set(demo) == set(build_plan(load_config(DEMO)))
    trained = {key: row for key, row in demo.items() if row.tokens}
    assert {step for _, step in trained} >= {"pretrain", "sft", "train_safety_reward", "rejection_sample", "ppo"}
    assert demo["V5", "train_safety_reward"].seconds > 3 * demo["V1", "train_safety_reward"].seconds
    assert all(
        row.memory is not None and row.sharded is not None for key, row in demo.items() if key[1].endswith("_reward")
    )


def test_tuning_the_temperature_costs_what_is_drawn_for_it() -> None:
    """60 prompts at each of four temperatures, nine answers each, beside 170 prompts of nine answers: as many more."""
    one, auto = (
        rows_of(with_values(load_config(SMOKE), {"rejection.samples": 9, "rejection.temperatures": given}, "test"))
        for given in ([1.0], "auto")
    )
    grid = rows_of(
        with_values(
            load_config(SMOKE),
            {
                "rejection.samples": 9,
                "rejection.temperatures": "auto",
                "rejection.tuning": {"prompts": 80, "grid": [0.7, 0.9, 1.1, 1.3]},
            },
            "test",
        )
    )
    at = ("V1", "rejection_sample")
    assert one[at].seconds < auto[at].seconds < grid[at].seconds
    drawn = [one[at].seconds, auto[at].seconds - one[at].seconds, grid[at].seconds - auto[at].seconds]
    assert drawn[1] == pytest.approx(drawn[2], rel=0.2), "40 prompts more cost about what the first 40 do"


def test_context_distillation_costs_a_step_and_longer_fine_tuning_from_its_first_iteration_on() -> None:
    without, with_it = (
        rows_of(with_values(load_config(SMOKE), values, "test"))
        for values in ({}, {"context_distillation": {"first_iteration": 2, "prompts": 50}})
    )
    assert set(with_it) - set(without) == {("V2", "distill_context")}
    assert with_it["V2", "distill_context"].seconds > 0
    assert with_it["V2", "fine_tune"].seconds > without["V2", "fine_tune"].seconds
    assert with_it["V1", "fine_tune"].seconds == without["V1", "fine_tune"].seconds


def test_adapters_take_less_memory_than_whole_models_and_both_are_told() -> None:
    config = load_config(SMOKE)
    row = rows_of(config)["V2", "ppo"]
    adapted = rows_of(config.model_copy(update={"lora": with_values(config, {"lora": {}}, "test").lora}))["V2", "ppo"]
    assert row.memory is not None
    assert adapted.memory is not None
    assert adapted.memory == row.otherwise
    assert adapted.memory.optimizer < row.memory.optimizer


def test_the_little_world_is_measured_by_a_sample(first_run: tuple[Home, Finished], pocket_file: Path) -> None:
    """Against what the steps of a real run counted."""
    volume = volume_of(load_config(pocket_file), 400)
    store = first_run[0].store
    (pretrain,) = store.runs(step="pretrain")
    kept = store.version(first_run[0].head("dataset/corpus@base")).n_rows or 0
    assert pretrain.metrics["corpus_tokens"] / kept == pytest.approx(volume.document_tokens, rel=0.35)
    assert volume.documents == pytest.approx(400 * 1.06)


def test_files_are_counted_and_a_base_model_is_known_by_its_config_alone(tmp_path: Path) -> None:
    text = "".join(json.dumps({"text": "word " * 100}) + "\n" for _ in range(50))
    (tmp_path / "documents.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    config = load_config(SMOKE)
    data = config.data.model_copy(update={"world": None, "documents": (tmp_path / "documents.jsonl.gz",)})
    volume = volume_of(config.model_copy(update={"data": data}), 32_000)
    assert volume.documents == 50
    assert volume.document_tokens == pytest.approx(len(text) / 50 / characters_per_token(32_000))

    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "hidden_size": 576,
                "num_hidden_layers": 30,
                "num_attention_heads": 9,
                "num_key_value_heads": 3,
                "intermediate_size": 1536,
                "max_position_embeddings": 8192,
                "vocab_size": 49152,
                "tie_word_embeddings": True,
            }
        )
    )
    based = config.model_copy(update={"base_model": tmp_path})
    assert parameters(shape_of(based)) == 134_515_008  # SmolLM2-135M
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="does not give the shape"):
        shape_of(based)


def test_the_command_tells_assumptions_and_measures_what_is_there(
    first_run: tuple[Home, Finished], pocket_file: Path, tmp_path: Path
) -> None:
    home = first_run[0]
    said = home.look("plan", str(pocket_file), "--hardware", "a100", "--measured", "--json").document
    by_key = {(each["part"], each["step"]): each for each in said["steps"]}
    (ppo,) = home.store.runs(step="ppo")
    assert by_key["V2", "ppo"]["measured"] == ppo.metrics["seconds"]
    assert any("PUE 1.1" in line for line in said["assumptions"])
    refused = Home(tmp_path / "empty").look("plan", str(pocket_file), "--hardware", "h100", "--measured")
    assert refused.code == 2
    assert "nothing of pocket has been measured" in refused.err.replace("\n", " ")
