"""Write the pictures of the Prefect UI that the documentation shows: `python -m tests.flows.screenshots`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page

from tests.flows.recipe_runs import POCKET, ROOT, Home, ask
from tests.flows.test_serve import SECONDS, Served, serving
from tests.web.browsing import browsing

IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1280, "height": 900}
DEPLOYMENT, ARTIFACT = "rerun/train-safety-reward", "rerun-train-safety-reward-v2"
VALUE = "reward.margins=large"


def shoot(browser: Browser, home: Home, config: Path) -> None:
    """The list of deployments, the form of one step, and what its run tells, from `halter serve` on a finished run."""
    with serving(home, config) as served:
        page = browser.new_context(viewport=SIZE, base_url=served.url).new_page()
        page.set_default_timeout(1000 * SECONDS)
        page.goto("/deployments")
        page.get_by_placeholder("Search deployments...").fill("train")
        page.get_by_text("train-safety-reward").first.wait_for()
        page.get_by_text("fit-context").wait_for(state="hidden")
        _save(page, "prefect-deployments")
        _fill_in_the_form(page, served)
        _save(page, "prefect-rerun-form")
        served.end(served.start(DEPLOYMENT, iteration="V2", overrides=[VALUE]))
        (found,) = ask(served.url, "artifacts/latest/filter", artifacts={"key": {"any_": [ARTIFACT]}})
        page.goto(f"/artifacts/artifact/{found['latest_id']}")
        page.get_by_text("steps are stale now").first.wait_for()
        _save(page, "prefect-rerun-artifact")


def _fill_in_the_form(page: Page, served: Served) -> None:
    page.goto(f"/deployments/deployment/{served.get(f'deployments/name/{DEPLOYMENT}')['id']}/run")
    fields = page.locator("textarea")
    fields.first.wait_for()
    fields.first.fill("V2")
    before = fields.count()
    page.get_by_text("Add item").first.click()
    page.wait_for_function("before => document.querySelectorAll('textarea').length > before", arg=before)
    fields.nth(2).fill(VALUE)  # after iteration and step


def _save(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    with TemporaryDirectory() as folder, browsing() as chromium:
        config = Path(folder) / "pocket.yaml"
        config.write_text(POCKET)
        first = Home(Path(folder) / "home")
        finished = first.halter("run", config, "--json")
        if finished.code != 0:
            raise SystemExit(finished.err)
        shoot(chromium, first, config)
