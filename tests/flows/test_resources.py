"""Where steps are done, as the config says it: what is refused, and before what."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from data_store.errors import InputError
from data_store.store import Store
from flows.recipe.changed_values import with_values
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import build_plan
from flows.recipe.resources_config import WorkerConfig
from flows.resources import (
    _check_nodes,
    _shards,
    check_ready,
    check_resources,
    dispatch_of,
    needs_of,
    pools_of,
    resource_of,
)
from tasks.engine.on_ray.cluster import Cluster, Needs
from tasks.engine.on_ray.driver import waits_for
from tests.flows.recipe_runs import POCKET
from tests.ports import free_ports


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    file = tmp_path_factory.mktemp("config") / "pocket.yaml"
    file.write_text(POCKET)
    return load_config(file)


def sending(config: RunConfig, **resources: Any) -> RunConfig:
    return with_values(config, {"resources": resources}, "pocket.yaml")


@pytest.mark.conformance("where a step is done changes what it makes", equation="tasks.engine.call:StepCall.recipe")
def test_where_steps_are_done_changes_no_step_of_the_plan(config: RunConfig) -> None:
    sent = sending(config, default={"work_pool": "gpu"}, ppo={"work_pool": "large", "attempts": 1})
    mine = {key: (call.recipe(), call.inputs) for key, call in build_plan(config).items()}
    assert {key: (call.recipe(), call.inputs) for key, call in build_plan(sent).items()} == mine
    assert pools_of(sent.resources) == ["gpu", "large"]
    assert pools_of(config.resources) == []


def test_what_is_said_of_a_step_comes_before_the_default(config: RunConfig) -> None:
    sent = sending(config, default={"work_pool": "gpu"}, ppo={})
    plan = build_plan(sent)
    check_resources(sent.resources, plan)
    assert resource_of(sent.resources, plan["V2", "ppo"]).work_pool is None
    assert resource_of(sent.resources, plan["V0", "sft"]).work_pool == "gpu"


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"train_helpfulness_rewrad": {"work_pool": "gpu"}}, "did you mean 'train_helpfulness_reward'?"),
        ({"defalt": {"work_pool": "gpu"}}, "did you mean 'default'?"),
        ({"dpo": {"work_pool": "gpu"}}, r"resources\.dpo: the plan of this run has no step dpo"),
        ({"sft": {"work_pool": "halter"}}, r"resources\.sft\.work_pool: halter is the pool of whole runs"),
        ({"sft": {"workpool": "gpu"}}, r"no key resources\.sft\.workpool"),
        ({"sft": {"work_pool": "gpu", "attempts": 0}}, r"resources\.sft\.attempts"),
        ({"sft": {"work_pool": "gpu", "ray": "head:6379"}}, "take work_pool or ray out"),
        ({"sft": {"work_pool": "gpu", "gpus": 1}}, "gpus can be asked of a Ray cluster alone: give its address in ray"),
        ({"sft": {"ray": "ray://head:10001"}}, r"resources\.sft\.ray"),
        ({"sft": {"ray": "head:6379", "cpus": 0}}, r"resources\.sft\.cpus"),
        ({"sft": {"nodes": 2}}, "nodes are workers of a work pool or of a Ray cluster: give work_pool or ray"),
        ({"sft": {"work_pool": "gpu", "nodes": 0}}, r"resources\.sft\.nodes"),
        ({"default": {"work_pool": "gpu", "nodes": 2}}, r"resources\.default\.nodes: say it of each training"),
        ({"evaluate": {"work_pool": "gpu", "nodes": 2}}, r"resources\.evaluate\.nodes: evaluate trains nothing"),
        (
            {"train_safety_reward": {"work_pool": "gpu", "nodes": 2}},
            r"resources\.train_safety_reward\.nodes: 2 nodes cannot share reward\.processes 1: make it a multiple of 2",
        ),
    ],
)
def test_what_is_no_place_of_a_step_is_refused_by_name(config: RunConfig, resources: Any, words: str) -> None:
    def check() -> None:
        sent = sending(config, **resources)
        check_resources(sent.resources, build_plan(sent))

    with pytest.raises(InputError, match=words):
        check()


def test_a_step_that_reads_the_disk_here_is_refused_by_name_and_left_here_by_the_default(
    tmp_path: Path,
) -> None:
    (tmp_path / "documents.jsonl").write_text('{"text": "a llama"}\n')
    (tmp_path / "demonstrations.jsonl").write_text('{"prompt": "Who?", "response": "A llama."}\n')
    file = tmp_path / "files.yaml"
    data = "data: {documents: [documents.jsonl], demonstrations: [demonstrations.jsonl]}"
    file.write_text(f"name: files\niterations: 0\n{data}\nresources: {{default: {{work_pool: gpu}}}}\n")
    config = load_config(file)
    plan = build_plan(config)
    check_resources(config.resources, plan)
    assert resource_of(config.resources, plan["base", "import_data"]).work_pool is None
    assert resource_of(config.resources, plan["base", "pretrain"]).work_pool == "gpu"
    sent = sending(config, import_data={"work_pool": "gpu"})
    with pytest.raises(InputError, match=r"import_data of base reads .*documents\.jsonl.* from the disk"):
        check_resources(sent.resources, plan)


def test_objects_in_a_folder_are_refused_before_any_server_is_asked(config: RunConfig, tmp_path: Path) -> None:
    sent = sending(config, sft={"work_pool": "gpu"})
    session = SimpleNamespace(config=sent, plan=build_plan(sent), store=Store.open(tmp_path / "pocket"))
    check_ready(cast(Any, session), [("V0", "evaluate")])  # nothing of it is sent
    with pytest.raises(InputError, match=r"halter move-store pocket --objects s3://BUCKET/PREFIX"):
        check_ready(cast(Any, session), [("V0", "sft")])


def test_a_cluster_that_nobody_can_reach_is_told_with_its_address_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(InputError, match=rf"Ray at {address}: Ray is not installed here: pip install 'halter\[ray\]'"):
        Cluster(address).start()
    monkeypatch.setattr("tasks.engine.on_ray.cluster.find_spec", lambda _name: object())
    with pytest.raises(InputError, match=rf"Ray at {address} cannot be reached: Connection refused"):
        Cluster(address).start()


def test_for_what_a_task_waits_is_said_in_the_configs_words() -> None:
    needs = {"CPU": 4.0, "GPU": 1.0, "memory": 16e9}
    none = "which none of its 2 nodes has: it waits until one that has joins, or ask for less"
    assert waits_for(needs, 0, 2) == f"cpus 4, gpus 1, memory_gb 16, {none}"
    assert waits_for({"CPU": 0.5}, 1, 2) == "cpus 0.5, which 1 of its 2 nodes has, busy now"
    assert needs_of(WorkerConfig(ray="head:6379", gpus=0.5, memory_gb=2)) == Needs(1.0, 0.5, 2_000_000_000)


def test_shards_are_of_steps_that_draw_and_those_of_the_default_of_no_others(config: RunConfig) -> None:
    shards = {"shards": {"ray": "head:6379", "gpus": 1}}
    plan = build_plan(config)
    sent = sending(config, default=shards, ppo={"ray": "head:6379"})
    check_resources(sent.resources, plan)
    session: Any = SimpleNamespace(config=sent, plan=plan)
    assert {step for (_, step), call in plan.items() if _shards(sent.resources, call) is not None} == {
        "draw_pairs",
        "rejection_sample",
        "synthesize_gatt",
        "evaluate",
        "evaluate_sampled",
        "measure_reward_models",
    }
    assert dispatch_of(session, plan["V0", "sft"]) is None
    mine = {key: (call.recipe(), call.inputs) for key, call in plan.items()}
    assert {key: (call.recipe(), call.inputs) for key, call in build_plan(sent).items()} == mine
    with pytest.raises(InputError, match=r"resources\.ppo\.shards: ppo neither draws, scores nor judges in shards"):
        check_resources(sending(config, ppo=shards).resources, plan)
    with pytest.raises(InputError, match=r"resources\.evaluate\.shards\.ray"):
        sending(config, evaluate={"shards": {"gpus": 1}})


@pytest.mark.conformance("how many nodes train changes what they make", equation="flows.resources:_check_nodes")
def test_nodes_share_the_processes_of_a_training_evenly_and_are_no_part_of_it(config: RunConfig) -> None:
    training = {"batch_size": 12, "processes": 6}
    wide = with_values(config, {f"sft.{key}": value for key, value in training.items()}, "pocket.yaml")
    plan = build_plan(wide)
    for nodes in (2, 3, 6):
        sent = sending(wide, sft={"work_pool": "gpu", "nodes": nodes, "wait_minutes": 2})
        check_resources(sent.resources, plan)
        assert {key: call.recipe() for key, call in build_plan(sent).items()} == {
            key: call.recipe() for key, call in plan.items()
        }
    for nodes in (4, 12):
        sent = sending(wide, sft={"work_pool": "gpu", "nodes": nodes})
        with pytest.raises(
            InputError, match=rf"{nodes} nodes cannot share sft\.processes 6: make it a multiple of {nodes}"
        ):
            check_resources(sent.resources, plan)


def test_nodes_of_a_training_whose_answers_vllm_draws_are_refused(config: RunConfig) -> None:
    call: Any = build_plan(with_values(config, {"ppo.processes": 2}, "pocket.yaml"))["V2", "ppo"]
    _check_nodes(2, call)
    training = call.config.training
    drawn = training.sampling.model_copy(update={"sampler": "vllm-0.32.0"})
    training = training.model_copy(update={"sampling": drawn})
    call = replace(call, config=call.config.model_copy(update={"training": training}))
    with pytest.raises(InputError, match=r"resources\.ppo\.nodes: the answers of ppo are drawn by vLLM"):
        _check_nodes(2, call)


def test_for_what_nodes_that_begin_together_wait_is_said_with_their_number() -> None:
    words = "cpus 4, gpus 8 on each of 2 nodes, which"
    assert waits_for({"CPU": 4.0, "GPU": 8.0}, 1, 3, 2) == (
        f"{words} 1 of its 3 nodes could give: it waits until others join, or ask for less"
    )
    assert waits_for({"CPU": 4.0, "GPU": 8.0}, 2, 3, 2) == f"{words} 2 of its 3 nodes could give, busy now"


def test_of_judges_those_spread_that_read_with_a_model_and_who_is_asked_over_http_does_not(config: RunConfig) -> None:
    given: Any = {
        "judges": [
            {"name": "big", "folder": "/judge"},
            {"name": "far", "endpoint": {"url": "https://api.example.org/v1", "model": "m"}},
            {"name": "words", "kind": "refusal_phrases"},
        ]
    }
    judged = RunConfig.model_validate(
        {
            **config.model_dump(mode="json"),
            "evaluate": {**config.evaluate.model_dump(mode="json"), **given},
            "reward": {**config.reward.model_dump(mode="json"), "gold_percent": 30},
        }
    )
    plan = build_plan(judged)
    spread = {step for (_, step), call in plan.items() if call.spreads and "judge" in step}
    assert spread == {
        f"{prefix}_{judge}" for prefix in ("judge_answers", "judge_sampled_answers") for judge in ("big", "gold")
    }
    shards = {"shards": {"ray": "head:6379"}}
    check_resources(sending(judged, judge_answers_big=shards, judge_answers_gold=shards).resources, plan)
    with pytest.raises(InputError, match=r"resources\.judge_answers_far\.shards: judge_answers_far neither draws"):
        check_resources(sending(judged, judge_answers_far=shards).resources, plan)
