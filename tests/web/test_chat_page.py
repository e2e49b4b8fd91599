"""The page of a chat, on a real server: for whoever has its secret, and with nothing on it that models can do."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from data_store.annotation.chat import Chat, Keeper, Said
from data_store.annotation.export import rows_so_far
from tests.data_store.annotation.pairs import Desk
from tests.data_store.annotation.talking import Parrot
from tests.web.browsing import browsing, chromium
from tests.web.served import TLS, hidden_fields, running
from web.chatting import create_chat_app

HOSTILE = "<script>window.taken = 1</script><img src=x onerror=alert(1)>"
LINES = {"Accept": "application/x-ndjson"}


def told(said: Said) -> list[tuple[str, str]]:
    return [(name, f"{score:.2f}") for name, score in said.scores.items()]


class Talker:
    """Somebody at the page."""

    def __init__(self, url: str, path: str) -> None:
        self.client = httpx.Client(base_url=url, headers={"Origin": url, "Accept-Language": "en"}, verify=TLS)
        assert self.client.get(path).status_code == 303

    def page(self) -> str:
        """As it is now."""
        found = self.client.get("/")
        assert found.status_code == 200
        return found.text

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
        """A form of the page."""
        return self.client.post(path, data={**hidden_fields(self.page()), **fields}, headers=headers)


@pytest.fixture
def chat(desk: Desk) -> Chat:
    desk.add("anna")
    return Chat([Parrot("old"), Parrot("new")], Keeper(desk.book, "anna", "V2", lambda _: False, lambda: ()), seed=1)


@pytest.fixture
def talker(chat: Chat) -> Iterator[Talker]:
    app, path = create_chat_app(chat, told, "reward models of V2")
    with running(app) as url:
        yield Talker(url, path)


def test_nobody_without_the_secret_sees_or_says_anything(talker: Talker, chat: Chat) -> None:
    stranger = httpx.Client(base_url=talker.client.base_url, headers={"Origin": talker.client.headers["Origin"]})
    form = {**hidden_fields(talker.page()), "prompt": "hello"}
    assert stranger.get("/").status_code == 403
    assert stranger.get("/?key=guessed").status_code == 403
    assert stranger.post("/say", data=form).status_code == 403
    assert talker.client.post("/say", data={"prompt": "hello"}).status_code == 403, "a form of somebody else"
    foreign = {"Origin": "https://example.org", "Sec-Fetch-Site": "cross-site"}
    assert talker.client.post("/say", data=form, headers=foreign).status_code == 403
    assert talker.client.get("/", headers={"Host": "example.org"}).status_code == 421
    assert chat.turns == []


def test_answers_come_as_lines_while_they_are_drawn_and_stand_on_the_page_afterwards(talker: Talker) -> None:
    answer = talker.post("/say", LINES, prompt="hello")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [(line["side"], line["text"]) for line in lines] == [
        *((0, text) for text in ("old", "old 1: hello", "old 1: hello")),
        *((1, text) for text in ("new", "new 1: hello", "new 1: hello")),
    ]
    assert lines[2]["scores"] == [["helpfulness", "1.00"], ["safety", "-1.00"]]
    page = talker.page()
    assert "old 1: hello" in page
    assert "<dd>-1.00</dd>" in page
    assert "Scores: reward models of V2." in page


def test_a_browser_without_scripts_has_the_same_a_moment_later(talker: Talker) -> None:
    assert talker.post("/say", prompt="hello").status_code == 303
    assert "new 1: hello" in talker.page()
    refused = talker.post("/say", prompt="long")
    assert (refused.status_code, "The dialogue has 300 tokens, and 100 fit." in refused.text) == (422, True)
    assert ">\nlong</textarea>" in refused.text, "what was written is kept"


def test_what_models_and_people_write_is_text_and_the_page_asks_nobody_else(talker: Talker) -> None:
    talker.post("/anew", system=HOSTILE, temperature="0.5")
    talker.post("/say", prompt=HOSTILE)
    page = talker.client.get("/")
    assert HOSTILE not in page.text
    assert page.text.count("&lt;script&gt;window.taken") == 4, "the system message, the prompt and two answers"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert policy.endswith("connect-src 'self'")


def test_a_judgement_goes_into_the_book_from_the_page(talker: Talker, chat: Chat, desk: Desk) -> None:
    talker.post("/say", prompt="hello")
    assert "Save as anna" in talker.page()
    refused = talker.post("/save", axis="safety", verdict="b:better")
    assert refused.status_code == 422
    assert talker.post("/save", axis="helpfulness", verdict="b:better", safety_label="").status_code == 303
    (row,) = rows_so_far(desk.book, "chat-v2-1").to_pylist()
    assert (row["annotator"], row["chosen"]) == ("anna", "b")
    page = talker.page()
    assert "The judgement is saved." in page
    assert "Save as anna" not in page
    assert talker.post("/save", axis="helpfulness", verdict="b:better").status_code == 422
    assert talker.post("/choose", side="a").status_code == 422
    talker.post("/say", prompt="more")
    assert talker.post("/choose", side="b").status_code == 303
    assert chat.turns[-1].chosen == "b"


def test_what_cannot_be_set_is_refused_and_one_model_answers_again(tmp_path: Path) -> None:
    chat = Chat([Parrot("old")], None, why_not="the store can only be read")
    app, path = create_chat_app(chat, told, "")
    with running(app) as url:
        one = Talker(url, path)
        for temperature in ("warm", "0", "nan", "7"):
            assert one.post("/anew", system="", temperature=temperature).status_code == 422
        one.post("/say", prompt="hello")
        assert one.post("/again", LINES).text.splitlines()[-1].startswith('{"side": 1')
        page = one.page()
        assert "old 2: hello" in page
        assert "Nothing is saved: the store can only be read." in page
        assert "No reward model scores these answers." in page
        assert one.post("/save", axis="helpfulness", verdict="a:better").status_code == 422


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no chromium here: apt-get install chromium")
def test_a_browser_shows_hostile_answers_as_they_come_and_runs_nothing_of_them(chat: Chat) -> None:
    app, path = create_chat_app(chat, told, "reward models of V2")
    with running(app) as url, browsing() as browser:
        page = browser.new_page(base_url=url)
        page.set_default_timeout(60_000)
        page.goto(path)
        assert "key=" not in page.url, "the secret does not stay in the address"
        for number, prompt in enumerate((HOSTILE, "<b>more"), 1):
            page.fill("#prompt", prompt)
            with page.expect_navigation():
                page.keyboard.press("Control+Enter")
            answers = page.locator(".response .text").all_inner_texts()
            assert answers[-2:] == [f"{name} {number}: {prompt}" for name in ("old", "new")]
        assert page.evaluate("window.taken") is None
        assert page.locator(".chat img, .chat script, .chat b").count() == 0
