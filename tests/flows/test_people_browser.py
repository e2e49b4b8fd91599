"""From a waiting recipe over a real browser to reward models that learned from what was clicked there, and from that
alone: `halter run`, `halter annotate --answer` and Chromium, as people use them."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page

from data_store.annotation.batches import batches
from data_store.annotation.people import add_annotator
from data_store.names import AssetName
from data_store.rows import SAFETY_LABELS
from tests.flows.commands.test_serve import serving
from tests.flows.recipe_runs import Finished, Home, ask
from tests.flows.test_people import book_of, config_file
from tests.ports import free_port
from tests.tasks.bench import wait_for
from tests.web.browsing import browsing, chromium
from web.judging import SCALE

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium here: apt-get install chromium")

PROMPTS = {"helpfulness": 5, "safety": 5}
PAIRS = sum(PROMPTS.values())
WRITTEN = "which animal has the longest neck"


@dataclass(frozen=True)
class Clicked:
    """One pair as the page showed it, and what was said of it by keyboard."""

    axis: str
    dialogue: tuple[str, ...]
    response_a: str
    response_b: str
    chosen: str
    rating: str
    safety_label: str | None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe that people judge, with ten prompts drawn and one written; little is sampled after that."""
    path = config_file(tmp_path_factory.mktemp("config"), written_pairs=1)
    content = yaml.safe_load(path.read_text())
    content["collect"] |= {"ordinary_prompts": PROMPTS["helpfulness"], "safety_prompts": PROMPTS["safety"]}
    content["rejection"] |= {"prompts": 4, "unfinished": "score"}
    content["fine_tune"] |= {"picks": 4, "replay": 0}
    content["fine_tune"]["training"]["epochs"] = 1
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def annotation_page(home: Home) -> Iterator[str]:
    """The address of `halter annotate`, where the policy answers that the pairs were drawn from; Ctrl-C ends it."""
    port = free_port()
    process = home.start("annotate", "--port", str(port), "--answer", "model/policy@V0")

    def is_served() -> bool:
        with socket.socket() as visitor:
            return process.poll() is not None or visitor.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(is_served, "the annotation page", 120)
        assert process.poll() is None, process.communicate()
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
    finally:
        process.kill()
        process.communicate()


def leads(page: Page, key: str) -> None:
    """A key that leads to another page."""
    with page.expect_navigation():
        page.keyboard.press(key)


def judge_shown(page: Page, step: int, label: int) -> Clicked:
    """Judge the pair on the page: `step` counts from 0, A much better, to 7, B much better; `label` is for safety."""
    texts = [text or "" for text in page.locator(".response .text").all_text_contents()]
    axis = page.get_attribute("#judge input[name=axis]", "value") or ""
    dialogue = tuple(page.locator(".dialogue .text").all_text_contents())
    page.keyboard.press(str(step + 1))
    if axis == "safety":
        page.keyboard.press("qwe"[label])
    leads(page, "Enter")
    return Clicked(axis, dialogue, texts[0], texts[1], *SCALE[step], SAFETY_LABELS[label] if axis == "safety" else None)


def write_a_prompt(page: Page, text: str) -> None:
    """Have the policy answer it twice. Where it says the same both times the page asks to try again."""
    with page.expect_navigation():
        page.click("text=Write a prompt")
    page.focus("#prompt")
    page.keyboard.type(text)
    for _ in range(5):
        page.focus("#prompt")
        leads(page, "Control+Enter")
        if page.locator("#judge").count():
            return
    raise AssertionError(page.inner_text("main"))


def judge_in_browser(browser: Browser, home: Home, batch_id: str) -> list[Clicked]:
    """Somebody logs in, writes a prompt, judges what it got and all pairs of the batch, and takes one of them back."""
    token = add_annotator(book_of(home), "anna")
    with annotation_page(home) as url:
        context = browser.new_context(locale="en-GB", base_url=url)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto("/")
        page.keyboard.type(token)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"text={batch_id}")
        write_a_prompt(page, WRITTEN)
        said = [judge_shown(page, 6, 0)]
        assert said[0].dialogue == (WRITTEN,)
        for number in range(PAIRS):
            said.append(judge_shown(page, number % 8, number % 3))
            if number == 3:  # judged wrongly: taken back, and judged anew
                wrong = said.pop()
                leads(page, "u")
                said.append(judge_shown(page, 7, number % 3))
                assert replace(said[-1], chosen=wrong.chosen, rating=wrong.rating) == wrong
                assert (said[-1].chosen, said[-1].rating) != (wrong.chosen, wrong.rating)
        assert page.inner_text("h1") == "Nothing more for you in this batch"
        assert f"{PAIRS + 1} of {PAIRS + 1} pairs done" in page.inner_text(".progress")
        context.close()
    return said


