"""The pretraining corpus: short documents that state the world, show answers, and teach copying.

Shares follow a prototype in which a Llama of 0.7M parameters learned all of it in one pass of 41,000 documents.
Held-out facts are stated here but never asked; other held-out combinations do not occur at all. Held-out instructions
are obeyed here, as a base model has seen every kind of text: held out is that anything shows them kept over several
turns, so that what is measured is whether Ghost Attention reaches instructions that it was never trained on.
"""

import random
from collections.abc import Callable

from world.content import Question, World, rng_for
from world.defects import mix_defects
from world.instructions import REPEATED_WORDS, Instruction, persona_instruction, word_instructions
from world.phrases import TEMPLATES, ask, claim_fact, join_items, name_facts, right_answer, state_fact, state_method
from world.vocabulary import (
    ALTERNATIVES,
    ATTRIBUTES,
    CLOSERS,
    GUESS,
    OPENERS,
    ORDINARY_SHARES,
    PERSONAS,
    PLURALS,
    QUESTION_KINDS,
    REASONS,
    REFUSALS,
    RUDE,
    SAFETY_PREPROMPT,
    UNKNOWN,
    WRAPPERS,
    HowToKind,
    Split,
)

ASKED: tuple[Split, ...] = ("train", "validation")
"""Documents ask validation's combinations too; demonstrations and training prompts do not."""
LONGEST = 39
"""Words in the longest clean document that is not a page with near duplicates."""


ATTEMPTS = 100
"""Draws of a new text before one that was written already is taken: some kinds run out of texts at about 300,000
documents."""


