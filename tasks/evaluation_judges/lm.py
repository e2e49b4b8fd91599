"""A language model as judge of evaluations: a chat model's folder, or what an endpoint answered."""

from tasks.engine.step import Input, StepRun
from tasks.estimates import rate_of
from tasks.evaluation_judges.judge import EvaluationJudge, JudgeAnswersConfig, Judged, Rows
from tasks.evaluation_judges.measures import ORDERS_DISAGREE
from tasks.judging.folder import JUDGE
from tasks.judging.of_answers import by_endpoint, by_folder


class LanguageModel(EvaluationJudge):
    """Asks each comparison in both orders."""

    kind = "lm"
    further = (ORDERS_DISAGREE,)
    inputs = {"judge": JUDGE, "answers": Input("dataset", "answer", optional=True)}

    def judge(self, run: StepRun, config: JudgeAnswersConfig, questions: Rows) -> Judged:
        """By whichever of the two is given."""
        judge = config.annotator
        if run.all_inputs("judge"):
            rows = by_folder(run, questions, judge, config.reading)
        else:
            rows = by_endpoint(questions, run.records("answers"), judge)
        compared = [row for row in rows if row["question"] == "better" and row["value"] is not None]
        both = [row["first_order"] != row["second_order"] for row in compared]
        return Judged(rows, {ORDERS_DISAGREE.name: rate_of(both, judge)} if both else {})
