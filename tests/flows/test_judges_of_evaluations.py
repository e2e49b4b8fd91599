"""The recipe with an endpoint as judge of evaluations: whatever people look at has its figures, with its name."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.shown.summary import columns_of
from tests.flows.chat_server import chat_server
from tests.flows.guide_pages import commands
from tests.flows.recipe_runs import POCKET, ROOT, Home

GUIDE = ROOT / "docs" / "is-it-better.md"


def follow_reading(home: Home) -> Iterator[tuple[str, str]]:
    """The view and what `halter query` says, of each query of the page, asked of the pocket run."""
    for line in commands(GUIDE):
        words = shlex.split(line)
        if words[1] == "query":
            finished = home.look(*(word for word in words[1:] if word not in ("--run", "is-it-better")))
            assert finished.code == 0, f"{line}: {finished.err}"
            yield re.findall(r"FROM (\w+)", line)[0], finished.out


def longer_is_better(question: str, _: int) -> tuple[int, Any]:
    """Without bias: the longer answer is better; what has an «e» is unsafe, what has none refuses."""
    if "Response A" in question:
        a, b = (re.search(rf"\[Response {letter}[^\n]*\]\n(.*?)\n\[End", question, re.DOTALL) for letter in "AB")
        assert a is not None
        assert b is not None
        return 200, "A" if len(a[1]) > len(b[1]) else "B"
    found = re.search(r"\[Response[^\n]*\]\n(.*?)\n?\[End", question, re.DOTALL)
    assert found is not None
    has_e = "e" in found[1]
    if "yes or no" in question:
        return 200, "no" if has_e else "yes"
    return 200, "unsafe" if has_e else "safe"


@pytest.mark.slow
def test_a_judge_that_is_added_judges_what_was_answered_and_its_figures_stand_everywhere(
    copy_of_first_run: Callable[[], Home], tmp_path: Path
) -> None:
    home, config = copy_of_first_run(), tmp_path / "judged.yaml"
    before = home.runs()
    with chat_server() as chat:
        chat.reply = longer_is_better
        content = yaml.safe_load(POCKET)
        page = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0])["evaluate"]
        page["judges"] = [{"name": "big", "endpoint": {"url": chat.url, "model": "large"}}, *page["judges"][2:]]
        page["judges"].append({"name": "own", "kind": "safety_classifier"})
        content["evaluate"] |= page
        labelled = tmp_path / "labelled.jsonl"
        said = {"unsafe": "use a thick rope", "safe": "sorry, i can not do that"}
        rows = [
            {"prompt": f"how? {number}", "response": response, "label": label}
            for number in range(40)
            for label, response in said.items()
        ]
        labelled.write_text("".join(json.dumps(row) + "\n" for row in rows))
        content["data"]["labelled_responses"] = [str(labelled)]
        config.write_text(yaml.safe_dump(content))
        first = home.halter("run", config, "--json")
        assert first.code == 0, first.err
        asked = len(chat.asked)
        assert home.halter("run", config, "--json").code == 0
        assert len(chat.asked) == asked, "nothing is asked twice"

    new = home.runs()[len(before) :]
    judged = [("V0", ""), ("V1", ""), ("V2", "sampled_"), ("V2", "")]
    assert sorted(new) == sorted(
        [(part, f"pose_{which}questions", "succeeded") for part, which in judged]
        + [(part, f"judge_{which}answers_{name}", "succeeded") for part, which in judged for name in ("big", "own")]
        + [("base", "train_safety_classifier", "succeeded")]
    ), "nothing is answered or trained again"

    questions = home.store.rows(home.head("dataset/evaluation-questions@V2")).to_pylist()
    rows = home.store.rows(home.head("dataset/judged-by-big@V2")).to_pylist()
    wins = {}
    for row in questions:
        if row["question"] == "better":
            mine, other = len(row["response"].strip()), len(row["other"].strip())
            wins[row["prompt_id"], row["against"]] = float(mine > other) if mine != other else 0.5
    found = {(row["prompt_id"], row["against"]): row["value"] for row in rows if row["question"] == "better"}
    assert found == wins
    assert {against for _, against in found} == {"V0", "V1"}

    (last,) = [row for row in home.halter("status", "--json").document["figures"] if row["policy"] == "V2 + PPO"]
    against_sft = [value for (_, against), value in wins.items() if against == "V0"]
    estimate = last["estimates"]["win_rate@big"]
    assert (estimate["value"], estimate["n"], estimate["judge"]) == (
        pytest.approx(sum(against_sft) / len(against_sft)),
        len(against_sft),
        "lm:big",
    )
    titles = {"win help@big", "win safe@big", "violation %@big", "false refusal %@big", "win help prev@big"}
    titles |= {"violation %@own", "acc@own"}
    assert titles <= set(columns_of(["big", "own"], last["estimates"])) & set(last)
    assert last["estimates"]["balanced_accuracy@own"]["judge"] == "labels of data.labelled_responses"
    told = dict(follow_reading(home))
    assert "win_rate@big" in told["metrics"]
    assert "better" in told["judgements"]
    page = tmp_path / "page.html"
    assert home.halter("report", "--out", page).code == 0
    written = page.read_text(encoding="utf-8")
    for title in titles:
        assert title in written, title
    assert "lm:big" in written
    assert "safety-classifier:own" in written
    card = tmp_path / "model"
    assert home.halter("export", "model", "model/policy@V2", card).code == 0
    assert "`violation@own`" in (card / "README.md").read_text()
    assert "`lm:big`" in (card / "README.md").read_text()
