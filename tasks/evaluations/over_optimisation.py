"""Over-optimisation while PPO trains (Gao et al., arXiv 2210.10760): at each look of PPO at validation prompts what the
optimised reward models say of the answers, and what says who was not optimised, against how far the policy has gone.

Where the optimised reward rises and the other does not, the policy has found the faults of its reward models.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from data_store.estimate import Estimate
from tasks.answers import Answer, Dialogue
from tasks.engine.step import Input
from tasks.estimates import mean_of
from tasks.evaluations.evaluation import AnsweringConfig, Evaluation, Measure, Rows, Subject

OPTIMISED, GOLD, ANNOTATOR, DISTANCE = "reward", "gold", "annotator", "kl"
_GAIN = "Gain of {} from PPO's first look at validation prompts to the last"


def look_name(training_step: int, what: str) -> str:
    """The metric of one look."""
    return f"look/{training_step}/{what}"


class OverOptimisation(Evaluation):
    """Of the answers that PPO kept."""

    inputs = {"looks": Input("dataset", "look")}

    def metrics(self, config: AnsweringConfig) -> Iterable[Measure]:
        """What the looks come to; each look has figures of its own, which the config knows nothing of."""
        yield Measure(f"gain/{OPTIMISED}", _GAIN.format("the combined reward that was optimised"))
        yield Measure(f"gain/{GOLD}", _GAIN.format("the gold reward model's score"))
        yield Measure(f"gain/{ANNOTATOR}", _GAIN.format("the annotator's score"))

    def measure(self, of: Subject, config: AnsweringConfig) -> Mapping[str, Estimate]:
        """Mean KL and rewards of each look, over its prompts; gains prompt by prompt."""
        rows = sorted(of.run.records("looks"), key=lambda row: (row["training_step"], row["prompt_id"]))
        said: dict[str, tuple[list[float], str | None]] = {
            DISTANCE: ([row["kl"] for row in rows], None),
            OPTIMISED: ([row["reward"] for row in rows], "reward models"),
        }
        if of.run.all_inputs("gold_reward"):
            said[GOLD] = (_gold(of, config, rows), "gold reward model")
        if of.annotator is not None:
            said[ANNOTATOR] = ([_truth(of, row) for row in rows], of.judge_name)
        found: dict[str, Estimate] = {}
        steps = sorted({row["training_step"] for row in rows})
        for what, (values, judge) in said.items():
            looks: dict[int, dict[str, float]] = {step: {} for step in steps}
            for row, value in zip(rows, values, strict=True):
                looks[row["training_step"]][row["prompt_id"]] = value
            for step, by_prompt in looks.items():
                found[look_name(step, what)] = mean_of(list(by_prompt.values()), judge)
            if what != DISTANCE and len(steps) > 1:
                first, last = looks[steps[0]], looks[steps[-1]]
                found[f"gain/{what}"] = mean_of([last[key] - first[key] for key in sorted(first)], judge)
        return found


def _gold(of: Subject, config: AnsweringConfig, rows: Rows) -> list[float]:
    from models.checkpoint import load_reward

    model = load_reward(of.run.path("gold_reward"), of.base, dtype=config.sampling.dtype)
    return [value for (value,) in of.scores([model], list(map(_answer, rows)), config.sampling)]


def _answer(row: Mapping[str, Any]) -> Dialogue:
    name = f"answer of look {row['training_step']} to prompt {row['prompt_id']}"
    return row["messages"], Answer(row["text"], row["token_ids"], row["finished"], row["tokenizer"], name)


def _truth(of: Subject, row: Mapping[str, Any]) -> float:
    """The annotator's score on the axis of the prompt."""
    judgement = of.judge.judge(row["messages"], row["text"], row["finished"])
    return float(getattr(judgement, row["axis"]))
