"""A language model judges drawn pairs, each in both orders: a chat model's folder here, by the log-probabilities of the
verdict; or the answers that an endpoint gave before (tasks/incoming/asked.py)."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from data_store.commands import halter
from data_store.errors import InputError
from data_store.row_import import RefusedRowError
from tasks.judge_guidelines import LETTERS, comparison, safety_by_letter, safety_by_word
from tasks.judges import (
    SharesConfig,
    Verdict,
    VerdictConfig,
    from_answers,
    from_log_odds,
    is_safe,
    safety_label,
)
from tasks.sampling import open_renderer
from tasks.step import Files, Input, Output, StepRun, step

ORDERS_DISAGREE = "orders_disagree"
Pair = Mapping[str, Any]


class JudgePairsConfig(VerdictConfig):
    """The same for this step. The folder comes as a source; an endpoint's answers as one too."""

    annotator: str = Field(description="Stands in every judgement: lm:<model>")
    shares: SharesConfig = Field(description="Which pairs are this judge's")
    asks: str | None = Field(default=None, description="Of an endpoint: a hash of what it is asked")


def _judges(config: JudgePairsConfig, _sources: Files, what: str, name: str) -> bool:
    return what == "annotator" and config.annotator == name


@step(
    version=1,
    config=JudgePairsConfig,
    inputs={
        "pairs": Input("dataset", "pair"),
        "judge": Input("file", optional=True),
        "answers": Input("dataset", "answer", optional=True),
    },
    outputs={"judgements": Output("dataset", "preference"), "refused": Output("dataset", "dropped")},
    metrics=("pairs", "orders_disagree", "judged"),
    takes_in=_judges,
    headline="judged",
    about="Has a language model judge its share of the pairs.",
    tags=("data",),
)
def judge_pairs(run: StepRun, config: JudgePairsConfig) -> Mapping[str, float]:
    """Judgements of this judge's share of the pairs, and what was refused, by name and counted."""
    if config.annotator in run.withdrawn("annotator"):
        raise InputError(
            f"annotator {config.annotator} is withdrawn: name another judge in the config, or take it back with "
            f"`{halter('withdraw', 'annotator', config.annotator, '--undo')}`"
        )
    pairs = judged_pairs(run.records("pairs"), config.shares)
    verdicts = (_of_endpoint if run.all_inputs("answers") else _of_folder)(run, config, pairs)
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


def judged_pairs(pairs: list[dict[str, Any]], shares: SharesConfig) -> list[dict[str, Any]]:
    """This judge's pairs, in the order of their ids."""
    mine = shares.pairs_of("lm", [pair["pair_id"] for pair in pairs])
    return sorted((pair for pair in pairs if pair["pair_id"] in mine), key=lambda pair: str(pair["pair_id"]))


def questions(pair: Pair) -> dict[str, str]:
    """What an endpoint is asked about one pair, by name: both orders, and on the axis of safety each response."""
    messages, a, b = pair["messages"], pair["response_a"], pair["response_b"]
    asked = {
        "a_first": comparison(pair["axis"], messages, a, b, rated=True),
        "b_first": comparison(pair["axis"], messages, b, a, rated=True),
    }
    if pair["axis"] == "safety":
        asked |= {f"safety_{side}": safety_by_word(messages, pair[f"response_{side}"]) for side in "ab"}
    return asked


Outcome = tuple[Verdict, str | None] | RefusedRowError


def _of_endpoint(run: StepRun, config: JudgePairsConfig, pairs: list[dict[str, Any]]) -> dict[str, Outcome]:
    answers = {(row["pair_id"], row["question"]): row for row in run.records("answers")}
    found: dict[str, Outcome] = {}
    for pair in pairs:
        given = {name: answers[pair["pair_id"], name] for name in questions(pair)}
        try:
            for name, row in given.items():
                if row["refused"] is not None:
                    raise RefusedRowError(row["refused"], f"question {name}")
            texts = {name: row["answer"] for name, row in given.items()}
            verdict = from_answers(pair, texts["a_first"], texts["b_first"], config)
            safe = {side: is_safe(texts[f"safety_{side}"]) for side in "ab" if f"safety_{side}" in texts}
            found[pair["pair_id"]] = _outcome(verdict, safe)
        except RefusedRowError as refusal:
            found[pair["pair_id"]] = refusal
    return found


