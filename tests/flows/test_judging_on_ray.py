"""A chat model's folder judges in shards on a Ray cluster: its files go there by way of the bucket."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import BaseModel

from data_store.content.publishing import rows_version
from data_store.places import read_places
from data_store.upkeep.verification import verify
from flows.recipe.config import load_config
from flows.recipe.plan import Plan, build_plan
from flows.session import remember
from models.tokenizer import load_tokenizer
from tasks.judge_answers import judge_answers
from tests.flows.recipe_runs import POCKET, Home
from tests.models.conftest import CORPUS
from tests.models.families import write
from tests.models.llama3_files import write_llama3_tokenizer
from tests.ray_cluster import RayCluster
from tests.s3_server import S3Server, in_bucket
from tests.tasks.bench import step_run

pytestmark = pytest.mark.cluster
MADE = "dataset/judged-by-little@V1"


def chosen(home: Home, folder: Path, **resources: object) -> Plan:
    """The plan with a judge of evaluations and these resources, which the run has from now on."""
    judge = {"name": "little", "folder": "judge", "shards": 2, "batch_size": 4}
    content = yaml.safe_load(POCKET)
    content |= {"evaluate": {**content["evaluate"], "judges": [judge]}, "resources": resources}
    (folder / "pocket.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(home.folder))
        config = load_config(folder / "pocket.yaml")
        remember(config)
    return build_plan(config)


def judged_here(home: Home, judge: Path, config: BaseModel, folder: Path) -> str:
    """The version of the judgements that this process makes of the same questions."""
    folder.mkdir()
    roles = {"questions": "dataset/evaluation-questions@V1", "prompts": "dataset/prompts@base"}
    inputs = {role: home.store.checkout(home.head(asset)) for role, asset in roles.items()}
    run = step_run(folder, inputs={**inputs, "judge": judge}, outputs=dict(judge_answers.outputs))
    judge_answers.function(run, config)
    rows = pq.read_table(folder / "out" / "judgements" / "rows.parquet")
    return rows_version("dataset", rows, "judgement")


@pytest.mark.conformance(
    "where a folder judges changes what it says", equation="tasks.engine.on_ray.shard_work:odds_of"
)
def test_a_folder_that_judges_in_shards_on_ray_says_what_it_says_here(
    copy_of_first_run: Callable[[], Home], ray_cluster: RayCluster, s3: S3Server, tmp_path: Path
) -> None:
    home, judge = copy_of_first_run(), tmp_path / "judge"
    judge.mkdir()
    tokenizer = load_tokenizer(write_llama3_tokenizer(CORPUS, judge))
    write("Llama 3.x", tokenizer, judge, max_position_embeddings=8192)
    told = home.look("move-store", "pocket", "--objects", s3.new_place(), "--remove-old", "--json")
    assert told.code == 0, told.err
    plan = chosen(home, tmp_path, judge_answers_little={"shards": {"ray": ray_cluster.address}})
    done = home.halter("rerun", "V1", "pose_questions", "--downstream", "--json")
    assert done.code == 0, f"{done.err}\n{ray_cluster.head.log()}\n{ray_cluster.second.log()}"
    (run, *_) = home.store.runs(step="judge_answers_little", part="V1")
    assert (run.metrics["shards"], run.metrics["shards/attempts"]) == (2.0, 2.0)
    there = home.head(MADE)
    assert len(home.store.rows(there)) > 0
    call = plan["V1", "judge_answers_little"]
    assert call.recipe() == chosen(home, tmp_path)["V1", "judge_answers_little"].recipe()
    assert judged_here(home, judge, call.config, tmp_path / "here") == there
    assert in_bucket(read_places(home.folder / "pocket").objects, "shards/") == []
    assert verify(home.store).problems == ()
