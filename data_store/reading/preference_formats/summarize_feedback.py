"""Comparisons of summaries (Stiennon et al. 2020, arXiv 2009.01325), asked for in the paper's words (table 5).

https://huggingface.co/datasets/openai/summarize_from_feedback
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_store.errors import InputError
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import Found, Row, each_row, seen
from data_store.reading.source_files import Record


def read(records: Sequence[Record], _: Any) -> Iterator[Found]:
    """`info` with a `post` or an `article`, two `summaries` and `choice`."""
    return each_row(records, _row)


def _row(record: Record) -> Row:
    info, summaries, choice = (record.value(name) for name in ("info", "summaries", "choice"))
    if not isinstance(info, Mapping):
        raise InputError(f"{record.where}: field 'info' must be an object with post or article")
    about = Record(f"{record.where} info", record.source, dict(info))
    if info.get("post") is not None:
        parts = {"SUBREDDIT": f"r/{info.get('subreddit')}", "TITLE": info.get("title"), "POST": about.text("post")}
        asked = "\n\n".join(f"{name}: {str(text).strip()}" for name, text in parts.items() if text)
    else:
        asked = f"Article:\n\n{about.text('article').strip()}"
    if not isinstance(summaries, list) or len(summaries) != 2 or not all(isinstance(s, Mapping) for s in summaries):
        raise InputError(f"{record.where}: field 'summaries' must be a list of two objects with text")
    if str(choice) not in ("0", "1"):
        raise InputError(f"{record.where}: field 'choice' is {choice!r}; use one of 0, 1")
    texts = [record.check_text(f"summaries[{n}].text", each.get("text")).strip() for n, each in enumerate(summaries)]
    worker = record.fields.get("worker")
    who = {"annotator": f"summarize_feedback:{worker}"} if isinstance(worker, str) and worker else {}
    prompt = [{"role": "user", "content": f"{asked}\n\nTL;DR:"}]
    return seen(prompt, texts[0], texts[1], "ab"[int(str(choice))], **who)


SUMMARIZE_FEEDBACK = PreferenceFormat(
    "summarize_feedback",
    "Comparisons of two summaries of a post or an article",
    read,
    lambda fields: {"info", "summaries", "choice"} <= set(fields),
)
