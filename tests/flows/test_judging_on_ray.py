"""A chat model's folder judges in shards on a Ray cluster: its files go there by way of the bucket."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from data_store.places import read_places
from data_store.upkeep.verification import verify
from flows.recipe.config import load_config
from flows.session import remember
from models.tokenizer import load_tokenizer
from tests.flows.recipe_runs import POCKET, Home
from tests.models.conftest import CORPUS
from tests.models.families import write
from tests.models.llama3_files import write_llama3_tokenizer
from tests.ray_cluster import RayCluster
from tests.s3_server import S3Server, in_bucket

pytestmark = pytest.mark.cluster
MADE = "dataset/judged-by-little@V1"


def choose(home: Home, folder: Path, **resources: object) -> None:
    """Have a judge of evaluations, and these resources, from now on."""
    judge = {"name": "little", "folder": "judge", "shards": 2, "batch_size": 4}
    content = yaml.safe_load(POCKET)
    content |= {"evaluate": {**content["evaluate"], "judges": [judge]}, "resources": resources}
    (folder / "pocket.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(home.folder))
        remember(load_config(folder / "pocket.yaml"))


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
    choose(home, tmp_path, judge_answers_little={"shards": {"ray": ray_cluster.address}})
    done = home.halter("rerun", "V1", "pose_questions", "--downstream", "--json")
    assert done.code == 0, f"{done.err}\n{ray_cluster.head.log()}\n{ray_cluster.second.log()}"
    (run, *_) = home.store.runs(step="judge_answers_little", part="V1")
    assert (run.metrics["shards"], run.metrics["shards/attempts"]) == (2.0, 2.0)
    there = home.head(MADE)
    assert len(home.store.rows(there)) > 0
    choose(home, tmp_path)
    done = home.halter("rerun", "V1", "judge_answers_little", "--json")
    assert done.code == 0, done.err
    assert home.head(MADE) == there
    (again, *_) = home.store.runs(step="judge_answers_little", part="V1")
    assert "shards" not in again.metrics
    assert again.run.fingerprint == run.run.fingerprint
    assert in_bucket(read_places(home.folder / "pocket").objects, "shards/") == []
    assert verify(home.store).problems == ()
