"""From the book to the catalog: the attacks of closed red-team sessions are one source per part, which steps read."""

import sqlite3
from typing import Any

import pyarrow as pa

from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.red_team import messages_of, red_teams, turns_of
from data_store.catalog.origins import AttackedOrigin, RedTeamSession
from data_store.content.publishing import rows_version
from data_store.encoding import content_hash
from data_store.incoming.sources import register_rows
from data_store.names import AssetName
from data_store.records import Head
from data_store.row_checks import conform
from data_store.row_sources import without
from data_store.rows import ROW_KINDS
from data_store.store import Store


def attacks_asset(part: str) -> AssetName:
    """The source that the attacks on the policies of a part become."""
    return AssetName("source", f"red-team-{part.lower()}", "external")


def attack_rows(book: Book, part: str) -> pa.Table:
    """The rows of kind `attack` of all closed sessions against the policies of a part: labelled attacks, oldest first.

    `messages` ends with the last prompt; `response`, `seed` and `temperature_milli` are those of the answer to it.
    """
    kind = ROW_KINDS["attack"]
    with book.reading() as connection:
        rows = [_row(connection, row) for row in connection.execute(_LABELLED, {"part": part}).fetchall()]
    return conform(pa.Table.from_pylist(rows, schema=kind.schema), kind, f"red teams of {part}")


def hand_over_attacks(store: Store, part: str) -> Head:
    """Register the attacks of a part as a source of this store: none, where there is no closed session. Nothing is
    written when it has them; where the book is gone, what it gave still holds. Attacks of people who are withdrawn are
    left out."""
    asset = attacks_asset(part)
    known = store.head(asset)
    if known is not None and not (store.root / BOOK_FILE).exists():
        table, sessions = store.rows(known.version_id), None
    else:
        book = Book.open(store.root)
        try:
            table = attack_rows(book, part)
            sessions = tuple(
                RedTeamSession(
                    one.spec.session_id, str(one.spec.policy), one.spec.policy_version, one.attacks, one.violations
                )
                for one in red_teams(book)
                if one.spec.policy.part == part and one.closed is not None
            )
        finally:
            book.close()
    return register_rows(store, asset, _standing(store, table), "attack", AttackedOrigin(part, sessions))


def attacks_today(store: Store, book: Book | None, part: str) -> str:
    """The version that `hand_over_attacks` would register now; without a book there are no attacks."""
    kind = ROW_KINDS["attack"]
    table = pa.Table.from_pylist([], schema=kind.schema) if book is None else attack_rows(book, part)
    return rows_version("dataset", _standing(store, table), kind.name)


def _standing(store: Store, table: pa.Table) -> pa.Table:
    """The attacks of people who are not withdrawn."""
    return without(table, "annotator", [each.name for each in store.withdrawals() if each.what == "annotator"])


_LABELLED = """
SELECT attack_result.*, policy_version, part FROM attack_result JOIN red_team USING (session_id)
JOIN red_team_end USING (session_id) WHERE part = :part AND severity IS NOT NULL ORDER BY attack_id"""


def _row(connection: sqlite3.Connection, attack: sqlite3.Row) -> dict[str, Any]:
    turns = turns_of(connection, attack["attack_id"])
    last, texts = turns[-1], [[turn["prompt"], turn["response"]] for turn in turns]
    return {
        "attack_id": content_hash([attack["session_id"], attack["attack_id"], attack["name"], texts])[:24],
        "source": f"red-team session {attack['session_id']}",
        "iteration": attack["part"],
        "policy_version": attack["policy_version"],
        "annotator": attack["name"],
        "messages": list(messages_of(turns)[:-1]),
        "response": last["response"],
        "finished": bool(last["finished"]),
        **{name: last[name] for name in ("temperature_milli", "seed")},
        **{name: attack[name] for name in ("severity", "risk", "vector")},
        "seconds": attack["milliseconds"] / 1000,
    }
