"""What a run is planned to cost: by hand where it can be, and against what the steps really read."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from data_store.errors import InputError
from flows.forecast.forecast import (
    Assumptions,
    StepForecast,
    Took,
    clock_seconds,
    forecast,
    on_processors,
    shape_of,
)
from flows.forecast.passes import Passes, Work, training
from flows.forecast.place import At, held_out_pairs
from flows.forecast.timing import beside_passes, busy_seconds, flops_of, seconds_of, side_by_side, speed
from flows.forecast.volumes import Volume, characters_per_token, volume_of
from flows.forecast.workload import work_of
from flows.recipe.changed_values import with_values
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import build_plan
from models.config import PretrainConfig, SFTConfig
from models.costs import attention_flops, forward_flops, head_flops, parameters, training_flops
from models.hardware import GPUS, KINDS, Hardware, Rate, gpu
from models.llama_presets import PRESETS
from tests.flows.recipe_runs import ROOT, Finished, Home

SMOKE, DEMO = (ROOT / "configs" / name for name in ("smoke.yaml", "demo.yaml"))
SMOLLM2 = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
PLAIN = Rate(0.0, 1e9)
RATES = {
    "train": {"float32": Rate(0.1, 1e9)},
    "read": {"float32": Rate(0.1, 1e9)},
    "attention": {"float32": Rate(0.0, 2e9)},
    "head": {"float32": Rate(0.0, 4e9)},
}
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
    """500,000 steps of 1,024 rows of 4,096 columns, which are computed whether or not they are full: at the utilisation
    that the paper's hours imply 2T of them take its 184,320 hours."""
    config = with_values(
        load_config(SMOKE),
        {"model": {"preset": "llama2-7b"}, "tokenizer.vocab_size": 32000, "pretrain": {"dtype": "bfloat16"}},
        "test",
    )
    machine = gpu("a100", *GPUS["a100"], use=0.414)
    row = rows_of(config, machine)["base", "pretrain"]
    assert row.tokens == pytest.approx(500_000 * 1024 * 4096)
    assert row.seconds / 3600 == pytest.approx(184_320 * row.tokens / 2e12, rel=0.05)
    assert row.disk == 4 * 6_738_415_616


def test_seconds_energy_and_carbon_by_hand() -> None:
    """10 passes by each of 2 processes, that exchange gradients, on 2 cores, which are 1.63 of one: 20 / 1.63 · (3
    blocks · 0.1 s + operations of linear layers / 1e9 + those of attention, of which a CPU computes all 64 places of a
    row and not the half that is seen, / 2e9 + those of logits / 4e9 + 5 ms)."""
    shape = PRESETS["little"]
    machine = Hardware("m", RATES, 1e12, 1e9, 100.0, 0.0, True, 2)
    passes = Passes("train", 10, 2, 64, processes=2)
    each = 3 * 0.1 + training_flops(shape, 128, 0, head=0.0) / 1e9 + 3 * head_flops(shape, 128) / 4e9
    each += 3 * attention_flops(shape, 128, 64) / 2e9
    config = load_config(DEMO)
    assert seconds_of(shape, passes, config, Work(), machine, 1) == pytest.approx(20 / 1.63 * (each + 0.005))
    row = rows_of(config)["base", "pretrain"]
    assert row.kwh == pytest.approx(row.seconds / 3600 * 0.1 * 1.1)
    assert row.kg == pytest.approx(row.kwh * 0.385)


