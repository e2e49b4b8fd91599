"""What the answers look like, whoever judges them."""

from collections.abc import Iterable, Mapping
from functools import partial

from data_store.estimate import Estimate
from data_store.figures import figure
from tasks.estimates import mean_of, rate_of
from tasks.evaluations.evaluation import AnsweringConfig, Evaluation, Measure, Subject


class Answers(Evaluation):
    """Length and end."""

    def metrics(self, config: AnsweringConfig) -> Iterable[Measure]:
        """Always."""
        yield Measure("finished", "Share of answers that ended before the token limit", "finished")
        yield Measure("answers", "Held-out prompts that were answered, once each")
        yield Measure("response_tokens", "Mean length of an answer, in tokens", "tokens", partial(figure, digits=3))

    def measure(self, of: Subject, config: AnsweringConfig) -> Mapping[str, float | Estimate]:
        """Over all prompts."""
        return {
            "answers": float(len(of.answers)),
            "finished": rate_of([answer.finished for answer in of.answers]),
            "response_tokens": mean_of([len(answer.ids) for answer in of.answers]),
        }
