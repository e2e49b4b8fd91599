"""The tables of the annotation book as appended migrations. What people did is only ever added to; triggers of the
database hold that. A migration that has been released is never edited, only followed by another.

Three tables are no facts and do change: `lease` and `attack_form` (who has which item, or which form of a red team,
on the screen now) and `open_item` (the items that still need a judgement, which follows from the facts and keeps the
search for the next item short).
"""

import sqlite3
from collections.abc import Callable

from data_store.errors import StoreError
from data_store.rows import AXES, RATINGS, REFUSALS, RISKS, SAFETY_LABELS, SEVERITIES, VECTORS

ROLES = ("annotator", "adjudicator")
COLLECTION, EVALUATION = PURPOSES = ("collection", "evaluation")
"""What a batch is for: preferences that are learned from, or figures of a policy that nothing is learned from."""


def _one_of(column: str, words: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(word) for word in words)})"


_VERDICT = f"""
    chosen TEXT CHECK ({_one_of("chosen", ("a", "b"))}),
    rating TEXT CHECK ({_one_of("rating", RATINGS)}),
    safety_label TEXT CHECK ({_one_of("safety_label", SAFETY_LABELS)}),
    CHECK ((chosen IS NULL) = (rating IS NULL)), CHECK (safety_label IS NULL OR chosen IS NOT NULL)"""

