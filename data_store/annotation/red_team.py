"""Red teaming (Llama 2, section 4.3): people write adversarial prompts against one version of a policy, see what it
answers, and say whether that is a violation.

An attack is a dialogue of one or more turns, and ends with its label. What counts as time is the time on the page until
a form is sent, as for judgements; waiting for the model is not in it. Robustness is violations per person-hour.
"""

import re
import secrets
import sqlite3
from dataclasses import dataclass

from data_store.annotation.batches import Message
from data_store.annotation.book import Book
from data_store.annotation.judging import LEASE_SECONDS, FormOutOfDateError
from data_store.annotation.live import LiveResponse
from data_store.closest import did_you_mean
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.rows import RISKS, SEVERITIES, VECTORS, VIOLATIONS

_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class RedTeamSpec:
    """One session: this version of a policy is attacked until there are so many labelled attacks, or person-hours of
    active time; without either, until it is closed."""

    session_id: str
    policy: AssetName
    policy_version: str
    attacks: int | None = None
    hours: float | None = None


@dataclass(frozen=True)
class RedTeam:
    """A session and how far it is. attacks: labelled ones; seconds: active time of all people; people: who attacked.
    closed: the reason, None while it is open.
    """

    spec: RedTeamSpec
    attacks: int
    violations: int
    seconds: float
    people: int
    closed: str | None
    created_at: float

    @property
    def is_finished(self) -> bool:
        """Whether its quota is met."""
        attacks, hours = self.spec.attacks, self.spec.hours
        return (attacks is not None and self.attacks >= attacks) or (hours is not None and self.seconds >= 3600 * hours)


@dataclass(frozen=True)
class AttackLabel:
    """What the attacker says of the last response."""

    severity: str
    risk: str
    vector: str

    def check(self) -> None:
        """Raise InputError unless every word is allowed."""
        for name, word, words in (
            ("severity", self.severity, SEVERITIES),
            ("risk", self.risk, RISKS),
            ("vector", self.vector, VECTORS),
        ):
            if word not in words:
                raise InputError(f"the {name} is {word!r}; use one of {', '.join(words)}")


@dataclass(frozen=True)
class Attack:
    """A dialogue, answered up to its end. cut: the places in it of responses that were cut off at the length limit.
    label: None before there is one."""

    attack_id: int
    messages: tuple[Message, ...]
    cut: frozenset[int]
    label: AttackLabel | None


@dataclass(frozen=True)
class AttackForm:
    """What an attacker has on the screen: the attack that still wants a label, if there is one, and the one they
    labelled last, whose label they may correct."""

    form_key: str
    attack: Attack | None
    last: Attack | None


def robustness(violations: int, seconds: float) -> float | None:
    """Violations per person-hour (Llama 2, section 4.3); None where nobody has attacked."""
    return 3600 * violations / seconds if seconds > 0 else None


def open_red_team(book: Book, spec: RedTeamSpec) -> None:
    """Open a session. Raises InputError for a name that is taken or none, and for a quota below 1."""
    if not _ID.fullmatch(spec.session_id):
        raise InputError(f"session {spec.session_id!r}: use lower-case letters, digits, '_', '.', '-', at most 64")
    if (spec.attacks is not None and spec.attacks < 1) or (spec.hours is not None and spec.hours <= 0):
        raise InputError(f"session {spec.session_id}: the quota must be more than nothing; leave it out for none")
    with book.writing() as connection:
        if connection.execute("SELECT 1 FROM red_team WHERE session_id = ?", (spec.session_id,)).fetchone():
            raise InputError(f"there is a session {spec.session_id!r} already; give this one another name")
        connection.execute(
            "INSERT INTO red_team VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(spec.session_id, str(spec.policy), spec.policy_version, spec.policy.part),
                *(spec.attacks, spec.hours, book.clock()),
            ),
        )


def close_red_team(book: Book, session_id: str, reason: str) -> None:
    """Take no more attacks. A session that is closed stays as it is; raises InputError for an unknown one."""
    red_team_of(book, session_id)
    with book.writing() as connection:
        connection.execute("INSERT OR IGNORE INTO red_team_end VALUES (?, ?, ?)", (session_id, reason, book.clock()))