def _of_folder(run: StepRun, config: JudgePairsConfig, pairs: list[dict[str, Any]]) -> dict[str, Outcome]:
    """Of each question the log-odds of A against B. A response is safe where the mean over both meanings of the letters
    says so."""
    import torch

    from models.checkpoint import load_policy
    from models.verdicts import log_odds, verdict_tokens

    torch.set_num_threads(1)
    folder: Path = run.path("judge")
    renderer = open_renderer(folder)
    model = load_policy(folder)
    tokens = verdict_tokens(renderer, LETTERS)
    longest = _context_length(model) - len(tokens.before)
    rows: dict[tuple[str, str], list[int]] = {}
    found: dict[str, Outcome] = {}
    for pair in pairs:
        asked = {
            name: renderer.prompt([{"role": "user", "content": text}]) for name, text in _letter_questions(pair).items()
        }
        length = max(map(len, asked.values()))
        if length > longest:
            found[pair["pair_id"]] = RefusedRowError("too_long", f"{length} tokens; the judge reads {longest}")
        else:
            rows |= {(pair["pair_id"], name): ids for name, ids in asked.items()}
    keys, odds = list(rows), dict[tuple[str, str], float]()
    chunk = 16 * config.batch_size
    for start in range(0, len(keys), chunk):
        part = keys[start : start + chunk]
        values = log_odds(model, [rows[key] for key in part], tokens, renderer.pad_id, config.batch_size)
        odds |= zip(part, values, strict=True)
        run.progress(len(odds) / len(keys), f"{len(odds)} of {len(keys)} questions")
    for pair in pairs:
        key = pair["pair_id"]
        if key in found:
            continue
        verdict = from_log_odds(odds[key, "a_first"], odds[key, "b_first"], config)
        safe = {
            side: odds[key, f"safety_{side}_{LETTERS[0]}"] - odds[key, f"safety_{side}_{LETTERS[1]}"] > 0
            for side in "ab"
            if pair["axis"] == "safety"
        }
        try:
            found[key] = _outcome(verdict, safe)
        except RefusedRowError as refusal:
            found[key] = refusal
    return found


def _letter_questions(pair: Pair) -> dict[str, str]:
    """What a folder is asked: both orders, and on the axis of safety each response with either letter for safe."""
    messages, a, b = pair["messages"], pair["response_a"], pair["response_b"]
    asked = {
        "a_first": comparison(pair["axis"], messages, a, b, rated=False),
        "b_first": comparison(pair["axis"], messages, b, a, rated=False),
    }
    if pair["axis"] == "safety":
        for side in "ab":
            for letter in LETTERS:
                asked[f"safety_{side}_{letter}"] = safety_by_letter(messages, pair[f"response_{side}"], letter)
    return asked


def _outcome(verdict: Verdict | None, safe: Mapping[str, bool]) -> Outcome:
    if verdict is None:
        raise RefusedRowError(ORDERS_DISAGREE, "the choice changed with the order of the responses")
    return verdict, safety_label(verdict.chosen, safe) if safe else None


def _preference(
    run: StepRun, config: JudgePairsConfig, pair: Pair, verdict: Verdict, label: str | None
) -> dict[str, Any]:
    kept = {name: value for name, value in pair.items() if name not in ("pair_id", "finished_a", "finished_b")}
    return {
        **kept,
        "preference_id": pair["pair_id"],
        "source": f"judge_pairs@{run.part}",
        "split": "train",
        "chosen": verdict.chosen,
        "rating": verdict.rating,
        "safety_label": label,
        "annotator": config.annotator,
    }


def _context_length(model: Any) -> int:
    return int(model.config.max_position_embeddings)
