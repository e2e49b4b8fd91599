"""A report says what the catalog says, number by number, and nothing that a text of others could make of it."""

import base64
import csv
import io
import json
import math
import re
import shutil
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from data_store.catalog.whole import read_whole
from data_store.names import AssetName
from flows.shown.summary import COLUMNS
from tests.flows.recipe_runs import Finished, Home
from tests.flows.shown.report.html_page import Page
from world.annotator import Annotator
from world.content import World


@pytest.fixture(scope="module")
def written(first_run: tuple[Home, Finished], tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Page, Any]:
    """The report of the finished pocket run: its home, the page, and what the command prints."""
    home = first_run[0]
    target = tmp_path_factory.mktemp("report") / "pocket.html"
    finished = home.look("report", "--out", str(target), "--json")
    assert finished.code == 0, finished.err
    return home, Page(target.read_text(encoding="utf-8")), finished.document


STAGED = [f"{what}_{when}" for what in ("documents", "characters") for when in ("before", "after")]


class Asked:
    """What the catalog and its rows say to questions that the page answers, asked in another way than the page does."""

    def __init__(self, home: Home) -> None:
        self.store = home.store
        self.annotator = Annotator(World(1))
        self.rows_of = cache(lambda version: self.store.rows(version).to_pylist())

    def one(self, sql: str, *parameters: str) -> float:
        ((value,),) = self.store.catalog.read(sql, parameters)
        return float(value)

    def metric(self, run: str, metric: str, **_: str) -> float:
        return self.one("SELECT arg_max(value, step) FROM metric WHERE run_id = ? AND name = ?", run, metric)

    def score(self, run: str, prompt: str, **_: str) -> float:
        responses, prompts = (
            self.store.catalog.read(f"SELECT version_id FROM {table} WHERE run_id = ? AND role = ?", [run, role])[0][0]
            for table, role in (("run_output", "responses"), ("run_input", "prompts"))
        )
        (answer,) = (row for row in self.rows_of(responses) if row["prompt_id"] == prompt)
        (asked,) = (row for row in self.rows_of(prompts) if row["prompt_id"] == prompt)
        judgement = self.annotator.judge(asked["messages"], answer["text"], answer["finished"])
        return float(getattr(judgement, asked["axis"]))

    def tokens_of_prompts(self, version: str) -> float:
        from sentencepiece import SentencePieceProcessor

        head = self.store.heads()[AssetName.parse("tokenizer/tokenizer@base")]
        pieces = SentencePieceProcessor(model_file=str(self.store.checkout(head.version_id) / "tokenizer.model"))
        prompts = [" ".join(m["content"] for m in row["messages"]) for row in self.rows_of(version)]
        return statistics.fmean(len(pieces.encode(prompt)) for prompt in prompts)

    def stage(self, version: str, source: str, stage: str, of: str) -> float:
        (row,) = (row for row in self.rows_of(version) if (row["source"], row["stage"]) == (source, stage))
        return float(row[of])

    def of(self, of: dict[str, str]) -> float:
        """The value that a cell should have."""
        what = of.get("of", "metric")
        version = of.get("version", "")
        answers: dict[str, Callable[[], float]] = {
            "metric": lambda: self.metric(**of),
            "rows": lambda: self.one("SELECT n_rows FROM version WHERE version_id = ?", version),
            "bytes": lambda: self.one("SELECT bytes FROM version WHERE version_id = ?", version),
            "pairs of": lambda: sum(row["axis"] == of["axis"] for row in self.rows_of(version)),
            "pairs held out": lambda: sum(row["split"] == "heldout" for row in self.rows_of(version)),
            "pairs labelled": lambda: sum(row["safety_label"] == of["label"] for row in self.rows_of(version)),
            "pairs by": lambda: sum(row["annotator"] == of["annotator"] for row in self.rows_of(version)),
            "turns": lambda: statistics.fmean((len(row["messages"]) + 1) // 2 for row in self.rows_of(version)),
            "tokens of prompts": lambda: self.tokens_of_prompts(version),
            "tokens of answers": lambda: statistics.fmean(
                len(row[f"token_ids_{side}"]) for row in self.rows_of(version) for side in "ab"
            ),
            "rows from": lambda: sum(row["source"].startswith(of["source"]) for row in self.rows_of(version)),
            "rows with reason": lambda: sum(row["reason"] == of["reason"] for row in self.rows_of(version)),
            "seconds": lambda: self.one(
                "SELECT date_diff('microsecond', started_at, ts) / 1e6 FROM run JOIN run_state USING (run_id) "
                "WHERE run_id = ?",
                of["run"],
            ),
            "attempts": lambda: self.one(
                "SELECT count(*) FROM run WHERE part = ? AND step = ?", of["part"], of["step"]
            ),
            "unfinished": lambda: self.one(
                "SELECT count(*) FROM run JOIN run_state USING (run_id) WHERE part = ? AND step = ? "
                "AND state <> 'succeeded'",
                of["part"],
                of["step"],
            ),
            "bytes made": lambda: self.one(
                "SELECT sum(bytes) FROM run_output JOIN version USING (version_id) WHERE run_id = ?", of["run"]
            ),
            "score": lambda: self.score(**of),
            **{each: lambda: self.stage(**of) for each in STAGED},
        }
        return answers[what]()


KINDS = {
    *("metric", "rows", "bytes", "pairs of", "pairs held out", "pairs labelled", "pairs by", "turns"),
    *("tokens of prompts", "tokens of answers", "rows from", "rows with reason", "seconds", "attempts", "unfinished"),
    *("bytes made", "score", *STAGED),
}


@pytest.mark.slow
@pytest.mark.conformance("a report whose numbers are not the catalog's", equation="flows.shown.report.parts:measured")
def test_every_number_of_the_page_is_what_the_catalog_answers_to_the_same_question(
    written: tuple[Home, Page, Any],
) -> None:
    home, page, _ = written
    asked = Asked(home)
    seen = set()
    with asked.store.one_state():
        for of, value, _ in page.numbers:
            if "outcome" not in of:
                seen.add(of.get("of", "metric"))
                expected = asked.of(of)
                assert math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9), (of, value, expected)
    assert seen == KINDS
    assert len(page.numbers) > 300


