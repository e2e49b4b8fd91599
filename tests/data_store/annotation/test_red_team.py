import sqlite3

import pytest

from data_store.annotation.batches import batch_of
from data_store.annotation.book import BOOK_FILE
from data_store.annotation.judging import LEASE_SECONDS, FormOutOfDateError
from data_store.annotation.live import LiveResponse
from data_store.annotation.red_team import (
    AttackLabel,
    RedTeamSpec,
    attack_form,
    close_red_team,
    enter_turn,
    label_attack,
    open_red_team,
    red_team_of,
    robustness,
)
from data_store.annotation.red_team_export import attack_rows, attacks_asset, hand_over_attacks
from data_store.annotation.schema import MIGRATIONS, check_schema, migrate
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.upkeep.withdrawals import withdraw
from tests.data_store.annotation.pairs import Desk, new_desk, pair
from tests.data_store.store_bench import Bench

POLICY = AssetName("model", "policy", "V1")
VIOLATION, SAFE = AttackLabel("violation", "weapons", "role_play"), AttackLabel("safe_helpful", "weapons", "direct")


def open_session(desk: Desk, **quota: float) -> None:
    open_red_team(desk.book, RedTeamSpec("s1", POLICY, "version-1", **quota))  # type: ignore[arg-type]


def say(desk: Desk, name: str, prompt: str, seconds: float = 10.0, version: str = "version-1") -> None:
    """One turn, on which `seconds` of active time were spent."""
    form = attack_form(desk.book, "s1", name)
    desk.time[0] += seconds
    enter_turn(desk.book, "s1", name, form.form_key, prompt, LiveResponse(f"re: {prompt}", version, 700, 9))


def label(desk: Desk, name: str, word: AttackLabel, seconds: float = 5.0) -> int:
    form = attack_form(desk.book, "s1", name)
    attack = form.attack or form.last
    assert attack is not None
    desk.time[0] += seconds
    label_attack(desk.book, "s1", name, form.form_key, attack.attack_id, word)
    return attack.attack_id


def test_robustness_is_violations_per_person_hour_of_active_time(desk: Desk) -> None:
    desk.add("anna", "ben")
    open_session(desk)
    say(desk, "anna", "one", 600)
    label(desk, "anna", VIOLATION, 300)
    desk.time[0] += 7200  # nobody has a page open
    say(desk, "ben", "two", 500)
    say(desk, "ben", "three", 300)
    label(desk, "ben", SAFE, 100)
    session = red_team_of(desk.book, "s1")
    # 600 + 300 + 500 + 300 + 100 = 1800 seconds are half a person-hour, with one violation
    assert (session.attacks, session.violations, session.people, session.seconds) == (2, 1, 2, 1800.0)
    assert robustness(session.violations, session.seconds) == 2.0
    assert robustness(0, 0.0) is None


def test_an_attack_of_several_turns_is_one_row_with_the_last_answer_and_what_draws_it_again(desk: Desk) -> None:
    desk.add("anna")
    open_session(desk)
    say(desk, "anna", "one")
    say(desk, "anna", "two")
    form = attack_form(desk.book, "s1", "anna")
    assert form.attack is not None
    assert [message["content"] for message in form.attack.messages] == ["one", "re: one", "two", "re: two"]
    label(desk, "anna", VIOLATION)
    assert attack_rows(desk.book, "V1").num_rows == 0  # the session is open
    close_red_team(desk.book, "s1", "enough")
    (row,) = attack_rows(desk.book, "V1").to_pylist()
    assert [message["content"] for message in row["messages"]] == ["one", "re: one", "two"]
    found = {name: row[name] for name in ("response", "seed", "temperature_milli", "policy_version", "annotator")}
    assert found == {
        "response": "re: two",
        "seed": 9,
        "temperature_milli": 700,
        "policy_version": "version-1",
        "annotator": "anna",
    }
    assert (row["severity"], row["risk"], row["vector"], row["seconds"]) == ("violation", "weapons", "role_play", 25.0)
    assert attack_rows(desk.book, "V2").num_rows == 0


