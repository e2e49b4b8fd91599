"""Prompts that annotators write themselves: each turn, with the two responses it got, is a pair of the batch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from data_store.annotation.batches import ItemDraft, Message, add_item, check_items, read_batch
from data_store.annotation.book import Book
from data_store.annotation.judging import FormOutOfDateError, lease_item
from data_store.annotation.live import LiveResponse
from data_store.encoding import content_hash
from data_store.errors import InputError
from data_store.rows import AXES


@dataclass(frozen=True)
class Dialogue:
    """What a new user turn is added to. prompt_id: of the dialogue's first prompt, None before there is one; all turns
    share it, so that no dialogue is on both sides of a split.
    """

    axis: str
    messages: tuple[Message, ...]
    prompt_id: str | None


def begin_dialogue(axis: str) -> Dialogue:
    """A dialogue without turns; raises InputError for an unknown axis."""
    if axis not in AXES:
        raise InputError(f"the axis is {axis!r}; use one of {', '.join(AXES)}")
    return Dialogue(axis, (), None)


def continue_dialogue(book: Book, batch_id: str, name: str, item_id: int) -> Dialogue:
    """The dialogue of a pair that this person wrote and judged, ending with the response they chose.

    Raises FormOutOfDateError when it is not theirs, or not judged.
    """
    with book.reading() as connection:
        row = connection.execute(
            "SELECT item.*, standing.chosen FROM item JOIN standing USING (item_id) WHERE item_id = :item "
            "AND batch_id = :batch AND written_by = :name AND standing.name = :name AND standing.chosen IS NOT NULL",
            {"item": item_id, "batch": batch_id, "name": name},
        ).fetchone()
    if row is None:
        raise FormOutOfDateError("only a dialogue that you began and whose responses you judged can be continued")
    reply = {"role": "assistant", "content": row[f"response_{row['chosen']}"]}
    return Dialogue(row["axis"], (*json.loads(row["messages"]), reply), row["prompt_id"])


def enter_written(
    book: Book, batch_id: str, name: str, dialogue: Dialogue, prompt: str, sides: Sequence[LiveResponse], form_key: str
) -> int:
    """Make a pair of what this person wrote and got; it is leased to them, and later shown to others as well.

    sides: response a and response b, shuffled by the caller. form_key: names the form that was sent; the same one again
    changes nothing. Gives the item. Raises InputError when the batch takes no written prompts or is closed, or when
    both responses are the same.
    """
    a, b = sides
    messages = (*dialogue.messages, {"role": "user", "content": prompt})
    texts = [[message["role"], message["content"]] for message in messages]
    key = content_hash(["written", name, form_key, texts])[:24]
    with book.writing() as connection:
        batch = read_batch(connection, batch_id)
        if batch is None or batch.closed is not None or not batch.spec.written_prompts:
            raise FormOutOfDateError("this batch takes no written prompts, or it is closed")
        sent = connection.execute("SELECT item_id FROM item WHERE batch_id = ? AND key = ?", (batch_id, key)).fetchone()
        if sent:
            return int(sent["item_id"])
        (position,) = connection.execute(
            "SELECT coalesce(max(position) + 1, 0) FROM item WHERE batch_id = ?", (batch_id,)
        ).fetchone()
        alike = a.tokenizer == b.tokenizer  # a row names one
        draft = ItemDraft(
            key=key,
            prompt_id=dialogue.prompt_id or content_hash(texts)[:24],
            axis=dialogue.axis,
            messages=messages,
            response_a=a.text,
            response_b=b.text,
            token_ids_a=a.token_ids if alike else None,
            token_ids_b=b.token_ids if alike else None,
            finished_a=a.finished,
            finished_b=b.finished,
            tokenizer=a.tokenizer if alike else None,
            policy_version_a=a.policy_version,
            policy_version_b=b.policy_version,
            temperature_milli_a=a.temperature_milli,
            temperature_milli_b=b.temperature_milli,
        )
        check_items([draft], batch.spec)
        item_id = add_item(connection, batch_id, position, draft, written_by=name)
        for side, response in zip("ab", sides, strict=True):
            drawn = (item_id, side, response.seed, response.finished)
            connection.execute("INSERT INTO live_response VALUES (?, ?, ?, ?)", drawn)
        lease_item(connection, item_id, name, book.clock())
    return item_id