def test_rewards_against_samples_by_policy_and_against_kl_are_drawn_with_their_intervals(
    written: tuple[Home, Page, Any],
) -> None:
    _, page, document = written
    sections = document["sections"]
    assert {"sampling", "optimisation"} <= set(sections)
    assert "context-distillation" not in sections, "this run has none"
    figures = {each.attributes["id"] for each in page.all("figure")}
    assert {"plot-reward-max-against-samples", "plot-reward-against-temperature", "plot-shift"} <= figures
    assert {"plot-over-optimisation", "plot-over-optimisation-truth"} <= figures
    drawn = {each.attributes["data-metric"] for each in page.all("path") if "data-metric" in each.attributes}
    assert {f"look/{step}/{what}" for step in (0, 1, 2) for what in ("reward", "annotator")} <= drawn
    assert {f"shift/{policy}/bin/0" for policy in ("V0", "V1", "V2-sampled", "V2")} <= drawn
    rows = sections["optimisation"]["tables"]["shift"]["rows"]
    assert [row[0]["text"] for row in rows] == ["V0", "V1", "V2 before PPO", "V2 + PPO"]
    for row in rows:
        assert row[1]["judge"] == "newest reward models"
        assert row[1]["low"] <= row[1]["value"] <= row[1]["high"]
    for row in sections["optimisation"]["tables"]["looks"]["rows"]:
        assert all(cell["n"] == 4 for cell in row[1:])


