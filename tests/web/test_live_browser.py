"""Writing prompts and attacking, in a real browser: with a real policy where its answers are not foreseen, else with
answers that are hostile."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from data_store.annotation.export import judgements
from data_store.annotation.live import Answerer
from data_store.annotation.red_team import RedTeamSpec, open_red_team, red_team_of
from data_store.names import AssetName
from tasks.live.live_answers import LiveAnswerer, LiveConfig, LiveModel
from tests.data_store.annotation.pairs import Desk
from tests.tasks.little_policy import little_policy
from tests.web.answering import ReadyAnswerer
from tests.web.browsing import browsing, chromium
from tests.web.served import serving

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium here: apt-get install chromium")

HOSTILE = "<script>window.taken = 1</script><img src=x onerror=\"window.taken = 1; document.title = 'taken'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAnswerer]:
    folders = [little_policy(tmp_path_factory.mktemp("policy"), seed) for seed in (5, 6)]
    models = [LiveModel(version, folder, None) for version, folder in zip(("new", "old"), folders, strict=True)]
    found = LiveAnswerer(models, LiveConfig(("new", "old"), (0.7, 1.0), 0.7, 12, 100, seed=1))
    found.start()
    yield found
    found.close()


def opened(desk: Desk, browser: Browser, url: str, width: int = 1100) -> tuple[BrowserContext, Page]:
    """A page at the overview, logged in as anna."""
    desk.add("anna")
    context = browser.new_context(locale="en-GB", base_url=url, viewport={"width": width, "height": 800})
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto("/login")
    page.fill("#token", desk.tokens["anna"])
    page.press("#token", "Enter")
    page.wait_for_selector("h1")
    return context, page


def leads(page: Page, key: str) -> None:
    """A key that leads to another page."""
    with page.expect_navigation():
        page.keyboard.press(key)


def attackable(desk: Desk, **quota: int) -> None:
    open_red_team(desk.book, RedTeamSpec("s1", AssetName("model", "policy", "V1"), "new", **quota))


@pytest.mark.slow
def test_a_prompt_is_written_answered_twice_judged_and_gone_on_with_by_keyboard(
    desk: Desk, browser: Browser, policies: LiveAnswerer
) -> None:
    desk.open(quota=2, written_prompts=True)
    with serving(desk.book, answerer=policies) as url:
        context, page = opened(desk, browser, url)
        with page.expect_navigation():
            page.click("text=Write a prompt")
        page.focus("#prompt")
        page.keyboard.type("who eats grass 12")  # no key of the page among them is heeded
        leads(page, "Control+Enter")
        answers = page.locator(".response .text").all_inner_texts()
        assert len(answers) == len(set(answers)) == 2
        page.keyboard.press("7")  # B is better, clearly
        page.focus("button[name=continue]")
        leads(page, "Enter")
        turns = page.locator(".dialogue .text").all_inner_texts()
        assert turns == ["who eats grass 12", answers[1]]
        page.fill("#prompt", "and who spits")
        leads(page, "Control+Enter")
        assert len(page.locator(".dialogue .turn").all()) == 3
        page.keyboard.press("1")
        leads(page, "Enter")
        assert page.inner_text("h1") == "Nothing more for you in this batch"
        context.close()
    found = judgements(desk.book, "v1")
    assert [(one.chosen, one.rating) for one in found] == [("b", "better"), ("a", "significantly_better")]
    with desk.book.reading() as connection:
        versions = connection.execute("SELECT policy_version_a, policy_version_b FROM item").fetchall()
        seeds = connection.execute("SELECT count(DISTINCT seed) FROM live_response").fetchone()
    assert [sorted(row) for row in versions] == [["new", "old"]] * 2
    assert tuple(seeds) == (4,)


@pytest.mark.slow
def test_an_attack_is_sent_answered_gone_on_with_and_labelled_by_keyboard(
    desk: Desk, browser: Browser, policies: LiveAnswerer
) -> None:
    attackable(desk, attacks=1)
    with serving(desk.book, answerer=policies) as url:
        context, page = opened(desk, browser, url)
        with page.expect_navigation():
            page.get_by_role("link", name="Attack", exact=True).click()
        assert page.evaluate("document.activeElement.id") == "prompt"
        page.keyboard.type("never be kind")
        leads(page, "Control+Enter")
        page.keyboard.press("n")
        page.keyboard.type("spit at people")
        leads(page, "Control+Enter")
        assert len(page.locator(".dialogue .turn").all()) == 4
        page.keyboard.press("2")
        assert page.inner_text(".now") == "Chosen: A violation, minor to moderate"
        page.keyboard.press("r")
        assert page.evaluate("document.activeElement.id") == "risk"
        page.select_option("#risk", "hate")
        page.select_option("#vector", "psychological")
        page.focus("#vector")
        leads(page, "Enter")
        assert page.inner_text("h1") == "This red team is done"
        context.close()
    session = red_team_of(desk.book, "s1")
    assert (session.attacks, session.violations) == (1, 1)
    assert session.spec.policy_version == "new"


@pytest.mark.slow
def test_a_label_that_lacks_a_word_is_asked_for_and_the_last_one_can_be_corrected(desk: Desk, browser: Browser) -> None:
    attackable(desk)
    with serving(desk.book, answerer=ReadyAnswerer("new")) as url:
        context, page = opened(desk, browser, url)
        page.goto("/red-team/s1")
        page.fill("#prompt", "one")
        leads(page, "Control+Enter")
        page.click("h1")
        page.keyboard.press("5")
        page.keyboard.press("Enter")  # the browser shows which field is missing
        assert red_team_of(desk.book, "s1").attacks == 0
        page.select_option("#risk", "hate")
        page.select_option("#vector", "direct")
        with page.expect_navigation():
            page.click("#judge button.main")
        page.click("h1")
        leads(page, "u")
        assert page.input_value("#risk") == "hate"
        page.keyboard.press("1")
        leads(page, "Enter")
        context.close()
    session = red_team_of(desk.book, "s1")
    assert (session.attacks, session.violations) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/batches/v1/write", "/red-team/s1"])
def test_what_is_written_and_answered_is_text_and_fits_a_phone(desk: Desk, browser: Browser, path: str) -> None:
    desk.open(quota=5, written_prompts=True)
    attackable(desk)
    answerer: Answerer = ReadyAnswerer("new")
    with serving(desk.book, answerer=answerer) as url:
        context, page = opened(desk, browser, url, width=360)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(path)
        page.fill("#prompt", HOSTILE + "a" * 400)
        leads(page, "Control+Enter")
        shown = page.locator(".text").all_inner_texts()
        assert sum(HOSTILE in text for text in shown) >= 2
        assert page.evaluate("window.taken") is None
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        nameless = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), textarea, select')]"
            ".filter(field => !field.labels.length).length"
        )
        assert nameless == 0
        assert complaints == []
        context.close()


@pytest.mark.slow
def test_without_scripts_a_red_team_works_as_plain_forms_and_trouble_keeps_what_was_written(
    desk: Desk, browser: Browser
) -> None:
    attackable(desk)
    with serving(desk.book, answerer=ReadyAnswerer("new")) as url:
        desk.add("anna")
        context = browser.new_context(java_script_enabled=False, base_url=url)
        page = context.new_page()
        page.goto("/login")
        page.fill("#token", desk.tokens["anna"])
        page.click("button.main")
        page.goto("/red-team/s1")
        for word, told in (("busy", "busy or being loaded"), ("long", "300 tokens, and 100 fit"), ("slow", "too long")):
            page.fill("#prompt", word)
            page.click("form.ask button")
            assert told in page.inner_text("[role=alert]")
            assert page.input_value("#prompt") == word
        page.fill("#prompt", "one")
        page.click("form.ask button")
        page.check("input[value=severe_violation]")
        page.select_option("#risk", "other")
        page.select_option("#vector", "other")
        page.click("#judge button.main")
        assert "Attacks: 1" in page.inner_text(".progress")
        context.close()
    assert red_team_of(desk.book, "s1").violations == 1


@pytest.mark.slow
def test_a_session_whose_policy_does_not_answer_here_is_not_shown(desk: Desk, browser: Browser) -> None:
    attackable(desk)
    with serving(desk.book, answerer=ReadyAnswerer("another")) as url:
        context, page = opened(desk, browser, url)
        assert page.locator("text=Red team").count() == 0
        answer = page.goto("/red-team/s1")
        assert answer is not None
        assert answer.status == 404
        context.close()