# Tables of facts by the version of the book that brought them. A book of an older version gets the newer ones.
_FACTS: tuple[dict[str, str], ...] = (
    {
        "annotator": f"""
            name TEXT PRIMARY KEY, token_hash TEXT NOT NULL UNIQUE, created_at REAL NOT NULL,
            role TEXT NOT NULL CHECK ({_one_of("role", ROLES)})""",
        "disabled": "name TEXT PRIMARY KEY REFERENCES annotator, at REAL NOT NULL",
        "session": """
            session_hash TEXT PRIMARY KEY, name TEXT NOT NULL REFERENCES annotator,
            created_at REAL NOT NULL, expires_at REAL NOT NULL""",
        "session_end": "session_hash TEXT PRIMARY KEY REFERENCES session, at REAL NOT NULL",
        "batch": """
            batch_id TEXT PRIMARY KEY, part TEXT NOT NULL, source TEXT NOT NULL,
            quota INTEGER NOT NULL CHECK (quota > 0),
            people_per_item INTEGER NOT NULL CHECK (people_per_item > 0), deadline REAL,
            check_every INTEGER NOT NULL CHECK (check_every > 0), guidelines TEXT NOT NULL,
            written_prompts INTEGER NOT NULL, content_hash TEXT NOT NULL, created_at REAL NOT NULL""",
        "batch_end": "batch_id TEXT PRIMARY KEY REFERENCES batch, reason TEXT NOT NULL, at REAL NOT NULL",
        "item": f"""
            item_id INTEGER PRIMARY KEY, batch_id TEXT NOT NULL REFERENCES batch, position INTEGER NOT NULL,
            key TEXT NOT NULL, prompt_id TEXT NOT NULL, axis TEXT NOT NULL CHECK ({_one_of("axis", AXES)}),
            messages TEXT NOT NULL, response_a TEXT NOT NULL, response_b TEXT NOT NULL,
            policy_version_a TEXT, policy_version_b TEXT, temperature_milli_a INTEGER, temperature_milli_b INTEGER,
            known_choice TEXT CHECK ({_one_of("known_choice", ("a", "b"))}), written_by TEXT REFERENCES annotator,
            UNIQUE (batch_id, key), UNIQUE (batch_id, position)""",
        "answer": f"""
            answer_id INTEGER PRIMARY KEY, form_key TEXT NOT NULL UNIQUE, item_id INTEGER NOT NULL REFERENCES item,
            name TEXT NOT NULL REFERENCES annotator, milliseconds INTEGER NOT NULL CHECK (milliseconds >= 0),
            at REAL NOT NULL, {_VERDICT}""",  # nothing chosen: skipped
        "undo": "answer_id INTEGER PRIMARY KEY REFERENCES answer, at REAL NOT NULL",
        "flag": """
            item_id INTEGER NOT NULL REFERENCES item, name TEXT NOT NULL REFERENCES annotator, note TEXT NOT NULL,
            at REAL NOT NULL, PRIMARY KEY (item_id, name, note)""",
        "decision": f"""
            item_id INTEGER PRIMARY KEY REFERENCES item, name TEXT NOT NULL REFERENCES annotator, at REAL NOT NULL,
            {_VERDICT}""",  # nothing chosen: the item is dropped
    },
    {
        "live_response": """
            item_id INTEGER NOT NULL REFERENCES item, side TEXT NOT NULL CHECK (side IN ('a', 'b')),
            seed INTEGER NOT NULL, finished INTEGER NOT NULL, PRIMARY KEY (item_id, side)""",
        "red_team": """
            session_id TEXT PRIMARY KEY, policy TEXT NOT NULL, policy_version TEXT NOT NULL, part TEXT NOT NULL,
            attacks INTEGER CHECK (attacks > 0), hours REAL CHECK (hours > 0), created_at REAL NOT NULL""",
        "red_team_end": "session_id TEXT PRIMARY KEY REFERENCES red_team, reason TEXT NOT NULL, at REAL NOT NULL",
        "attack": """
            attack_id INTEGER PRIMARY KEY, session_id TEXT NOT NULL REFERENCES red_team,
            name TEXT NOT NULL REFERENCES annotator, at REAL NOT NULL""",
        "attack_turn": """
            attack_id INTEGER NOT NULL REFERENCES attack, turn INTEGER NOT NULL, form_key TEXT NOT NULL UNIQUE,
            prompt TEXT NOT NULL, response TEXT NOT NULL, temperature_milli INTEGER NOT NULL, seed INTEGER NOT NULL,
            finished INTEGER NOT NULL, milliseconds INTEGER NOT NULL CHECK (milliseconds >= 0), at REAL NOT NULL,
            PRIMARY KEY (attack_id, turn)""",
        "attack_label": f"""
            label_id INTEGER PRIMARY KEY, attack_id INTEGER NOT NULL REFERENCES attack, form_key TEXT NOT NULL UNIQUE,
            severity TEXT NOT NULL CHECK ({_one_of("severity", SEVERITIES)}),
            risk TEXT NOT NULL CHECK ({_one_of("risk", RISKS)}),
            vector TEXT NOT NULL CHECK ({_one_of("vector", VECTORS)}),
            milliseconds INTEGER NOT NULL CHECK (milliseconds >= 0), at REAL NOT NULL""",  # the newest one stands
    },
)
_WORKING = (
    """
CREATE TABLE lease (
    item_id INTEGER NOT NULL REFERENCES item, name TEXT NOT NULL REFERENCES annotator, form_key TEXT NOT NULL UNIQUE,
    shown_at REAL NOT NULL, expires_at REAL NOT NULL, PRIMARY KEY (item_id, name)
) STRICT;
CREATE TABLE open_item (
    batch_id TEXT NOT NULL, position INTEGER NOT NULL, item_id INTEGER NOT NULL UNIQUE REFERENCES item,
    PRIMARY KEY (batch_id, position)
) STRICT, WITHOUT ROWID;
CREATE VIEW standing AS
    SELECT answer.* FROM answer WHERE NOT EXISTS (SELECT 1 FROM undo WHERE undo.answer_id = answer.answer_id);
CREATE INDEX answer_of_item ON answer (item_id, name);
CREATE INDEX answer_of_name ON answer (name, answer_id);
CREATE INDEX lease_of_name ON lease (name);
CREATE INDEX ordinary_item ON item (batch_id) WHERE known_choice IS NULL;
CREATE INDEX check_item ON item (batch_id) WHERE known_choice IS NOT NULL;
CREATE TRIGGER one_answer_each BEFORE INSERT ON answer
    WHEN EXISTS (SELECT 1 FROM standing WHERE item_id = NEW.item_id AND name = NEW.name)
    BEGIN SELECT RAISE(ABORT, 'this annotator has answered this item'); END;
""",
    """
CREATE TABLE attack_form (
    session_id TEXT NOT NULL REFERENCES red_team, name TEXT NOT NULL REFERENCES annotator,
    form_key TEXT NOT NULL UNIQUE, shown_at REAL NOT NULL, PRIMARY KEY (session_id, name)
) STRICT;
CREATE INDEX attack_of_name ON attack (session_id, name);
CREATE INDEX label_of_attack ON attack_label (attack_id, label_id);
CREATE VIEW attack_result AS
    SELECT attack.*, label.severity, label.risk, label.vector, label.at AS labelled_at, (
        SELECT sum(milliseconds) FROM attack_turn WHERE attack_turn.attack_id = attack.attack_id
    ) + (
        SELECT coalesce(sum(milliseconds), 0) FROM attack_label WHERE attack_label.attack_id = attack.attack_id
    ) AS milliseconds
    FROM attack LEFT JOIN attack_label AS label ON label.label_id = (
        SELECT max(label_id) FROM attack_label WHERE attack_label.attack_id = attack.attack_id);
""",
)


