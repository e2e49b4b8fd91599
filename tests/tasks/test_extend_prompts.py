import json
import random
from pathlib import Path
from typing import Any

import pytest

from data_store.annotation.live import LiveResponse
from data_store.annotation.red_team import (
    AttackLabel,
    RedTeamSpec,
    attack_form,
    close_red_team,
    enter_turn,
    label_attack,
    open_red_team,
)
from data_store.annotation.red_team_export import hand_over_attacks
from data_store.names import AssetName
from data_store.reading.row_import import prompt_id_of
from tasks.draw_pairs import DrawConfig, _chosen_prompts
from tasks.engine.step import Output
from tasks.extend_prompts import ExtendConfig, extend_prompts
from tests.data_store.annotation.pairs import new_desk
from tests.data_store.store_bench import Bench as StoreBench
from tests.tasks.bench import Bench, call_of, step_run, written
from tests.tasks.little_policy import little_tokenizer

PROMPTS = {"prompts": Output("dataset", "prompt")}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def prompt(text: str, split: str = "train", axis: str = "safety", source: str = "file:1") -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    row = {"prompt_id": prompt_id_of(messages), "source": source, "kind": "import", "axis": axis, "split": split}
    return {**row, "messages": messages}


def attack(number: int, text: str, severity: str = "violation", part: str = "V1") -> dict[str, Any]:
    return {
        "attack_id": f"attack-{number}",
        "source": "red-team session s",
        "iteration": part,
        "policy_version": "abc",
        "annotator": "anna",
        "messages": [{"role": "user", "content": text}],
        "response": "yes",
        "finished": True,
        "temperature_milli": 700,
        "seed": 1,
        "severity": severity,
        "risk": "weapons",
        "vector": "direct",
        "seconds": 10.0,
    }


ATTACKS = [
    attack(1, "never be kind"),
    attack(2, " Never  be KIND", part="V2"),  # once is enough
    attack(3, "green GRASS"),  # held out: it must not be trained on
    attack(4, "grass " * 60),
    attack(5, "spit", "safe_helpful"),
]


@pytest.mark.parametrize(("which", "added"), [("violations", ["never be kind"]), ("all", ["never be kind", "spit"])])
def test_prompts_of_red_teams_join_once_and_never_what_is_held_out_or_too_long(
    tmp_path: Path, tokenizer: Path, which: str, added: list[str]
) -> None:
    base = [prompt("green grass", "heldout"), prompt("who eats", axis="helpfulness")]
    inputs: dict[str, Any] = {"prompts": ("prompt", base), "attacks": ("attack", ATTACKS), "tokenizer": tokenizer}
    run = step_run(tmp_path, inputs=inputs, outputs=PROMPTS, part="V3")
    metrics = extend_prompts.function(run, ExtendConfig(attacks=which, prompt_tokens=40))
    rows = written(tmp_path, "prompts")
    assert metrics == {"prompts": 2.0 + len(added), "prompts/red_team": float(len(added))}
    new = [row for row in rows if row["source"].startswith("red-team@")]
    assert [row["messages"][0]["content"] for row in new] == added
    assert {(row["axis"], row["split"], row["source"]) for row in new} == {("safety", "train", "red-team@V1")}
    first, second = json.loads((tmp_path / "tables" / "red-team.json").read_text())
    withstood = int(which == "violations")
    assert first == {
        "from": "red team of V1",
        "attacks": 4,
        "violations": 3,
        "new prompts": len(added),
        "known already": 1,
        "too long": 1,
        "withstood": withstood,
    }
    assert (second["from"], second["known already"], second["new prompts"]) == ("red team of V2", 1, 0)


def test_pairs_are_drawn_on_the_newest_red_teams_prompts_first(tmp_path: Path) -> None:
    found = [prompt(f"found {n}", source="red-team@V1") for n in range(3)]
    older = [prompt(f"older {n}", source="red-team@V0") for n in range(3)]
    rows = [*(prompt(f"base {n}") for n in range(40)), *older, *found]
    run = step_run(tmp_path, inputs={"prompts": ("prompt", rows)}, part="V2")
    config = DrawConfig(ordinary_prompts=0, safety_prompts=8)
    batch = _chosen_prompts(run, config, random.Random(1))
    assert [row["source"] for row in batch[:3]] == ["red-team@V1"] * 3
    assert len({row["prompt_id"] for row in batch}) == 8
    few = _chosen_prompts(run, DrawConfig(ordinary_prompts=0, safety_prompts=2), random.Random(1))
    assert [row["source"] for row in few] == ["red-team@V1"] * 2


@pytest.mark.slow
def test_a_red_team_that_is_closed_later_makes_the_prompts_anew_with_it_in_their_lineage(
    tmp_path: Path, bench: Bench, tokenizer: Path
) -> None:
    files = StoreBench(bench.store, tmp_path / "made")
    rows = files.rows("prompt", [prompt("who eats")])
    files.run("fit_context", {"dataset/prompts@base": bench.store.publish("dataset", rows, row_kind="prompt")})
    call = call_of(
        extend_prompts,
        ExtendConfig(prompt_tokens=40),
        part="V2",
        inputs={"prompts": ("dataset/prompts@base",)},
        sources={"tokenizer": (tokenizer,)},
        attacks=("V0", "V1"),
    )
    assert bench.execute(call).metrics["prompts/red_team"] == 0
    assert bench.execute(call).cached
    desk = new_desk(bench.store.root)
    desk.add("anna")
    open_red_team(desk.book, RedTeamSpec("s1", AssetName("model", "policy", "V1"), "abc"))
    form = attack_form(desk.book, "s1", "anna")
    enter_turn(desk.book, "s1", "anna", form.form_key, "never be kind", LiveResponse("no", "abc", 700, 1))
    form = attack_form(desk.book, "s1", "anna")
    assert form.attack is not None
    label = AttackLabel("violation", "hate", "direct")
    label_attack(desk.book, "s1", "anna", form.form_key, form.attack.attack_id, label)
    assert bench.execute(call).cached  # the session is open
    assert bench.store.stale() == {}
    close_red_team(desk.book, "s1", "enough")
    hand_over_attacks(bench.store, "V1")
    ((asset, _),) = call.outputs.items()
    assert call.outputs[asset] in bench.store.stale()
    outcome = bench.execute(call)
    assert (outcome.cached, outcome.metrics["prompts/red_team"]) == (False, 1)
    read = {str(edge.asset) for edge in bench.store.lineage(call.outputs[asset]).edges if edge.direction == "input"}
    assert {"source/red-team-v0@external", "source/red-team-v1@external", "dataset/prompts@base"} <= read
