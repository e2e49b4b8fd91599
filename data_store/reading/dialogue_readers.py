"""Reading the user's demonstrations, in whichever format their files have."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import BadRows, Refusal, RefusedRowError
from data_store.reading.containers import read_records
from data_store.reading.dialogue_formats.format import DialogueFormat, Names
from data_store.reading.dialogue_formats.pair import PAIR
from data_store.reading.dialogue_formats.registry import DIALOGUE_FORMATS
from data_store.reading.file_options import OfFiles
from data_store.reading.messages import Messages, check_turns, with_context, with_thoughts
from data_store.reading.row_import import Imported, gather
from data_store.reading.source_files import Record, source_files
from data_store.reading.words import split_of

RECOGNISE = "auto"
HELD_OUT = "held_out"
"""Why a demonstration is refused of which nothing may be learned."""


def read_dialogues(
    paths: Sequence[Path],
    prompt_field: str = "prompt",
    response_field: str = "response",
    kind: str = "import",
    format: str = RECOGNISE,
    bad: BadRows | None = None,
    of_files: OfFiles | None = None,
) -> Imported:
    """Rows of kind dialogue from .jsonl, .json, .csv, .tsv, .parquet and .arrow.

    `format` is one of DIALOGUE_FORMATS, or "auto": each record tells by its fields. `prompt_field` and `response_field`
    name those of a pair (of a CSV, for example). What a record says beside its dialogue belongs to it: a system
    message, earlier turns, thoughts. One whose `split` is held out is not learned from.

    Refused by name: those reasons that docs/your-own-data.md lists. A row that cannot be read is `bad_row` where `bad`
    has it dropped.

    Raises:
        InputError: a broken line, a record in none of these formats; nothing left after refusals.
    """
    bad = bad or BadRows()

    def found() -> Iterator[dict[str, Any] | Refusal]:
        for file in source_files(paths, of_files):
            said = file.options
            names = Names(said.prompt_field or prompt_field, said.response_field or response_field)
            named = said.format or format
            if named not in (RECOGNISE, *DIALOGUE_FORMATS):
                raise InputError(f"format is {named!r}; use one of {', '.join((RECOGNISE, *DIALOGUE_FORMATS))}")
            for record in read_records(file, bad):
                yield from bad.taken()
                try:
                    yield from _rows(record, DIALOGUE_FORMATS.get(named) or _format_of(record, names), names, kind)
                except RefusedRowError as refusal:
                    yield Refusal(record.source, refusal.reason, refusal.detail)
                except InputError as error:
                    bad.meet(error, record.source)
            yield from bad.taken()

    return gather(found(), "dialogue")


def _format_of(record: Record, names: Names) -> DialogueFormat:
    """The format that a record's fields tell. Of none it lacks the fields of a pair."""
    found = (each for each in DIALOGUE_FORMATS.values() if each.recognises(record.fields, names))
    return next(found, PAIR)


def _rows(record: Record, format: DialogueFormat, names: Names, kind: str) -> Iterator[dict[str, Any] | Refusal]:
    if split_of(record) in ("heldout", "validation"):
        raise RefusedRowError(HELD_OUT, f"its split is {str(record.fields['split'])[:40]}")
    dialogues = list(format.read(record, names))
    for number, messages in enumerate(dialogues):
        source = record.source if len(dialogues) == 1 else f"{record.source}#{number}"
        try:
            whole = _whole(record, messages)
            check_turns(whole)
            yield {"dialogue_id": source, "source": source, "kind": kind, "messages": whole}
        except RefusedRowError as refusal:
            yield Refusal(source, refusal.reason, refusal.detail)


def _whole(record: Record, messages: Messages) -> Messages:
    """A dialogue with what its record says beside it."""
    whole = with_context(record, messages)
    if whole and whole[-1]["role"] == "assistant":
        whole[-1] = {**whole[-1], "content": with_thoughts(record, whole[-1]["content"])}
    return whole
