"""An endpoint's answers. It is asked before the step that reads them: they become a source with a hash, so nothing is
asked twice, and a process that is killed goes on where it was."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from data_store.commands import halter
from data_store.encoding import text_hash
from data_store.incoming.answers import AnswerFile, EndpointAnswer, Key, register_answers
from data_store.names import AssetName, slug
from data_store.records import Head
from data_store.store import Store
from tasks.engine.jobs import StepFailedError
from tasks.engine.reading import Progress, Reading, Wait
from tasks.incoming.of_pairs import OfPairs
from tasks.judging.endpoint import EndpointConfig, key_of
from tasks.judging.judge import Rows
from tasks.judging.of_answers import asks_of, for_endpoint
from tasks.judging.shares import SharesConfig


@dataclass(frozen=True)
class AskedOf(OfPairs):
    """What an endpoint answers to questions on the rows of an asset."""

    endpoint: EndpointConfig
    key: ClassVar[str]
    """Of the config, that names the endpoint."""

    @property
    @abstractmethod
    def asks(self) -> str:
        """Everything that decides what is asked, and who answers: it names the answers."""

    @abstractmethod
    def questions(self, rows: Rows) -> dict[Key, str]:
        """What is asked, by row and name of the question."""

    def __str__(self) -> str:
        return f"asked {self.pairs} {self.asks}"

    def source(self, part: str, pairs_version: str) -> AssetName:
        """Its answers: named by the rows and by what is asked of them."""
        asked = text_hash(self.asks)[:12]
        return AssetName("source", slug(f"lm-answers-{part}-{pairs_version[:16]}-{asked}"), "external")

    def lacking(self) -> str:
        """It is asked by a run."""
        who = f"{self.endpoint.model} at {self.endpoint.url}"
        return f"{who} was not asked yet; `{halter('run', 'CONFIG')}` asks it"

    def said(self, at: Reading) -> str:
        """By the model."""
        return f"what {self.endpoint.model} answered"

    def check(self, store: Store | None, heads: Mapping[AssetName, Head], part: str) -> None:
        """Whether the endpoint can be asked, where it will have to be. Raises InputError for a key that is missing."""
        pairs = heads.get(self.pairs)
        if pairs is None or self.source(part, pairs.version_id) not in heads:
            key_of(self.endpoint, self.key)

    def prepare(self, at: Reading, on_progress: Progress) -> Wait | None:
        """Ask what is to be answered and has no answer yet.

        Raises InputError where the endpoint cannot be used as the config says, StepFailedError where it answers
        nothing.
        """
        store, pairs = at.store, at.heads.get(self.pairs)
        if pairs is None:
            return None  # the step itself says what is missing
        asset = self.source(at.part, pairs.version_id)
        if store.head(asset) is None:
            with AnswerFile(store, asset) as file:
                if store.head(asset) is None:  # else another process was asking, and we waited for it
                    questions = self.questions(store.rows(pairs.version_id).to_pylist())
                    answers = _ask(self, questions, file, on_progress)
                    model, url = self.endpoint.model, self.endpoint.url
                    register_answers(store, asset, answers, model=model, url=url, pairs=pairs)
                    file.clear()
        return None


@dataclass(frozen=True)
class Asked(AskedOf):
    """Questions on drawn pairs, the endpoint's share of them."""

    shares: SharesConfig
    key = "collect.judge.endpoint"

    @property
    def asks(self) -> str:
        """With the share."""
        return f"{self.endpoint.asks} {self.shares.lm!r}"

    def questions(self, rows: Rows) -> dict[Key, str]:
        """By pair."""
        mine = sorted(self.shares.of("lm", rows), key=lambda pair: str(pair["pair_id"]))
        return {(pair["pair_id"], name): text for pair in mine for name, text in self.endpoint.questions(pair).items()}


@dataclass(frozen=True)
class AskedOfAnswers(AskedOf):
    """Questions on a policy's answers, for an evaluation."""

    key = "evaluate.judges endpoint"

    @property
    def asks(self) -> str:
        """As evaluations ask."""
        return asks_of(self.endpoint)

    def questions(self, rows: Rows) -> dict[Key, str]:
        """By question."""
        return {
            (row["question_id"], name): text
            for row in sorted(rows, key=lambda row: str(row["question_id"]))
            for name, text in for_endpoint(row).items()
        }


def _ask(asked: AskedOf, wanted: Mapping[Key, str], file: AnswerFile, on_progress: Progress) -> list[EndpointAnswer]:
    """The answers to all questions, those that were there before included."""
    answers = file.read()

    def keep(answer: EndpointAnswer) -> None:
        file.add(answer)
        answers[answer.pair_id, answer.question] = answer
        on_progress(len(answers) / len(wanted), f"{len(answers)} of {len(wanted)} answers")

    from tasks.judging.chat_client import ChatClient  # its HTTP client is slow to load

    with ChatClient(asked.endpoint, asked.key) as endpoint:
        endpoint.ask_all([(key, text) for key, text in wanted.items() if key not in answers], keep)
    if wanted and all(answer.refused for answer in answers.values()):
        file.clear()  # nothing to keep: it may be asked again
        reasons = ", ".join(sorted({str(answer.refused) for answer in answers.values()}))
        raise StepFailedError(
            f"{asked.endpoint.model} at {asked.endpoint.url} answered none of {len(answers)} questions: {reasons}"
        )
    return [answers[key] for key in wanted]
