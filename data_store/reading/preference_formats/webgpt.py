"""WebGPT comparisons: two answers with scores from -1 to 1 that add up to 0.

https://huggingface.co/datasets/openai/webgpt_comparisons
"""

from collections.abc import Iterator, Mapping, Sequence

from data_store.errors import InputError
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import RatingGaps, ScoreOptions
from data_store.reading.preference_formats.pairs import Found, Row, each_row
from data_store.reading.preference_formats.scores import score_of, scored_pair
from data_store.reading.source_files import Record

_SCORES = RatingGaps(significantly_better=2, better=1, slightly_better=0.5)


def read(records: Sequence[Record], options: ScoreOptions) -> Iterator[Found]:
    """`question.full_text`, `answer_0`, `answer_1`, `score_0` and `score_1`."""
    return each_row(records, lambda record: _row(record, options.score_gaps or _SCORES))


def _row(record: Record, gaps: RatingGaps) -> Row:
    question = record.value("question")
    if not isinstance(question, Mapping):
        raise InputError(f"{record.where}: field 'question' must be an object with full_text")
    asked = Record(f"{record.where} question", record.source, dict(question)).text("full_text")
    prompt = [{"role": "user", "content": asked.strip()}]
    first, second = ((record.text(f"answer_{side}").strip(), score_of(record, f"score_{side}")) for side in "01")
    return scored_pair(record.source, prompt, first, second, gaps)


WEBGPT = PreferenceFormat(
    "webgpt",
    "WebGPT: two answers with scores from -1 to 1",
    read,
    lambda fields: {"question", "answer_0", "answer_1", "score_0", "score_1"} <= set(fields),
)
