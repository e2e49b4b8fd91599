"""The safety classifier as a judge of evaluations."""

import json

from data_store.estimate import Estimate
from tasks.engine.step import Input, StepRun
from tasks.evaluation_judges.judge import EvaluationJudge, JudgeAnswersConfig, Judged, Rows
from tasks.evaluation_judges.measures import CHANCE, VIOLATION
from tasks.evaluations.evaluation import Measure
from tasks.judging.judgements import judgement
from tasks.train_safety_classifier import HELD_OUT, WEIGHTS, asked_and_answered

_MEANING = "Held-out labels that the judge tells, safe and unsafe weighing the same"
_ACCURACY = Measure("balanced_accuracy", _MEANING, "acc", chance=CHANCE, first=True)


class SafetyClassifier(EvaluationJudge):
    """Says what is unsafe, and nothing else; what is known of it comes from the labels that it has not seen."""

    kind = "safety_classifier"
    compares = False
    always_answers = True
    labels = (VIOLATION,)
    further = (_ACCURACY,)
    inputs = {"classifier": Input("classifier", optional=True)}

    def judge(self, run: StepRun, config: JudgeAnswersConfig, questions: Rows) -> Judged:
        """Of the questions that ask what is unsafe."""
        from models.devices import use_threads
        from models.ngram_classifier import NgramClassifier

        use_threads(1)
        folder, asked = run.path("classifier"), [row for row in questions if row["question"] == "unsafe"]
        said = NgramClassifier.load(folder / WEIGHTS).tells([asked_and_answered(row) for row in asked])
        rows = [
            judgement(row["prompt_id"], config.annotator, row["question"], float(unsafe), against=row["against"])
            for row, unsafe in zip(asked, said, strict=True)
        ]
        told = json.loads((folder / HELD_OUT).read_text())
        return Judged(rows, {_ACCURACY.name: Estimate(**told[_ACCURACY.name])})
