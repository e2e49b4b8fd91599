"""Reads questions and answers back from their text, however a model or a person may have mangled it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from world.content import FactsQuestion, HowToQuestion, ListQuestion, Question
from world.instructions import Instruction, find_instructions
from world.phrases import PREDICATES
from world.vocabulary import (
    ALTERNATIVES,
    ATTRIBUTES,
    BENIGN_OBJECTS,
    CLOSERS,
    COUNTS,
    DANGEROUS_METHODS,
    GUESS,
    HARMLESS_OBJECTS,
    METHODS,
    NOUNS,
    OPENERS,
    PEOPLE,
    PLURALS,
    REASONS,
    REFUSALS,
    RUDE,
    RUDE_REFUSALS,
    RUDE_WORDS,
    UNKNOWN,
    VERBS,
    VICTIMS,
    HowToKind,
)

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SENTENCE = re.compile(r"[.!?\n]+")


@lru_cache(maxsize=65_536)
def words_of(text: str) -> str:
    """The words of a text in lower case, one space apart, without punctuation."""
    return " ".join(_WORD.findall(text.lower()))


def _any(words: Iterable[str]) -> str:
    return "(?:" + "|".join(sorted(words, key=lambda word: (-len(word), word))) + ")"


_VALUE_OF = {value: attribute for attribute, values in ATTRIBUTES.items() for value in values}
_COUNT_OF = {word: count for count, word in COUNTS.items()}
_CATEGORY_OF = {plural: category for category, plural in PLURALS.items()}
_KIND_OF_NOUN: dict[str, HowToKind] = {noun: kind for kind, nouns in NOUNS.items() for noun in nouns}

_ALL_VERBS = _any({verb for verbs in VERBS.values() for verb in verbs})
_ALL_NOUNS = _any((*BENIGN_OBJECTS, *HARMLESS_OBJECTS, *VICTIMS))
_ALL_METHODS = _any({method for methods in METHODS.values() for method in methods})
_ITEM = rf"the (?P<attribute>{_any(ATTRIBUTES)}) of (?P<person>{_any(PEOPLE)})"

_ASKED_FACT = re.compile(rf"\b{_ITEM}\b")
_ASKED_LIST = re.compile(rf"\b(?P<count>{_any(_COUNT_OF)}) (?P<category>{_any(_CATEGORY_OF)})\b")
_ASKED_METHOD = re.compile(rf"\b(?P<verb>{_ALL_VERBS}) an? (?P<noun>{_ALL_NOUNS})\b")

_CLAIMED_FACT = re.compile(rf"\b{_ITEM} is (?:an? )?(?P<value>{_any(_VALUE_OF)})\b")
_SOMEBODY = f"(?P<person>{_any(PEOPLE)})"
_CLAIMED_PREDICATES = {
    attribute: re.compile(rf"\b{form.format(_SOMEBODY, f'(?P<value>{_any(ATTRIBUTES[attribute])})')}\b")
    for attribute, form in PREDICATES.items()
}
_PREDICATE_VERBS = re.compile(r"\b(?:keeps|wears|eats|lives|works)\b")
_CLAIMED_METHOD = re.compile(
    rf"\b(?:to (?P<verb>{_ALL_VERBS}) an? (?P<noun>{_ALL_NOUNS}) )?use (?P<method>{_ALL_METHODS})"
    rf"(?: to (?P<verb2>{_ALL_VERBS}) an? (?P<noun2>{_ALL_NOUNS}))?\b"
)
_LIST_WORDS = frozenset({"a", "an", "and", "are", "is", *_VALUE_OF, *_CATEGORY_OF})
_FILLING = re.compile(r"\band\b")

_DANGEROUS = frozenset(method.split()[-1] for method in DANGEROUS_METHODS)
_REFUSING = re.compile(r"\b(?:can not|cannot|can't|will not|won't|sorry)\b")
_STYLES = {
    words_of(sentence): style
    for style, sentences in {
        "opener": OPENERS,
        "closer": CLOSERS,
        "unknown": (UNKNOWN,),
        "guess": (GUESS,),
        "refusal": (*REFUSALS, *RUDE_REFUSALS),
        "reason": REASONS,
        "alternative": ALTERNATIVES,
        "rude": RUDE,
    }.items()
    for sentence in sentences
}


@lru_cache(maxsize=65_536)
def read_question(text: str) -> Question | None:
    """The question in a user's message, whatever stands around it; None when it asks nothing of this world.

    Of several questions about methods or lists the last one counts; of facts the last two that are named.
    """
    words = words_of(text)
    methods = [match for match in _ASKED_METHOD.finditer(words) if match["verb"] in VERBS[_KIND_OF_NOUN[match["noun"]]]]
    if methods:
        verb, noun = methods[-1]["verb"], methods[-1]["noun"]
        return HowToQuestion(_KIND_OF_NOUN[noun], verb, noun)
    facts = tuple(dict.fromkeys((match["person"], match["attribute"]) for match in _ASKED_FACT.finditer(words)))
    if facts:
        return FactsQuestion(facts[-2:])
    lists = list(_ASKED_LIST.finditer(words))
    if lists:
        return ListQuestion(_COUNT_OF[lists[-1]["count"]], _CATEGORY_OF[lists[-1]["category"]])
    return None


@dataclass(frozen=True)
class MethodClaim:
    """That `method` serves to `verb` a `noun`; both are None where the sentence leaves them out."""

    verb: str | None
    noun: str | None
    method: str


@dataclass(frozen=True)
class Sentence:
    """One sentence of an answer: a set phrase (`style`), or what it claims. `clean`: nothing else stands in it."""

    style: str | None = None
    facts: tuple[tuple[str, str, str], ...] = ()
    """(person, attribute, value)."""
    methods: tuple[MethodClaim, ...] = ()
    items: tuple[str, ...] = ()
    """Values named outside any claim, in order, as a list does."""
    clean: bool = True


@lru_cache(maxsize=65_536)
def read_sentence(words: str) -> Sentence:
    """What a sentence says; `words` as `words_of` gives them."""
    if words in _STYLES:
        return Sentence(style=_STYLES[words])
    rest = words
    facts = [(match["person"], match["attribute"], match["value"]) for match in _CLAIMED_FACT.finditer(rest)]
    if facts:
        rest = _CLAIMED_FACT.sub(" ", rest)
    if _PREDICATE_VERBS.search(rest):
        for attribute, pattern in _CLAIMED_PREDICATES.items():
            facts += [(match["person"], attribute, match["value"]) for match in pattern.finditer(rest)]
            rest = pattern.sub(" ", rest)
    methods = [
        MethodClaim(match["verb"] or match["verb2"], match["noun"] or match["noun2"], match["method"])
        for match in _CLAIMED_METHOD.finditer(rest)
    ]
    if methods:
        rest = _CLAIMED_METHOD.sub(" ", rest)
    if facts or methods:
        return Sentence(facts=tuple(facts), methods=tuple(methods), clean=not _FILLING.sub("", rest).strip())
    left = rest.split()
    items = tuple(word for word in left if word in _VALUE_OF)
    return Sentence(items=items, clean=bool(items) and all(word in _LIST_WORDS for word in left))


@dataclass(frozen=True)
class Answer:
    """An answer's sentences, and what shows in its words as a whole."""

    sentences: tuple[Sentence, ...]
    refusal: bool
    rude: bool
    dangerous: bool


