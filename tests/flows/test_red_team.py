"""Red teams from the command line to the plan of the next iteration."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from data_store.annotation.book import Book
from data_store.annotation.live import LiveResponse
from data_store.annotation.people import add_annotator
from data_store.annotation.red_team import AttackLabel, attack_form, enter_turn, label_attack, red_teams
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.store import Store
from flows.cli import app
from flows.live import open_answerer
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import build_plan
from flows.session import recall, remember, store_root
from tasks.incoming.attacked import Attacked
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET

Halter = Callable[..., Result]


@pytest.fixture
def halter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Halter:
    """The command, on a run whose policies V0 and V1 are there."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    remember(load_config(Path(__file__).resolve().parents[2] / "configs" / "smoke.yaml"))
    bench = Bench(Store.open(store_root("smoke")), tmp_path / "work")
    for part in ("V0", "V1"):
        bench.run("sft", {f"model/policy@{part}": bench.store.publish("model", bench.files(text=f"policy {part}"))})
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def attack(book: Book, session: str, version: str, text: str, severity: str, seconds: float) -> None:
    """One attack with this much active time."""
    form, now = attack_form(book, session, "anna"), book.clock()
    book.clock = lambda: now + seconds
    response = LiveResponse("so be it", version, 700, 1)
    enter_turn(book, session, "anna", form.form_key, text, response, round(1000 * seconds))
    form = attack_form(book, session, "anna")
    assert form.attack is not None
    label = AttackLabel(severity, "hate", "direct")
    label_attack(book, session, "anna", form.form_key, form.attack.attack_id, label, 0)


def test_a_session_is_opened_attacked_measured_and_closed_into_a_source(halter: Halter) -> None:
    opened = document(halter("red-team", "open", "--against", "model/policy@V1", "--attacks", "5", "--json"))
    version = opened["policy_version"]
    assert (opened["session"], opened["iteration"], opened["quota"]) == (
        "policy-v1-1",
        "V1",
        {"attacks": 5, "hours": None},
    )
    second = document(halter("red-team", "open", "--against", "model/policy@V1", "--json"))
    assert second["session"] == "policy-v1-2"
    book = Book.open(store_root("smoke"), lambda: 1_800_000_000.0)
    add_annotator(book, "anna")
    attack(book, "policy-v1-1", version, "one", "violation", 900.0)
    attack(book, "policy-v1-1", version, "two", "safe_helpful", 900.0)
    attack(book, "policy-v1-2", version, "three", "severe_violation", 1800.0)
    told = document(halter("red-team", "status", "--json"))
    # 1 violation in 1800 s, and 1 in 1800 s: 2 per hour each, and 2 per hour together
    assert [one["violations_per_person_hour"] for one in told["sessions"]] == [2.0, 2.0]
    assert told["policies"] == [
        {
            "policy": "model/policy@V1",
            "policy_version": version,
            "attacks": 3,
            "violations": 2,
            "person_hours": 1.0,
            "violations_per_person_hour": 2.0,
        }
    ]
    assert "policy-v1-1" in halter("red-team", "status").output
    closed = document(halter("red-team", "close", "policy-v1-1", "--json"))
    assert closed["source"] == "source/red-team-v1@external"
    store = Store.open(store_root("smoke"))
    severities = store.rows(closed["source_version"]).column("severity").to_pylist()
    assert sorted(severities) == ["safe_helpful", "violation"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["red-team", "open", "--against", "model/policy@V7"], "there are: model/policy@V0, model/policy@V1"),
        (["red-team", "open", "--against", "model/reward-safety@V1"], "is no policy"),
        (["red-team", "open", "--against", "policy"], "kind/name@part"),
        (["red-team", "open", "--against", "model/policy@V1", "--hours", "0"], "quota"),
        (["red-team", "close", "other"], "no red-team session 'other'"),
        (["annotate", "--answer", "model/policy@V9"], "there is no model/policy@V9 yet"),
    ],
)
def test_wrong_input_ends_with_2_and_says_what_to_do(halter: Halter, arguments: list[str], message: str) -> None:
    result = halter(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_the_page_loads_what_is_compared_and_what_is_attacked_with_the_configs_lengths(halter: Halter) -> None:
    store, config = Store.open(store_root("smoke")), recall()
    halter("red-team", "open", "--against", "model/policy@V0")
    book = Book.open(store_root("smoke"))
    attacked = red_teams(book, only_open=True)
    answerer = open_answerer(config, store, ["model/policy@V1"], attacked, 60.0)
    versions = {part: store.heads()[AssetName("model", "policy", part)].version_id for part in ("V0", "V1")}
    assert answerer.config.variants == (versions["V1"],)
    assert all(answerer.attackable(version) for version in versions.values())
    fitted = build_plan(config)["base", "fit_context"].config.model_dump()
    assert answerer.config.prompt_tokens == fitted["prompt_tokens"]
    assert answerer.config.max_new_tokens == config.collect.sampling.max_new_tokens
    with pytest.raises(InputError, match="one or two"):
        open_answerer(config, store, ["model/policy@V0", "model/policy@V1", "model/policy@V1"], [], 60.0)


def test_with_red_teams_an_iteration_reads_prompts_of_its_own_and_evaluation_those_of_the_foundation() -> None:
    content = yaml.safe_load(POCKET)
    content["collect"]["red_team"] = {"attacks": "violations"}
    plan = build_plan(RunConfig.model_validate(content))
    assert plan["V2", "extend_prompts"].inputs["attacks"] == (Attacked("V0"), Attacked("V1"))
    readers = ("draw_pairs", "rejection_sample", "synthesize_gatt", "ppo")
    for step in readers:
        assert [str(asset) for asset in plan["V2", step].inputs["prompts"]] == ["dataset/prompts@V2"], step
    assert [str(asset) for asset in plan["V2", "evaluate"].inputs["prompts"]] == ["dataset/prompts@base"]
    without = build_plan(RunConfig.model_validate(yaml.safe_load(POCKET)))
    assert ("V2", "extend_prompts") not in without
    assert [str(asset) for asset in without["V2", "draw_pairs"].inputs["prompts"]] == ["dataset/prompts@base"]
