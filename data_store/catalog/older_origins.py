"""Reading older journals: before origins were kept as facts, an event told in a sentence where a source came from.

Nothing else reads these sentences: today's stand beside the facts, for people. A journal may be a stranger's, so what
is taken out of a sentence is held against its shape like any other fact. The counts are left in it.
"""

import re
from collections.abc import Mapping

from data_store.errors import InputError
from data_store.identity import is_beside
from data_store.names import AssetName

_ID = "[0-9a-f]{64}"
_WORD = "[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
_SENTENCES = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        (
            "adopted",
            rf"run (?P<run>\S+): (?P<from_asset>\S+) version (?P<from_version>{_ID}), "
            rf"made by its run (?:None|(?P<made_by>{_WORD}))",
        ),
        ("judged", rf"annotation batch (?P<batch>{_WORD}), (?:closed because .*|the book is gone): .*"),
        ("asked", rf"(?P<model>.+) at (?P<url>\S+) on (?P<pairs>\S+) (?P<pairs_version>{_ID}): .*"),
        ("file", r"(?P<path>/.*)"),  # after the models that an endpoint was asked for: those may be paths, too
        ("attacked", r"red teams: .*"),
        ("taken_in", rf"(?P<part>{_WORD}) took in .*"),
    )
)
_ATTACKS = re.compile(r"red-team-(v\d+)")


def facts_in(asset: AssetName, location: str) -> Mapping[str, str | None]:
    """The facts that the sentence `location` of an older event on `asset` tells; none where no halter wrote it."""
    for kind, sentence in _SENTENCES:
        if match := sentence.fullmatch(location):
            facts = {"kind": kind, **match.groupdict()}
            if kind == "attacked" and (of := _ATTACKS.fullmatch(asset.name)):
                facts["part"] = of[1].upper()  # the sentence names it only where a session was closed
            return facts if _are_sound(facts) else {}
    return {}


def _are_sound(facts: Mapping[str, str | None]) -> bool:
    try:
        for name in ("from_asset", "pairs"):
            if name in facts:
                AssetName.parse(str(facts[name]))
    except InputError:
        return False
    return is_beside(str(facts.get("run", "run")))
