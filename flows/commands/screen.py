"""What the commands print on. Much of it was written by others: data, answers of models, reasons, error messages.

Rich takes `[/INST]` in a text for markup and ends in an error, and lets an escape sequence through to the terminal,
where it could change the title, the clipboard or what stands above. Here a text is markup only where it names one of
our own styles, control characters are shown instead of obeyed, and no word becomes a picture. It holds for every text
on its way to the screen, lines, titles, headers and cells alike, so that no place can forget it.
"""

import re
from typing import Any

from rich.console import Console
from rich.errors import MarkupError
from rich.text import Text

from flows.shown.visible import visible

_STYLES = "bold|dim|red|green|yellow|bright_red|cyan|magenta"
# As rich finds tags: what stands in brackets and begins like a name, with the backslashes before it.
_TAG = re.compile(r"(\\*)(\[[a-z#/@][^[]*?\])")
_OURS = re.compile(rf"\[/?(?:{_STYLES})\]")


class Screen(Console):
    """A console for texts of others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        text = visible(text)
        try:
            return super().render_str(_TAG.sub(_ours_alone, text), **options)
        except MarkupError:  # a closing tag of ours that nothing opened
            return super().render_str(text, **{**options, "markup": False})


def _ours_alone(found: re.Match[str]) -> str:
    """The tag as it is where it is ours or escaped already, else escaped."""
    slashes, tag = found[1], found[2]
    return found[0] if len(slashes) % 2 or _OURS.fullmatch(tag) else f"{slashes * 2}\\{tag}"
