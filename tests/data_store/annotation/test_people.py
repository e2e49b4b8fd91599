import sqlite3

import pytest

from data_store.annotation.book import BOOK_FILE
from data_store.annotation.people import (
    SESSION_SECONDS,
    annotators,
    disable_annotator,
    log_in,
    log_out,
    session_annotator,
)
from data_store.errors import InputError
from tests.data_store.annotation.pairs import Desk


def logged_in(desk: Desk, name: str) -> str:
    secret = log_in(desk.book, desk.tokens[name])
    assert secret is not None
    return secret


def test_a_token_opens_a_session_of_its_person_that_ends_by_itself(desk: Desk) -> None:
    desk.add("anna")
    desk.add("judith", adjudicator=True)
    secret = logged_in(desk, "judith")
    found = session_annotator(desk.book, secret)
    assert found is not None
    assert (found.name, found.role) == ("judith", "adjudicator")
    desk.time[0] += SESSION_SECONDS
    assert session_annotator(desk.book, secret) is None


def test_logging_out_ends_one_session_and_not_another(desk: Desk) -> None:
    desk.add("anna")
    first, second = logged_in(desk, "anna"), logged_in(desk, "anna")
    log_out(desk.book, first)
    log_out(desk.book, first)
    log_out(desk.book, "unknown")
    assert session_annotator(desk.book, first) is None
    assert session_annotator(desk.book, second) is not None


def test_disabling_ends_sessions_and_the_token(desk: Desk) -> None:
    desk.add("anna")
    secret = logged_in(desk, "anna")
    disable_annotator(desk.book, "anna")
    disable_annotator(desk.book, "anna")
    assert session_annotator(desk.book, secret) is None
    assert log_in(desk.book, desk.tokens["anna"]) is None
    assert [one.disabled_at for one in annotators(desk.book)] == [desk.time[0]]
    with pytest.raises(InputError, match="no annotator 'ben'"):
        disable_annotator(desk.book, "ben")


def test_neither_tokens_nor_session_secrets_are_in_the_file(desk: Desk) -> None:
    desk.add("anna")
    secrets = (desk.tokens["anna"], logged_in(desk, "anna"))
    connection = sqlite3.connect(desk.book.file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = (desk.book.file.parent / BOOK_FILE).read_bytes()
    assert b"anna" in content
    assert [secret for secret in secrets if secret.encode() in content] == []
    assert all(len(secret) == 43 for secret in secrets)  # 256 bits in base64


@pytest.mark.parametrize("token", ["", "wrong", "' OR 1=1 --", "\x00", "한국어"])
def test_a_wrong_token_opens_nothing(desk: Desk, token: str) -> None:
    desk.add("anna")
    assert log_in(desk.book, token) is None


@pytest.mark.parametrize("name", ["", "Anna", "../anna", "a b", "<b>", "x" * 65, "한"])
def test_names_are_whitelisted(desk: Desk, name: str) -> None:
    with pytest.raises(InputError, match="no name of an annotator"):
        desk.add(name)


def test_a_name_is_given_once(desk: Desk) -> None:
    desk.add("anna")
    disable_annotator(desk.book, "anna")
    with pytest.raises(InputError, match="already"):
        desk.add("anna")
