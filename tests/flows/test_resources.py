"""Where steps are done, as the config says it: what is refused, and before what."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from data_store.errors import InputError
from data_store.store import Store
from flows.recipe.config import RunConfig, load_config, with_values
from flows.recipe.plan import build_plan
from flows.resources import check_ready, check_resources, pools_of, resource_of
from tests.flows.recipe_runs import POCKET


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