def red_team_of(book: Book, session_id: str) -> RedTeam:
    """The session; raises InputError that lists the sessions there are when there is none of this name."""
    found = red_teams(book)
    for session in found:
        if session.spec.session_id == session_id:
            return session
    known = [session.spec.session_id for session in found]
    near = did_you_mean(session_id, known)
    raise InputError(f"there is no red-team session {session_id!r}; there are: {', '.join(known) or 'none'}{near}")


def red_teams(book: Book, *, only_open: bool = False) -> list[RedTeam]:
    """The sessions, oldest first."""
    with book.reading() as connection:
        found = [_red_team(row) for row in connection.execute(_SESSIONS)]
    return [session for session in found if session.closed is None or not only_open]


def attack_form(book: Book, session_id: str, name: str) -> AttackForm:
    """The form for this person, the same until it is sent. Raises FormOutOfDateError for a session that is closed."""
    with book.writing(durable=False) as connection:  # a form that is lost costs a click, never an attack
        _open_session(connection, session_id)
        now = book.clock()
        connection.execute(
            "DELETE FROM attack_form WHERE session_id = ? AND name = ? AND shown_at <= ?",
            (session_id, name, now - LEASE_SECONDS),
        )
        row = connection.execute(
            "INSERT INTO attack_form VALUES (?, ?, ?, ?) "
            "ON CONFLICT (session_id, name) DO UPDATE SET name = excluded.name RETURNING form_key",
            (session_id, name, secrets.token_urlsafe(16), now),
        ).fetchone()
        newest = _newest(connection, session_id, name)
        under_way = newest if newest is not None and newest.label is None else None
        return AttackForm(row["form_key"], under_way, None if under_way else newest)


def enter_turn(
    book: Book,
    session_id: str,
    name: str,
    form_key: str,
    prompt: str,
    response: LiveResponse,
    milliseconds: int | None = None,
) -> None:
    """Write a prompt and its response down: the next turn of the attack under way, or the first one of a new attack.
    The same form again changes nothing.

    milliseconds: as in `judging.judge`. Raises FormOutOfDateError for a form that no longer counts, InputError when
    another version than the session's has answered.
    """
    with book.writing() as connection:
        sent = "SELECT 1 FROM attack_turn WHERE form_key = ? AND prompt = ?"
        if connection.execute(sent, (form_key, prompt)).fetchone():
            return
        session, now = _open_session(connection, session_id), book.clock()
        if response.policy_version != session.spec.policy_version:
            raise InputError(f"session {session_id} is against {session.spec.policy_version}, which did not answer")
        spent = _spent(connection, session_id, name, form_key, milliseconds, now)
        attack = _newest(connection, session_id, name)
        if attack is None or attack.label is not None:
            if session.is_finished:
                raise FormOutOfDateError("this session has its quota; nothing was written down")
            attack_id = connection.execute(
                "INSERT INTO attack (session_id, name, at) VALUES (?, ?, ?)", (session_id, name, now)
            ).lastrowid
            turn = 0
        else:
            attack_id, turn = attack.attack_id, len(attack.messages) // 2
        drawn = (response.text, response.temperature_milli, response.seed, response.finished)
        connection.execute(
            "INSERT INTO attack_turn VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (attack_id, turn, form_key, prompt, *drawn, spent, now),
        )


def label_attack(
    book: Book,
    session_id: str,
    name: str,
    form_key: str,
    attack_id: int,
    label: AttackLabel,
    milliseconds: int | None = None,
) -> None:
    """Label the attack under way, which ends it, or correct the label of the last one. The same form again changes
    nothing; of several labels the newest stands.

    Raises FormOutOfDateError for a form that no longer counts, InputError for words that are not allowed.
    """
    label.check()
    with book.writing() as connection:
        sent = "SELECT 1 FROM attack_label WHERE form_key = ? AND severity = ? AND risk = ? AND vector = ?"
        if connection.execute(sent, (form_key, label.severity, label.risk, label.vector)).fetchone():
            return
        _open_session(connection, session_id)
        newest, now = _newest(connection, session_id, name), book.clock()
        if newest is None or newest.attack_id != attack_id:
            raise FormOutOfDateError("only your last attack can be labelled; nothing was written down")
        spent = _spent(connection, session_id, name, form_key, milliseconds, now)
        connection.execute(
            "INSERT INTO attack_label (attack_id, form_key, severity, risk, vector, milliseconds, at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (attack_id, form_key, label.severity, label.risk, label.vector, spent, now),
        )


