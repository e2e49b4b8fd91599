"""`halter export model`: a folder that plain transformers opens, with the outputs that the model has here."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
)
from typer.testing import CliRunner, Result

from data_store.names import AssetName
from data_store.records import Metric, Publication, RunInput, RunOutput, RunRecord
from data_store.store import Store
from flows.cli import app
from flows.recipe.config import load_config
from flows.session import remember, store_root
from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint, scalar_head
from models.config import LoraConfig
from models.dialogue import Renderer
from models.scoring import score_rows
from models.tokenizer import load_tokenizer
from tests.data_store.store_bench import Bench
from tests.models.conftest import stirred
from tests.tasks.little_policy import little_policy

SMOKE = Path(__file__).resolve().parents[3] / "configs" / "smoke.yaml"
LORA = LoraConfig(rank=2, alpha=4)
MESSAGES = [{"role": "user", "content": "the llama eats"}, {"role": "assistant", "content": "green grass"}]


def halter(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def record(
    store: Store,
    step: str,
    part: str,
    outputs: dict[str, Publication],
    reads: dict[str, str],
    metrics: dict[str, float],
) -> None:
    heads = store.heads()
    inputs = []
    for role, name in reads.items():
        head = heads[AssetName.parse(name)]
        inputs.append(RunInput(role, head.asset, head.version_id, head.run_id))
    config = {"config": {"annotator": None}}
    store.commit_run(
        RunRecord(step, part, f"{step} {part} {sorted(outputs)}", "1", config, 1),
        inputs,
        {
            "responses" if "responses" in name else f"out {n}": RunOutput(AssetName.parse(name), made)
            for n, (name, made) in enumerate(outputs.items())
        },
        [Metric(name, value) for name, value in metrics.items()],
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base, and a policy and a reward model on it: whole, and as adapters."""
    folder = tmp_path_factory.mktemp("models")
    base = little_policy(folder)
    tokenizer = load_tokenizer(base)
    found = {"base": base}
    for way, lora in (("whole", None), ("adapter", LORA)):
        torch.manual_seed(1)
        found[f"{way} policy"] = folder / f"{way} policy"
        save_checkpoint(stirred(load_policy(base, lora=lora, trainable=True)), tokenizer, found[f"{way} policy"])
        found[f"{way} reward"] = folder / f"{way} reward"
        model = stirred(reward_from_policy(found[f"{way} policy"], base, lora=lora, seed=1))
        with torch.no_grad():
            scalar_head(model).weight.normal_()
        save_checkpoint(model, tokenizer, found[f"{way} reward"])
    return found


