"""Between the catalog and the book: pairs are laid out as a batch, and the judgements of the closed batch become a
version that steps read.

A batch is named by the version of its pairs, so the same pairs are judged once, whoever asks and however often. Its
judgements are the source `judgements-<batch>@external`: their version is the hash of the rows, and what is kept of
where they came from names the batch and the people.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from data_store.annotation.batches import PAIR_FIELDS, Batch, ItemDraft, batch_of, read_batch
from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.export import handed_rows, row_kind_of
from data_store.catalog.origins import JudgedOrigin
from data_store.content.publishing import rows_version
from data_store.encoding import text_hash
from data_store.incoming.sources import register_rows
from data_store.names import AssetName
from data_store.records import Head
from data_store.row_sources import without
from data_store.rows import ROW_KINDS
from data_store.store import Store

_WORDS_OF_A_CHECK = 6


def batch_name(part: str, pairs_version: str) -> str:
    """The batch in which these pairs of this iteration are judged."""
    return f"{part.lower()}-{pairs_version[:16]}"


def judgements_asset(batch_id: str) -> AssetName:
    """The source that a batch's judgements become."""
    return AssetName("source", f"judgements-{batch_id}", "external")


def find_batch(book: Book, batch_id: str) -> Batch | None:
    """The batch, or None where the book has none of this name."""
    with book.reading() as connection:
        return read_batch(connection, batch_id)


def drafts(pairs: Iterable[Mapping[str, Any]]) -> list[ItemDraft]:
    """Rows of kind `pair` as items to judge, in the order of their ids: no variant, axis or topic comes first."""
    return [
        ItemDraft(key=pair["pair_id"], **{name: pair[name] for name in PAIR_FIELDS})
        for pair in sorted(pairs, key=lambda pair: str(pair["pair_id"]))
    ]


def attention_checks(items: Sequence[ItemDraft], count: int) -> list[ItemDraft]:
    """Up to `count` pairs whose right answer is known: a response of some words against the same words out of order.

    They are made of answers to ordinary prompts, and are the same each time for the same items.
    """
    made: list[ItemDraft] = []
    for item in sorted(items, key=lambda item: text_hash(f"check {item.key}")):
        words = item.response_a.split()
        mixed = random.Random(item.key).sample(words, len(words))
        if len(made) == count:
            break
        if item.axis != "helpfulness" or len(words) < _WORDS_OF_A_CHECK or mixed == words:
            continue
        right = "a" if int(text_hash(item.key)[:8], 16) % 2 else "b"
        sides = (item.response_a, " ".join(mixed))
        a, b = sides if right == "a" else sides[::-1]
        made.append(
            ItemDraft(
                f"check-{item.key}",
                item.prompt_id,
                item.axis,
                item.messages,
                a,
                b,
                finished_a=item.finished_a,  # both: what the page says of an end must not tell which one is mixed
                finished_b=item.finished_a,
                known_choice=right,
                asks_refusal=item.asks_refusal,
            )
        )
    return made


def hand_over(store: Store, book: Book, batch_id: str) -> Head:
    """Register the judgements of a closed batch as a source of this store; nothing is written when it has them.

    Preferences have no split: which are held out is decided by the step that reads them. Judgements of people who
    are withdrawn are left out. Raises InputError for a batch that is unknown or still open.
    """
    batch = batch_of(book, batch_id)
    return _register(store, batch_id, handed_rows(book, batch_id), row_kind_of(batch), batch.closed)


def judgements_today(store: Store, book: Book, batch_id: str) -> str | None:
    """The version that `hand_over` would register now; None for a batch that is unknown or still open."""
    batch = find_batch(book, batch_id)
    if batch is None or batch.closed is None:
        return None
    table = _standing(store, handed_rows(book, batch_id))
    return rows_version("dataset", table, row_kind_of(batch))


def hand_over_again(store: Store) -> None:
    """Register all judgements that were handed over before anew, as withdrawals leave them today. Where the book is
    gone, what it once gave takes its place."""
    prefix = judgements_asset("").name
    known = [asset for asset in store.heads() if asset.kind == "source" and asset.name.startswith(prefix)]
    for asset in known:
        batch_id = asset.name.removeprefix(prefix)
        if (store.root / BOOK_FILE).exists():
            book = Book.open(store.root)
            try:
                if find_batch(book, batch_id) is not None:
                    hand_over(store, book, batch_id)
                    continue
            finally:
                book.close()
        versions = dict.fromkeys(head.version_id for head in store.history(asset))
        with store.collecting_forbidden():
            kept = [
                each
                for each in map(store.version, versions)
                if all(store.objects.exists(o.sha256) for o in each.objects)
            ]
        kind = ROW_KINDS[kept[0].row_kind or "preference"] if kept else ROW_KINDS["preference"]
        (key,) = kind.key
        rows = {row[key]: row for each in kept for row in store.rows(each.version_id).to_pylist()}
        table = pa.Table.from_pylist(list(rows.values()), schema=kind.schema)
        _register(store, batch_id, table, kind.name, closed=None)


def _standing(store: Store, table: pa.Table) -> pa.Table:
    """The rows of people who are not withdrawn."""
    return without(table, "annotator", [each.name for each in store.withdrawals() if each.what == "annotator"])


def _register(store: Store, batch_id: str, table: pa.Table, kind: str, closed: str | None) -> Head:
    table = _standing(store, table)
    written = [row for row in table.to_pylist() if ", written by " in row.get("source", "")]
    origin = JudgedOrigin(
        batch_id,
        closed,
        dict(Counter(table.column("annotator").to_pylist())),
        len(written),
        tuple(sorted({str(row[f"policy_version_{side}"]) for row in written for side in "ab"})),
    )
    return register_rows(store, judgements_asset(batch_id), table, kind, origin)
