"""A model judges drawn pairs: which one, and how, is a file of tasks/judging/."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from data_store.commands import halter
from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from tasks.engine.step import Files, Input, Output, StepRun, step
from tasks.judging.judge import JudgeStepConfig
from tasks.judging.registry import MODELS, JudgePairsConfig
from tasks.judging.verdicts import ORDERS_DISAGREE, ModelVerdict, PairRow


def _judges(config: JudgeStepConfig, _sources: Files, what: str, name: str) -> bool:
    return what == "annotator" and config.annotator == name


@step(
    version=2,
    config=JudgePairsConfig,
    inputs={
        "pairs": Input("dataset", "pair"),
        **{role: wanted for model in MODELS for role, wanted in model.inputs.items()},
    },
    outputs={"judgements": Output("dataset", "preference"), "refused": Output("dataset", "dropped")},
    metrics=("pairs", "orders_disagree", "judged"),
    takes_in=_judges,
    headline="judged",
    about="Has a language model judge its share of the pairs.",
    tags=("data",),
    spreads=lambda call: "judge" in call.inputs,
)
def judge_pairs(run: StepRun, config: JudgePairsConfig) -> Mapping[str, float]:
    """Judgements of this judge's share of the pairs, and what was refused, by name and counted."""
    if config.annotator in run.withdrawn("annotator"):
        raise InputError(
            f"annotator {config.annotator} is withdrawn: name another judge in the config, or take it back with "
            f"`{halter('withdraw', 'annotator', config.annotator, '--undo')}`"
        )
    (judge,) = (each for each in MODELS if each.is_asked(run, config))
    pairs = sorted(config.shares.of(judge.share, run.records("pairs")), key=lambda pair: str(pair["pair_id"]))
    verdicts = judge.verdicts(run, config, pairs)
    rows, refused = [], []
    disagreed = 0
    for pair in pairs:
        verdict = verdicts[pair["pair_id"]]
        if isinstance(verdict, RefusedRowError):
            names = {"doc_id": pair["pair_id"], "source": pair["source"]}
            refused.append({**names, "reason": verdict.reason, "detail": verdict.detail})
            disagreed += verdict.reason == ORDERS_DISAGREE
            continue
        given, label = verdict
        disagreed += not given.agreed
        rows.append(_preference(run, config, pair, given, label))
    reasons = Counter(row["reason"] for row in refused)
    if not rows:
        raise InputError(
            f"{config.annotator} judged none of {len(pairs)} pairs; refused: {dict(reasons)}. Take another judge, or "
            "set collect.judge.disagreement: negligibly_better"
        )
    run.write_rows("judgements", rows)
    run.write_rows("refused", refused)
    counts = {"judged": len(rows), **{f"refused/{reason}": count for reason, count in sorted(reasons.items())}}
    run.table("judged", [{"judged by": config.annotator, "outcome": name, "pairs": n} for name, n in counts.items()])
    return {
        "pairs": float(len(pairs)),
        ORDERS_DISAGREE: disagreed / len(pairs),
        **{name: float(count) for name, count in counts.items()},
    }


def _preference(
    run: StepRun, config: JudgeStepConfig, pair: PairRow, verdict: ModelVerdict, label: str | None
) -> dict[str, Any]:
    return {
        **{name: value for name, value in pair.items() if name != "pair_id"},
        "preference_id": pair["pair_id"],
        "source": f"judge_pairs@{run.part}",
        "split": None,
        "chosen": verdict.chosen,
        "rating": verdict.rating,
        "safety_label": label,
        "annotator": config.annotator,
    }
