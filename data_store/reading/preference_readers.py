"""Reading the user's preference pairs, in whichever format their files have."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import BadRows, Refusal, RefusedRowError
from data_store.reading.containers import read_records
from data_store.reading.file_options import OfFiles
from data_store.reading.messages import with_context
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import NUMBERS, OTHER_AXIS, Found
from data_store.reading.preference_formats.registry import FORMATS, PreferenceOptions
from data_store.reading.row_import import Imported, gathered, joined, prompt_id_of, row_identity
from data_store.reading.source_files import Record, SourceFile, source_files
from data_store.reading.words import split_of
from data_store.rows import AXES, RATINGS

RECOGNISE = "auto"
_LOOKED_AT = 50  # records that tell a file's format
_HELD = {"validation": "heldout"}  # what validates trains no reward model either way
_EMPTY = dict.fromkeys(("safety_label", "policy_version_a", "policy_version_b", *NUMBERS))


class _Reading(PreferenceOptions):
    """The options of all formats, with the axis that the file is given for."""

    axis: str

    def for_question(self, question: str | None) -> "_Reading":
        """The same for the question of one file."""
        if question is None:
            return self
        named = {"question": question}
        argilla, label_studio = (each.model_copy(update=named) for each in (self.argilla, self.label_studio))
        return self.model_copy(update={"argilla": argilla, "label_studio": label_studio})


def read_preferences(
    paths: Sequence[Path],
    format: str = RECOGNISE,
    axis: str = "helpfulness",
    iteration: str = "V0",
    default_rating: str = "better",
    options: PreferenceOptions | None = None,
    bad: BadRows | None = None,
    of_files: OfFiles | None = None,
) -> Imported:
    """The rows of `each_preferences`, all of them. Raises as it does."""
    pieces = each_preferences(paths, format, axis, iteration, default_rating, options, bad, of_files)
    return joined(pieces)


def each_preferences(
    paths: Sequence[Path],
    format: str = RECOGNISE,
    axis: str = "helpfulness",
    iteration: str = "V0",
    default_rating: str = "better",
    options: PreferenceOptions | None = None,
    bad: BadRows | None = None,
    of_files: OfFiles | None = None,
) -> Iterator[Imported]:
    """Rows of kind preference, some at a time, from .jsonl, .json, .csv, .tsv, .parquet or .arrow.

    `format` is one of FORMATS, or "auto": the first records of each file tell. What a record does not say is taken from
    the arguments, but for the split: that stays empty, and the prompt's text decides when pairs are collected. The
    annotator is then "import:<format>". Where a format always names the better answer first, whether it becomes a or b
    is drawn from a hash of its source, so that its place tells nothing. A source is FILE:LINE; with #N where a record
    gives several pairs. The id of a row is its source behind its axis, so one file can be given for both.

    Refused by name: those reasons that docs/preference-sources.md lists. A row that cannot be read is `bad_row` where
    `bad` has it dropped.

    Raises:
        InputError: a row that cannot be read (a broken line, a missing field, an unknown word; the message lists those
            there are), a file of no known format, or nothing left after refusals.
    """
    for name, value, words in (
        ("format", format, (RECOGNISE, *FORMATS)),
        ("axis", axis, AXES),
        ("default_rating", default_rating, RATINGS),
    ):
        if value not in words:
            raise InputError(f"{name} is {value!r}; use one of {', '.join(words)}")
    reading = _Reading(**dict(options or PreferenceOptions()), axis=axis)
    default = {"axis": axis, "iteration": iteration, "split": None, "rating": default_rating, **_EMPTY}
    bad = bad or BadRows()
    files = source_files(paths, of_files)
    found = (each for file in files for each in _read_file(file, format, reading, default, bad))
    return gathered(found, "preference")


def _read_file(
    file: SourceFile, name: str, options: _Reading, default: Mapping[str, Any], bad: BadRows
) -> Iterator[Found]:
    said = file.options
    name, options = said.format or name, options.for_question(said.question)
    if name not in (RECOGNISE, *FORMATS):
        raise InputError(f"{file.path}: format is {name!r}; use one of {', '.join((RECOGNISE, *FORMATS))}")
    records: Iterable[Record] = _renamed(read_records(file, bad), said.prompt_field)
    default = {**default, "split": said.split.replace("validation", "heldout") if said.split else None}
    if name == RECOGNISE:
        records = iter(records)
        first = list(islice(records, _LOOKED_AT))
        yield from bad.taken()
        if not first:
            return
        name, records = _format_of(first), chain(first, records)
    format = FORMATS[name]
    beside = {**default, "annotator": f"import:{name}"}
    told = {"axis": options.axis} | ({"split": default["split"]} if default["split"] else {})
    for group in _groups(records, format):
        for found in _read_group(format, group, options, bad):
            if isinstance(found, Refusal):
                yield found
            elif said.axis is None and found.get("axis", options.axis) != options.axis:
                yield Refusal(found["source"], OTHER_AXIS, f"the file is given for {options.axis}")
            elif found["response_a"] == found["response_b"]:
                yield Refusal(found["source"], "identical_responses", "")
            else:
                row = {**beside, **found, **told}
                row["preference_id"] = row_identity(row["axis"], row["source"])
                row["prompt_id"] = prompt_id_of(row["messages"])
                yield row
        yield from bad.taken()
    yield from bad.taken()


def _renamed(records: Iterable[Record], prompt_field: str | None) -> Iterator[Record]:
    """The records with the prompt where formats look for it."""
    if prompt_field is None:
        return iter(records)
    return (
        replace(record, fields={**record.fields, "prompt": record.fields[prompt_field]})
        if prompt_field in record.fields
        else record
        for record in records
    )


def _groups(records: Iterable[Record], format: PreferenceFormat) -> Iterator[list[Record]]:
    """Records that belong together."""
    together = format.together
    if together is None:
        yield from ([record] for record in records)
    elif format.adjacent:
        yield from (list(group) for _, group in groupby(records, key=lambda record: together(record.fields)))
    else:
        found = dict[str, list[Record]]()
        for record in records:
            found.setdefault(json.dumps(together(record.fields), sort_keys=True, default=str), []).append(record)
        yield from found.values()


def _read_group(
    format: PreferenceFormat, group: list[Record], options: PreferenceOptions, bad: BadRows
) -> Iterator[Found]:
    """What a format makes of records that belong together, behind what they say beside their dialogue."""
    try:
        read = list(format.read(group, options))
        told = _beside(group[0], format)
    except RefusedRowError as refusal:
        yield from (Refusal(record.source, refusal.reason, refusal.detail) for record in group)
        return
    except InputError as error:
        bad.meet(error, *(record.source for record in group))
        return
    for found in read:
        if isinstance(found, Refusal):
            yield found
            continue
        try:
            for field, value in found.items():
                if isinstance(value, str):  # whoever judged is named in words that no format has looked at
                    group[0].check_text(field, value)
            split = {} if "split" in found or (of := split_of(told)) is None else {"split": _HELD.get(of, of)}
            yield {**found, **split, "messages": with_context(told, found["messages"])}
        except RefusedRowError as refusal:
            yield Refusal(found["source"], refusal.reason, refusal.detail)
        except InputError as error:
            bad.meet(error, found["source"])


def _beside(record: Record, format: PreferenceFormat) -> Record:
    """The record without what its format has read of it. Raises InputError for thoughts that belong to no answer."""
    if record.fields.get("reasoning_content") not in (None, ""):
        raise InputError(
            f"{record.where}: field 'reasoning_content' belongs to neither answer; put it into their messages, or "
            "remove it"
        )
    fields = {name: value for name, value in record.fields.items() if name not in format.reads}
    return Record(record.where, record.source, fields)


def _format_of(records: Sequence[Record]) -> str:
    """The format of which most of a file's first records are; of two the one that is tried first."""
    counts = dict.fromkeys(FORMATS, 0)
    for record in records:
        fields = {name: value for name, value in record.fields.items() if value is not None}
        found = next((name for name, each in FORMATS.items() if each.recognises(fields)), None)
        if found is not None:
            counts[found] += 1
    best = max(counts, key=lambda name: counts[name])
    if counts[best]:
        return best
    raise InputError(
        f"{records[0].where}: no known format of preferences has the fields {', '.join(records[0].fields) or 'none'}; "
        f"set data.preference_format to one of {', '.join(FORMATS)}"
    )
