"""A run to its end whose prompts and demonstrations were compared, on the little world with bags of words."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.flows.recipe_runs import POCKET, Home
from tests.models.bag_of_words import write_bag_of_words
from world.content import World
from world.demonstrations import make_demonstrations
from world.prompts import make_prompts


@pytest.mark.slow
def test_what_means_the_same_is_left_out_of_all_that_follows_and_the_report_says_so(
    tmp_path: Path, server: str
) -> None:
    content = yaml.safe_load(POCKET)
    data = content["data"]["world"]
    world = World(data["seed"])
    asked = [
        *make_prompts(
            world,
            data["seed"],
            **{name: data[name] for name in data if name.startswith(("train", "validation", "heldout"))},
        ),
        *make_demonstrations(world, data["demonstrations"], data["seed"]),
    ]
    words = {word for row in asked for each in row["messages"] for word in each["content"].lower().split()}
    letters = {sign for word in words for sign in word if not sign.isalpha()}
    plain = {word.strip("".join(letters)) for word in words} | letters
    write_bag_of_words(sorted(plain - {""}), tmp_path / "bag", tokens=64)
    content |= {
        "name": "similar",
        "iterations": 0,
        "similar": {"encoder": "bag", "threshold": 0.95, "max_unrelated_share": 0.3, "max_dropped_share": 0.95},
    }
    config = tmp_path / "similar.yaml"
    config.write_text(yaml.safe_dump(content))
    home = replace(Home(tmp_path / "home", name="similar"), server=server)
    run = home.halter("run", config, "--json")
    assert run.code == 0, run.err
    assert set(home.states().values()) == {"fresh"}
    kept, gone = (home.store.rows(home.head(f"dataset/{name}@base")) for name in ("distinct-prompts", "similar"))
    names = {row["prompt_id"] for row in kept.to_pylist()}
    dropped = gone.to_pylist()
    assert dropped
    assert not names & {row["doc_id"].removeprefix("prompts/") for row in dropped}
    partners = {row["detail"].rpartition("/")[2] for row in dropped if row["doc_id"].startswith("prompts/")}
    assert partners <= names
    fitted = home.store.rows(home.head("dataset/prompts@base")).to_pylist()
    assert {row["prompt_id"] for row in fitted} <= names
    page = tmp_path / "report.html"
    assert home.halter("report", "--run", "similar", "--out", page).code == 0
    assert "dataset/similar@base" in page.read_text()
