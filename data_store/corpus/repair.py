"""Texts that were decoded wrongly, and pages that still have their markup."""

import re
from collections.abc import Mapping
from functools import lru_cache
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from pydantic import Field

from data_store.corpus.filter import Change, SampleConfig

if TYPE_CHECKING:
    from ftfy import TextFixerConfig

_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_MISREAD_UTF8 = re.compile(rf"[\u00c2-\u00f4][\u0080-\u00bf{_CP1252}]")
"""Each character beyond ASCII that was UTF-8 and was read byte by byte begins so."""
_MISREAD_KOREAN = re.compile(rb"[\xa1-\xfe]{8}")
_TAG = re.compile(
    r"</?(?:html|head|body|title|meta|link|script|style|div|span|p|br|hr|h[1-6]|ul|ol|li|dl|dt|dd|table|tbody|thead|tr|td|th"
    r"|a|img|b|i|u|em|strong|small|sup|sub|font|center|blockquote|pre|code|form|input|button|label|nav|header|footer"
    r"|section|article|main|aside|figure|iframe)\b[^<>]{0,2000}>",
    re.IGNORECASE,
)
_ENTITY = re.compile(
    r"&(?:nbsp|amp|quot|apos|lt|gt|[lr][sd]quo|hellip|[nm]dash|copy|middot|#\d{2,5}|#x[0-9a-fA-F]{2,5});"
)
_BLOCKS = frozenset(
    [
        "title",
        "div",
        "p",
        "br",
        "hr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "tr",
        "blockquote",
        "pre",
        "form",
        "nav",
        "header",
        "footer",
        "section",
        "article",
        "main",
        "aside",
        "figure",
    ]
)
_HIDDEN = frozenset(("script", "style", "head", "iframe"))
_LEAST_TAGS = 3


class RepairConfig(SampleConfig):
    """What is mended."""

    mend_encoding: bool = Field(
        default=True, description="Mend UTF-8 and EUC-KR that were read as Latin-1 or Windows-1252."
    )
    strip_markup: bool = Field(
        default=True,
        description="Take HTML out of texts a tenth of which are its tags, and write out the signs that entities mean.",
    )


class MendEncoding(Change):
    """By ftfy, which undoes what makes a text more likely and nothing else; quotes, ligatures and entities stay."""

    counted = {"encoding": "texts that were read in a wrong encoding"}

    def change(self, text: str, config: RepairConfig) -> tuple[str, Mapping[str, int]]:
        """The text as it was written."""
        if not config.mend_encoding or text.isascii():
            return text, {}
        mended = _from_korean(text)
        if mended is None and _MISREAD_UTF8.search(text):
            from ftfy import fix_text

            mended = fix_text(text, _careful())
        return (text, {}) if mended is None or mended == text else (mended, {"encoding": 1})


@lru_cache(maxsize=1)
def _careful() -> "TextFixerConfig":
    from ftfy import TextFixerConfig

    return TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )


def _from_korean(text: str) -> str | None:
    """The Korean of EUC-KR that was read as Latin-1; None where that makes no text of Hangul."""
    try:
        written = text.encode("latin-1")
        if not _MISREAD_KOREAN.search(written):
            return None
        read = written.decode("cp949")
    except UnicodeError:
        return None
    foreign = [sign for sign in read if sign > "\x7f"]
    hangul = sum("가" <= sign <= "힣" for sign in foreign)
    return read if hangul >= 0.9 * len(foreign) else None


class StripMarkup(Change):
    """By the parser of Python's library; scripts, styles and heads go, blocks end a line."""

    counted = {"markup": "texts with HTML in them"}

    def change(self, text: str, config: RepairConfig) -> tuple[str, Mapping[str, int]]:
        """The words of a page. A text about HTML has few tags and keeps them."""
        if not config.strip_markup or not ("<" in text or "&" in text):
            return text, {}
        tags = list(_TAG.finditer(text)) if "</" in text else []
        if len(tags) >= _LEAST_TAGS and 10 * sum(tag.end() - tag.start() for tag in tags) >= len(text):
            reader = _Reader()
            reader.feed(text)
            reader.close()
            return "\n".join(reader.lines), {"markup": 1}
        entities = len(_ENTITY.findall(text)) if "&" in text else 0
        if entities >= _LEAST_TAGS and 200 * entities >= len(text):
            return unescape(text), {"markup": 1}
        return text, {}


class _Reader(HTMLParser):
    """`lines` are those of the page that are not blank, with single spaces, but for program text (`pre`), which keeps
    its own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self._line = ""
        self._hidden, self._as_it_stands = 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _HIDDEN
        if tag in _BLOCKS:
            self._end_line()
        elif tag in ("td", "th"):
            self._line += " "
        self._as_it_stands += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(self._hidden - (tag in _HIDDEN), 0)
        if tag in _BLOCKS:
            self._end_line()
        self._as_it_stands = max(self._as_it_stands - (tag == "pre"), 0)

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        first, *more = data.split("\n")
        self._line += first
        for each in more:
            self._end_line()
            self._line = each

    def close(self) -> None:
        super().close()
        self._end_line()

    def _end_line(self) -> None:
        line = self._line.rstrip() if self._as_it_stands else " ".join(self._line.split())
        if line:
            self.lines.append(line)
        self._line = ""
