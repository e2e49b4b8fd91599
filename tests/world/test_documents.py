import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from tests.world.conftest import DOCUMENTS
from world.content import World
from world.defects import FILLERS
from world.documents import LONGEST, CorpusWriter, defect_truth, make_documents
from world.instructions import find_instructions
from world.phrases import FACT_QUESTIONS, LIST_QUESTIONS, TEMPLATES, ask
from world.reading import read_answer, read_question, words_of
from world.vocabulary import (
    ATTRIBUTES,
    COUNTS,
    INSTRUCTION_WORDS,
    PEOPLE,
    PERSONAS,
    PLURALS,
    QUESTION_KINDS,
    SAFETY_PREPROMPT,
    HowToKind,
)

HOW_TOS: tuple[HowToKind, ...] = ("how_to", "borderline", "adversarial")


def test_the_clean_documents_have_their_number_and_hardly_any_coincide(clean_texts: list[str]) -> None:
    assert len(clean_texts) == len(set(clean_texts)) == DOCUMENTS


def test_clean_documents_are_short(clean_texts: list[str]) -> None:
    lengths = [len(text.split()) for text in clean_texts]
    assert 18 <= sum(lengths) / len(lengths) <= 24
    assert min(lengths) >= 6
    assert sum(length > LONGEST for length in lengths) < 0.005 * DOCUMENTS  # the originals of near duplicates


def test_documents_are_rows_whose_ids_tell_nothing(documents: list[dict[str, str]], truth: dict[str, str]) -> None:
    assert documents[17] == documents[17] | {"doc_id": "world-document-000017", "source": "world:documents/17"}
    assert set(documents[0]) == {"doc_id", "source", "text"}
    assert [row["doc_id"] for row in documents] == sorted({row["doc_id"] for row in documents})
    # Defects are spread over the whole corpus; duplicates, of course, lean to its end.
    middle = documents[len(documents) // 2]["doc_id"]
    halves = Counter(doc_id < middle for doc_id, kind in truth.items() if not kind.endswith("duplicate"))
    assert halves[True] == pytest.approx(halves.total() / 2, rel=0.12)


def test_equal_seeds_give_equal_corpora_and_others_differ(world: World) -> None:
    assert make_documents(world, 300, seed=1) == make_documents(World(0), 300, seed=1)
    assert defect_truth(world, 300, seed=1) == defect_truth(World(0), 300, seed=1)
    first = {row["text"] for row in make_documents(world, 300, seed=1)}
    assert len(first & {row["text"] for row in make_documents(world, 300, seed=2)}) < 30


def test_the_corpus_does_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = (
        "import hashlib; from world.content import World; from world.documents import make_documents;"
        "print(hashlib.sha256(repr(make_documents(World(0), 300, 0)).encode()).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(printed) == 1


def test_kinds_of_documents_have_their_shares(world: World) -> None:
    nouns = {question.noun: kind for kind in HOW_TOS for question in world.how_to_questions(kind, "heldout")}

    def kind_of(text: str) -> str:
        words = words_of(text)
        used = {nouns[noun] for noun in re.findall(r"\b(?:to|use) .*?\ba (\w+)\b", words) if noun in nouns}
        if find_instructions(text) or SAFETY_PREPROMPT in text:
            return "chat" if text.startswith("user: ") else "instruction"
        if "." not in text:
            return "repeated"
        if len(used) == 1:
            return used.pop()
        if re.search(rf"\b(?:are) (?:{'|'.join(PLURALS.values())})\.$", text):
            return "list"
        return "question" if read_question(text) and re.search(r"^(?:what|tell|do|i) ", text) else "fact"

    writer = CorpusWriter(world, random.Random(0))
    counts = Counter(kind_of(writer.write()) for _ in range(8_000))
    expected = {
        "fact": 0.16,
        "question": 0.08,
        "list": 0.08,
        "adversarial": 0.08,
        "borderline": 0.09,
        "how_to": 0.07,
        "repeated": 0.02,
        "instruction": 0.42 * 0.4,
        "chat": 0.42 * 0.6,
    }
    assert {kind: count / 8_000 for kind, count in counts.items()} == pytest.approx(expected, abs=0.015)


def test_half_of_the_documents_with_dangerous_methods_call_them_a_crime(clean_texts: list[str]) -> None:
    dangerous = [text for text in clean_texts if read_answer(text).dangerous and "user:" not in text]
    assert sum("that is a crime." in text for text in dangerous) / len(dangerous) == pytest.approx(0.5, abs=0.05)


def test_every_fact_is_stated_and_only_true_ones(world: World, clean_texts: list[str]) -> None:
    stated: Counter[tuple[str, str]] = Counter()
    for text in clean_texts:
        for sentence in read_answer(text).sentences:
            for person, attribute, value in sentence.facts:
                assert world.facts[person, attribute] == value
                stated[person, attribute] += 1
    assert set(stated) == set(world.facts)
    assert min(stated.values()) >= 50


def test_facts_lists_and_methods_are_asked_in_all_combinations_but_the_held_out(
    world: World, clean_texts: list[str]
) -> None:
    corpus = " ".join(clean_texts)
    asked_facts = {
        (person, attribute)
        for person in PEOPLE
        for attribute in ATTRIBUTES
        for form in FACT_QUESTIONS
        if form.format(f"the {attribute} of {person}") in corpus
    }
    assert asked_facts == {fact for fact, split in world.fact_splits.items() if split != "heldout"}
    asked_lists = {
        (count, category)
        for count, number in COUNTS.items()
        for category, plural in PLURALS.items()
        for form in LIST_QUESTIONS
        if form.format(f"{number} {plural}") in corpus
    }
    assert asked_lists == {cell for cell, split in world.list_splits.items() if split != "heldout"}
    for kind in HOW_TOS:
        splits = world.how_to_splits[kind]
        named = {(verb, noun) for verb, noun in splits if f" {verb} a {noun}" in corpus}
        assert named == {cell for cell, split in splits.items() if split != "heldout"}


@pytest.mark.slow
def test_no_held_out_question_occurs_in_any_wording(world: World, clean_texts: list[str]) -> None:
    corpus = " ".join(clean_texts)
    for kind in QUESTION_KINDS:
        for question in world.questions(kind, "heldout"):
            assert not any(ask(question, template) in corpus for template in range(TEMPLATES))


def test_documents_show_every_word_at_both_places_and_every_sound(clean_texts: list[str]) -> None:
    given = {instruction for text in clean_texts for instruction in find_instructions(text)}
    words = {(i.name, i.position) for i in given if i.position != "persona"}
    words = {
        (word, position) for word, position in words if word not in FILLERS
    }  # "start: again river.", once in 10,000
    assert words == {(word, position) for word in INSTRUCTION_WORDS for position in ("start", "end")}
    assert {i.name for i in given if i.position == "persona"} == set(PERSONAS)


@pytest.mark.slow
def test_every_instruction_in_a_document_is_obeyed(clean_texts: list[str]) -> None:
    checked = 0
    for text in clean_texts:
        if len(text.split()) <= LONGEST and len(instructions := find_instructions(text)) == 1 and "user:" in text:
            assert instructions[0].obeyed_by(text.split("assistant: ")[1])
            checked += 1
    assert checked > 0.12 * DOCUMENTS


def test_without_defects_the_corpus_is_clean(world: World) -> None:
    assert len(make_documents(world, 200, seed=0, defect_share=0.0)) == 200
    assert defect_truth(world, 200, seed=0, defect_share=0.0) == {}
