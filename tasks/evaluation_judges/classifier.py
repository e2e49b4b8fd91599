"""The safety classifier as a judge of evaluations."""

import json
from pathlib import Path
from typing import Any

from data_store.estimate import Estimate
from tasks.judging.judgements import judgement
from tasks.train_safety_classifier import HELD_OUT, WEIGHTS, asked_and_answered


def by_classifier(folder: Path, rows: list[dict[str, Any]], judge: str) -> list[dict[str, Any]]:
    """Its judgements on rows of kind question that ask what is unsafe."""
    from models.devices import use_threads
    from models.ngram_classifier import NgramClassifier

    use_threads(1)
    said = NgramClassifier.load(folder / WEIGHTS).unsafe([asked_and_answered(row) for row in rows])
    return [
        judgement(row["prompt_id"], judge, row["question"], float(unsafe))
        for row, unsafe in zip(rows, said, strict=True)
    ]


def accuracy_of(folder: Path) -> dict[str, Estimate]:
    """What is known of it from the labels that it has not seen."""
    told = json.loads((folder / HELD_OUT).read_text())
    return {"balanced_accuracy": Estimate(**told["balanced_accuracy"])}
