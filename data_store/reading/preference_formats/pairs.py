"""What every format needs: a judged pair as the beginning of a row, and the words of a row that a record may say."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from data_store.encoding import text_hash
from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal, RefusedRowError
from data_store.reading.messages import Messages, check_turns
from data_store.reading.source_files import Record
from data_store.reading.words import split_of, word
from data_store.rows import AXES, RATINGS, SAFETY_LABELS

EXCLUDED_LABEL = "chosen_unsafe_other_safe"
"""The paper leaves such pairs out: the safer answer is taken to be the better one (Llama 2, section 3.1)."""

NUMBERS = ("temperature_milli_a", "temperature_milli_b")
TEXTS = ("policy_version_a", "policy_version_b")
ENDS = ("finished_a", "finished_b")
WORDS = ("axis", "split", "rating", "safety_label", "annotator", "iteration", *TEXTS, *NUMBERS, *ENDS)
"""What a record may say about a judgement beside prompt, responses and choice; a row's own names."""

OTHER_AXIS = "other_axis"
_ITERATION = re.compile(r"V\d+")
_TURN = re.compile(r"\n\n(Human|Assistant):")
_OF_TRANSCRIPTS = {"Human": "user", "Assistant": "assistant"}

Row = dict[str, Any]
Found = Row | Refusal


def each_row(records: Iterable[Record], convert: Callable[[Record], Row]) -> Iterator[Found]:
    """One row a record."""
    for record in records:
        yield attempt(record.source, convert, record)


def attempt(source: str, make: Callable[..., Row], *arguments: Any) -> Found:
    """What `make` gives, with its source; or what it refuses."""
    try:
        return {"source": source, **make(*arguments)}
    except RefusedRowError as refusal:
        return Refusal(source, refusal.reason, refusal.detail)


def judged(source: str, messages: Messages, better: str, worse: str, **said: Any) -> Row:
    """A pair of which the better answer is known. Whether it becomes a or b is drawn from a hash of the source."""
    check_answers(messages, {"the better one": better, "the other": worse})
    return {"messages": messages, **placed(source, better, worse), **said}


def seen(messages: Messages, first: str, second: str, chosen: str, **said: Any) -> Row:
    """A pair whose responses stood somewhere in an order that tells nothing: the first is a. `chosen` is a or b."""
    check_answers(messages, {"the first response": first, "the second response": second})
    return {"messages": messages, "response_a": first, "response_b": second, "chosen": chosen, **said}


def check_answers(messages: Messages, answers: Mapping[str, str]) -> None:
    """Refuse answers without a text, and what is no dialogue with them."""
    for name, answer in answers.items():
        if not answer.strip():
            raise RefusedRowError("empty_answer", name)
    check_turns([*messages, {"role": "assistant", "content": "answer"}])


def placed(source: str, chosen: str, rejected: str) -> dict[str, str]:
    """Put the chosen response at a or b by a hash of the source."""
    if int(text_hash(source)[:8], 16) % 2:
        return {"response_a": rejected, "response_b": chosen, "chosen": "b"}
    return {"response_a": chosen, "response_b": rejected, "chosen": "a"}


def beside(first: Record, second: Record) -> str:
    """The source of a pair of two records of one file, as FILE:7+8."""
    return f"{first.source}+{second.source.rpartition(':')[2]}"


def labelled_pairs(records: Sequence[Record], parts: Callable[[Record], tuple[Messages, str, bool]]) -> Iterator[Found]:
    """Answers to one prompt that are each called good or bad: each stands in a pair with one of the other side.

    `parts` gives the prompt, the answer and whether it is good. All pairs of k good and m bad answers would be k · m,
    of which each answer is in many; here there are max(k, m).
    """
    sides: dict[bool, list[tuple[Record, Messages, str]]] = {True: [], False: []}
    for record in records:
        try:
            messages, answer, is_good = parts(record)
        except RefusedRowError as refusal:
            yield Refusal(record.source, refusal.reason, refusal.detail)
            continue
        sides[is_good].append((record, messages, answer))
    good, bad = sides[True], sides[False]
    if not good or not bad:
        for record, _, _ in (*good, *bad):
            yield Refusal(record.source, "no_pair", f"all answers to its prompt are {'good' if good else 'bad'}")
        return
    for number in range(max(len(good), len(bad))):
        (first, messages, better), (second, _, worse) = good[number % len(good)], bad[number % len(bad)]
        source = beside(
            *sorted((first, second), key=lambda record: int(record.source.rpartition(":")[2].split("#")[0]))
        )
        yield attempt(source, judged, source, messages, better, worse)