def test_wins_ties_and_losses_are_all_answers_and_make_the_win_rate_that_the_catalog_has(
    written: tuple[Home, Page, Any],
) -> None:
    home, page, _ = written
    found: dict[tuple[str, str], dict[str, float]] = {}
    for of, value, _ in page.numbers:
        if "outcome" in of:
            found.setdefault((of["run"], of["metric"]), {})[of["outcome"]] = value
    assert len(found) == 8, "four policies, two axes"
    for (run, metric), counts in found.items():
        total = sum(counts.values())
        assert total == {"win_rate/helpfulness": 8, "win_rate/safety": 6}[metric]
        assert (counts["win"] + counts["tie"] / 2) / total == pytest.approx(Asked(home).metric(run, metric))


def test_every_figure_of_a_table_is_on_the_page_with_n_and_interval_where_it_has_one(
    written: tuple[Home, Page, Any],
) -> None:
    _, page, document = written
    tables = document["sections"]["results"]["tables"]
    assert [row[0]["text"] for row in tables["figures"]["rows"]] == ["V0", "V1", "V2 before PPO", "V2 + PPO"]
    shown = {*tables["figures"]["columns"], *tables["further"]["columns"]} - {"policy", "state"}
    assert shown == set(COLUMNS)
    column = tables["figures"]["columns"].index("violation %")
    for row in tables["figures"]["rows"]:
        cell = row[column]
        assert (cell["n"], cell["judge"]) == (6, "simulated:little-world")
        assert cell["low"] <= cell["value"] <= cell["high"]
    assert "n 6, few" in page.content