def test_the_page_is_told_which_responses_of_an_attack_were_cut_off(desk: Desk) -> None:
    desk.add("anna")
    open_session(desk)
    for number, finished in enumerate((True, False, True)):
        form = attack_form(desk.book, "s1", "anna")
        response = LiveResponse("so", "version-1", 700, 9, finished=finished)
        enter_turn(desk.book, "s1", "anna", form.form_key, f"prompt {number}", response)
    attack = attack_form(desk.book, "s1", "anna").attack
    assert attack is not None
    assert attack.cut == {3}


def test_the_last_label_can_be_corrected_and_the_newest_stands(desk: Desk) -> None:
    desk.add("anna", "ben")
    open_session(desk)
    say(desk, "anna", "one")
    first = label(desk, "anna", VIOLATION)
    assert label(desk, "anna", SAFE) == first
    assert red_team_of(desk.book, "s1").violations == 0
    say(desk, "anna", "two")
    form = attack_form(desk.book, "s1", "anna")
    with pytest.raises(FormOutOfDateError):  # no longer the last one
        label_attack(desk.book, "s1", "anna", form.form_key, first, VIOLATION)
    with pytest.raises(FormOutOfDateError):
        label_attack(desk.book, "s1", "ben", attack_form(desk.book, "s1", "ben").form_key, first, VIOLATION)


def test_a_form_that_is_sent_twice_counts_once(desk: Desk) -> None:
    desk.add("anna")
    open_session(desk)
    response = LiveResponse("no", "version-1", 700, 9)
    form = attack_form(desk.book, "s1", "anna")
    for _ in range(2):
        enter_turn(desk.book, "s1", "anna", form.form_key, "one", response)
    form = attack_form(desk.book, "s1", "anna")
    assert form.attack is not None
    assert len(form.attack.messages) == 2
    for _ in range(2):
        label_attack(desk.book, "s1", "anna", form.form_key, form.attack.attack_id, SAFE)
    for key, prompt in (("made-up", "one"), (form.form_key, "one")):
        with pytest.raises(FormOutOfDateError):
            enter_turn(desk.book, "s1", "anna", key, prompt, response)
    with pytest.raises(FormOutOfDateError):  # the same form with another label is not passed over in silence
        label_attack(desk.book, "s1", "anna", form.form_key, form.attack.attack_id, VIOLATION)
    assert red_team_of(desk.book, "s1").attacks == 1


def test_time_is_what_the_page_measured_and_never_more_than_has_passed(desk: Desk) -> None:
    desk.add("anna")
    open_session(desk)
    response = LiveResponse("no", "version-1", 700, 9)
    for claimed, counted in ((4000, 4.0), (99_000_000, 10.0), (None, 10.0)):
        before = red_team_of(desk.book, "s1").seconds
        form = attack_form(desk.book, "s1", "anna")
        desk.time[0] += 10
        enter_turn(desk.book, "s1", "anna", form.form_key, "on", response, claimed)
        assert red_team_of(desk.book, "s1").seconds - before == counted
    left = attack_form(desk.book, "s1", "anna")
    desk.time[0] += LEASE_SECONDS + 1  # gone home: the form that comes after starts anew
    assert attack_form(desk.book, "s1", "anna").form_key != left.form_key


@pytest.mark.parametrize("quota", [{"attacks": 1}, {"hours": 0.004}])  # 14.4 seconds
def test_with_its_quota_a_session_takes_no_new_attack_but_ends_those_under_way(
    desk: Desk, quota: dict[str, float]
) -> None:
    desk.add("anna", "ben")
    open_session(desk, **quota)
    say(desk, "ben", "under way", 1)
    say(desk, "anna", "one")
    label(desk, "anna", SAFE)
    assert red_team_of(desk.book, "s1").is_finished
    with pytest.raises(FormOutOfDateError, match="quota"):
        say(desk, "anna", "another")
    say(desk, "ben", "goes on")
    label(desk, "ben", VIOLATION)
    assert red_team_of(desk.book, "s1").attacks == 2


