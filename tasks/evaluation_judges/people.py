"""People as judges of evaluations: what they said on the annotation page."""

from data_store.annotation.judging import Verdict
from data_store.estimate import Estimate
from tasks.engine.step import Input, StepRun
from tasks.estimates import rate_of
from tasks.evaluation_judges.judge import EvaluationJudge, JudgeAnswersConfig, Judged, Rows
from tasks.evaluations.evaluation import Measure
from tasks.judging.agreement import AGREEMENTS, AgreementMeasure, judged_twice, ratings_of
from tasks.judging.by_people import by_people

NO_AGREEMENT = 0.0
"""Gwet's AC2 of people who agree no more often than by chance."""
_FIRST = Measure("first_chosen", "Judgements that chose the response that stood first, of those that chose surely")


def _agreement(of: AgreementMeasure) -> Measure:
    name = f"agreement/{of.name.replace(' ', '_')}"
    is_first = of is AGREEMENTS[0]
    meaning = f"How far people agree on the {of.name} of a pair: Gwet's AC2, 1 where always, 0 as by chance"
    return Measure(name, meaning, "AC2" if is_first else f"AC2 {of.name}", chance=NO_AGREEMENT, first=is_first)


_AGREED = {of.name: _agreement(of) for of in AGREEMENTS}


class People(EvaluationJudge):
    """Blind, in a batch of pairs. Agreement is measured on what they said before an adjudicator decided."""

    kind = "people"
    further = (*_AGREED.values(), _FIRST)
    inputs = {"opinions": Input("dataset", "opinion", optional=True)}

    def judge(self, run: StepRun, config: JudgeAnswersConfig, questions: Rows) -> Judged:
        """Of the questions on the drawn prompts."""
        opinions = sorted(run.records("opinions"), key=lambda row: str(row["opinion_id"]))
        rows = by_people(questions, opinions, config.annotator, config.prompts or 0, config.kinds)
        return Judged(rows, _figures([row for row in opinions if not row["decision"]], config.annotator))


def _figures(opinions: Rows, judge: str) -> dict[str, Estimate]:
    from models.algorithms.agreement import ac2_interval, gwet_ac2

    said = [
        (row["question_id"], Verdict(row["chosen"], row["rating"], row["safety_label"], row["refusing"]))
        for row in opinions
    ]
    found: dict[str, Estimate] = {}
    for of in AGREEMENTS:
        ratings = ratings_of(said, of)
        if twice := judged_twice(ratings):
            ac2 = gwet_ac2(ratings, of.categories, of.weights)
            low, high = ac2_interval(ratings, of.categories, of.weights) or (None, None)
            found[_AGREED[of.name].name] = Estimate(ac2, twice, low, high, judge)
    sure = [verdict.chosen == "a" for _, verdict in said if verdict.rating != "negligibly_better"]
    return {**found, **({_FIRST.name: rate_of(sure, judge)} if sure else {})}
