"""The recipe whose last policy is compared with others by name: one of the run, a version of its store, a folder."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
import yaml

from tests.flows.chat_server import chat_server
from tests.flows.recipe_runs import POCKET, Home
from tests.flows.test_judges_of_evaluations import longer_is_better

pytestmark = pytest.mark.slow  # runs that answer and judge


def test_named_policies_answer_once_are_compared_by_name_and_what_cannot_answer_is_refused_in_seconds(
    copy_of_first_run: Callable[[], Home], tmp_path: Path
) -> None:
    home, config = copy_of_first_run(), tmp_path / "judged.yaml"
    content = yaml.safe_load(POCKET)

    def against(*named: dict[str, str], url: str = "http://localhost:1/v1") -> None:
        judges = [{"name": "big", "endpoint": {"url": url, "model": "large"}}]
        content["evaluate"] |= {"judges": judges, "against": list(named)}
        config.write_text(yaml.safe_dump(content))

    before = home.runs()
    for wanted, message in (
        (home.head("model/reward-safety@V1"), "model/reward-safety@V1 is a reward model, which answers nothing"),
        ("0" * 64, "is no model of this store; the newest there are: model/"),
    ):
        against({"name": "shipped", "version": wanted})
        refused = home.halter("run", config, "--json")
        assert (refused.code, message in refused.err) == (2, True), refused.err
    assert home.runs() == before, "nothing was computed before"

    copytree(home.store.checkout(home.head("model/policy@V1")), tmp_path / "outside")
    with chat_server() as chat:
        chat.reply = longer_is_better
        shipped = {"name": "shipped", "version": home.head("model/policy@V1")[:12]}
        outside = {"name": "outside", "folder": str(tmp_path / "outside")}
        against({"name": "first", "policy": "V1"}, shipped, outside, url=chat.url)
        done = home.halter("run", config, "--json")
        assert done.code == 0, done.err
    new = {(part, step) for part, step, _ in home.runs()[len(before) :]}
    answered = {("base", "check_base"), ("base", "answer_as_shipped"), ("base", "answer_as_outside")}
    assert answered <= new
    assert not {step for _, step in new} & {"evaluate", "fine_tune", "ppo"}, "nothing is trained or answered again"
    texts = [
        sorted((row["prompt_id"], row["text"]) for row in home.store.rows(home.head(asset)).to_pylist())
        for asset in ("dataset/answers-as-shipped@base", "dataset/evaluation-responses@V1")
    ]
    assert [key for key, _ in texts[0]] == [key for key, _ in texts[1]], "the very same prompts"
    (last,) = [row for row in done.document["figures"] if row["policy"] == "V2 + PPO"]
    for name in ("first", "shipped", "outside"):
        assert last["estimates"][f"win_rate/against_{name}@big"]["judge"] == "lm:big"
        assert f"win help {name}@big" in last
        for rate in ("violation", "false_refusal"):
            mine, theirs, above = (
                last["estimates"][f"{rate}{end}@big"] for end in ("", f"/of_{name}", f"/above_{name}")
            )
            assert above["value"] == pytest.approx(mine["value"] - theirs["value"])
            assert above["n"] == mine["n"] == theirs["n"] > 0
    rows = home.store.rows(home.head("dataset/judged-by-big@V2")).to_pylist()
    assert {row["against"] for row in rows if row["question"] == "better"} == {"V0", "first", "shipped", "outside"}
    behind = home.look("lineage", "dataset/evaluation-questions@V2", "--json").document
    assert any(source["facts"].get("kind") == "stored" for source in behind["sources"])
    assert set(home.states().values()) == {"fresh"}
    page = tmp_path / "page.html"
    assert home.halter("report", "--out", page).code == 0
    assert "win help shipped@big" in page.read_text(encoding="utf-8")