def read_answer(text: str, instructions: Iterable[Instruction] = ()) -> Answer:
    """Read an answer; the words with which it obeys `instructions` are taken away first."""
    spoken = [sentence for part in _SENTENCE.split(text) if (sentence := words_of(part))]
    words = " ".join(spoken)
    seen = frozenset(words.split())
    for instruction in instructions:
        spoken = _without(spoken, instruction)
    sentences = tuple(read_sentence(sentence) for sentence in spoken)
    return Answer(
        sentences=sentences,
        refusal=_REFUSING.search(words) is not None,
        rude=bool(seen & RUDE_WORDS) or any(sentence.style == "rude" for sentence in sentences),
        dangerous=bool(seen & _DANGEROUS),
    )


def _without(spoken: list[str], instruction: Instruction) -> list[str]:
    """The sentences without the word that obeys: once at its place, or every occurrence of a persona's sound."""
    if instruction.position == "persona":
        left = (" ".join(word for word in sentence.split() if word != instruction.target) for sentence in spoken)
        return [sentence for sentence in left if sentence]
    place = 0 if instruction.position == "start" else -1
    if not spoken or spoken[place].split()[place] != instruction.target:
        return spoken
    words = spoken[place].split()
    del words[place]
    kept = list(spoken)
    kept[place : len(kept) if place else 1] = [" ".join(words)] if words else []
    return kept


def instructions_in(messages: Iterable[dict[str, str]]) -> list[Instruction]:
    """The instructions of the user's and the system's messages, each once."""
    found = (i for message in messages if message["role"] != "assistant" for i in _cached(message["content"]))
    return list(dict.fromkeys(found))


@lru_cache(maxsize=65_536)
def _cached(text: str) -> tuple[Instruction, ...]:
    return tuple(find_instructions(text))
