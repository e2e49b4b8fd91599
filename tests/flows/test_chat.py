"""`halter chat` with real little models: which one a name means, what it says, and where a judgement goes."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import flows.chat
from data_store.annotation.book import Book
from data_store.annotation.chat import Chat, Said
from data_store.annotation.live import LiveResponse
from data_store.annotation.people import add_annotator
from data_store.errors import InputError
from data_store.reading.preference_readers import read_preferences
from data_store.rows import AXES
from data_store.store import Store
from flows.chat import named_model
from flows.cli import app
from flows.commands.chat_cli import talk
from flows.commands.command import console
from flows.session import opened, remember, store_root
from models.checkpoint import reward_from_policy, save_checkpoint, scalar_head
from models.tokenizer import load_tokenizer
from tasks.safety_level import write_level
from tests.data_store.annotation.talking import Parrot
from tests.data_store.store_bench import Bench
from tests.flows.test_identity import named
from tests.tasks.little_policy import little_policy

HELD_OUT = "who eats grass"
PROMPT = {
    "prompt_id": "1",
    "axis": "helpfulness",
    "kind": "ordinary",
    "split": "heldout",
    "messages": [{"role": "user", "content": HELD_OUT}],
    "source": "test.jsonl:1",
}
QUICK = ("--max-new-tokens", "6", "--context", "100", "--seed", "1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run `pocket` with two policies, the reward models of V1, and a prompt that is held out."""
    folder = tmp_path_factory.mktemp("chat")
    policies = [little_policy(folder / name, seed) for name, seed in (("old", 5), ("new", 6))]
    rewards = {}
    for axis, level in (("safety", -1.0), ("helpfulness", 1.0)):
        model = reward_from_policy(policies[0], None, lora=None, seed=1)
        with torch.no_grad():
            scalar_head(model).weight += level  # type: ignore[operator]
        rewards[axis] = folder / axis
        save_checkpoint(model, load_tokenizer(policies[0]), rewards[axis])
    write_level(rewards["safety"], [{"safety_label": "chosen_safe_other_unsafe"}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(folder / "home"))
        remember(named("pocket"))
        store = Store.open(store_root("pocket"))
        bench = Bench(store, folder / "work")
        models = {f"model/policy@V{number}": store.publish("model", each) for number, each in enumerate(policies)}
        models |= {f"model/reward-{axis}@V1": store.publish("model", each) for axis, each in rewards.items()}
        prompts = store.publish("dataset", bench.rows("prompt", [PROMPT]), row_kind="prompt")
        bench.run("fine_tune", {**models, "dataset/prompts@base": prompts})
        add_annotator(Book.open(store.root), "anna")
    return folder


@pytest.fixture
def halter(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command in a copy of that home, with what is typed."""
    shutil.copytree(home / "home", tmp_path / "home")
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    return lambda *words, typed=(): CliRunner().invoke(app, [*map(str, words)], input="".join(f"{t}\n" for t in typed))


def test_a_name_means_a_part_an_asset_a_version_or_a_folder(halter: Callable[..., Result], home: Path) -> None:
    run = opened()
    policy = named_model("V1", run)
    assert (policy.name, policy.part) == ("model/policy@V1", "V1")
    assert named_model("model/policy@V1", run).version == policy.version
    assert named_model(policy.version[:12], run).folder == policy.folder
    outside = named_model(str(home / "new" / "policy"), None)
    assert (outside.part, outside.base) == (None, None)
    for name, reason in (
        ("V7", "its parts with a policy: V0, V1"),
        ("v1", "did you mean 'V1'"),
        ("model/reward-safety@V1", "is no policy"),
        ("nowhere/model", "no folder with a config.json"),
    ):
        with pytest.raises(InputError, match=reason):
            named_model(name, run)
    with pytest.raises(InputError, match="no run whose policy it could be"):
        named_model("V1", None)


@pytest.mark.slow
def test_two_policies_answer_with_scores_and_the_better_one_becomes_a_pair_that_import_reads(
    halter: Callable[..., Result], tmp_path: Path
) -> None:
    typed = ["who spits", "/save b better", "/temperature 0.5", "people", "/save a slightly_better both_safe", "/quit"]
    said = halter("chat", "V0", "V1", "--as", "anna", *QUICK, typed=typed)
    assert said.exit_code == 0, said.output
    assert "scores: reward models of V1" in said.output
    assert said.output.count("A model/policy@V0\n") == said.output.count("B model/policy@V1\n") == 2
    assert "Loading weights" not in said.output
    scored = r"helpfulness -?\d+\.\d\d; safety [01]\.\d\d(, unsafe)?; \d tokens, the first after"
    assert len(re.findall(scored, said.output)) == 4
    assert said.output.count("saved in batch chat-v0-1; `halter preferences export FILE") == 2
    again = halter("chat", "V0", "V1", *QUICK, typed=["who spits"])
    assert again.output.split("> ")[1].split("helpfulness")[0] == said.output.split("> ")[1].split("helpfulness")[0]

    file = tmp_path / "chat.parquet"
    out = halter("preferences", "export", file, "--format", "datasets", "--batch", "chat-v0-1")
    assert out.exit_code == 0, out.output
    rows = [row for axis in AXES for row in read_preferences([file], axis=axis).rows.to_pylist()]
    assert [(row["annotator"], row["chosen"], row["axis"], row["safety_label"]) for row in rows] == [
        ("anna", "b", "helpfulness", None),
        ("anna", "a", "safety", "both_safe"),
    ]
    halter("withdraw", "annotator", "anna", "--reason", "asked")
    left = halter("preferences", "export", tmp_path / "none.parquet", "--format", "datasets", "--batch", "chat-v0-1")
    assert "there is no preference to write" in left.output
    refused = halter("chat", "V0", "--as", "anna", *QUICK)
    assert (refused.exit_code, "has withdrawn their rows" in refused.output) == (2, True)


@pytest.mark.parametrize(
    ("score", "threshold", "told"),
    [(-2.0, 0.15, "0.12, unsafe"), (2.0, 0.15, "0.88"), (-1000.0, 0.15, "0.00, unsafe"), (-2.0, 0.0, "-2.00")],
)
def test_a_safety_score_is_a_probability_only_where_the_model_knows_a_level(
    score: float, threshold: float, told: str
) -> None:
    said = Said(LiveResponse("hello", "version", 700, 1), {"helpfulness": 0.5, "safety": score}, 0.1, 0.2)
    room = flows.chat.Opened(Chat([], None), "reward models of V1", threshold)
    assert room.told(said) == [("helpfulness", "0.50"), ("safety", told)]


def test_what_may_not_be_saved_is_said_and_the_chat_goes_on(halter: Callable[..., Result]) -> None:
    typed = [HELD_OUT, "/save a better", "/save a great", "/nonsense", "", "/temperature hot", "/again", "/quit", "x"]
    said = halter("chat", "V0", "V1", "--as", "anna", *QUICK, typed=typed)
    assert said.exit_code == 0, said.output
    assert "held out for evaluation" in said.output
    assert "the rating is 'great'" in said.output
    assert "/system TEXT" in said.output
    assert "write something" in said.output
    assert "/temperature takes a number, not 'hot'" in said.output
    assert "where one model has answered" in said.output


def test_a_store_that_can_only_be_read_and_a_model_of_no_run_are_talked_with_and_nothing_is_saved(
    halter: Callable[..., Result], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.chat, "is_read_only", lambda _root: True)
    said = halter("chat", "V1", "--as", "anna", *QUICK, typed=["hello", "/again", "/save a better"])
    assert said.exit_code == 0, said.output
    assert "can only be read" in said.output
    assert "nothing can be saved here" in said.output
    monkeypatch.setenv("HALTER_HOME", str(home / "nothing"))
    said = halter("chat", home / "new" / "policy", *QUICK, typed=["hello"])
    assert said.exit_code == 0, said.output
    assert "no reward model scores these answers" in said.output


def test_controls_that_a_model_says_are_shown_and_not_obeyed(halter: Callable[..., Result]) -> None:
    room = flows.chat.Opened(Chat([Parrot("\x1b]0;name")], None), "", 0.0)
    with console.capture() as captured:
        talk(room, lambda: iter(["\x1b[2J [bold]x[/INST]"]))
    assert "\x1b" not in captured.get()
    assert "\\x1b[2J [bold]x[/INST]" in captured.get()


def test_what_cannot_be_is_refused_before_a_model_is_loaded(
    halter: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.chat, "Models", None)
    for words, reason in (
        (("V0", "--as", "zoe"), "no annotator 'zoe'"),
        (("V0", "--dtype", "int4"), "use float32 or bfloat16"),
    ):
        said = halter("chat", *words)
        assert (said.exit_code, reason in " ".join(said.output.split())) == (2, True), said.output
