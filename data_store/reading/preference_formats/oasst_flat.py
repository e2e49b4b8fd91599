"""OpenAssistant messages, one a line, as the published table has them: the trees are put together first.

https://huggingface.co/datasets/OpenAssistant/oasst1
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal
from data_store.reading.preference_formats import oasst
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.oasst import OasstOptions
from data_store.reading.preference_formats.pairs import Found
from data_store.reading.source_files import Record

_FIELDS = {"message_id", "text", "role", "message_tree_id"}


def read(records: Sequence[Record], options: OasstOptions) -> Iterator[Found]:
    """The messages of one tree. A pair's source is the line of the message with which the tree begins."""
    tree: dict[str, tuple[Record, dict[str, Any]]] = {}
    for record in records:
        name = record.text("message_id")
        if name in tree:
            raise InputError(f"{record.where}: the message_id {name!r} is that of {tree[name][0].source} already")
        tree[name] = (record, {**record.fields, "replies": []})
    roots = []
    for record, message in tree.values():
        parent = record.fields.get("parent_id")
        if parent in (None, ""):
            roots.append((record, message))
        elif record.text("parent_id") in tree:
            tree[parent][1]["replies"].append(message)
        else:
            yield Refusal(record.source, "no_parent", f"there is no message {parent} in its tree")
    if not roots:
        yield Refusal(records[0].source, "no_parent", "no message of the tree is its first")
    for record, message in roots:
        state = {"tree_state": message["tree_state"]} if "tree_state" in message else {}
        yield from oasst.read([Record(record.where, record.source, {**state, "prompt": message})], options)


def _is_message(fields: Mapping[str, Any]) -> bool:
    return set(fields) >= _FIELDS


OASST_FLAT = PreferenceFormat(
    "oasst_flat",
    "OpenAssistant messages, one a line",
    read,
    _is_message,
    together=lambda fields: fields.get("message_tree_id"),
    adjacent=False,
)
