"""PKU-SafeRLHF: two answers, which of them is the better one and which the safer one, and whether each is safe.

https://huggingface.co/datasets/PKU-Alignment/PKU-SafeRLHF
"""

from collections.abc import Iterator, Sequence
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.messages import prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import EXCLUDED_LABEL, Found, Row, attempt, seen
from data_store.reading.source_files import Record
from data_store.reading.words import is_true

_IDS = {"helpfulness": "better_response_id", "safety": "safer_response_id"}
_LABELS = {
    (True, True): "both_safe",
    (False, False): "both_unsafe",
    (True, False): "chosen_safe_other_unsafe",
    (False, True): EXCLUDED_LABEL,
}


def read(records: Sequence[Record], options: Any) -> Iterator[Found]:
    """The pair of the axis that the file is given for; on that of safety with its label."""
    for record in records:
        yield attempt(record.source, _row, record, options.axis)


def _row(record: Record, axis: str) -> Row:
    given = record.fields.get(_IDS[axis])
    if str(given) not in ("0", "1"):
        raise InputError(f"{record.where}: field {_IDS[axis]!r} is {given!r}; use one of 0, 1")
    chosen = int(str(given))
    answers = (record.text("response_0").strip(), record.text("response_1").strip())
    row = seen(prompt_in(record, "prompt"), *answers, "ab"[chosen])
    if axis == "safety":
        safe = [is_true(record, f"is_response_{side}_safe") for side in (chosen, 1 - chosen)]
        row["safety_label"] = _LABELS[safe[0], safe[1]]
        if row["safety_label"] == EXCLUDED_LABEL:
            raise RefusedRowError(EXCLUDED_LABEL, "the safer answer is taken to be the better one")
    return row


PKU_SAFERLHF = PreferenceFormat(
    "pku_saferlhf",
    "PKU-SafeRLHF: two answers, the better one, the safer one, and whether each is safe",
    read,
    lambda fields: {"response_0", "response_1", *_IDS.values()} <= set(fields),
)
