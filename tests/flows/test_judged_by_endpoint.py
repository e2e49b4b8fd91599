"""The recipe with half of its pairs judged by an endpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.flows.chat_server import chat_server
from tests.flows.recipe_runs import POCKET, Home

SECRET = "sk-of-nobody-else"


@pytest.mark.slow
def test_a_run_learns_from_what_an_endpoint_says_and_the_next_one_asks_nothing(
    copy_of_first_run: Callable[[], Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    home, config = copy_of_first_run(), tmp_path / "judged.yaml"
    before = home.runs()
    with chat_server() as chat:
        content = yaml.safe_load(POCKET)
        content["collect"] |= {
            "judge": {"endpoint": {"url": chat.url, "model": "big", "key_variable": "JUDGE_KEY"}},
            "sources": {"simulated": 0.5, "lm": 0.5},
        }
        config.write_text(yaml.safe_dump(content))
        first = home.halter("run", config, "--json")
        assert first.code == 0, first.err
        asked = len(chat.asked)
        again = home.halter("run", config, "--json")
        assert again.code == 0, again.err
        assert len(chat.asked) == asked, "nothing is asked twice"
        assert chat.keys == {f"Bearer {SECRET}"}

    rows = home.store.rows(home.head("dataset/preferences@V1")).to_pylist()
    by_lm = [row for row in rows if row["annotator"] == "lm:big"]
    assert 0 < len(by_lm) < len(rows)
    assert all((row["response_a"] > row["response_b"]) == (row["chosen"] == "a") for row in by_lm)
    new = home.runs()[len(before) :]
    assert {("V1", "judge_pairs", "succeeded"), ("V2", "ppo", "succeeded")} <= set(new)
    assert {part for part, _, _ in new} == {"V1", "V2"}, "what comes before the judging is taken up again"
    assert set(home.states().values()) == {"fresh"}
    assert any("lm-answers" in str(asset) for asset in home.store.heads())
    written = [first.out, first.err, *(path.read_bytes().decode(errors="replace") for path in _files(home.folder))]
    assert not any(SECRET in text for text in written)

    monkeypatch.delenv("JUDGE_KEY")
    before = home.runs()
    redone = home.halter("rerun", "V1", "draw-pairs", "--set", "seed=7", "--downstream")
    assert redone.code == 2
    assert "collect.judge.endpoint.key_variable: the environment has no JUDGE_KEY" in redone.err
    assert home.runs() == before, "what would have to be asked later ends it before its first step"


@pytest.mark.slow
def test_a_run_whose_judge_of_evaluations_has_no_key_ends_before_anything_is_trained(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    home, config = Home(tmp_path / "home", server), tmp_path / "judged.yaml"
    content = yaml.safe_load(POCKET)
    endpoint = {"url": "http://127.0.0.1:9/v1", "model": "big", "key_variable": "JUDGE_KEY"}
    content["evaluate"] |= {"judges": [{"name": "big", "endpoint": endpoint}]}
    config.write_text(yaml.safe_dump(content))
    finished = home.halter("run", config)
    assert finished.code == 2
    assert "evaluate.judges endpoint.key_variable: the environment has no JUDGE_KEY" in finished.err
    assert home.runs() == []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