@pytest.fixture(params=["whole", "adapter"])
def folders(
    request: pytest.FixtureRequest, made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """A run whose policy of V1 and reward model are these folders."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    remember(load_config(SMOKE))
    store = Store.open(store_root("smoke"))
    way: str = request.param
    publish = {name: store.publish("model", folder) for name, folder in made.items()}
    record(store, "pretrain", "base", {"model/base@base": publish["base"]}, {}, {})
    policy, reward = publish[f"{way} policy"], publish[f"{way} reward"]
    record(store, "fine_tune", "V1", {"model/policy@V1": policy}, {"base": "model/base@base"}, {"loss": 1.0})
    record(
        store, "train_safety_reward", "V1", {"model/reward-safety@V1": reward},
        {"policy": "model/policy@V1", "base": "model/base@base"}, {"accuracy/all": 0.75, "accuracy/better": 0.8125},
    )  # fmt: skip
    answers = Bench(store, tmp_path / "work").rows("response", [answer(n) for n in range(3)])
    record(
        store, "evaluate", "V1", {"dataset/responses@V1": store.publish("dataset", answers, row_kind="response")},
        {"policy": "model/policy@V1"}, {"violation": 0.25, "win_rate/helpfulness": 0.625},
    )  # fmt: skip
    return {"policy": made[f"{way} policy"], "reward": made[f"{way} reward"], "base": made["base"]}


def answer(number: int) -> dict[str, Any]:
    return {
        "response_id": f"r{number}", "prompt_id": f"p{number}", "iteration": "V1", "policy_version": "x",
        "temperature_milli": 700, "seed": 1, "text": "green", "finished": True, "messages": MESSAGES[:1],
    }  # fmt: skip


@pytest.mark.slow
def test_a_policy_has_equal_logits_in_plain_transformers(folders: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "exported"
    told = json.loads(halter("export", "model", "model/policy@V1", target, "--json").stdout)
    assert (told["target"], told["dtype"]) == (str(target), "float32")
    ours, plain = load_policy(folders["policy"], folders["base"]), AutoModelForCausalLM.from_pretrained(target).eval()
    renderer, tokenizer = Renderer(load_tokenizer(folders["policy"])), AutoTokenizer.from_pretrained(target)
    ids = torch.tensor([renderer.dialogue(MESSAGES).input_ids])
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, ours(input_ids=ids).logits, atol=1e-5, rtol=1e-5)
    assert tokenizer.apply_chat_template(MESSAGES, return_dict=True)["input_ids"] == ids[0].tolist()
    ends = GenerationConfig.from_pretrained(target)
    assert (ends.eos_token_id, ends.pad_token_id) == (renderer.end_ids[0], renderer.pad_id)
    assert plain.config.use_cache is True
    written = {path.name for path in target.iterdir()}
    assert set(told["files"]) == written
    assert written >= {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "README.md"}
    assert written >= {"tokenizer.model", "tokenizer_config.json", "chat_template.jinja"}
    assert not {name for name in written if "adapter" in name}
    assert {stat.S_IMODE(path.stat().st_mode) & 0o444 for path in target.iterdir()} == {0o444}
    assert not list(tmp_path.glob(".exported*"))


@pytest.mark.slow
def test_a_reward_model_scores_alike_in_plain_transformers_in_a_padded_batch(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    halter("export", "model", "model/reward-safety@V1", tmp_path / "reward")
    renderer = Renderer(load_tokenizer(folders["reward"]))
    rows = [
        renderer.dialogue([MESSAGES[0], {"role": "assistant", "content": text}]).input_ids
        for text in ("a", "be kind to it")
    ]
    ours = score_rows(load_reward(folders["reward"], folders["base"]), rows, renderer.pad_id, 2)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward").eval()
    batch = AutoTokenizer.from_pretrained(tmp_path / "reward").pad({"input_ids": rows}, return_tensors="pt")
    with torch.no_grad():
        assert plain(**batch).logits[:, 0].tolist() == pytest.approx(ours, abs=1e-4)
    assert abs(ours[0] - ours[1]) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("asset", ["model/policy@V1", "model/reward-safety@V1"])
def test_weights_are_written_in_the_dtype_that_is_asked_for(
    folders: dict[str, Path], tmp_path: Path, asset: str
) -> None:
    halter("export", "model", asset, tmp_path / "small", "--dtype", "bfloat16")
    kind = AutoModelForCausalLM if "policy" in asset else AutoModelForSequenceClassification
    plain = kind.from_pretrained(tmp_path / "small", dtype="auto")
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.bfloat16}
    assert "weights in bfloat16" in (tmp_path / "small" / "README.md").read_text()


@pytest.mark.slow
def test_the_card_tells_where_it_comes_from_and_what_was_measured_of_how_many(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    halter("export", "model", "model/policy@V1", tmp_path / "policy", "--license", "apache-2.0")
    halter("export", "model", "model/reward-safety@V1", tmp_path / "reward")
    policy, reward = ((tmp_path / name / "README.md").read_text() for name in ("policy", "reward"))
    store = Store.open(store_root("smoke"))
    head = store.head(AssetName.parse("model/policy@V1"))
    assert head is not None
    for text in (
        "license: apache-2.0", "pipeline_tag: text-generation", "# model/policy@V1 of smoke", head.version_id,
        f"made by fine_tune of V1: run `{head.run_id}`", "read model/base@base",
        "judged by: reward models, 3 answers to held-out prompts", "(`violation`) | 25.0 |",
        "(`win_rate/helpfulness`) | 0.62 |", "behind it stand 1 more run",
    ):  # fmt: skip
        assert text in policy, text
    assert str(tmp_path) not in policy
    assert ("adapters merged" in policy) == (folders["policy"].name == "adapter policy")
    for text in (
        "license: unknown",
        "Its licence is unknown",
        "text-classification",
        "| all | 0.75 |",
        "| better | 0.8125 |",
    ):
        assert text in reward, text


@pytest.mark.slow
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    store = Store.open(store_root("smoke"))
    record(store, "fine_tune", "V2", {"model/policy@V2": Bench(store, tmp_path / "b").publish("weights")}, {}, {})
    before = sorted([*tmp_path.iterdir(), *(tmp_path / "full").iterdir()])
    for words, message in (
        (("model/policy@V1", tmp_path / "full"), "exists already; give a folder that is absent or empty"),
        (("model/policy@V7", tmp_path / "x"), "there is no model/policy@V7 yet; there are: model/base@base"),
        (("dataset/responses@V1", tmp_path / "x"), "is no model: give one"),
        (("model/policy@V2", tmp_path / "x"), "holds no model with its tokenizer"),
        (("model/policy@V1", store.root / "x"), "give a place elsewhere"),
    ):
        assert message in halter("export", "model", *words, code=2).stderr.replace("\n", " ")
    assert sorted([*tmp_path.iterdir(), *(tmp_path / "full").iterdir()]) == before
    assert not (store.root / "x").exists()
    (tmp_path / "full" / "mine").unlink()
    halter("export", "model", "model/policy@V1", tmp_path / "full")  # an empty folder serves


@pytest.mark.slow
def test_a_failure_in_the_middle_leaves_no_folder(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr("flows.commands.export_cli.model_card", fail)
    before = sorted(tmp_path.iterdir())
    halter("export", "model", "model/policy@V1", tmp_path / "x", code=1)
    assert sorted(tmp_path.iterdir()) == before