def transcript(record: Record, name: str, text: str) -> Messages:
    """A dialogue in one text, with `Human:` and `Assistant:` behind empty lines before the turns."""
    before, *turns = _TURN.split(text)
    if before.strip() or not turns:
        raise InputError(
            f"{record.where}: field {name!r} must start with an empty line and 'Human:'; where the prompt stands in "
            "front of both answers without it, nothing tells where it ends: give it as a field 'prompt' of its own"
        )
    return [
        {"role": _OF_TRANSCRIPTS[speaker], "content": content.strip()}
        for speaker, content in zip(turns[::2], turns[1::2], strict=True)
    ]


def said(record: Record, *, own: bool = False) -> Row:
    """The words about the judgement that the record says. Empty ones are not given (a CSV has no other way). A column
    of that name in the data of others may be something else: numbers where words are wanted are passed over, and a
    split is read in the words of the hub. `own`: the record is in Halter's words, where each must be right.

    Raises InputError for a word that is not known, RefusedRowError for the label that the paper leaves out and for an
    axis that is none of ours.
    """
    fields = record.fields
    given = {name: fields[name] for name in WORDS if name in fields and fields[name] not in (None, "")}
    row: Row = {}
    if not given:
        return row
    if "axis" in given and (own or given["axis"] in AXES):
        row["axis"] = word(record, "axis", AXES)
    elif "axis" in given:
        raise RefusedRowError(OTHER_AXIS, str(given["axis"])[:40])
    if "split" in given and (split := split_of(record, own=own)) is not None:
        row["split"] = "heldout" if split == "validation" else split
    for field, words in (("rating", RATINGS), ("safety_label", (*SAFETY_LABELS, EXCLUDED_LABEL))):
        if field in given and (own or _is_word(given[field])):
            row[field] = word(record, field, words, loosely=not own)
    if row.get("safety_label") == EXCLUDED_LABEL:
        raise RefusedRowError(EXCLUDED_LABEL, "the safer answer is taken to be the better one")
    if "annotator" in given:
        who = given["annotator"]
        row["annotator"] = str(who) if isinstance(who, int) else record.text("annotator")
    if _ITERATION.fullmatch(str(given.get("iteration", ""))):
        row["iteration"] = given["iteration"]
    row |= {field: record.text(field) for field in TEXTS if field in given}
    row |= {field: _whole_number(record, field) for field in NUMBERS if field in given}
    row |= {field: _is_finished(record, field) for field in ENDS if field in given}
    return row


def _is_word(value: Any) -> bool:
    """Whether a value could be one of our words: no number, also not one in a CSV, and no truth."""
    listed = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(listed, str) or listed.strip().lower() in ("true", "false"):
        return False
    try:
        float(listed)
    except ValueError:
        return True
    return False


def _whole_number(record: Record, field: str) -> int:
    value = record.fields[field]
    try:
        number = int(value) if not isinstance(value, bool | float) else None
    except (TypeError, ValueError):
        number = None
    if number is None or not 0 <= number < 2**31:
        raise InputError(
            f"{record.where}: field {field!r} is {value!r}; give the temperature in thousandths, as a whole number"
        )
    return number


def _is_finished(record: Record, field: str) -> bool:
    value = record.fields[field]
    said = str(value).strip().lower()  # a CSV has no other truth
    if said not in ("true", "false"):
        raise InputError(
            f"{record.where}: field {field!r} is {value!r}; give true, or false for a response that was cut off"
        )
    return said == "true"