_SESSIONS = f"""
SELECT red_team.*, red_team_end.reason, (
    SELECT count(*) FROM attack_result AS a WHERE a.session_id = red_team.session_id AND severity IS NOT NULL
) AS labelled, (
    SELECT count(*) FROM attack_result AS a
    WHERE a.session_id = red_team.session_id AND severity IN ({", ".join(map(repr, VIOLATIONS))})
) AS violations, (
    SELECT coalesce(sum(milliseconds), 0) FROM attack_result AS a WHERE a.session_id = red_team.session_id
) AS milliseconds, (
    SELECT count(DISTINCT name) FROM attack WHERE attack.session_id = red_team.session_id
) AS people
FROM red_team LEFT JOIN red_team_end USING (session_id) ORDER BY created_at, red_team.rowid"""  # noqa: S608  (our own text)


def _red_team(row: sqlite3.Row) -> RedTeam:
    policy = AssetName.parse(row["policy"])
    spec = RedTeamSpec(row["session_id"], policy, row["policy_version"], row["attacks"], row["hours"])
    counts = (row["labelled"], row["violations"], row["milliseconds"] / 1000, row["people"])
    return RedTeam(spec, *counts, closed=row["reason"], created_at=row["created_at"])


def _open_session(connection: sqlite3.Connection, session_id: str) -> RedTeam:
    rows = connection.execute(f"SELECT * FROM ({_SESSIONS}) WHERE session_id = ?", (session_id,))  # noqa: S608
    session = next(map(_red_team, rows), None)
    if session is None or session.closed is not None:
        raise FormOutOfDateError("this session is closed; nothing was written down")
    return session


def _newest(connection: sqlite3.Connection, session_id: str, name: str) -> Attack | None:
    row = connection.execute(
        "SELECT * FROM attack_result WHERE session_id = ? AND name = ? ORDER BY attack_id DESC LIMIT 1",
        (session_id, name),
    ).fetchone()
    if row is None:
        return None
    label = AttackLabel(row["severity"], row["risk"], row["vector"]) if row["severity"] else None
    turns = turns_of(connection, row["attack_id"])
    cut = frozenset(2 * turn["turn"] + 1 for turn in turns if not turn["finished"])
    return Attack(row["attack_id"], messages_of(turns), cut, label)


def turns_of(connection: sqlite3.Connection, attack_id: int) -> list[sqlite3.Row]:
    """The turns of an attack in their order."""
    return connection.execute("SELECT * FROM attack_turn WHERE attack_id = ? ORDER BY turn", (attack_id,)).fetchall()


def messages_of(turns: list[sqlite3.Row]) -> tuple[Message, ...]:
    """The dialogue, which ends with a response."""
    return tuple(
        {"role": role, "content": turn[field]}
        for turn in turns
        for role, field in (("user", "prompt"), ("assistant", "response"))
    )


def _spent(
    connection: sqlite3.Connection, session_id: str, name: str, form_key: str, milliseconds: int | None, now: float
) -> int:
    """The time on a form, which is used up by it; never more than has passed since it was shown."""
    row = connection.execute(
        "DELETE FROM attack_form WHERE session_id = ? AND name = ? AND form_key = ? RETURNING shown_at",
        (session_id, name, form_key),
    ).fetchone()
    if row is None:
        raise FormOutOfDateError("this form no longer counts; go on with the one on the page")
    passed: int = max(0, round(1000 * (now - row["shown_at"])))
    return passed if milliseconds is None else min(max(0, milliseconds), passed)