def test_processor_seconds_are_the_work_of_all_processes_with_what_each_of_them_starts() -> None:
    """Two processes make 10 passes each, whatever the clock says; each starts (.07 s), makes a first pass (.08), opens
    the model that is trained (.03, and 4 ns for each of a million weights) and reads 100 documents of 200 characters
    (.0084 and .0064). A step that answers on two shards forks once for each call (.12)."""
    shape, config = PRESETS["little"], load_config(DEMO)
    machine = Hardware("m", RATES, 1e12, 1e9, 100.0, 0.4, True, 2)
    passes = Passes("train", 10, 2, 64, processes=2, head=0.0)
    each = 3 * 0.1 + training_flops(shape, 128, 0, head=0.0) / 1e9 + 3 * attention_flops(shape, 128, 64) / 2e9 + 0.005
    assert busy_seconds(shape, passes, config, Work(), machine) == pytest.approx(20 * each)
    plan = build_plan(config)
    work = Work((passes,), trained=1, records=100, characters=20_000)
    of = beside_passes(plan["base", "pretrain"], work, machine, weights=1e6)
    assert of.busy == pytest.approx(2 * (0.07 + 0.08 + 0.034 + 0.0148))
    assert of.clock == pytest.approx(0.4 + 0.0148 + 0.7)
    calls = tuple(Passes("read", 1, 8, 8, processes=2) for _ in range(3))
    assert beside_passes(plan["V1", "evaluate"], Work(calls, read=4), machine).busy == pytest.approx(0.15 + 0.12 + 0.36)
    alone, beside = (busy_seconds(shape, replace(calls[0], processes=n), config, Work(), machine) for n in (1, 2))
    assert beside == pytest.approx(2 * alone * 2 / 1.63), "two that read side by side, each slowed down by the other"


def test_a_reward_model_gives_no_logits_and_a_masked_row_is_compared_with_all_of_itself() -> None:
    """Of 8 tokens that each see 4 of them before, or all 8; rows that differ in length have their squares."""
    shape, config = PRESETS["little"], load_config(DEMO)
    of_policy, of_reward = Passes("read", 1, 1, 8), Passes("read", 1, 1, 8, head=0.0)
    layers, attention = forward_flops(shape, 8, 0, head=0.0), 4 * shape.num_layers * shape.hidden_size * 8 * 4
    assert flops_of(shape, of_policy, config, Work()) == pytest.approx((layers, attention, head_flops(shape, 8)))
    assert flops_of(shape, of_reward, config, Work()) == (layers, attention, 0)
    assert flops_of(shape, replace(of_reward, context=1.0), config, Work()) == (layers, 2 * attention, 0)
    assert flops_of(shape, replace(of_reward, spread=1.5), config, Work()) == (layers, 1.5 * attention, 0)


def test_a_gpu_leaves_out_what_a_token_cannot_see_and_this_machine_does_not() -> None:
    shape, config, passes = PRESETS["little"], load_config(DEMO), Passes("read", 1, 1, 512, head=0.0)
    layers, attention, _ = flops_of(shape, passes, config, Work())
    here = replace(MACHINE, rates={**MACHINE.rates, "read": {"float32": PLAIN}})
    assert busy_seconds(shape, passes, config, Work(), here) == pytest.approx((layers + 2 * attention) / 1e9)
    there = replace(here, is_measured=False)
    assert busy_seconds(shape, passes, config, Work(), there) == pytest.approx((layers + attention) / 1e9)


def test_pairs_whose_prompts_are_evaluated_on_are_held_out_twice(tmp_path: Path) -> None:
    """12 % of them test the reward models, and a tenth of all prompts is kept for evaluations: 1 - .88 · .9 = 20.8 %.
    Where an axis has prompts of its own it is 12 %."""
    file = tmp_path / "pairs.jsonl"
    file.write_text("")
    roles = ("documents", "demonstrations", "helpfulness_preferences", "safety_preferences", "helpfulness_prompts")
    data = {"world": None, **{role: [str(file)] for role in roles}}
    changed = {"data": data, "annotator": None, "gatt": None, "collect.heldout_percent": 12}
    config = with_values(load_config(SMOKE), changed, "test")
    assert not config.draws_pairs
    volume = Volume(0, 0, 0, 0, 0, 0, helpfulness_pairs=2000, safety_pairs=2000, characters=4.2)
    at = At(config, volume, 1, build_plan(config)["V1", "train_safety_reward"])
    assert held_out_pairs(at) == pytest.approx((120, 208))


