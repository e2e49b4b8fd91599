"""What becomes of a chat: one dialogue, and judgements in the book by the rules that hold for all."""

from collections.abc import Sequence

import pytest

from data_store.annotation.batches import Message, batches, close_batch
from data_store.annotation.chat import SOURCE, Chat, Keeper, Said
from data_store.annotation.export import rows_so_far
from data_store.annotation.judging import Verdict
from data_store.annotation.live import BusyError, TooLongError
from data_store.annotation.people import disable_annotator
from data_store.errors import InputError
from tests.data_store.annotation.pairs import Desk
from tests.data_store.annotation.talking import Parrot

BETTER = Verdict("b", "better")


def keeper(desk: Desk, name: str = "anna", held_out: Sequence[str] = (), withdrawn: Sequence[str] = ()) -> Keeper:
    def is_held_out(messages: Sequence[Message]) -> bool:
        return [message["content"] for message in messages] in [[text] for text in held_out]

    return Keeper(desk.book, name, "V2", is_held_out, lambda: withdrawn)


def two(desk: Desk, **rules: Sequence[str]) -> tuple[Chat, Parrot, Parrot]:
    desk.add("anna")
    a, b = Parrot("old"), Parrot("new")
    return Chat([a, b], keeper(desk, **rules), seed=1), a, b


def contents(messages: Sequence[Message]) -> list[str]:
    return [message["content"] for message in messages]


def test_two_models_answer_one_dialogue_which_goes_on_with_what_was_chosen(desk: Desk) -> None:
    chat, a, b = two(desk)
    chat.begin_anew(system="be kind", temperature=0.5)
    heard = list(chat.say(" hello "))
    assert [(side, piece) for side, piece in heard if isinstance(piece, str)] == [
        (0, "old"),
        (0, "old 1: hello"),
        (1, "new"),
        (1, "new 1: hello"),
    ]
    seeds = [piece.response.seed for _, piece in heard if isinstance(piece, Said)]
    assert len(set(seeds)) == 2
    chat.choose("b")
    list(chat.say("and then"))
    assert contents(a.heard[-1]) == contents(b.heard[-1]) == ["be kind", "hello", "new 1: hello", "and then"]
    again = Chat([Parrot("old"), Parrot("new")], None, seed=1)
    assert seeds == [piece.response.seed for _, piece in again.say("hello") if isinstance(piece, Said)]


def test_what_is_saved_is_a_row_with_who_said_it_when_and_that_names_were_seen(desk: Desk) -> None:
    chat, _, _ = two(desk)
    list(chat.say("hello"))
    batch = chat.save("helpfulness", BETTER)
    list(chat.say("and then"))
    assert chat.save("safety", Verdict("a", "slightly_better", "both_safe")) == batch == "chat-v2-1"
    first, second = rows_so_far(desk.book, batch).to_pylist()
    assert (first["annotator"], first["chosen"], first["rating"], first["axis"]) == (
        "anna",
        "b",
        "better",
        "helpfulness",
    )
    assert (first["response_a"], first["response_b"]) == ("old 1: hello", "new 1: hello")
    assert (first["policy_version_a"], first["policy_version_b"]) == ("version of old", "version of new")
    assert first["source"] == f"{SOURCE}, written by anna"
    assert contents(second["messages"]) == ["hello", "new 1: hello", "and then"]
    assert (second["safety_label"], second["iteration"]) == ("both_safe", "V2")
    assert first["prompt_id"] == second["prompt_id"], "no dialogue is on both sides of a split"
    with desk.book.reading() as connection:
        assert [row["at"] for row in connection.execute("SELECT at FROM answer")] == [desk.time[0]] * 2
    (there,) = batches(desk.book)
    assert (there.done, there.waiting) == (2, 0), "nobody else is asked about them"


def test_a_closed_batch_gets_no_more_and_the_next_one_begins(desk: Desk) -> None:
    chat, _, _ = two(desk)
    list(chat.say("hello"))
    close_batch(desk.book, chat.save("helpfulness", BETTER), "enough")
    list(chat.say("more"))
    assert chat.save("helpfulness", BETTER) == "chat-v2-2"