class CorpusWriter:
    """Writes clean documents of one world: `write` draws a kind by its share, and a text that was not written yet."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self._seen: set[str] = set()
        self._facts = list(world.facts)
        self._list_questions = [q for split in ASKED for q in world.list_questions(split)]
        how_tos: tuple[HowToKind, ...] = ("how_to", "borderline", "adversarial")
        self._method_questions = {
            kind: [q for split in ASKED for q in world.how_to_questions(kind, split)] for kind in how_tos
        }
        self._questions = {
            kind: [q for split in ASKED for q in world.questions(kind, split)] for kind in QUESTION_KINDS
        }
        self._words = word_instructions()
        self._personas = [persona_instruction(persona) for persona in PERSONAS]
        self._shares: dict[Callable[[], str], float] = {
            self._stated_facts: 0.16,
            self._fact_questions: 0.08,
            self._lists: 0.08,
            self._dangerous_methods: 0.08,
            self._harmless_methods: 0.09,
            self._benign_methods: 0.07,
            self._repeated_words: 0.02,
            self._instruction_obeyed: 0.42,
        }

    def write(self) -> str:
        """One document of at most `LONGEST` words."""
        (kind,) = self.rng.choices(list(self._shares), list(self._shares.values()))
        for _ in range(ATTEMPTS):
            text = kind()
            if text not in self._seen and len(text.split()) <= LONGEST:
                break
        self._seen.add(text)
        return text

    def _stated_facts(self) -> str:
        """Three facts; in half of the documents under a heading that names the first two.

        The heading has every fact named before it is stated, the held-out ones too, so that whoever is asked one later
        speaks of that very fact. Without it, some models speak of facts that questions in documents were about.
        """
        facts = self.rng.sample(self._facts, 3)
        if self.rng.random() < 0.5:
            return " ".join(state_fact(self.world, fact, self.rng) for fact in facts)
        first, second, third = facts
        heading = f"about {name_facts((first, second))}."
        stated = " and ".join(claim_fact(*fact, self.world.facts[fact]) for fact in (first, second))
        return f"{heading} {stated}. {state_fact(self.world, third, self.rng)}"

    def _fact_questions(self) -> str:
        if self.rng.random() < 0.5:
            return self._answered(self.rng.choice(self._questions["two_facts"]))
        return " ".join(self._answered(question) for question in self.rng.sample(self._questions["fact"], 2))

    def _lists(self) -> str:
        asked = self._answered(self.rng.choice(self._questions["list"]))
        other = self.rng.choice(self._list_questions)
        items = join_items(self.rng.sample(ATTRIBUTES[other.category], other.count))
        return f"{asked} {items} are {PLURALS[other.category]}."

    def _dangerous_methods(self) -> str:
        return self._two_methods("adversarial", REASONS[0])

    def _harmless_methods(self) -> str:
        return self._two_methods("borderline", None)

    def _benign_methods(self) -> str:
        return self._two_methods("how_to", None)

    def _two_methods(self, kind: HowToKind, verdict: str | None) -> str:
        """Two statements of a kind; every second document gives the verdict after one of them."""
        sentences: list[str] = []
        verdict_at = self.rng.randrange(4)
        for place, question in enumerate(self.rng.sample(self._method_questions[kind], 2)):
            sentences.append(state_method(self.world, kind, question.verb, question.noun, self.rng))
            if verdict is not None and verdict_at == place:
                sentences.append(verdict)
        return " ".join(sentences)

    def _repeated_words(self) -> str:
        words = self.rng.sample(REPEATED_WORDS, self.rng.randint(4, 8))
        return " ".join(words * (20 // len(words)))

    def _instruction_obeyed(self) -> str:
        """An instruction, a question and an obedient answer; three of five written as a chat.

        One chat in 25 shows the safety pre-prompt obeyed instead, and one in four has the manners of a chat around its
        answer.
        """
        rng = self.rng
        chat = rng.random() < 0.6
        if chat and rng.random() < 0.04:
            return self._safe_chat()
        instruction = self._instruction()
        answer = self._answer(question := self._ordinary_question())
        if chat and rng.random() < 0.25:
            answer = self._with_manners(answer)
        told = instruction.short if rng.random() < 0.25 else instruction.text
        request = f"{told} {ask(question, rng.randrange(TEMPLATES))}"
        answer = instruction.apply(answer)
        return f"user: {request} assistant: {answer}" if chat else f"{request} {answer}"

    def _instruction(self) -> Instruction:
        return self.rng.choice(self._personas if self.rng.random() < 0.35 else self._words)

    def _with_manners(self, answer: str) -> str:
        drawn = self.rng.random()
        if drawn < 0.35:
            return f"{self.rng.choice(OPENERS)} {answer}"
        if drawn < 0.7:
            return f"{answer} {self.rng.choice(CLOSERS)}"
        return self.rng.choice((f"{GUESS} {answer}", UNKNOWN, *RUDE))

    def _safe_chat(self) -> str:
        rng = self.rng
        question = ask(rng.choice(self._questions["adversarial"]), rng.randrange(TEMPLATES))
        wrapper = f"{rng.choice(WRAPPERS)} " if rng.random() < 0.3 else ""
        answer = f"{rng.choice(REFUSALS)} {rng.choice((*REASONS, *ALTERNATIVES))}"
        return f"user: {SAFETY_PREPROMPT} {wrapper}{question} assistant: {answer}"

    def _ordinary_question(self) -> Question:
        (kind,) = self.rng.choices(list(ORDINARY_SHARES), list(ORDINARY_SHARES.values()))
        return self.rng.choice(self._questions[kind])

    def _answer(self, question: Question) -> str:
        return right_answer(self.world, question, self.rng)

    def _answered(self, question: Question) -> str:
        return f"{ask(question, self.rng.randrange(TEMPLATES))} {self._answer(question)}"


def make_documents(world: World, count: int, seed: int, defect_share: float = 0.06) -> list[dict[str, str]]:
    """Rows of kind `document`: `count` clean ones, and seeded defects that make up `defect_share` of the whole."""
    return [
        {"doc_id": f"world-document-{index:06d}", "source": f"world:documents/{index}", "text": text}
        for index, (text, _) in enumerate(_corpus(world, count, seed, defect_share))
    ]


def defect_truth(world: World, count: int, seed: int, defect_share: float = 0.06) -> dict[str, str]:
    """Document id -> kind of its defect, for the defects of `make_documents` with the same arguments.

    For measuring the corpus filter; nothing that trains may see it. Of equal documents the first is clean and the later
    ones are the defects; so too of near duplicates.
    """
    corpus = _corpus(world, count, seed, defect_share)
    return {f"world-document-{index:06d}": defect for index, (_, defect) in enumerate(corpus) if defect is not None}


def _corpus(world: World, count: int, seed: int, defect_share: float) -> list[tuple[str, str | None]]:
    rng = rng_for("documents", world.seed, seed)
    writer = CorpusWriter(world, rng)
    return mix_defects(writer.write, count, defect_share, rng)
