"""Write the pictures of the chat page that the documentation shows: `python -m tests.web.chat_screenshots`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser

from data_store.annotation.batches import Message
from data_store.annotation.chat import Chat, Keeper, Said
from data_store.annotation.live import LiveResponse
from data_store.figures import rate
from tests.data_store.annotation.pairs import new_desk
from tests.web.browsing import browsing
from tests.web.screenshots import ENGLISH, IMAGES
from tests.web.served import running
from web.chatting import create_chat_app

SIZES = ({"width": 1280, "height": 900}, {"width": 390, "height": 844})


class Reader:
    """Reads an answer out, word by word, whatever it is asked."""

    def __init__(self, name: str, text: str, helpfulness: float, safety: float) -> None:
        self.name, self.text, self.scores = name, text, {"helpfulness": helpfulness, "safety": safety}

    def answer(self, messages: Sequence[Message], temperature: float, seed: int) -> Iterator[str | Said]:
        """The answer."""
        words = self.text.split(" ")
        yield from (" ".join(words[: k + 1]) for k in range(len(words)))
        ids = list(range(len(words)))
        response = LiveResponse(self.text, self.name, round(1000 * temperature), seed, token_ids=ids)
        yield Said(response, self.scores, 0.2, 3.1)


def told(said: Said) -> list[tuple[str, str]]:
    """As the command tells it, with a level."""
    safe = said.scores["safety"]
    return [("helpfulness", rate(said.scores["helpfulness"])), ("safety", rate(safe) + ", unsafe" * (safe < 0.15))]


def shoot(browser: Browser, size: dict[str, int], scheme: str) -> None:
    """Two policies side by side, and the form that saves which one is better, as `chat-en-<width>.png`."""
    with TemporaryDirectory() as folder:
        desk = new_desk(Path(folder))
        desk.add("anna")
        speakers = [
            Reader("model/policy@V1", ENGLISH.response_b, 0.41, 0.06),
            Reader("model/policy@V2", ENGLISH.response_a, 1.87, 0.93),
        ]
        chat = Chat(speakers, Keeper(desk.book, "anna", "V2", lambda _: False, lambda: ()))
        app, path = create_chat_app(chat, told, "reward models of V2")
        with running(app) as url:
            context = browser.new_context(viewport=size, base_url=url, color_scheme=scheme, locale="en")
            page = context.new_page()
            page.goto(path)
            page.fill("#prompt", ENGLISH.messages[-1]["content"])
            with page.expect_navigation():
                page.keyboard.press("Control+Enter")
            page.click("#verdict summary")
            page.select_option("#verdict-word", "b:significantly_better")
            page.screenshot(path=IMAGES / f"chat-en-{size['width']}.png", full_page=True)
            context.close()


if __name__ == "__main__":
    with browsing() as chromium:
        for each, scheme in zip(SIZES, ("light", "dark"), strict=True):
            shoot(chromium, each, scheme)
