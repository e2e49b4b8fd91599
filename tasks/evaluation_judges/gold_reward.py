"""The gold reward model as a judge of evaluations: it learned from pairs that nothing else learns from, and nothing is
optimised against it (Gao et al., arXiv 2210.10760; see tasks/train_reward.py)."""

from collections.abc import Mapping
from typing import Any

from tasks.answers import open_renderer, response_of
from tasks.engine.step import BASE, Input, StepRun
from tasks.estimates import mean_of
from tasks.evaluation_judges.judge import EvaluationJudge, JudgeAnswersConfig, Judged, Rows
from tasks.evaluations.evaluation import Measure
from tasks.judging.judgements import judgement
from tasks.sampling import score
from tasks.train_reward import CHANCE, accuracy_by_rating

_ACCURACY = Measure(
    "accuracy", "Held-out pairs of which the judge scores the better answer higher", "RM acc", chance=CHANCE, first=True
)
_REWARD = Measure("reward", "Mean raw score by the judge, a reward model", "reward")


class GoldReward(EvaluationJudge):
    """Compares by its scores. How good it is stands beside: its accuracy on pairs that no reward model learned from."""

    kind = "gold_reward"
    always_answers = True
    labels = ()
    further = (_ACCURACY, _REWARD)
    inputs = {
        "gold_reward": Input("model", optional=True),
        "responses": Input("dataset", "response", optional=True),
        "others": Input("dataset", "response", optional=True, many=True),
        "named": Input("dataset", "response", optional=True, many=True),
        "preferences": Input("dataset", "preference", optional=True, many=True),
        "base": BASE,
    }

    def judge(self, run: StepRun, config: JudgeAnswersConfig, questions: Rows) -> Judged:
        """Of the questions that compare. It reads answers by their ids, as it learned to; equal scores are a tie."""
        from models.checkpoint import load_reward

        sampling, judge = config.sampling, config.annotator
        if sampling is None:
            raise ValueError(f"{judge}: its config has no sampling")
        folder = run.path("gold_reward")
        renderer = open_renderer(folder)
        model = load_reward(folder, run.optional_path("base"), dtype=sampling.dtype)

        def scores(rows: Rows) -> dict[str, float]:
            found = score([model], renderer, [response_of(row) for row in rows], sampling)
            return {row["prompt_id"]: value for row, (value,) in zip(rows, found, strict=True)}

        mine = scores(run.records("responses"))
        theirs = {called: scores(rows) for called, rows in _answers_of_others(run, config).items()}
        rows = []
        for question in questions:
            key, against = question["prompt_id"], question["against"]
            if question["question"] == "better":
                a, b = mine[key], theirs[against][key]
                rows.append(judgement(key, judge, "better", 0.5 if a == b else float(a > b), against=against))
        figures = {_REWARD.name: mean_of(list(mine.values()), judge)}
        held_out = [row for row in run.each_row("preferences") if row["split"] == "heldout"]
        if held_out:
            figures[_ACCURACY.name] = accuracy_by_rating(model, renderer, held_out, sampling)["all"]
        return Judged(rows, figures)


def _answers_of_others(run: StepRun, config: JudgeAnswersConfig) -> Mapping[str, list[dict[str, Any]]]:
    """What the other policies are called in questions → their answers."""
    by_part = {str(rows[0]["iteration"]): rows for rows in run.records_each("others") if rows}
    return {**by_part, **dict(zip(config.named, run.records_each("named"), strict=True))}
