"""What a mistyped name was meant to be."""

import difflib
from collections.abc import Iterable

_ALIKE = 0.6


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, to be put behind a message; empty where nothing that is known is like what was given."""
    by_name = {name.lower().replace("_", "-"): name for name in known}
    wanted = given.lower().replace("_", "-")
    near = difflib.get_close_matches(wanted, by_name, n=1, cutoff=_ALIKE)
    near = near or [name for name in by_name if len(wanted) > 2 and (wanted in name or name in wanted)]
    return f"; did you mean {by_name[near[0]]!r}?" if near else ""
