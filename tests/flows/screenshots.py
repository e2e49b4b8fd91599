"""Write the pictures of the Prefect UI and of a report that the documentation shows:
`python -m tests.flows.screenshots`. It runs configs/smoke.yaml and configs/demo.yaml first, or takes the homes of
finished runs of them that are given, in this order."""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page

from tests.flows.commands.test_serve import SECONDS, Served, serving
from tests.flows.recipe_runs import ROOT, Home, ask
from tests.web.browsing import browsing

IMAGES = ROOT / "docs" / "images"
CONFIG, DEMO = (ROOT / "configs" / f"{name}.yaml" for name in ("smoke", "demo"))
SIZE = {"width": 1400, "height": 1000}
DEPLOYMENT = "rerun/step-train-safety-reward"
VALUE = "reward.margins=large"
ARTIFACTS = {
    "prefect-curves": ("curves-ppo-v2", "Curves of ppo"),
    "prefect-answers": ("examples-evaluate-v2", "prompt:"),
}


def shoot(browser: Browser, home: Home) -> None:
    """What a finished run shows, the list of deployments, the form of one step, and what its run tells, from
    `halter serve`."""
    with serving(home, CONFIG, "--schedule", "0 2 * * *", "--timezone", "Europe/Berlin") as served:
        page = browser.new_context(viewport=SIZE, base_url=served.url).new_page()
        page.set_default_timeout(1000 * SECONDS)
        _show_the_run(page, served)
        for name, (key, text) in ARTIFACTS.items():
            _show(page, served, key, text)
            _save(page, name)
        page.goto("/deployments")
        page.get_by_text("step-draw-pairs").first.wait_for()
        _save(page, "prefect-deployments")
        _fill_in_the_form(page, served)
        _save(page, "prefect-rerun-form")
        served.end(served.start(DEPLOYMENT, iteration="V2", overrides=[VALUE]))
        _show(page, served, "rerun-train-safety-reward-v2", "steps are stale now")
        _save(page, "prefect-rerun-artifact")


def shoot_index(browser: Browser, home: Home) -> None:
    """The first thing that the README shows: the figures of the demo, and what its steps left to look at."""
    with serving(home, DEMO) as served:
        page = browser.new_context(viewport=SIZE, base_url=served.url).new_page()
        page.set_default_timeout(1000 * SECONDS)
        _show(page, served, "index-demo", "Figures, judged by")
        _save(page, "prefect-index")


def shoot_report(browser: Browser, home: Home, scratch: Path) -> None:
    """The beginning of the demo's report, and its dialogues."""
    file = scratch / "demo.html"
    told = home.look("report", "--run", home.name, "--out", str(file))
    if told.code != 0:
        raise SystemExit(told.err)
    page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
    page.goto(file.as_uri())
    _save(page, "report-results")
    page.evaluate("document.getElementById('dialogues').scrollIntoView()")
    page.screenshot(path=IMAGES / "report-dialogues.png")


def finished(name: str, config: Path, given: str | None, folder: Path) -> Home:
    """A copy of the home of a finished run, or a new one."""
    home = Home(folder / name, name=name)
    if given is not None:
        shutil.copytree(given, home.folder)
        return home
    done = home.halter("run", config, "--json")
    if done.code != 0:
        raise SystemExit(done.err)
    return home


def _show_the_run(page: Page, served: Served) -> None:
    """The timeline of the run that trained, without the empty space under its log."""
    runs = ask(served.url, "flow_runs/filter", sort="START_TIME_ASC", limit=50)
    trained = next(run for run in runs if run["name"] == "smoke")
    page.goto(f"/runs/flow-run/{trained['id']}")
    page.get_by_text("Finished in state").first.wait_for()
    page.wait_for_timeout(3000)  # the timeline moves to its place
    _save(page, "prefect-recipe", high=830)


def _show(page: Page, served: Served, key: str, text: str) -> None:
    (found,) = ask(served.url, "artifacts/latest/filter", artifacts={"key": {"any_": [key]}})
    page.goto(f"/artifacts/artifact/{found['latest_id']}")
    page.get_by_text(text).first.wait_for()


def _fill_in_the_form(page: Page, served: Served) -> None:
    page.goto(f"/deployments/deployment/{served.get(f'deployments/name/{DEPLOYMENT}')['id']}/run")
    choice = page.locator(".p-select-button__control").first
    choice.wait_for()
    choice.focus()
    page.keyboard.press("ArrowDown")  # a click on the field itself opens the list and closes it again
    page.locator(".p-select-option").filter(has_text="V2").click()
    fields = page.locator("textarea")
    before = fields.count()
    page.get_by_text("Add item").first.click()
    page.wait_for_function("before => document.querySelectorAll('textarea').length > before", arg=before)
    fields.nth(0).fill(VALUE)


def _save(page: Page, name: str, high: int = SIZE["height"]) -> None:
    page.wait_for_load_state("networkidle")
    clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": high}
    page.screenshot(path=IMAGES / f"{name}.png", clip=clip)  # type: ignore[arg-type]


if __name__ == "__main__":
    smoke, demo, *_ = [*sys.argv[1:], None, None]
    with TemporaryDirectory() as scratch, browsing() as chromium:
        shoot(chromium, finished("smoke", CONFIG, smoke, Path(scratch)))
        of_demo = finished("demo", DEMO, demo, Path(scratch))
        shoot_index(chromium, of_demo)
        shoot_report(chromium, of_demo, Path(scratch))
