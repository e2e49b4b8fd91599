"""Words that a record may say, of a fixed list."""

import re
from typing import Any

from data_store.errors import InputError
from data_store.reading.source_files import Record

SPLITS = ("train", "validation", "heldout")
_OF_THE_HUB = re.compile(r"(?P<train>train)|(?P<validation>val|dev)|(?P<heldout>test|eval|held)")


def word(record: Record, field: str, words: tuple[str, ...], *, loosely: bool = False) -> str:
    """The field's text, one of `words`. `loosely`: however it is spaced and in capitals, and also alone in a list."""
    given: Any = record.fields.get(field)
    if loosely and isinstance(given, list) and len(given) == 1:
        given = given[0]
    value = record.text(field) if given is record.fields.get(field) else record.check_text(field, given)
    if loosely:
        value = re.sub(r"[\s-]+", "_", value.strip().lower())
    if value not in words:
        raise InputError(f"{record.where}: field {field!r} is {value!r}; use one of {', '.join(words)}")
    return value


def split_of(record: Record, *, own: bool = False) -> str | None:
    """The split that a record's `split` says: ours, or what the hub's begin with (train_sft, test, validation, dev);
    None for any other word. `own`: such a word is an error."""
    value = record.fields.get("split")
    if value in (None, "") or (not own and not isinstance(value, str)):
        return None
    said = word(record, "split", SPLITS) if own and not named_split(record.text("split")) else record.text("split")
    return named_split(said)


def named_split(name: str) -> str | None:
    """The split that a name means; None for a name that means none."""
    found = _OF_THE_HUB.match(name.strip().lower())
    return found.lastgroup if found else None


def is_true(record: Record, field: str) -> bool:
    """A truth, also as a table without types says it. Raises InputError for anything else."""
    said = str(record.fields.get(field)).strip().lower()
    if said not in ("true", "false", "1", "0"):
        raise InputError(f"{record.where}: field {field!r} is {record.fields.get(field)!r}; give true or false")
    return said in ("true", "1")
