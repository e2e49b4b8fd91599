"""What the evaluations say of themselves is true of all of them together."""

from collections import Counter

from tasks.evaluate import EvaluateStepConfig, evaluate
from tasks.evaluations.registry import EVALUATIONS, HEADLINE, columns, held_out_prompts
from tasks.judging.annotators import AnnotatorConfig

CONFIG = EvaluateStepConfig(annotator=AnnotatorConfig(world_seed=1))


def test_no_two_evaluations_measure_under_one_name_or_show_under_one_title() -> None:
    names = Counter(metric.name for each in EVALUATIONS for metric in each.metrics(CONFIG))
    titles = Counter(metric.column for metric in columns())
    assert max(names.values()) == max(titles.values()) == 1
    assert HEADLINE in names


def test_what_an_evaluation_reads_is_an_optional_input_of_the_step() -> None:
    roles = [role for each in EVALUATIONS for role in each.inputs]
    assert len(roles) == len(set(roles))
    assert all(evaluate.inputs[role].optional for role in roles)


def test_every_metric_says_what_it_means() -> None:
    assert all(metric.meaning for each in EVALUATIONS for metric in each.metrics(CONFIG))


def test_a_prompt_that_two_evaluations_want_is_answered_once() -> None:
    prompts = [
        {"prompt_id": str(number), "axis": axis, "kind": kind, "split": "heldout"}
        for number, (axis, kind) in enumerate([("helpfulness", "ordinary"), ("safety", "borderline")])
    ]
    assert [row["prompt_id"] for row in held_out_prompts(prompts, CONFIG)] == ["0", "1"]