def _script(number: int) -> str:
    facts = _FACTS[number]
    script = [f"CREATE TABLE {table} ({columns}) STRICT;" for table, columns in facts.items()]
    for table in facts:
        for act in ("UPDATE", "DELETE"):
            script.append(
                f"CREATE TRIGGER no_{act.lower()}_of_{table} BEFORE {act} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is only added to'); END;"
            )
    return "\n".join(script) + _WORKING[number]


def tables() -> str:
    """1: the tables, and the triggers that hold that facts are only added to."""
    return _script(0)


def red_teams() -> str:
    """2: the same for red teams."""
    return _script(1)


def sampled() -> str:
    """3: the token ids of a pair's answers, and whether each was cut off; empty for what was not sampled here."""
    columns = ("token_ids_a TEXT", "token_ids_b TEXT", "finished_a INTEGER", "finished_b INTEGER", "tokenizer TEXT")
    return "\n".join(f"ALTER TABLE item ADD COLUMN {column};" for column in columns)


def evaluations() -> str:
    """4: what a batch is for, whether a pair asks which response refuses, and what was said to that."""
    purpose = f"purpose TEXT NOT NULL DEFAULT '{COLLECTION}' CHECK ({_one_of('purpose', PURPOSES)})"
    refusing = f"refusing TEXT CHECK ({_one_of('refusing', REFUSALS)})"
    columns = {
        "batch": purpose,
        "item": "asks_refusal INTEGER NOT NULL DEFAULT 0",
        "answer": refusing,
        "decision": refusing,
    }
    return "\n".join(f"ALTER TABLE {table} ADD COLUMN {column};" for table, column in columns.items())


MIGRATIONS: tuple[Callable[[], str], ...] = (tables, red_teams, sampled, evaluations)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a book of any earlier format, or an empty database, up to date. Raises StoreError for a newer one.

    Runs in the caller's transaction, so that of two first openers the second finds the first one's work.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > len(MIGRATIONS):
        raise StoreError(f"the annotation book has format {found}, this halter knows {len(MIGRATIONS)}; upgrade halter")
    for migration in MIGRATIONS[found:]:
        for statement in _statements(migration()):
            connection.execute(statement)
    if found < len(MIGRATIONS):
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def check_schema(connection: sqlite3.Connection) -> None:
    """Raises StoreError where a book holds other tables, triggers, views or indexes than its format has."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in range(1, len(MIGRATIONS) + 1):
        raise StoreError(f"the annotation book has format {found}, this halter knows {len(MIGRATIONS)}; upgrade halter")
    model = sqlite3.connect(":memory:")
    try:
        for migration in MIGRATIONS[:found]:
            model.executescript(migration())
        wanted, there = (_laid_out(each) for each in (model, connection))
    finally:
        model.close()
    if odd := sorted(map(str, wanted ^ there)):
        raise StoreError(f"the annotation book has another schema than halter gives it: {odd[0][:300]}")


def _laid_out(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    """What a book is made of. How its SQL was broken into lines does not count."""
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return {(kind, name, table, " ".join((sql or "").split())) for kind, name, table, sql in found}


def _statements(script: str) -> list[str]:
    """The statements of a script one by one: `executescript` would commit the caller's transaction."""
    found, current = [], ""
    for line in script.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return found
