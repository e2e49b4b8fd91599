"""Reading the user's preference pairs, in whichever format their files have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from data_store.errors import InputError
from data_store.reading.preference_formats.pairs import NUMBERS, Found
from data_store.reading.preference_formats.registry import FORMATS, PreferenceOptions
from data_store.reading.row_import import Imported, Refusal, gather, prompt_id_of
from data_store.reading.source_files import Record, SourceFile, read_records, source_files
from data_store.rows import AXES, RATINGS

RECOGNISE = "auto"
_EMPTY = dict.fromkeys(("safety_label", "policy_version_a", "policy_version_b", *NUMBERS))


def read_preferences(
    paths: Sequence[Path],
    format: str = RECOGNISE,
    axis: str = "helpfulness",
    iteration: str = "V0",
    default_rating: str = "better",
    options: PreferenceOptions | None = None,
) -> Imported:
    """Rows of kind preference from .jsonl, .jsonl.gz, .json or .csv.

    `format` is one of FORMATS, or "auto": each file's first record tells. What a record does not say is taken from the
    arguments, but for the split: that stays empty, and the prompt's text decides when pairs are collected. The
    annotator is then "import:<format>". Where a format always names the better answer first, whether it becomes a or b
    is drawn from a hash of its source, so that its place tells nothing. A source is FILE:LINE; with #N where a record
    gives several pairs.

    Refused by name: prompts_differ, identical_responses, empty_answer, empty_message, turns_do_not_alternate,
    last_turn_not_assistant, last_turn_not_user, chosen_unsafe_other_safe, tie, no_pair, no_score, no_rank,
    no_judgement, not_submitted, skipped; of OpenAssistant deleted, synthetic, not_reviewed, failed_review,
    other_language, tree_not_finished.

    Raises:
        InputError: a broken line, a missing or unknown field, an unknown word (the message lists those there are), a
            file of no known format, or nothing left after refusals.
    """
    for name, value, words in (
        ("format", format, (RECOGNISE, *FORMATS)),
        ("axis", axis, AXES),
        ("default_rating", default_rating, RATINGS),
    ):
        if value not in words:
            raise InputError(f"{name} is {value!r}; use one of {', '.join(words)}")
    reading = options or PreferenceOptions()
    default = {"axis": axis, "iteration": iteration, "split": None, "rating": default_rating, **_EMPTY}
    found = (each for file in source_files(paths) for each in _read_file(file, format, reading, default))
    return gather(found, "preference")


def _read_file(
    file: SourceFile, format: str, options: PreferenceOptions, default: Mapping[str, Any]
) -> Iterator[Found]:
    records: Iterable[Record] = read_records(file)
    if format == RECOGNISE:
        records = iter(records)
        first = next(records, None)
        if first is None:
            return
        format, records = _format_of(first), chain([first], records)
    for found in FORMATS[format].read(records, options):
        if isinstance(found, Refusal):
            yield found
        elif found["response_a"] == found["response_b"]:
            yield Refusal(found["source"], "identical_responses", "")
        else:
            row = {**default, "annotator": f"import:{format}", "preference_id": found["source"], **found}
            yield {**row, "prompt_id": prompt_id_of(row["messages"])}


def _format_of(record: Record) -> str:
    """The format that a record's fields tell."""
    for name, each in FORMATS.items():
        if each.recognises(record.fields):
            return name
    raise InputError(
        f"{record.where}: no known format of preferences has the fields {', '.join(record.fields) or 'none'}; "
        f"set data.preference_format to one of {', '.join(FORMATS)}"
    )
