"""The configs for real files, made smaller still, on the real files: dirt is counted, rows lead to their lines."""

import gzip
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import yaml

from data_store.names import AssetName
from data_store.reading.preference_readers import read_preferences
from models.checkpoint import load_policy
from tests.flows.guide_pages import READING
from tests.flows.recipe_runs import ROOT, Finished, Home

DATA = ROOT.parent / "shared" / "data"
SMOLLM2 = Path(os.environ.get("SMOLLM2_FOLDER", ROOT / "data" / "smollm2-135m"))
GUIDE = ROOT / "docs" / "your-own-data.md"

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real sets are absent: there is no folder ../shared/data"),
]

TESTS = {"name": "oasst", "axis": "helpfulness", "files": [str(DATA / "preference" / "oasst_trees.jsonl")]}
Run = tuple[Home, Finished, Path]


def write_config(folder: Path, config: str, name: str, **changes: Any) -> Path:
    """A config of ours with the real paths and some sections changed."""
    content = yaml.safe_load((ROOT / "configs" / config).read_text().replace("../data/", f"{DATA}/"))
    for key, values in changes.items():
        content[key] = {**content[key], **values} if isinstance(content.get(key), dict) else values
    shutil.copy(ROOT / "configs" / "instructions.jsonl", folder)
    path = folder / config
    path.write_text(yaml.safe_dump({**content, "name": name}))
    return path


