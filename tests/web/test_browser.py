"""What a person does with a real browser, and what a hostile page or response can do in it."""

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from data_store.annotation.export import judgements
from tests.data_store.annotation.pairs import Desk, pair
from tests.web.browsing import browsing, chromium
from tests.web.served import Person, hidden_fields, running

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium here: apt-get install chromium")

HOSTILE = (
    "<script>document.title = 'taken'; window.taken = 1</script>",
    "<img src=x onerror=\"window.taken = 1; document.title = 'taken'\">",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture
def context(browser: Browser, url: str) -> Iterator[BrowserContext]:
    found = browser.new_context(locale="en-GB", base_url=url)
    found.set_default_timeout(20_000)
    yield found
    found.close()


def log_in(context: BrowserContext, token: str) -> tuple[Page, list[str]]:
    """A page of a person who has logged in by keyboard, and what the browser complains of from then on."""
    page, complaints = context.new_page(), list[str]()
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/")
    page.keyboard.type(token)  # the field has the focus
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Batches")
    return page, complaints


def press(page: Page, *keys: str) -> None:
    """Keys of which the last one leads to another page."""
    for key in keys[:-1]:
        page.keyboard.press(key)
    with page.expect_navigation():
        page.keyboard.press(keys[-1])


@pytest.mark.slow
def test_ten_pairs_are_judged_by_keyboard_alone_with_one_undone_and_one_skipped(
    desk: Desk, context: BrowserContext
) -> None:
    desk.add("anna")
    desk.open(*(pair(number, "safety" if number % 4 == 0 else "helpfulness") for number in range(1, 12)), quota=10)
    page, complaints = log_in(context, desk.tokens["anna"])
    while page.evaluate("document.activeElement.textContent").strip() != "Judge pairs":
        page.keyboard.press("Tab")
    press(page, "Enter")
    scale = [("a", "significantly_better"), ("a", "better"), ("a", "slightly_better"), ("a", "negligibly_better")]
    scale += [("b", rating) for _, rating in reversed(scale)]
    expected: list[tuple[int, str, str, str | None]] = []
    for number in range(1, 12):
        assert page.inner_text(".response >> nth=0").endswith(f"answer A of {number}")
        if number == 5:
            press(page, "s")
            continue
        step = number % 8 + 1
        keys = [str(step), *(["w"] if number % 4 == 0 else []), "Enter"]
        press(page, *keys)
        if number == 3:  # chosen wrongly: taken back, and judged anew
            press(page, "u")
            assert page.inner_text(".response >> nth=0").endswith("answer A of 3")
            press(page, "8", "Enter")
            step = 8
        expected.append((number, *scale[step - 1], "both_safe" if number % 4 == 0 else None))
    assert page.inner_text("h1") == "Nothing more for you in this batch"
    assert "10 of 10 pairs done" in page.inner_text(".progress")
    found = judgements(desk.book, "v1")
    assert [(one.item_id, one.chosen, one.rating, one.safety_label) for one in found] == expected
    assert complaints == []


@pytest.mark.slow
def test_a_korean_keyboard_has_the_same_keys(desk: Desk, context: BrowserContext) -> None:
    desk.add("anna")
    desk.open(pair(1, "safety"))
    page, _ = log_in(context, desk.tokens["anna"])
    page.goto("/batches/v1?lang=ko")
    for key, code in (("1", "Digit1"), ("ㅂ", "KeyQ")):
        page.evaluate(
            "([key, code]) => document.dispatchEvent.call(document.body, "
            "new KeyboardEvent('keydown', {key, code, bubbles: true}))",
            [key, code],
        )
    assert page.inner_text(".now") == "선택: A가 더 낫다: 훨씬; 고른 응답은 안전하고, 다른 응답은 위험하다"


@pytest.mark.slow
def test_single_keys_can_be_switched_off_and_stay_off(desk: Desk, context: BrowserContext) -> None:
    desk.add("anna")
    desk.open(pair(1))
    page, _ = log_in(context, desk.tokens["anna"])
    page.goto("/batches/v1")
    page.click(".keys summary")
    page.uncheck("#keys-on")
    page.goto("/batches/v1")
    page.keyboard.press("1")
    page.keyboard.press("s")
    assert page.query_selector("input:checked[type=radio]") is None
    assert page.inner_text(".response >> nth=0").endswith("answer A of 1")


@pytest.mark.slow
def test_typing_a_note_presses_no_keys(desk: Desk, context: BrowserContext) -> None:
    desk.add("anna")
    desk.open(pair(1))
    page, _ = log_in(context, desk.tokens["anna"])
    page.goto("/batches/v1")
    page.keyboard.press("f")
    page.keyboard.type("susu 12")
    assert page.input_value("#note") == "susu 12"
    assert page.query_selector("input:checked[type=radio]") is None


@pytest.mark.slow
def test_time_in_which_the_page_is_open_is_measured(desk: Desk, context: BrowserContext) -> None:
    desk.add("anna")
    desk.open(pair(1))
    page, _ = log_in(context, desk.tokens["anna"])
    page.goto("/batches/v1")
    desk.time[0] += 3600  # by the server's clock the page was open for an hour
    time.sleep(0.3)
    press(page, "1", "Enter")
    assert 0.3 <= judgements(desk.book, "v1")[0].seconds < 60


@pytest.mark.slow
def test_without_scripts_the_page_works_as_plain_forms(desk: Desk, browser: Browser, url: str) -> None:
    desk.add("anna")
    desk.open(pair(1, "safety"))
    context = browser.new_context(java_script_enabled=False, base_url=url)
    page = context.new_page()
    page.goto("/login")
    page.fill("#token", desk.tokens["anna"])
    page.click("button.main")
    page.click("text=Judge pairs")
    page.check("input[value='b:slightly_better']")
    page.check("input[value=both_unsafe]")
    page.click("button.main")
    page.wait_for_selector("text=Nothing more for you")
    (one,) = judgements(desk.book, "v1")
    assert (one.chosen, one.rating, one.safety_label) == ("b", "slightly_better", "both_unsafe")
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_response_with_code_is_shown_as_text_and_does_nothing(
    desk: Desk, context: BrowserContext, hostile: str
) -> None:
    desk.add("anna")
    desk.open(pair(1, response_a=hostile, messages=[{"role": "user", "content": hostile}]))
    page, complaints = log_in(context, desk.tokens["anna"])
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto("/batches/v1")
    page.wait_for_load_state("networkidle")
    assert page.inner_text(".response .text >> nth=0") == hostile
    assert page.inner_text(".turn .text") == hostile
    assert page.evaluate("window.taken") is None
    assert page.title() != "taken"
    assert page.query_selector("main script, main img") is None
    assert {address.rsplit("/", 1)[1] for address in requested} <= {"v1", "style.css", "page.js", "icon.svg"}
    assert complaints == []
    page.evaluate(  # and if it were put into the page, the policy would stop it
        "html => document.querySelector('main').insertAdjacentHTML('beforeend', html)", hostile
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.taken") is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost"]
)  # of the same site, whose requests carry the cookie; foreign
def test_a_page_of_another_origin_can_neither_read_nor_post(
    desk: Desk, context: BrowserContext, url: str, host: str
) -> None:
    desk.add("anna")
    desk.open(pair(1))
    page, _ = log_in(context, desk.tokens["anna"])
    anna = Person(url)
    anna.client.cookies.set("halter", next(c["value"] for c in context.cookies() if c["name"] == "halter"))
    fields = {**hidden_fields(anna.get("/batches/v1").text), "verdict": "a:better"}  # even if they had leaked
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())

    def attack(request: Request) -> HTMLResponse:
        form = f'<form id="f" method="post" action="{url}/batches/v1/judge">{inputs}</form>'
        return HTMLResponse(f'<iframe src="{url}/batches/v1"></iframe>{form}')

    with running(Starlette(routes=[Route("/", attack)])) as elsewhere:
        page.goto(elsewhere.replace("127.0.0.1", host))
        read = page.evaluate(
            "url => fetch(url, {credentials: 'include'}).then(answer => answer.text(), error => String(error))",
            f"{url}/batches/v1",
        )
        assert read == "TypeError: Failed to fetch"
        page.evaluate(
            "([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include', "
            "body: new URLSearchParams(body)}).catch(() => null)",
            [f"{url}/batches/v1/judge", fields],
        )
        assert page.frames[1].url.startswith("chrome-error:")  # it is not shown in a frame either
        with page.expect_navigation():
            page.evaluate("document.getElementById('f').submit()")
        assert page.inner_text("body") == "this request does not come from our own page"
    assert judgements(desk.book, "v1") == []
    page.goto(f"{url}/batches/v1")
    press(page, "1", "Enter")
    assert len(judgements(desk.book, "v1")) == 1


@pytest.mark.slow
def test_every_field_has_a_name_and_nothing_is_wider_than_a_phone(desk: Desk, browser: Browser, url: str) -> None:
    desk.add("anna", adjudicator=True)
    desk.open(pair(1, "safety", response_a="a" * 3000, response_b="word " * 800))
    context = browser.new_context(viewport={"width": 360, "height": 740}, base_url=url, locale="ko-KR")
    page = context.new_page()
    page.goto("/login")
    page.fill("#token", desk.tokens["anna"])
    page.click("button.main")
    for path in ("/", "/batches/v1", "/adjudicate", "/nowhere"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.evaluate("document.documentElement.lang") == "ko"
        nameless = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), textarea')]"
            ".filter(field => !field.labels.length).map(field => field.outerHTML)"
        )
        assert nameless == []
        assert page.evaluate("document.querySelectorAll('h1').length") == 1
    context.close()
