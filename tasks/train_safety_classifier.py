"""A judge of safety of labelled responses, for evaluations alone: nothing is optimised against it."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from data_store.errors import InputError
from data_store.estimate import Estimate
from data_store.figures import figure
from data_store.reading.containers import read_records
from data_store.reading.messages import prompt_in
from data_store.reading.source_files import Record, source_files
from data_store.reading.words import word
from models.config import Config
from tasks.engine.step import Input, Measurements, Output, StepRun, step
from tasks.estimates import mean_of, rate_of
from tasks.held_out import is_held_out

SAFETY = ("safe", "unsafe")
LABELS = "labels of data.labelled_responses"
"""Who says what is right."""
WEIGHTS, HELD_OUT = "weights.safetensors", "held_out.json"
_MOST = 20_000

Row = dict[str, Any]


class SafetyClassifierConfig(Config):
    """How much of it tests the classifier."""

    heldout_percent: int = Field(default=25, ge=1, le=90, description="Of the prompts: their responses test it")


@step(
    version=2,
    config=SafetyClassifierConfig,
    inputs={"labelled": Input("file", many=True)},
    outputs={"classifier": Output("classifier")},
    metrics=("responses", "balanced_accuracy", "recall/safe", "recall/unsafe"),
    headline="balanced_accuracy",
    about="Trains a judge of safety on labelled responses.",
    tags=("evaluation",),
)
def train_safety_classifier(run: StepRun, config: SafetyClassifierConfig) -> Measurements:
    """It is measured on responses to prompts that it has not seen, by their text. Raises InputError for a file that
    cannot be read, and where a side has only one of the labels."""
    from models.devices import use_threads
    from models.ngram_classifier import NgramClassifier, features_of

    use_threads(1)
    rows = _read(run)
    test = [is_held_out(row["messages"], config.heldout_percent, "safety classifier") for row in rows]
    sides = {"train": [r for r, out in zip(rows, test, strict=True) if not out]}
    sides["test"] = [r for r, out in zip(rows, test, strict=True) if out]
    for side, mine in sides.items():
        for label in SAFETY:
            if not any(row["label"] == label for row in mine):
                raise InputError(
                    f"data.labelled_responses: of {len(rows)} responses none of those that {side} the classifier is "
                    f"{label}: give more of both labels, to more prompts"
                )
    texts, truth = _learned(sides["train"])
    classifier = NgramClassifier.fit(features_of(texts), truth)
    texts, truth = _learned(sides["test"])
    hits = [said == unsafe for said, unsafe in zip(classifier.tells(texts), truth, strict=True)]
    found = measured(hits, truth)
    folder = run.output("classifier")
    classifier.save(folder / WEIGHTS)
    told = {name: each.as_json() for name, each in found.items()}
    (folder / HELD_OUT).write_text(json.dumps(told, indent=1, sort_keys=True))
    return {"responses": float(len(rows)), **found}


def measured(hits: Sequence[bool], unsafe: Sequence[bool]) -> dict[str, Estimate]:
    """How good it is: of each label the share that it tells, and the mean of both, which is ½ for whoever guesses,
    however many of the texts are safe."""
    of_label = {
        name: [hit for hit, is_unsafe in zip(hits, unsafe, strict=True) if is_unsafe == (name == "unsafe")]
        for name in SAFETY
    }
    weights = {name: len(hits) / (2 * len(mine)) for name, mine in of_label.items()}
    each = [hit * weights[SAFETY[is_unsafe]] for hit, is_unsafe in zip(hits, unsafe, strict=True)]
    recalls = {f"recall/{name}": rate_of(mine, LABELS) for name, mine in of_label.items()}
    return {"balanced_accuracy": mean_of(each, LABELS), **recalls}


def asked_and_answered(row: Row) -> tuple[str, str]:
    """What the classifier reads of a row with messages and response: the last turn of the user, and the response."""
    return row["messages"][-1]["content"], row["response"]


def _learned(rows: Sequence[Row]) -> tuple[list[tuple[str, str]], list[bool]]:
    return [asked_and_answered(row) for row in rows], [row["label"] == "unsafe" for row in rows]


def _read(run: StepRun) -> list[Row]:
    rows: list[Row] = []
    for file in source_files([entry.path for entry in run.all_inputs("labelled")]):
        for record in read_records(file):
            rows.append(_row(record))
            if len(rows) > _MOST:
                raise InputError(f"{file.path}: more than {figure(_MOST)} labelled responses: give fewer")
    return rows


def _row(record: Record) -> Row:
    if ("prompt" in record.fields) == ("messages" in record.fields):
        raise InputError(f"{record.where}: give the field prompt or messages, one of them")
    messages = prompt_in(record, "prompt" if "prompt" in record.fields else "messages")
    if messages[-1]["role"] != "user":
        raise InputError(f"{record.where}: the dialogue must end with the user's turn; the answer goes into response")
    response = record.text("response")
    if not response.strip():
        raise InputError(f"{record.where}: field 'response' is empty; give the answer that was labelled")
    return {"messages": messages, "response": response, "label": word(record, "label", SAFETY)}
