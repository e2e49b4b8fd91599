"""Where a policy stands (Llama 2, sections 3.4 and 4): held-out prompts are answered once, and each evaluation of
tasks/evaluations/ measures."""

import json
from dataclasses import replace
from typing import Any

from pydantic import Field

from data_store.estimate import Estimate
from data_store.records import Metric
from tasks.answers import open_renderer
from tasks.engine.step import BASE, Input, Measurements, Output, StepRun, step
from tasks.evaluations.evaluation import Subject
from tasks.evaluations.held_out_answers import response_rows
from tasks.evaluations.registry import EVALUATIONS, HEADLINE, INPUTS, EvaluateConfig, held_out_prompts, metrics_of
from tasks.judging.annotators import AnnotatorConfig
from tasks.sampling import draw, speakers


class EvaluateStepConfig(EvaluateConfig):
    """The same, with the run's annotator."""

    annotator: AnnotatorConfig | None = Field(default=None, description="Empty: the reward models alone judge")


@step(
    version=11,
    config=EvaluateStepConfig,
    inputs={
        "policy": Input("model"),
        "prompts": Input("dataset", "prompt"),
        "baseline": Input("dataset", "response", optional=True),
        "gold_reward": Input("model", optional=True),
        **INPUTS,
        "base": BASE,
    },
    outputs={
        "evaluation": Output("report"),
        "responses": Output("dataset", "response"),
        "judgements": Output("dataset", "judgement"),
    },
    metrics=metrics_of,
    headline=HEADLINE,
    about="Evaluates the policy of one iteration; V0 for SFT.",
    tags=("evaluation",),
    spreads=True,
)
def evaluate(run: StepRun, config: EvaluateStepConfig) -> Measurements:
    """Answer the held-out prompts once, and measure. Metrics that need a judge are left out where there is none."""
    from models.checkpoint import load_policy

    base = run.optional_path("base")
    renderer = open_renderer(run.path("policy"))
    policy = load_policy(run.path("policy"), base, dtype=config.sampling.dtype)
    prompts = held_out_prompts(run.records("prompts"), config)
    metrics: dict[str, float | Estimate] = {}
    with speakers(run, config.sampling) as speaker_of:
        speaker = speaker_of("policy", policy)
        answers = [
            responses[0]
            for responses in draw(
                speaker,
                renderer,
                [prompt["messages"] for prompt in prompts],
                config.sampling,
                temperatures=[config.temperature],
                seed=run.seed,
                on_progress=lambda part: run.progress(0.5 * part, "answering held-out prompts"),
            )
        ]
        rows = response_rows(run, config, prompts, answers, policy=run.version("policy"), called=run.part)
        baseline = {row["prompt_id"]: row for row in run.records("baseline") or rows}
        annotator = None if config.annotator is None else config.annotator.open()
        subject = Subject(run, policy, renderer, base, annotator, prompts, answers, baseline, speaker)
        for each in EVALUATIONS:
            if all(run.all_inputs(role) for role in each.inputs) and not (each.judged and annotator is None):
                metrics |= each.measure(subject, config)

    run.write_rows("responses", rows)
    if run.wants("judgements"):
        run.write_rows("judgements", subject.judgements)
    judge = "reward models only" if annotator is None else annotator.name
    told = [_told(name, measured) for name, measured in sorted(metrics.items())]
    report = {"part": run.part, "judge": judge, "metrics": {each["metric"]: each for each in told}}
    (run.output("evaluation") / "evaluation.json").write_text(json.dumps(report, indent=1, sort_keys=True))
    run.table("metrics", [{name: "" if value is None else value for name, value in each.items()} for each in told])
    run.table(
        "examples",
        [
            {"prompt": p["messages"][-1]["content"], run.part: a.text, "SFT": baseline[p["prompt_id"]]["text"]}
            for p, a in list(zip(prompts, answers, strict=True))[:: max(1, len(prompts) // 12)]
        ],
    )
    return metrics


# The policy before the final stage, beside the one after it.
evaluate_sampled = replace(
    evaluate, name="evaluate_sampled", about="Evaluates the policy of the last iteration before the final stage."
)


def _told(name: str, measured: float | Estimate) -> dict[str, Any]:
    metric = Metric.of(name, measured)
    return {
        "metric": name,
        "value": metric.value,
        "n": metric.n,
        "low": metric.low,
        "high": metric.high,
        "judge": metric.judge,
    }
