"""`iterations: 0`: a run that ends with SFT, or with the pretrained model where nothing is there to make it chat."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from data_store.errors import InputError
from data_store.figures import figure
from data_store.names import AssetName
from flows.recipe.config import RunConfig
from flows.recipe.plan import Plan, build_plan, groups_of
from tests.flows.recipe_runs import POCKET, Home

FOUNDATION = ["import_data", "filter_corpus", "train_tokenizer", "fit_context", "pretrain"]
TEXT = "the whale is a very large animal of the sea and it swims far away from all ships"
SUITE = {"name": "said", "files": ["/data/items.jsonl"], "suite": "commonsense"}


def content_of(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(POCKET), "iterations": 0, **changes}


def plan_of(**changes: Any) -> Plan:
    return build_plan(RunConfig.model_validate(content_of(**changes)))


def of_files(*roles: str, **changes: Any) -> Plan:
    files = {role: [f"/data/{role}.jsonl"] for role in roles}
    return plan_of(**{"data": files, "annotator": None, **changes})


def test_a_world_is_pretrained_on_fine_tuned_and_evaluated_once() -> None:
    plan = plan_of()
    assert list(plan) == [*(("base", step) for step in FOUNDATION), ("V0", "sft"), ("V0", "evaluate")]
    assert plan["base", "fit_context"].config.splits == ("heldout",)  # type: ignore[attr-defined]
    assert "baseline" not in plan["V0", "evaluate"].inputs


def test_documents_alone_end_with_the_pretrained_model() -> None:
    plan = of_files("documents")
    described = [*FOUNDATION[:3], "describe_corpus", "pretrain"]
    assert list(plan) == [("base", step) for step in described]
    without = of_files("documents", describe=None)
    assert list(without) == [("base", step) for step in described if step != "describe_corpus"]
    assert without["base", "pretrain"].fingerprint({}) == plan["base", "pretrain"].fingerprint({})
    assert {role: str(asset) for role, asset in plan["base", "import_data"].outputs.items()} == {
        "documents": "dataset/raw-documents@base",
        "refused": "dataset/refused@base",
    }
    assert groups_of(plan, "V0") == []


def test_a_shape_that_lacks_something_is_refused_with_the_plan_not_by_pretraining() -> None:
    with pytest.raises(InputError, match="model: architecture without a preset lacks context_length"):
        of_files(
            "documents", model={"hidden_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "ffn_size": 64}
        )


def test_a_pretrained_model_is_put_to_benchmarks_itself() -> None:
    plan = of_files("documents", benchmarks={"sets": [SUITE]}, lora={"rank": 4})
    call = plan["base", "run_benchmarks"]
    assert [str(asset) for asset in call.assets["policy"]] == ["model/base@base"]
    assert "base" not in call.assets, "it is no adapter of itself"
    assert ("V0", "run_benchmarks") not in plan
    of_v0 = plan_of(benchmarks={"sets": [SUITE]})
    assert [str(asset) for asset in of_v0["V0", "run_benchmarks"].assets["policy"]] == ["model/policy@V0"]
    assert ("base", "run_benchmarks") not in of_v0


def test_demonstrations_without_prompts_make_a_policy_that_nobody_evaluates() -> None:
    plan = of_files("documents", "demonstrations")
    assert [key for key in plan if key[0] == "V0"] == [("V0", "sft")]
    assert "prompts" not in plan["base", "fit_context"].outputs


@pytest.mark.parametrize(
    "role", ["helpfulness_prompts", "safety_evaluation_prompts", "borderline_prompts", "safety_preferences"]
)
def test_prompts_of_any_role_are_answered_by_v0(role: str) -> None:
    plan = of_files("documents", "demonstrations", role)
    assert [key for key in plan if key[0] == "V0"] == [("V0", "sft"), ("V0", "evaluate")]
    assert "preferences" not in plan["base", "import_data"].outputs, "pairs are read for their prompts alone"


def test_a_base_model_becomes_v0_also_without_demonstrations(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    plan = of_files("helpfulness_prompts", base_model=str(tmp_path))
    assert [key for key in plan if key[0] == "V0"] == [("V0", "sft"), ("V0", "evaluate")]


def test_sections_that_iterations_alone_read_may_wait_in_the_config() -> None:
    waiting = plan_of(
        final_stage="dpo",
        context_distillation={"first_iteration": 1},
        reward={"gold_percent": 20},
        collect={"strategy": {"uncertain_share": 0.5}},
        evaluate={"against": ["previous"], "judges": [{"name": "people", "kind": "people", "people": {}}]},
    )
    assert list(waiting) == list(plan_of())


def test_what_is_made_here_is_what_a_run_with_iterations_begins_with() -> None:
    """All but `fit_context`, which then makes room for more; its rows are the same where the same fit."""
    here, later = plan_of(), plan_of(iterations=2)
    same = {key for key in here if here[key].fingerprint({}) == later[key].fingerprint({})}
    assert set(here) - same == {("base", "fit_context")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": -1}, "greater than or equal to 0"),
        ({"schedule": {"take_in": "next_iteration"}}, "raise iterations"),
        ({"data": {}, "annotator": None}, "data.documents is empty"),
        (
            {"data": {"documents": ["/d.jsonl"]}, "annotator": None, "contamination": {}},
            "contamination looks for prompts and benchmarks, and there are none",
        ),
        (
            {"data": {"documents": ["/d.jsonl"]}, "annotator": None, "iterations": 1},
            "with iterations: 0 the run ends with the pretrained model",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RunConfig.model_validate(content_of(**changes))


@pytest.mark.slow
def test_a_pretrained_model_alone_is_a_whole_run(tmp_path: Path, server: str) -> None:
    words = TEXT.split(" ")
    texts = (f"Line {n}: " + " ".join(words[n % 7 :] + words[: n % 5] + [f"{n * 7919}"]) for n in range(60))
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    content = {
        key: value
        for key, value in yaml.safe_load(POCKET).items()
        if key in ("seed", "tokenizer", "model", "pretrain", "final_stage")
    }
    content |= {"name": "base-alone", "iterations": 0, "data": {"documents": ["documents.jsonl"]}}
    content["filter"] = {"near_duplicate_similarity": 1.0}
    config = tmp_path / "base-alone.yaml"
    config.write_text(yaml.safe_dump({**content, "tokenizer": {**content["tokenizer"], "vocab_size": 300}}))
    home = replace(Home(tmp_path / "home", name="base-alone"), server=server)

    first = home.halter("run", config, "--json")
    assert first.code == 0, first.err
    assert first.document["figures"] == []
    (model,), ways = first.document["trained"]["models"], first.document["trained"]["ways_on"]
    assert (model["model"], model["state"], model["dialogues"]) == ("model/base@base", "fresh", "–")
    (run,) = (run for run in home.store.runs() if run.run.step == "pretrain")
    assert model["loss"] == figure(run.metrics["loss"])
    assert model["tokens/s"] == figure(run.metrics["tokens_per_second"])
    folder = Path(ways[0].removeprefix("model/base@base is in ").removesuffix(" (read it, do not change it)"))
    assert (folder / "config.json").is_file()
    assert ways[1].endswith("halter export model model/base@base FOLDER --run base-alone")
    again = home.halter("run", config)
    assert "base-alone: what was trained" in again.out
    assert ways[1] in " ".join(again.out.split())
    assert {(part, step) for part, step, _ in home.runs()} == {
        ("base", step) for step in (*FOUNDATION[:3], "describe_corpus", "pretrain")
    }
    assert set(home.states().values()) == {"fresh"}
    assert home.halter("run", config, "--json").document["figures"] == []
    assert len(home.runs()) == 5, "nothing is computed twice"

    report = home.look("report", "--json", "--out", str(tmp_path / "page.html"))
    assert report.code == 0, report.err
    assert "This run ends with the pretrained model" in " ".join(report.document["what_changed"])
    assert "halter lineage model/base@base" in (tmp_path / "page.html").read_text()
    tables = report.document["sections"]["corpus"]["tables"]
    assert [cell.get("text") for cell in tables["stages"]["rows"][0][:3]] == ["documents.jsonl", "as read", "60"]
    heads = home.store.heads()
    told = json.loads((home.store.checkout(home.head("report/corpus@base")) / "corpus.json").read_text())
    (ratio,) = told["tokens_per_character"].values()
    first_row = told["stages"][0]
    assert tables["stages"]["rows"][0][4]["text"] == figure(round(first_row["characters_before"] * ratio))
    shares = home.store.rows(heads[AssetName.parse("dataset/corpus-shares@base")].version_id).to_pylist()
    found = {
        row["name"]: row["documents"] / row["sampled"]
        for row in shares
        if row["about"] == "language" and not row["source"]
    }
    assert {row[0]["text"]: row[1]["value"] for row in tables["corpus-languages"]["rows"]} == found
    asked = home.look("chat", "V0")
    assert (asked.code, "parts with a policy: none yet" in asked.err) == (2, True)