def on_a_page(text: str) -> str:
    """What HTML shows of `text`: it has no place for the character 0, and ends every line with a line feed."""
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def assert_learned_from(home: Home, batch_id: str, said: list[Clicked]) -> None:
    """The collected rows are what was said, and both reward models and all after them are made of that version."""
    store, preferences = home.store, AssetName("dataset", "preferences", "V1")
    version = home.head(str(preferences))
    rows: list[dict[str, Any]] = store.rows(version).to_pylist()
    found = [
        Clicked(
            **{name: row[name] for name in ("axis", "response_a", "response_b", "chosen", "rating", "safety_label")},
            dialogue=tuple(message["content"] for message in row["messages"]),
        )
        for row in rows
    ]
    shown = [
        replace(each, response_a=on_a_page(each.response_a), response_b=on_a_page(each.response_b)) for each in found
    ]
    assert sorted(shown, key=str) == sorted(said, key=str)
    assert {row["annotator"] for row in rows} == {"anna"}
    from_batch = f"annotation batch {batch_id}"
    sources = sorted(row["source"] for row in rows)
    assert sources == [*[from_batch] * PAIRS, f"{from_batch}, written by anna"]
    (written,) = (row for row in rows if row["source"].endswith("written by anna"))
    assert {written["policy_version_a"], written["policy_version_b"]} == {home.head("model/policy@V0")}

    for axis in ("safety", "helpfulness"):
        graph = store.lineage(home.head(f"model/reward-{axis}@V1"))
        (made,) = graph.roots
        read = {edge.role: edge.version_id for edge in graph.inputs_of(made)}
        assert read["preferences"] == version, axis
        assert graph.runs[made].run.step == f"train_{axis}_reward"
    behind = store.lineage(home.head("model/policy@V1"))
    learned = {edge.version_id for run in behind.runs for edge in behind.inputs_of(run) if edge.asset == preferences}
    assert learned == {version}


def waiting_home(first_run: tuple[Home, Finished], folder: Path, server: str | None) -> Home:
    home = replace(first_run[0], folder=folder / "home", server=server)
    copytree(first_run[0].folder, home.folder)
    return home


@pytest.mark.slow
def test_a_batch_judged_in_a_browser_ends_the_waiting_and_is_exactly_what_is_learned_from(
    first_run: tuple[Home, Finished], config: Path, server: str, browser: Browser, tmp_path: Path
) -> None:
    home = waiting_home(first_run, tmp_path, server)
    waits = home.halter("run", config, "--json")
    assert waits.code == 0, waits.err
    (wait,) = waits.document["waiting"]
    assert (wait["judgements"], wait["wanted"], wait["ended"]) == (0, PAIRS + 1, None)
    newest = ask(server, "flow_runs/filter", sort="START_TIME_DESC", limit=20)
    assert next(run["state_name"] for run in newest if run["name"] == "pocket") == "Waiting"

    said = judge_in_browser(browser, home, wait["batch_id"])
    done = home.halter("run", config, "--json")
    assert done.code == 0, done.err
    assert done.document["waiting"] == []
    assert_learned_from(home, wait["batch_id"], said)
    assert home.processes() == []


@pytest.mark.slow
def test_served_the_recipe_goes_on_by_itself_once_the_batch_is_judged_in_a_browser(
    first_run: tuple[Home, Finished], config: Path, browser: Browser, tmp_path: Path
) -> None:
    """The same under `halter serve`. Slow by the start of a server and a worker of its own."""
    home = waiting_home(first_run, tmp_path, None)
    with serving(home, config) as served:
        waits = served.end(served.start("recipe/recipe"))
        assert (waits["state_type"], waits["state_name"]) == ("CANCELLED", "Waiting")
        (batch,) = batches(book_of(home))
        said = judge_in_browser(browser, home, batch.spec.batch_id)
        tag = f"judged:{batch.spec.batch_id}"
        asked = {"tags": {"all_": [tag]}}
        wait_for(lambda: bool(ask(served.url, "flow_runs/filter", flow_runs=asked)), "the recipe to go on", 180)
        (run,) = ask(served.url, "flow_runs/filter", flow_runs=asked)
        assert served.end(run["id"])["state_name"] == "Completed"
        assert_learned_from(home, batch.spec.batch_id, said)
