import shutil
from pathlib import Path

import pytest

from data_store.errors import InputError
from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.records import LineageGraph
from data_store.store import Store
from tests.data_store.store_bench import Bench


def name(text: str) -> AssetName:
    return AssetName.parse(text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Three iterations: a source, and per iteration preferences, a reward model and a policy on top of the last one."""
    folder = tmp_path_factory.mktemp("recipe")
    shutil.copytree(empty_store, folder / "store")
    bench = Bench(Store(folder / "store"), folder / "work")
    corpus = bench.files(corpus="text") / "corpus"
    register_file(bench.store, corpus)
    bench.run("sft", {"model/policy@V0": "policy 0"}, ("source/corpus@external",))
    for n in (1, 2, 3):
        before = f"model/policy@V{n - 1}"
        bench.run("collect", {f"dataset/preferences@V{n}": f"preferences {n}"}, (before,))
        bench.run("reward", {f"model/reward@V{n}": f"reward {n}"}, (before, f"dataset/preferences@V{n}"))
        bench.run("train", {f"model/policy@V{n}": f"policy {n}"}, (before, f"model/reward@V{n}"))
    return bench.store.root


@pytest.fixture
def recipe(tmp_path: Path, finished: Path) -> Bench:
    """A copy of the finished recipe, to change at will."""
    shutil.copytree(finished, tmp_path / "store")
    return Bench(Store(tmp_path / "store"), tmp_path / "work")


def steps(graph: LineageGraph) -> list[str]:
    return sorted(summary.run.step for summary in graph.runs.values())


def stale(bench: Bench) -> dict[str, str]:
    return {str(asset): reason for asset, reason in bench.store.stale().items()}


@pytest.mark.slow
def test_a_finished_recipe_is_fresh(recipe: Bench) -> None:
    assert stale(recipe) == {}


@pytest.mark.conformance("stale stops at the next iteration", equation="data_store.catalog.lineage:stale")
def test_a_change_in_one_iteration_reaches_all_later_ones_and_no_earlier_one(recipe: Bench) -> None:
    recipe.run("reward", {"model/reward@V2": "another reward"}, ("model/policy@V1", "dataset/preferences@V2"))
    assert stale(recipe) == {
        "model/policy@V2": "a newer model/reward@V2 is there",
        "dataset/preferences@V3": "model/policy@V2 is stale",
        "model/reward@V3": "dataset/preferences@V3 is stale",
        "model/policy@V3": "model/policy@V2 is stale",
    }


def test_bringing_one_step_up_to_date_leaves_the_rest_stale_until_their_turn(recipe: Bench) -> None:
    recipe.run("reward", {"model/reward@V3": "another reward"}, ("model/policy@V2", "dataset/preferences@V3"))
    assert list(stale(recipe)) == ["model/policy@V3"]
    recipe.run("train", {"model/policy@V3": "another policy"}, ("model/policy@V2", "model/reward@V3"))
    assert stale(recipe) == {}


def test_redoing_a_step_to_identical_bytes_makes_nothing_stale(recipe: Bench) -> None:
    recipe.run("train", {"model/policy@V1": "policy 1"}, ("model/policy@V0", "model/reward@V1"))
    assert stale(recipe) == {}


@pytest.mark.conformance("rerun reuses what is stale", equation="data_store.catalog.lineage:stale")
def test_a_changed_source_makes_everything_stale(recipe: Bench) -> None:
    register_file(recipe.store, recipe.files(corpus="other text") / "corpus")
    assert len(stale(recipe)) == 10
    assert stale(recipe)["model/policy@V0"] == "a newer source/corpus@external is there"


def test_a_run_that_the_caller_calls_changed_is_stale_with_all_that_follows(recipe: Bench) -> None:
    head = recipe.store.head(name("model/reward@V3"))
    assert head is not None
    assert head.run_id is not None
    assert recipe.store.stale({head.run_id}) == {
        name("model/reward@V3"): "the step or its config changed",
        name("model/policy@V3"): "model/reward@V3 is stale",
    }


def test_a_head_moved_back_to_an_earlier_run_is_judged_by_that_run(recipe: Bench) -> None:
    reward = name("model/reward@V3")
    first = recipe.store.head(reward)
    assert first is not None
    assert first.run_id is not None
    recipe.run("reward", {"model/reward@V3": "another"}, ("model/policy@V2", "dataset/preferences@V3"))
    assert list(stale(recipe)) == ["model/policy@V3"]
    recipe.store.move_heads(first.run_id, {reward: first.version_id}, "set back")
    assert stale(recipe) == {}


def test_ancestors_are_all_that_led_to_a_model_and_nothing_else(recipe: Bench) -> None:
    graph = recipe.store.lineage(name("model/policy@V2"))
    assert steps(graph) == sorted(["sft"] + ["collect", "reward", "train"] * 2)
    (root,) = graph.roots
    assert graph.runs[root].run.step == "train"
    assert [str(edge.asset) for edge in graph.inputs_of(root)] == ["model/policy@V1", "model/reward@V2"]
    assert [str(edge.asset) for edge in graph.outputs_of(root)] == ["model/policy@V2"]
    (sft,) = (run_id for run_id, summary in graph.runs.items() if summary.run.step == "sft")
    (corpus,) = graph.inputs_of(sft)
    assert (str(corpus.asset), corpus.producer_run_id) == ("source/corpus@external", None)
    head = recipe.store.head(name("model/policy@V2"))
    assert head is not None
    assert recipe.store.lineage(head.version_id) == graph


def test_descendants_are_all_that_was_built_on_an_asset(recipe: Bench) -> None:
    graph = recipe.store.descendants(name("dataset/preferences@V2"))
    assert steps(graph) == ["collect", "reward", "reward", "train", "train"]
    assert steps(recipe.store.descendants(name("model/policy@V3"))) == []
    assert len(recipe.store.descendants(name("source/corpus@external")).runs) == 10
    head = recipe.store.head(name("dataset/preferences@V2"))
    assert head is not None
    assert recipe.store.descendants(head.version_id) == graph


def test_two_runs_with_identical_bytes_keep_their_own_ancestries(bench: Bench) -> None:
    bench.run("left", {"dataset/a@V1": "left data"})
    bench.run("right", {"dataset/b@V1": "right data"})
    one = bench.run("train", {"model/left@V1": "same bytes"}, ("dataset/a@V1",))
    other = bench.run("train", {"model/right@V1": "same bytes"}, ("dataset/b@V1",))
    bench.run("evaluate", {"report/left@V1": "report l"}, ("model/left@V1",))
    bench.run("evaluate", {"report/right@V1": "report r"}, ("model/right@V1",))
    left, right = (bench.store.lineage(name(f"report/{side}@V1")) for side in ("left", "right"))
    assert steps(left) == ["evaluate", "left", "train"]
    assert steps(right) == ["evaluate", "right", "train"]
    version = bench.publish("same bytes").version_id
    assert sorted(bench.store.lineage(version).roots) == sorted([one.run_id, other.run_id])


def test_a_superseded_version_still_tells_its_ancestry(recipe: Bench) -> None:
    old = recipe.store.head(name("model/reward@V1"))
    assert old is not None
    recipe.run("reward", {"model/reward@V1": "another"}, ("model/policy@V0", "dataset/preferences@V1"))
    assert recipe.store.lineage(old.version_id).roots == (old.run_id,)


def test_an_external_source_has_no_ancestors(bench: Bench, tmp_path: Path) -> None:
    head = register_file(bench.store, bench.files(corpus="text"), name="corpus")
    assert bench.store.lineage(head.asset).runs == {}
    assert bench.store.lineage(head.version_id).roots == ()


def test_unknown_names_are_refused(bench: Bench) -> None:
    for ask in (bench.store.lineage, bench.store.descendants):
        with pytest.raises(InputError, match="there is no asset model/policy@V9"):
            ask(name("model/policy@V9"))
        with pytest.raises(InputError, match="there is no version 'abc'"):
            ask("abc")