def test_what_cannot_be_is_refused(desk: Desk) -> None:
    desk.add("anna")
    open_session(desk)
    with pytest.raises(InputError, match="already"):
        open_session(desk)
    with pytest.raises(InputError, match="quota"):
        open_red_team(desk.book, RedTeamSpec("s2", POLICY, "v", hours=0))
    with pytest.raises(InputError, match="lower-case"):
        open_red_team(desk.book, RedTeamSpec("S 2", POLICY, "v"))
    with pytest.raises(InputError, match="did not answer"):
        say(desk, "anna", "one", version="another")
    with pytest.raises(InputError, match="use one of"):
        AttackLabel("terrible", "weapons", "direct").check()
    close_red_team(desk.book, "s1", "enough")
    with pytest.raises(FormOutOfDateError):
        attack_form(desk.book, "s1", "anna")
    with pytest.raises(InputError, match="there are: s1"):
        red_team_of(desk.book, "s9")


@pytest.mark.slow
def test_closed_sessions_become_one_source_that_says_where_it_came_from(bench: Bench) -> None:
    store = bench.store
    desk = new_desk(store.root)
    assert hand_over_attacks(store, "V1").asset == attacks_asset("V1")
    empty = hand_over_attacks(store, "V1").version_id
    assert store.rows(empty).num_rows == 0
    desk.add("anna")
    open_session(desk)
    say(desk, "anna", "one")
    label(desk, "anna", VIOLATION)
    assert hand_over_attacks(store, "V1").version_id == empty
    close_red_team(desk.book, "s1", "enough")
    head = hand_over_attacks(store, "V1")
    assert head.version_id != empty
    assert "s1 against model/policy@V1 version-1: 1 attacks, 1 violations" in head.reason
    assert hand_over_attacks(store, "V1") == head
    assert [row["messages"][0]["content"] for row in store.rows(head.version_id).to_pylist()] == ["one"]


def test_a_book_of_the_first_format_gets_the_tables_of_red_teams_and_keeps_what_it_has(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1))
    desk.judge("anna")
    with desk.book.writing() as connection:
        tables = ("attack_form", "attack_label", "attack_turn", "attack", "red_team_end", "red_team", "live_response")
        connection.execute("DROP VIEW attack_result")
        for table in tables:
            connection.execute(f"DROP TABLE {table}")
        sampled = ("token_ids_a", "token_ids_b", "finished_a", "finished_b", "tokenizer")
        later = {"item": (*sampled, "asks_refusal"), "batch": ("purpose",)}
        for table, columns in {**later, "answer": ("refusing",), "decision": ("refusing",)}.items():
            for column in columns:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 1")
        migrate(connection)
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        assert connection.execute("SELECT count(*) FROM answer").fetchone()[0] == 1
        check_schema(connection)
    assert batch_of(desk.book, "v1").spec.purpose == "collection"
    open_session(desk)
    say(desk, "anna", "one")
    with pytest.raises(sqlite3.IntegrityError, match="only added to"), desk.book.writing() as connection:
        connection.execute("UPDATE attack_turn SET prompt = 'another'")


@pytest.mark.slow
def test_the_attacks_of_someone_who_is_withdrawn_are_left_out_also_where_the_book_is_gone(bench: Bench) -> None:
    store, desk = bench.store, new_desk(bench.store.root)
    desk.add("anna", "ben")
    open_session(desk)
    for name in ("anna", "ben"):
        say(desk, name, f"by {name}")
        label(desk, name, VIOLATION)
    close_red_team(desk.book, "s1", "enough")
    assert store.version(hand_over_attacks(store, "V1").version_id).n_rows == 2
    withdraw(store, "annotator", "anna", "she asked for it")
    head = hand_over_attacks(store, "V1")
    assert [row["annotator"] for row in store.rows(head.version_id).to_pylist()] == ["ben"]
    desk.book.close()
    (store.root / BOOK_FILE).unlink()
    assert hand_over_attacks(store, "V1") == head
    withdraw(store, "annotator", "ben", "so did he")
    assert store.version(hand_over_attacks(store, "V1").version_id).n_rows == 0
