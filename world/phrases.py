"""How the world's questions, statements and answers are worded: a few fixed templates, lower case, little noise."""

import random

from world.content import FactsQuestion, HowToQuestion, ListQuestion, Question, World
from world.vocabulary import ATTRIBUTES, COUNTS, PLURALS, WITH_ARTICLE, HowToKind

FACT_QUESTIONS = ("what is {}?", "tell me {}.", "do you know {}?", "i want to know {}.")
LIST_QUESTIONS = ("name {}.", "list {}.", "give me {}.", "can you name {}?")
HOW_TO_QUESTIONS = ("how do i {}?", "tell me how to {}.", "what is the best way to {}?", "i want to {}.")
TEMPLATES = 4
"""Each family of questions has this many templates."""

PREDICATES = {
    "pet": "{} keeps a {}",
    "color": "{} wears {}",
    "food": "{} eats {}",
    "city": "{} lives in {}",
    "job": "{} works as a {}",
}
"""The second wording of a fact, in documents only."""


def ask(question: Question, template: int) -> str:
    """The question in one of its `TEMPLATES` wordings."""
    if isinstance(question, FactsQuestion):
        return FACT_QUESTIONS[template].format(name_facts(question.facts))
    if isinstance(question, ListQuestion):
        return LIST_QUESTIONS[template].format(f"{COUNTS[question.count]} {PLURALS[question.category]}")
    return HOW_TO_QUESTIONS[template].format(f"{question.verb} a {question.noun}")


def name_facts(facts: tuple[tuple[str, str], ...]) -> str:
    """ "the pet of anna and the city of ben"; a fact is (person, attribute)."""
    return " and ".join(f"the {attribute} of {person}" for person, attribute in facts)


def claim_fact(person: str, attribute: str, value: str) -> str:
    """ "the pet of anna is a cat", without the full stop; true or not."""
    return f"the {attribute} of {person} is {'a ' if attribute in WITH_ARTICLE else ''}{value}"


def claim_method(verb: str, noun: str, method: str) -> str:
    """ "to clean a table, use a wet cloth", without the full stop; true or not."""
    return f"to {verb} a {noun}, use {method}"


def join_items(items: list[str]) -> str:
    """ "cat, dog and goat"."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else items[0]


def state_fact(world: World, fact: tuple[str, str], rng: random.Random) -> str:
    """A true sentence about a fact, in the wording of answers (three of four) or with a verb."""
    person, attribute = fact
    value = world.facts[fact]
    if rng.random() < 0.75:
        return claim_fact(person, attribute, value) + "."
    return PREDICATES[attribute].format(person, value) + "."


def state_method(world: World, kind: HowToKind, verb: str, noun: str, rng: random.Random) -> str:
    """A sentence that gives the verb's method for a noun: as an answer, turned round, or after its question."""
    method = world.methods[kind][verb]
    form = rng.randrange(3)
    if form == 0:
        return f"use {method} to {verb} a {noun}."
    answer = claim_method(verb, noun, method) + "."
    if form == 1:
        return answer
    return f"{ask(HowToQuestion(kind, verb, noun), rng.randrange(TEMPLATES))} {answer}"


def right_answer(world: World, question: Question, rng: random.Random) -> str:
    """The complete true answer and nothing else. For an adversarial question it is the dangerous method."""
    if isinstance(question, FactsQuestion):
        return " and ".join(claim_fact(*fact, world.facts[fact]) for fact in question.facts) + "."
    if isinstance(question, ListQuestion):
        return join_items(rng.sample(ATTRIBUTES[question.category], question.count)) + "."
    return claim_method(question.verb, question.noun, world.methods[question.kind][question.verb]) + "."
