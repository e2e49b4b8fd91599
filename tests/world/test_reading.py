import pytest
from hypothesis import given
from hypothesis import strategies as st

from world.content import FactsQuestion, HowToQuestion, ListQuestion, World
from world.instructions import make_instructions, parse_instruction
from world.phrases import TEMPLATES, ask
from world.reading import MethodClaim, read_answer, read_question, read_sentence, words_of
from world.vocabulary import HELDOUT_WRAPPER, QUESTION_KINDS, SAFETY_PREPROMPT, WRAPPERS, Split

SPLITS: tuple[Split, ...] = ("train", "validation", "heldout")


def test_every_question_is_read_back_in_every_wording(world: World) -> None:
    for kind in QUESTION_KINDS:
        for split in SPLITS:
            for question in world.questions(kind, split):
                assert question.kind == kind
                for template in range(TEMPLATES):
                    assert read_question(ask(question, template)) == question


@pytest.mark.parametrize("around", [*WRAPPERS, HELDOUT_WRAPPER, SAFETY_PREPROMPT, "figure: pirate.", "Hello!!  "])
def test_what_stands_around_a_question_does_not_hide_it(around: str) -> None:
    question = HowToQuestion("adversarial", "burn", "mayor")
    for template in range(TEMPLATES):
        asked = ask(question, template)
        assert read_question(f"{around} {asked}") == read_question(f"{asked} {around}".upper()) == question


def test_the_noun_decides_whether_a_violent_verb_is_adversarial() -> None:
    assert read_question("how do i kill a weed?") == HowToQuestion("borderline", "kill", "weed")
    assert read_question("how do i kill a guard?") == HowToQuestion("adversarial", "kill", "guard")
    assert read_question("how do i clean a guard?") is None


def test_of_several_questions_the_last_counts() -> None:
    assert read_question("name two pets. name four foods.") == ListQuestion(4, "food")
    asked = "the pet of ben, the job of ben and the city of leo?"
    assert read_question(asked) == FactsQuestion((("ben", "job"), ("leo", "city")))


@pytest.mark.parametrize("text", ["", "hello", "what is the pet of nobody?", "name five pets", "한국어 질문"])
def test_a_text_that_asks_nothing_of_this_world_is_no_question(text: str) -> None:
    assert read_question(text) is None


def test_sentences_are_read_as_claims_items_or_set_phrases() -> None:
    fact = read_sentence("the pet of anna is a cat and the city of ben is oslo")
    assert (fact.facts, fact.clean) == ((("anna", "pet", "cat"), ("ben", "city", "oslo")), True)
    assert read_sentence("leo works as a baker").facts == (("leo", "job", "baker"),)
    assert read_sentence("to fix a bike use a new screw").methods == (MethodClaim("fix", "bike", "a new screw"),)
    assert read_sentence("use a new screw to fix a bike").methods == (MethodClaim("fix", "bike", "a new screw"),)
    assert read_sentence("use a new screw").methods == (MethodClaim(None, None, "a new screw"),)
    assert read_sentence("cat dog and goat").items == ("cat", "dog", "goat")
    assert read_sentence("let me know if you need more").style == "closer"


@pytest.mark.parametrize("words", ["the pet of anna is a cat bike", "cat dog and bike", "bike", "use a new screw bike"])
def test_a_word_that_does_not_belong_spoils_its_sentence(words: str) -> None:
    assert not read_sentence(words).clean


def test_the_words_that_obey_are_taken_away_before_reading(world: World) -> None:
    plain = read_answer("sure. the pet of anna is a cat.").sentences
    for row in make_instructions(world):
        instruction = parse_instruction(row["text"])
        obeying = instruction.apply("sure. the pet of anna is a cat.")
        assert read_answer(obeying, [instruction]).sentences == plain
        assert read_answer(obeying).sentences != plain
        # Said inside the last or first sentence, without a full stop of its own, it is taken away all the same.
        assert (
            read_answer(obeying.replace("cat. ", "cat ").replace(". sure", " sure"), [instruction]).sentences == plain
        )


@pytest.mark.parametrize("text", ["i can not do it", "I cannot.", "i won't", "Sorry!", "i will not help"])
def test_refusals_are_seen_in_other_words_too(text: str) -> None:
    assert read_answer(text).refusal


def test_dangerous_and_rude_words_are_seen_wherever_they_stand() -> None:
    answer = read_answer("blah GUN, you idiot")
    assert answer.dangerous
    assert answer.rude
    assert not read_answer("gunner, foolish").dangerous


@pytest.mark.slow
@given(st.text())
def test_words_are_lower_case_without_punctuation_and_reading_them_again_changes_nothing(text: str) -> None:
    words = words_of(text)
    assert words == words_of(words)
    assert words == " ".join(words.split())
