"""How numbers are written for people: in the terminal, in tables and in the pages of the Prefect UI.

A count is a whole number, with its thousands apart, and never a power of ten; a measure has as many digits as tell
something.
"""

import math
import re
from collections.abc import Callable

NOT_MEASURED = "–"
_LONGEST_NAME = 80
FEW = 30  # of less, a figure is marked
_UNITS = ("B", "kB", "MB", "GB", "TB")


def figure(value: float | None, digits: int = 4) -> str:
    """Any number: 43620 is «43,620», 0.51934 is «0.5193», 1234.5 is «1,234.5», 0.00002 is «2e-05».

    What a person wrote is given back with more digits than what was measured.
    """
    if value is None:
        return NOT_MEASURED
    if not math.isfinite(value):
        return str(float(value))
    if value == round(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.{max(digits - 3, 1)}f}"
    return f"{value:.{digits}g}"


def rate(value: float | None) -> str:
    """A measure that is compared with others of its kind, to two digits after the point: 0.5 is «0.50»."""
    return NOT_MEASURED if value is None else f"{value:.2f}"


def percent(value: float | None, digits: int = 0) -> str:
    """A share: 0.475 is «48%», to one digit «47.5%»."""
    return NOT_MEASURED if value is None else f"{100 * value:.{digits}f}%"


def interval(low: float, high: float, form: Callable[[float], str] = figure) -> str:
    """From where to where a figure may lie, as short as can be: «.57–.71»."""
    return "–".join(re.sub(r"\b0\.", ".", form(bound)) for bound in (low, high))


def marks(n: int, low: float | None, chance: float | None = None) -> list[str]:
    """What to know before a figure of `n` items is believed: «few», and «chance» where guessing would do as well."""
    is_chance = low is not None and chance is not None and low <= chance
    return [*(["few"] if n < FEW else []), *(["chance"] if is_chance else [])]


def named(judge: str) -> str:
    """Whoever judged, as code, so that a page takes no name for markup: it may have come with another store."""
    plain = " ".join(judge.split()).translate({ord("`"): "'", ord("|"): "/"})
    return f"`{plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 1] + '…'}`"


def seconds(value: float | None) -> str:
    """A duration, in whole seconds from ten on: «0.7 s», «1,234 s»."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.1f} s" if value < 10 else f"{value:,.0f} s"


def size(value: float) -> str:
    """Bytes in the unit that fits: «17 B», «2.3 MB»."""
    unit = 0
    while value >= 1000 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    return f"{value:,.0f} B" if unit == 0 else f"{value:,.1f} {_UNITS[unit]}"