@pytest.fixture(scope="module")
def from_files(tmp_path_factory: pytest.TempPathFactory, server: str) -> Run:
    """A Llama from nothing on real documents, demonstrations and pairs."""
    folder = tmp_path_factory.mktemp("realdata")
    korean = folder / "korean_chatbot_pairs.csv"
    with (DATA / "sft" / korean.name).open(encoding="utf-8") as lines:
        korean.write_text("".join(itertools.islice(lines, 600)), encoding="utf-8")
    config = write_config(
        folder,
        "own-files.yaml",
        "from-files",
        data={
            "documents": [str(DATA / "pretrain" / name) for name in ("c4_demo.jsonl", "gnome_help_ko.jsonl.gz")],
            "demonstrations": [str(DATA / "sft" / "self_instruct_seed_tasks.jsonl"), str(korean)],
        },
        model={"hidden_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "ffn_size": 64},
        pretrain={"max_steps": 10, "warmup_steps": 2},
        sft={"epochs": 0.3},
        reward={"max_length": 112, "epochs": 0.2},
        rejection={"prompts": 8, "unfinished": "score", "sampling": {"max_new_tokens": 8}},
        fine_tune={"picks": 12, "replay": 4, "training": {"sequence_length": 320, "batch_size": 2}},
        gatt={"dialogues": 4, "max_turns": 2, "sampling": {"max_new_tokens": 8}},
        evaluate={
            "ordinary_prompts": 4,
            "safety_prompts": 4,
            "instruction_dialogues": 4,
            "instruction_turns": 3,
            "sampling": {"max_new_tokens": 8},
        },
        reward_tests={"sets": [TESTS], "max_pairs": 60},
    )
    home = Home(folder / "home", server, name="from-files")
    finished = home.halter("run", config)
    assert finished.code == 0, finished.out + finished.err
    return home, finished, config


@pytest.fixture(scope="module")
def with_adapters(from_files: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Adapters on a chat model from outside the store: V0 of the other run, as any folder of a user's."""
    folder = tmp_path_factory.mktemp("adapters")
    base = folder / "base"
    base.mkdir()
    for path in from_files[0].store.checkout(from_files[0].head("model/policy@V0")).iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    config = write_config(
        folder,
        "smollm2-135m.yaml",
        "with-adapters",
        base_model=str(base),
        lora={"rank": 2, "alpha": 4},
        fit={"max_prompt_tokens": 96},
        reward={"max_length": 112},
    )
    home = Home(folder / "home", name="with-adapters")
    finished = home.halter("run", config)
    assert finished.code == 0, finished.out + finished.err
    return home, finished, config


def rows(home: Home, asset: str) -> list[dict[str, Any]]:
    """The rows of a data set's newest version."""
    found: list[dict[str, Any]] = home.store.rows(home.head(asset)).to_pylist()
    return found


def metrics(home: Home, part: str, step: str) -> dict[str, float]:
    """The metrics of a step's only run."""
    (run,) = home.store.runs(part=part, step=step)
    return dict(run.metrics)


def line_of(source: str) -> dict[str, Any]:
    """The record at FILE:LINE."""
    name, _, number = source.rpartition(":")
    (path,) = DATA.glob(f"*/{name}")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return dict(json.loads(next(line for place, line in enumerate(lines, 1) if place == int(number))))


@pytest.mark.slow
def test_every_step_takes_real_files(from_files: Run) -> None:
    home, _, _ = from_files
    assert {state for _, _, state in home.runs()} == {"succeeded"}
    steps = {(part, step) for part, step, _ in home.runs()}
    assert ("V2", "ppo") in steps
    assert ("base", "filter_corpus") in steps
    assert len(steps) == len(home.runs()) == 26


@pytest.mark.slow
def test_ghost_attention_is_made_of_the_users_own_instructions_and_prompts(from_files: Run) -> None:
    home, *_ = from_files
    own = {row["text"] for row in rows(home, "dataset/instructions@base") if row["split"] == "train"}
    short = {row["short"] for row in rows(home, "dataset/instructions@base")}
    dialogues = rows(home, "dataset/gatt@V2")
    assert dialogues
    for row in dialogues:
        first = row["messages"][0]["content"]
        assert any(first.startswith(text) for text in own | short)
        assert len(row["messages"]) >= 4
        assert not any(text in message["content"] for message in row["messages"][2:] for text in own)
    assert metrics(home, "V2", "fine_tune")["gatt"] == len(dialogues)


@pytest.mark.slow
def test_pairs_are_counted_by_file_and_reason(from_files: Run) -> None:
    home, _, _ = from_files
    counted = metrics(home, "base", "import_data")
    for axis, file, pairs in (("helpfulness", "hh_helpful", 1370), ("safety", "hh_harmless", 1372)):
        read = read_preferences([DATA / "preference" / f"{file}.jsonl.gz"], axis=axis)
        reasons = {name.rsplit("/", 1)[1]: n for name, n in counted.items() if name.startswith(f"refused/{axis}_")}
        assert reasons == read.refused_counts()
        assert len(read.rows) + sum(reasons.values()) == pairs
    refused = rows(home, "dataset/refused@base")
    assert counted["rows/preferences"] == 1370 + 1372 - len(refused)
    for row in refused:
        if row["reason"] == "turns_do_not_alternate":
            assert re.search(r"\n\n(Human|Assistant):(?:(?!\n\n(Human|Assistant):).)*\n\n\1:", two(row), re.DOTALL)
        else:
            assert row["reason"] == "empty_answer"
            assert any(
                line_of(row["source"])[side].strip().endswith("\n\nAssistant:") for side in ("chosen", "rejected")
            )


def two(row: dict[str, Any]) -> str:
    """Both dialogues of a refused pair."""
    record = line_of(row["source"])
    return f"{record['chosen']}{record['rejected']}"


@pytest.mark.slow
def test_each_pair_leads_to_its_line(from_files: Run) -> None:
    home, _, _ = from_files
    batches = [rows(home, f"dataset/preferences@V{n}") for n in (1, 2)]
    sources = [{row["source"] for row in batch} for batch in batches]
    assert not sources[0] & sources[1]
    assert sources[0] | sources[1] == {row["source"] for row in rows(home, "dataset/preferences@base")}
    for row in batches[1][::60]:
        record = line_of(row["source"])
        better, worse = ("a", "b") if row["chosen"] == "a" else ("b", "a")
        assert record["chosen"].strip().endswith(row[f"response_{better}"])
        assert record["rejected"].strip().endswith(row[f"response_{worse}"])
        assert ("harmless" in row["source"]) == (row["axis"] == "safety")
        assert row["annotator"] == "import:hh"


@pytest.mark.slow
def test_what_is_too_long_is_listed_with_its_line_and_length(from_files: Run) -> None:
    home, _, _ = from_files
    counted = metrics(home, "base", "fit_context")
    dropped = home.store.rows(home.head("dataset/too-long@base"))
    for role in ("demonstrations", "prompts", "preferences"):
        raw, kept = len(rows(home, f"dataset/raw-{role}@base")), len(rows(home, f"dataset/{role}@base"))
        listed = pc.sum(pc.starts_with(dropped.column("doc_id"), f"{role}/")).as_py()
        assert (counted[f"{role}/kept"], counted[f"{role}/too_long"]) == (kept, listed)
        assert kept + listed == raw
    for row in dropped.to_pylist():
        tokens, limit = map(int, re.findall(r"\d+", row["detail"]))
        assert tokens > limit
        assert re.fullmatch(r".+\.(jsonl|jsonl\.gz|csv):\d+(#\d+)?", row["source"])


@pytest.mark.slow
def test_the_reward_models_alone_judge_and_the_tables_say_so(from_files: Run) -> None:
    home, finished, _ = from_files
    assert "no annotator: judged by the run's own reward models alone" in " ".join(finished.out.split())
    figures = metrics(home, "V2", "evaluate")
    assert 0 <= figures["reward_win_rate"] <= 1
    assert not {"win_rate", "violation", "oracle_score"} & set(figures)
    report = json.loads((home.store.checkout(home.head("report/evaluation@V2")) / "evaluation.json").read_text())
    assert report["judge"] == "reward models only"


@pytest.mark.slow
def test_reward_models_are_put_to_a_set_of_files_and_instructions_are_told_by_their_checks(
    from_files: Run, tmp_path: Path
) -> None:
    home = from_files[0]
    (run,) = home.store.runs(part="V2", step="measure_reward_models")
    pairs = int(run.metrics["pairs/oasst"])
    assert pairs + run.metrics["left_out/oasst/too_long"] + run.metrics["left_out/oasst/trained_on"] == 60
    for model in ("helpfulness", "safety"):
        found = run.estimates[f"ece/{model}/oasst"]
        assert (found.n, found.judge) == (pairs, "import:oasst")
    scores = rows(home, "dataset/pair-scores@V2")
    assert sum(row["test_set"] == "oasst" for row in scores) == 2 * pairs
    (evaluated,) = home.store.runs(part="V2", step="evaluate")
    assert evaluated.metrics["instruction/unchecked"] == 4, "French, the captain, the teacher, the question at the end"
    assert evaluated.estimates["instruction/trained/turn_1"].judge == "checks of data.instructions"
    page = tmp_path / "report.html"
    assert home.look("report", "--out", str(page)).code == 0
    assert "Reward-model accuracy by test set" in page.read_text()


@pytest.mark.slow
def test_lineage_names_the_source_files_by_their_hashes(from_files: Run) -> None:
    home, _, config = from_files
    document = home.look("lineage", "model/policy@V2", "--json").document
    named = {file["path"]: file["sha256"] for source in document["sources"] for file in source["files"]}
    content = yaml.safe_load(config.read_text())["data"]
    paths = [config.parent / path for value in content.values() if isinstance(value, list) for path in value]
    paths.append(Path(TESTS["files"][0]))  # import_data reads which texts it has, to keep them apart
    assert named == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.slow
def test_the_commands_of_the_guide_run(from_files: Run) -> None:
    home, _, config = from_files
    before = home.heads(), len(home.runs())
    commands = re.findall(r"^halter (.+)$", GUIDE.read_text(), re.MULTILINE)
    assert commands
    for command in commands:
        words = shlex.split(command.replace("configs/own-files.yaml", str(config)))
        finished = (home.look if words[0] in READING else home.halter)(*words)
        assert finished.code == 0, f"halter {command}: {finished.err}"
    assert (home.heads(), len(home.runs())) == before  # the run was finished: nothing was trained again


@pytest.mark.slow
def test_every_step_takes_adapters(with_adapters: Run) -> None:
    home, _, _ = with_adapters
    assert {state for _, _, state in home.runs()} == {"succeeded"}
    names = ("policy@V0", "reward-safety@V1", "reward-helpfulness@V2", "policy@V1", "policy-sampled@V2", "policy@V2")
    for name in names:
        folder = home.store.checkout(home.head(f"model/{name}"))
        assert (folder / "adapter_model.safetensors").is_file()
        assert not (folder / "model.safetensors").exists()
        written = json.loads((folder / "adapter_config.json").read_text())
        assert written["base_model_name_or_path"] is None
        assert written["target_modules"] == sorted(written["target_modules"])


@pytest.mark.slow
def test_the_base_model_is_named_by_its_files_and_not_copied(with_adapters: Run) -> None:
    home, _, config = with_adapters
    base = Path(yaml.safe_load(config.read_text())["base_model"])
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in base.iterdir()}
    document = home.halter("lineage", "model/policy@V2", "--json").document
    named = {f["path"]: f["sha256"] for source in document["sources"] for f in source["files"]}
    assert hashes.items() <= named.items()
    assert not home.store.objects.exists(hashes["model.safetensors"])
    readers = {run["step"] for run in document["runs"] for edge in run["reads"] if edge["role"] == "base"}
    assert {"sft", "train_safety_reward", "rejection_sample", "fine_tune", "ppo"} <= readers


@pytest.mark.slow
def test_v0_without_demonstrations_is_the_base_model_and_adapters_open_in_plain_peft(with_adapters: Run) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    home, _, config = with_adapters
    base = Path(yaml.safe_load(config.read_text())["base_model"])
    ids = torch.tensor([[5, 6, 7, 8]])
    plain = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        start = plain(ids).logits
        first = PeftModel.from_pretrained(plain, home.store.checkout(home.head("model/policy@V0"))).eval()
        torch.testing.assert_close(first(ids).logits, start)
        folder = home.store.checkout(home.head("model/policy@V2"))
        trained = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
        torch.testing.assert_close(trained(ids).logits, load_policy(folder, base)(ids).logits)
        assert not torch.allclose(trained(ids).logits, start)
        scorer = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        reward = PeftModel.from_pretrained(scorer, home.store.checkout(home.head("model/reward-safety@V2")))
        assert bool(reward.get_base_model().score.weight.abs().sum() > 0)  # the head came with the adapter


@pytest.mark.soak
@pytest.mark.skipif(not SMOLLM2.is_dir(), reason=f"SmolLM2 is absent: there is no folder {SMOLLM2} (SMOLLM2_FOLDER)")
def test_smollm2_goes_through_every_step_with_adapters(tmp_path: Path) -> None:
    config = write_config(tmp_path, "smollm2-135m.yaml", "smollm2", base_model=str(SMOLLM2))
    home = Home(tmp_path / "home", name="smollm2")
    finished = home.halter("run", config)
    assert finished.code == 0, finished.out + finished.err
    assert {state for _, _, state in home.runs()} == {"succeeded"}
    again = home.halter("run", config)
    assert again.code == 0
    assert len(home.runs()) == 20
    size = sum(path.stat().st_size for path in home.folder.rglob("*") if path.is_file())
    assert size < (SMOLLM2 / "model.safetensors").stat().st_size  # no copy of the base model in the store
    assert home.store.head(AssetName.parse("model/policy@V2")) is not None
