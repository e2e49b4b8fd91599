"""A report as a browser finds it: its elements in order, and what is written in them."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

EMPTY = {"meta", "img", "link", "br", "hr", "input"}


@dataclass
class Element:
    """One element: tag, attributes, and all the text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """The elements of a page. Tags that are closed in another order than they were opened are an error."""

    content: str
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.content)
        self.close()
        assert self.open == [], [each.tag for each in self.open]

    __hash__ = HTMLParser.__hash__

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag}: an attribute comes twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in EMPTY:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        """The elements of one tag."""
        return [each for each in self.elements if each.tag == tag]

    @property
    def ids(self) -> list[str]:
        """The names of places on the page."""
        return [each.attributes["id"] for each in self.elements if "id" in each.attributes]

    @property
    def numbers(self) -> list[tuple[dict[str, Any], float, str]]:
        """(what it is the value of, value, how it is written) of every number of the page, those of plots among
        them."""
        found = [
            (json.loads(each.attributes["data-of"]), float(each.attributes["value"]), each.text)
            for each in self.all("data")
        ]
        points = [each.attributes for each in self.all("path") if "data-value" in each.attributes]
        return found + [
            ({"run": point["data-run"], "metric": point["data-metric"]}, float(point["data-value"]), "")
            for point in points
        ]