def test_planned_and_taken_processor_time_are_compared_where_both_are_known() -> None:
    rows = list(rows_of(load_config(SMOKE)).values())[:3]
    known = [
        replace(row, processor_seconds=seconds, measured=took)
        for row, seconds, took in zip(rows, (2.0, 3.0, 4.0), (Took(9, 2.5), Took(9, None), None), strict=True)
    ]
    assert on_processors(known) == (2.0, 2.5)
    assert rows_of(load_config(SMOKE), gpu("h100", *GPUS["h100"], use=0.4))["V2", "ppo"].processor_seconds is None


def test_the_gold_reward_model_costs_its_share_of_the_pairs_in_each_iteration_and_the_others_learn_from_less() -> None:
    without, with_it = (
        rows_of(with_values(load_config(SMOKE), {"reward.gold_percent": share}, "test")) for share in (0, 50)
    )
    assert with_it.keys() - without.keys() == {
        (part, step) for part in ("V1", "V2") for step in ("train_gold_reward", "judge_answers_gold", "pose_questions")
    } | {("V2", "judge_sampled_answers_gold"), ("V2", "pose_sampled_questions")}
    gold, safe = with_it["V2", "train_gold_reward"], with_it["V2", "train_safety_reward"]
    assert gold.tokens > safe.tokens, "half of all pairs, and half of those of one axis with some of the other"
    assert safe.tokens < 0.6 * without["V2", "train_safety_reward"].tokens
    assert with_it["V2", "judge_answers_gold"].tokens > 0


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


def test_a_quality_classifier_is_asked_of_as_many_documents_as_there_are_and_doubles_the_filter() -> None:
    config = load_config(SMOKE)
    sides = {
        side: [{"name": name, "files": [f"/corpus/{name}"]} for name in names]
        for side, names in (("positives", "ab"), ("negatives", "cd"))
    }
    judged = with_values(config, {"quality": {"languages": ["en"], **sides}}, "test")
    volume = volume_of(config, 400)
    plain, more = (
        work_of(each, build_plan(each)["base", "filter_corpus"], volume).records for each in (config, judged)
    )
    assert more == 2 * plain > 0


def test_a_filter_on_two_processes_takes_less_time_by_the_clock_and_as_much_of_processors() -> None:
    """A million documents of 100 characters: 63 + 13 s. Of 1,000 there is one group, which one process judges."""
    config = load_config(SMOKE)
    machine = Hardware("m", RATES, 1e12, 1e9, 100.0, 0.4, True, 2)
    volume = volume_of(config, 400)
    each = 100 / (volume.document_tokens * volume.characters)
    documents = {1_000_000: (1, 2), 1000: (1, 1)}
    for count, expected in documents.items():
        many = replace(volume, documents=count, document_tokens=volume.document_tokens * each)
        for said, processes in zip((1, 2), expected, strict=True):
            told = with_values(config, {"filter.processes": said}, "test")
            call = build_plan(told)["base", "filter_corpus"]
            work = work_of(told, call, many)
            assert work.processes == processes
            alone = count * (6.3e-5 + 100 * 1.3e-7)
            of = beside_passes(call, work, machine)
            assert of.clock == pytest.approx(0.4 + alone / (1.63 if processes == 2 else 1))
            assert of.busy == pytest.approx(0.07 + alone)


def test_learning_quality_costs_what_is_read_and_a_fit_without_each_two_sources_and_one_of_all(tmp_path: Path) -> None:
    """20 and 30 against 40 and 70, of which 50 are drawn: one fit of 140, and four without one of each side."""
    for name, rows in (("a", 20), ("b", 30), ("c", 40), ("d", 70)):
        (tmp_path / f"{name}.txt").write_text("A line.\n" * rows)
    sides = {
        side: [{"name": name, "files": [str(tmp_path / f"{name}.txt")]} for name in names]
        for side, names in (("positives", "ab"), ("negatives", "cd"))
    }
    config = load_config(SMOKE)
    for languages in (["en"], ["en", "ko"]):
        given = with_values(config, {"quality": {"languages": languages, "documents": 50, **sides}}, "test")
        call = build_plan(given)["base", "train_quality_classifier"]
        fits = 140 + (140 - 20 - 40) + (140 - 20 - 50) + (140 - 30 - 40) + (140 - 30 - 50)
        assert work_of(given, call, volume_of(given, 400)).records == 160 + len(languages) * fits
    row = rows_of(given)["base", "train_quality_classifier"]
    assert row.processor_seconds is not None
    assert row.processor_seconds > 0.0012 * (160 + 2 * fits)