@pytest.mark.conformance("saved chats", equation="data_store.annotation.chat:Keeper.keep")
def test_no_judgement_of_a_prompt_that_is_held_out_is_saved_in_any_turn_or_behind_a_system_message(desk: Desk) -> None:
    chat, _, _ = two(desk, held_out=["secret"])
    for system in ("", "be kind"):
        chat.begin_anew(system=system)
        for prompt in ("secret", "and then"):
            list(chat.say(prompt))
            with pytest.raises(InputError, match="held out for evaluation"):
                chat.save("helpfulness", BETTER)
    chat.begin_anew(system="")
    list(chat.say("no secret"))
    assert chat.save("helpfulness", BETTER)


def test_whoever_may_not_judge_saves_nothing(desk: Desk) -> None:
    desk.add("anna", "ben", "carla")
    disable_annotator(desk.book, "ben")
    for name, reason in (("zoe", "no annotator 'zoe'"), ("ben", "is disabled"), ("carla", "has withdrawn")):
        chat = Chat([Parrot("old"), Parrot("new")], keeper(desk, name, withdrawn=["carla"]))
        list(chat.say("hello"))
        with pytest.raises(InputError, match=reason):
            chat.save("helpfulness", BETTER)
    assert batches(desk.book) == []


@pytest.mark.parametrize(
    ("prompt", "axis", "verdict", "reason"),
    [
        ("same", "helpfulness", BETTER, "both answers are the same"),
        ("slow", "helpfulness", BETTER, "stopped before its end"),
        ("hello", "safety", BETTER, "the safety label is None"),
        ("hello", "beauty", BETTER, "the axis is 'beauty'"),
        ("hello", "helpfulness", Verdict("c", "better"), "the choice is 'c'"),
    ],
)
def test_what_cannot_be_a_judgement_is_not_saved(
    desk: Desk, prompt: str, axis: str, verdict: Verdict, reason: str
) -> None:
    chat, _, _ = two(desk)
    list(chat.say(prompt))
    with pytest.raises(InputError, match=reason):
        chat.save(axis, verdict)
    assert not any(rows_so_far(desk.book, one.spec.batch_id).num_rows for one in batches(desk.book))


def test_a_judgement_is_saved_once_and_only_where_there_are_two_answers(desk: Desk) -> None:
    chat, _, _ = two(desk)
    list(chat.say("hello"))
    chat.save("helpfulness", BETTER)
    for act in (lambda: chat.save("helpfulness", BETTER), lambda: chat.choose("a")):
        with pytest.raises(InputError, match="saved"):
            act()
    alone = Chat([Parrot("old")], chat.keeper)
    list(alone.say("hello"))
    with pytest.raises(InputError, match="one answer only"):
        alone.save("helpfulness", BETTER)
    nobody = Chat([Parrot("old"), Parrot("new")], None, why_not="the store can only be read")
    with pytest.raises(InputError, match="nothing can be saved here: the store can only be read"):
        nobody.save("helpfulness", BETTER)


def test_one_model_can_answer_again_and_the_two_are_compared(desk: Desk) -> None:
    desk.add("anna")
    chat = Chat([parrot := Parrot("old")], keeper(desk))
    list(chat.say("hello"))
    assert [side for side, _ in chat.again()] == [1, 1, 1]
    list(chat.again())
    assert [each.response.text for each in chat.turns[-1].answers] == ["old 1: hello", "old 3: hello"]
    assert contents(parrot.heard[-1]) == ["hello"]
    chat.save("helpfulness", BETTER)
    with pytest.raises(InputError, match="no judgement is saved"):
        chat.again()


def test_a_turn_that_is_stopped_or_fails_leaves_the_dialogue_as_it_was(desk: Desk) -> None:
    chat, _, _ = two(desk)
    list(chat.say("hello"))
    answers = chat.say("more")
    next(answers)
    with pytest.raises(BusyError):
        next(chat.say("in between"))
    for act in (lambda: chat.choose("b"), chat.begin_anew, lambda: chat.save("helpfulness", BETTER)):
        with pytest.raises(BusyError):
            act()
    answers.close()  # type: ignore[attr-defined]
    with pytest.raises(TooLongError):
        list(chat.say("long"))
    for text in ("", "x" * 8001):
        with pytest.raises(InputError, match="at most 8000 characters"):
            chat.say(text)
    assert [turn.prompt for turn in chat.turns] == ["hello"]
    list(chat.say("goes on"))


@pytest.mark.parametrize("temperature", [0.0, -1.0, 2.1, float("nan")])
def test_a_temperature_that_cannot_be_is_refused(desk: Desk, temperature: float) -> None:
    chat, _, _ = two(desk)
    with pytest.raises(InputError, match="temperature"):
        chat.begin_anew(temperature=temperature)
