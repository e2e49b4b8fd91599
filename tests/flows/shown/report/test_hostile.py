"""Texts of a store that somebody else filled stay texts on the page."""

from pathlib import Path
from typing import Any

import pytest

from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.records import Metric, RunInput, RunOutput, RunRecord
from data_store.store import Store
from flows.recipe.config import RunConfig
from flows.recipe.plan import plan_today
from flows.session import remember, store_root
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET, Home
from tests.flows.shown.report.html_page import Page

SCRIPT = "<script>alert(1)</script>"
IMAGE = "\"><img src=x onerror='alert(1)'>"
STYLE = "</style></pre></textarea><style>*{display:none}</style>"
TURNED = "abc\u202etxt.exe\x1b[2J\x00"
LONG = "word " * 6000
TEXTS = (SCRIPT, IMAGE, STYLE, TURNED, LONG)


def _response(number: int, text: str) -> dict[str, Any]:
    sampled = {"token_ids": [1, 2], "finished": number % 2 == 0, "tokenizer": IMAGE}
    made = {"iteration": SCRIPT, "policy_version": IMAGE, "temperature_milli": 700, "seed": 1}
    messages = [{"role": "user", "content": text}]
    return {
        "response_id": f"r{number}",
        "prompt_id": f"{IMAGE}{number}",
        "text": text,
        **sampled,
        **made,
        "messages": messages,
    }


def _prompt(number: int, text: str) -> dict[str, Any]:
    words = {"source": f"{IMAGE}:{number}", "kind": SCRIPT, "axis": "safety", "split": "heldout"}
    return {"prompt_id": f"{IMAGE}{number}", **words, "messages": [{"role": "user", "content": text}]}


def _preference(number: int, text: str) -> dict[str, Any]:
    nothing = dict.fromkeys(
        f"{name}_{side}" for name in ("token_ids", "finished", "policy_version", "temperature_milli") for side in "ab"
    )
    judged = {"chosen": "a", "rating": "better", "safety_label": "both_safe", "annotator": IMAGE, "split": "train"}
    said = {"response_a": text, "response_b": text[::-1], "messages": [{"role": "user", "content": text}]}
    made = {"source": SCRIPT, "prompt_id": str(number), "axis": "safety", "iteration": "V1", "tokenizer": None}
    return {"preference_id": f"p{number}", **made, **said, **judged, **nothing}


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A run of whose steps SFT's evaluation and a batch of judged pairs are recorded, with such texts wherever the
    store takes any."""
    import yaml

    home = Home(tmp_path / "home")
    home.folder.mkdir()
    monkeypatch.setenv("HALTER_HOME", str(home.folder))
    config = RunConfig.model_validate({**yaml.safe_load(POCKET), "description": SCRIPT + TURNED})
    remember(config)
    bench = Bench(Store.open(store_root("pocket")), tmp_path / "work")
    store = bench.store
    plan = plan_today(config, store)
    file = bench.files(**{"<b>bold<": "text"}) / "<b>bold<"
    register_file(store, file)
    rows = {
        kind: store.publish("dataset", bench.rows(kind, [make(*each) for each in enumerate(TEXTS)]), row_kind=kind)
        for kind, make in (("prompt", _prompt), ("response", _response), ("preference", _preference))
    }
    prompts = bench.run("fit_context", {"dataset/prompts@base": rows["prompt"]}, ("source/b-bold@external",))
    call = plan["V0", "evaluate"]
    record = RunRecord(
        "evaluate", "V0", "f", IMAGE, call.recipe(), 1, git_commit=SCRIPT, env={SCRIPT: IMAGE}, host=IMAGE
    )
    read = RunInput("prompts", AssetName.parse("dataset/prompts@base"), rows["prompt"].version_id, prompts.run_id)
    outputs = {
        "responses": RunOutput(AssetName.parse("dataset/evaluation-responses@V0"), rows["response"]),
        "evaluation": RunOutput(AssetName.parse("report/evaluation@V0"), bench.publish("figures", "report")),
    }
    # of five answers the even ones came to their end
    measured = [Metric("finished", 0.6), Metric("win_rate", float("nan")), Metric(f"accuracy/safety/{IMAGE}", 0.5)]
    store.commit_run(record, [read], outputs, [*measured, Metric(STYLE, 1.0, 1), Metric(STYLE, 2.0, 2)])
    bench.run("collect_preferences", {"dataset/preferences@V1": rows["preference"]})
    lost = RunRecord("ppo", "V2", "g", "1", {"config": {SCRIPT: IMAGE}}, 0)
    store.begin_run(lost)
    store.finish_run(lost.run_id, "failed", IMAGE + TURNED)
    store.set_override("V1", "fine_tune", "fine_tune.picks", 3)
    return home


@pytest.mark.slow
@pytest.mark.conformance("a model's text is markup on a page", equation="flows.shown.report.page:render")
def test_nothing_that_a_store_holds_becomes_an_element_or_an_attribute_of_the_page(
    hostile: Home, tmp_path: Path
) -> None:
    finished = hostile.look("report", "--out", str(tmp_path / "page.html"))
    assert finished.code == 0, finished.err
    content = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(content)
    assert {"script", "textarea", "b"} & {each.tag for each in page.elements} == set()
    assert len(page.all("style")) == 1
    assert "display:none" not in page.all("style")[0].text
    for each in page.elements:
        assert not [name for name in each.attributes if name.startswith("on") or name == "style"], each
        assert each.attributes.get("src", "data:image/svg+xml;base64,").startswith("data:image/svg+xml;base64,")
        assert each.attributes.get("href", "#").startswith(("#", "data:text/csv", "data:application/json"))
    for letter in ("\u202e", "\x1b", "\x00"):
        assert letter not in content
    shown = page.all("body")[0].text
    assert shown.count(SCRIPT) > 3, "it can be read"
    assert "onerror='alert(1)'" in shown
    assert "\\u202etxt.exe\\x1b[2J\\x00" in shown


@pytest.mark.slow
def test_a_long_text_is_folded_and_one_without_end_is_cut_and_says_so(hostile: Home, tmp_path: Path) -> None:
    assert hostile.look("report", "--out", str(tmp_path / "page.html")).code == 0
    page = Page((tmp_path / "page.html").read_text())
    rests = [each for each in page.all("details") if each.attributes.get("class") == "rest"]
    assert rests
    assert max(len(each.text) for each in rests) < 20_000
    assert "… 10,000 more characters" in page.all("body")[0].text


def test_a_spreadsheet_finds_no_formula_in_a_csv() -> None:
    from flows.shown.report.parts import Cell, Table

    table = Table("t", "", ["=1+1", "b"], [[Cell("=HYPERLINK(1)"), Cell("-3", -3.0)], [Cell("@x"), Cell("+y")]])
    assert table.as_csv() == "'=1+1,b\n'=HYPERLINK(1),-3.0\n'@x,'+y\n"