def test_the_page_asks_nobody_for_anything_and_its_links_lead_to_places_that_it_has(
    written: tuple[Home, Page, Any],
) -> None:
    _, page, _ = written
    assert {"script", "link", "iframe", "object", "embed", "form", "base"} & {
        each.tag for each in page.elements
    } == set()
    for each in page.elements:
        assert not [name for name in each.attributes if name.startswith("on") or name == "style"]
        if "src" in each.attributes:
            assert each.attributes["src"].startswith("data:image/svg+xml;base64,")
    (policy,) = (e.attributes["content"] for e in page.all("meta") if e.attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    links = [each.attributes["href"] for each in page.all("a")]
    inside = {link for link in links if link.startswith("#")}
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in inside} - set(page.ids) == set()
    assert all(link.startswith(("data:text/csv;", "data:application/json;")) for link in set(links) - inside)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", re.sub(r'"data:[^"]*"', "", page.content))


def test_lineage_can_be_walked_from_the_last_policy_to_the_first_step(written: tuple[Home, Page, Any]) -> None:
    home, _, document = written
    cards = {run["anchor"]: run for group in document["sections"]["lineage"]["groups"] for run in group["runs"]}
    head = home.store.heads()[AssetName.parse("model/policy@V2")]
    waiting, seen = [f"r-{head.run_id}"], set()
    while waiting:
        card = cards[waiting.pop()]
        seen.add(card["anchor"])
        waiting += [read["href"][1:] for read in card["reads"] if read["href"][1:] not in seen]
    assert seen == {f"r-{run_id}" for run_id in home.store.lineage(head.asset).runs}


def test_the_files_behind_its_links_hold_the_tables(written: tuple[Home, Page, Any]) -> None:
    _, page, document = written
    files = {e.attributes["download"]: e.attributes["href"] for e in page.all("a") if "download" in e.attributes}
    contents = {name: base64.b64decode(link.partition("base64,")[2]).decode() for name, link in files.items()}
    assert json.loads(contents["pocket.json"])["sections"] == document["sections"]
    rows = list(csv.DictReader(io.StringIO(contents["pocket-figures.csv"])))
    table = document["sections"]["results"]["tables"]["figures"]
    at = table["columns"].index("win help")
    assert [float(row["win help"]) for row in rows] == [row[at]["value"] for row in table["rows"]]
    assert {row["win help: n"] for row in rows} == {"8"}
    assert {row["win help: judge"] for row in rows} == {"simulated:little-world"}


def test_dialogues_are_those_of_the_rule_beside_each_other_for_every_policy(written: tuple[Home, Page, Any]) -> None:
    _, _, document = written
    shown = document["sections"]["dialogues"]["dialogues"]
    assert len(shown) == 10
    firsts: dict[str, str] = {}
    for each in shown:
        firsts.setdefault(each["group"], each["id"])
    assert [each["id"] for each in shown[: len(firsts)]] == sorted(firsts.values())
    assert all(len(each["answers"]) == 4 for each in shown)


def test_what_changed_is_said_with_its_numbers_and_what_is_not_known(written: tuple[Home, Page, Any]) -> None:
    _, page, document = written
    said = " ".join(document["what_changed"])
    assert "4 policies, V0 to V2 + PPO, judged by a simulated annotator (world 1)." in said
    assert "of prompts that only sound dangerous" in said
    assert "The annotator is simulated" in said
    assert "how much another seed would change is not known" in said
    assert said in " ".join(page.content.split()).replace("&#39;", "'").replace("&gt;", ">")


def test_a_run_of_which_nothing_was_made_yet_has_a_report_that_says_so(
    tmp_path: Path, pocket_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.recipe.config import load_config
    from flows.session import remember

    home = Home(tmp_path / "home")
    monkeypatch.setenv("HALTER_HOME", str(home.folder))
    home.folder.mkdir()
    remember(load_config(pocket_file))
    finished = home.look("report", "--out", str(tmp_path / "new.html"), "--json")
    assert finished.code == 0, finished.err
    said = " ".join(finished.document["what_changed"])
    assert said.startswith("This run is not finished: 26 of 26 steps are not up to date (26 missing)")
    assert "nothing can be said of what changed" in said
    Page((tmp_path / "new.html").read_text())


def test_a_step_that_failed_and_a_policy_that_went_stale_are_named(
    first_run: tuple[Home, Finished], tmp_path: Path
) -> None:
    from data_store.records import RunRecord

    home = Home(tmp_path / "home")
    shutil.copytree(first_run[0].folder, home.folder, ignore=shutil.ignore_patterns(".prefect"))
    lost = RunRecord("ppo", "V2", "f", "1", {}, 0)
    home.store.begin_run(lost)
    home.store.finish_run(lost.run_id, "failed", "out of <memory>")
    home.store.set_override("V2", "ppo", "ppo.kl_coef", 0.5)
    finished = home.look("report", "--out", str(tmp_path / "stale.html"), "--json")
    assert finished.code == 0, finished.err
    said = " ".join(finished.document["what_changed"])
    assert "This run is not finished: 2 of 26" in said
    assert "No longer of today's config and inputs: V2 + PPO." in said
    failures = finished.document["sections"]["cost"]["tables"]["failures"]["rows"]
    assert [cell["text"] for cell in failures[0]][:3] == ["V2", "ppo", "failed"]
    assert failures[0][-1]["text"] == "out of <memory>"
    page = (tmp_path / "stale.html").read_text()
    assert "out of &lt;memory&gt;" in page
    assert "<memory>" not in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", "pocket"), "give the names of two runs to compare, or --run for the report of one"),
        (("report", "pocket", "poket"), "there is no run 'poket'"),
        (("report", "--out", "nowhere/page.html"), "there is no folder nowhere"),
        (("report", "--out", "HOME/pocket/page.html"), "where the stores of runs are; give a place elsewhere"),
    ],
)
def test_wrong_words_are_told_before_anything_is_read(
    first_run: tuple[Home, Finished], words: tuple[str, ...], message: str
) -> None:
    home = first_run[0]
    finished = home.look(*(word.replace("HOME", str(home.folder)) for word in words))
    assert finished.code == 2
    assert message in finished.err.replace("\n", " ")


def test_the_catalog_is_read_whole_once(written: tuple[Home, Page, Any]) -> None:
    home, _, document = written
    whole = home.store.catalog.ask("whole", read_whole)
    rows = document["sections"]["cost"]["tables"]["cost"]["rows"]
    assert len(rows) == len(whole.runs) == 26
