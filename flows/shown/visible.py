"""Texts of others as they may be shown: with control characters written out instead of obeyed."""

import re

# Controls of the terminal but tab and newline; characters that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with its control characters written out, such as `\\x1b`."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