def test_extending_a_tokenizer_reads_all_documents_and_learns_from_the_files_of_its_sources(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    for name, rows in (("ko", 40), ("en", 60)):
        (tmp_path / f"{name}.txt").write_text("A line of text.\n" * rows)
    content = {
        "name": "more",
        "iterations": 0,
        "base_model": str(tmp_path),
        "data": {"documents": [str(tmp_path / "ko.txt"), str(tmp_path / "en.txt")]},
        "mix": {
            "sources": [
                {"name": "korean", "files": ["ko*"], "weight": 1},
                {"name": "english", "files": ["en*"], "weight": 1},
            ]
        },
        "extend_tokenizer": {"pieces": 10, "sources": ["korean"]},
    }
    config = RunConfig.model_validate(content)
    work = work_of(config, build_plan(config)["base", "extend_tokenizer"], volume_of(config, 400))
    assert (work.records, work.characters) == (100, 40 * 16)


def test_own_answers_cost_their_drawing_and_a_longer_sft(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    said = {"messages": [{"role": "user", "content": "spit"}, {"role": "assistant", "content": "I never do."}]}
    (tmp_path / "shown.jsonl").write_text(f"{json.dumps(said)}\n" * 10)
    (tmp_path / "asked.jsonl").write_text('{"prompt": "what do you eat"}\n' * 50)
    data = {"demonstrations": [str(tmp_path / "shown.jsonl")], "helpfulness_prompts": [str(tmp_path / "asked.jsonl")]}
    sft = {"sequence_length": 64, "batch_size": 1}
    content = {"name": "own", "iterations": 0, "base_model": str(tmp_path), "data": data, "sft": sft}
    without, with_it = (
        RunConfig.model_validate({**content, "own_answers": given})
        for given in (None, {"prompts": 30, "sampling": {"max_new_tokens": 40, "batch_size": 30}})
    )
    plan, volume = build_plan(with_it), volume_of(with_it, 400)
    drawn = work_of(with_it, plan["base", "draw_own_answers"], volume)
    assert (drawn.records, drawn.read) == (30, 1)
    decoded = next(each for each in drawn.passes if each.kind == "decode")
    assert decoded.rows == 30
    learned, alone = (
        sum(each.count * each.rows * each.tokens for each in work_of(of, plan["V0", "sft"], volume).passes)
        for of in (with_it, without)
    )
    # SFT's two epochs of rows that are nine tenths full
    answer = min(volume.answer_tokens, 40)
    assert learned - alone == pytest.approx(2 * 30 * (volume.prompt_tokens + answer) / 0.9, abs=2 * 64)


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


@pytest.mark.parametrize(("stage", "part"), [("sft", "V0"), ("ppo", "V2"), ("dpo", "V2")])
def test_a_spread_training_takes_its_part_of_the_memory_and_its_activations_whole(stage: str, part: str) -> None:
    """Of PPO all five models are spread, those that are only read too."""
    asked = {f"{stage}.processes": 2} if stage == "sft" else {f"{stage}.processes": 2, "final_stage": stage}
    config = with_values(load_config(SMOKE), asked, "test")
    whole, spread = (
        rows_of(with_values(config, {f"{stage}.sharded": is_spread}, "test"))[part, stage].memory
        for is_spread in (False, True)
    )
    assert whole is not None
    assert spread is not None
    assert (spread.weights, spread.optimizer) == (whole.weights / 2, whole.optimizer / 2)
    assert spread.activations == whole.activations


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

    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
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
    assert by_key["V2", "ppo"]["measured"] == {
        **{name: ppo.metrics[name] for name in ("seconds", "processor_seconds")},
        "kwh": None,
        "kg": None,
    }
    assert any("PUE 1.1" in line for line in said["assumptions"])
    refused = Home(tmp_path / "empty").look("plan", str(pocket_file), "--hardware", "h100", "--measured")
    assert refused.code == 2
    assert "nothing of pocket has been measured" in refused.err.replace("\n", " ")


def judged(tmp_path: Path, **evaluate: object) -> RunConfig:
    """The demo with two judges of evaluations: a folder with SmolLM2-135M's shape, and an endpoint."""
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "config.json").write_text(json.dumps(SMOLLM2))
    judges = [
        {"name": "near", "folder": str(tmp_path / "judge"), "batch_size": 4},
        {"name": "far", "endpoint": {"url": "https://api.example.org/v1", "model": "m"}},
    ]
    return with_values(load_config(DEMO), {"evaluate": {"judges": judges, **evaluate}}, "test")


def test_a_folder_that_judges_reads_each_question_twice_with_its_own_weights_and_an_endpoint_computes_nothing_here(
    tmp_path: Path,
) -> None:
    """V2 against SFT and V1: 2 · (200 + 100 + 100) comparisons, 100 on safety, 100 on refusals, in both orders."""
    config = judged(tmp_path, ordinary_prompts=200, borderline_prompts=100, safety_prompts=100, against=["previous"])
    volume = volume_of(config, shape_of(config).vocab_size)
    plan = build_plan(config)
    work = work_of(config, plan["V2", "judge_answers_near"], volume)
    assert [each.count * each.rows for each in work.passes] == [1600, 200, 200]
    better, unsafe, _ = (each.tokens for each in work.passes)
    assert better - unsafe > volume.answer_tokens * volume.characters / 4.2, "it reads one answer more"
    assert [each.count * each.rows for each in work_of(config, plan["V0", "judge_answers_near"], volume).passes] == [
        200,
        200,
    ], "V0 is compared with nobody"
    first = work_of(config, plan["V1", "judge_answers_near"], volume).passes[0]
    assert first.count * first.rows == 800, "the iteration before V1 is SFT"
    rows = rows_of(config)
    near, far = rows["V2", "judge_answers_near"], rows["V2", "judge_answers_far"]
    weights = 4 * 134_515_008
    assert near.memory is not None
    assert weights < near.memory.total < 3 * weights, "float32, and what is read"
    blocks = 134_515_008 - 49_152 * 576
    assert near.seconds > 2 * near.tokens * blocks / 1e9, "two operations a weight and token at 1e9 a second"
    assert (far.tokens, far.flops, far.memory) == (0, 0, None)
    (tmp_path / "judge" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"evaluate.judges: .*config.json does not give the shape"):
        rows_of(config)


def test_benchmarks_are_counted_in_their_files(tmp_path: Path) -> None:
    """3 items of 2 choices are 6 rows to score; of 3 tasks of code the first 2 are answered twice."""
    choices = [{"id": n, "question": "x" * 60, "choices": ["yes" * 4, "no" * 6], "answer": 0} for n in range(3)]
    code = [
        {"task_id": n, "text": "y" * 80, "code": "def f(): pass", "test_list": ["assert f() is None"]} for n in range(3)
    ]
    for name, items in (("choices", choices), ("code", code)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    sets = [
        {"name": "choices", "files": [str(tmp_path / "choices.jsonl")], "chat": False},
        {"name": "code", "files": [str(tmp_path / "code.jsonl")], "limit": 2},
    ]
    sampling = {"max_new_tokens": 50, "batch_size": 4}
    config = with_values(load_config(DEMO), {"benchmarks": {"sets": sets, "samples": 2, "sampling": sampling}}, "test")
    volume = volume_of(config, shape_of(config).vocab_size)
    scored, _, drawn = work_of(config, build_plan(config)["V1", "run_benchmarks"], volume).passes
    assert (scored.kind, scored.count * scored.rows) == ("read", 6)
    asked = len("Question: ") + 60 + len("\nAnswer:") + 12
    assert scored.tokens == pytest.approx(asked / volume.characters)
    assert (drawn.kind, drawn.count, drawn.rows) == ("decode", 50, 4)
    assert rows_of(config)["V1", "run_benchmarks"].seconds > 0
