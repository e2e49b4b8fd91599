"""Classifiers of documents, one a language, on the user's own positives and negatives. The corpus filter asks them.

A linear model tells sources apart before it tells what makes a text good. So each source is held out in turn, and
where the classifier does not know a source that it has not seen, nothing is filtered by it.
"""

import json
import math
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_store.corpus.quality import QualityJudge
from data_store.errors import InputError
from data_store.estimate import Estimate
from data_store.figures import figure
from data_store.row_sources import is_named
from tasks.engine.call import StepCall
from tasks.engine.step import Files, Input, Measurements, Output, StepRun, step
from tasks.estimates import rate_of
from tasks.quality import QualityStepConfig
from tasks.quality_texts import Texts, read_sources

if TYPE_CHECKING:
    from models.held_out_sources import HeldOut
    from models.ngram_classifier import NgramClassifier

LEAST_AUC = 0.8
LEAST_DOCUMENTS = 20
"""A source with fewer documents of a language is none of that language: some are always told wrongly."""
JUDGE = "quality.positives and quality.negatives"
"""Who says what is right."""
_THRESHOLDS = "thresholds.json"
_ENDING = ".safetensors"


def _takes_in(_config: QualityStepConfig, sources: Files, what: str, name: str) -> bool:
    """Whether a file of this name is learned from."""
    return what == "source" and any(is_named(path, name) for paths in sources.values() for path in paths)


def _metrics(call: StepCall) -> Iterator[str]:
    config: QualityStepConfig = call.config  # type: ignore[assignment]
    yield from ("worst_auc", "documents", "other_languages")
    for language in config.languages:
        yield from (f"{what}/{language}" for what in ("auc", "threshold", "lost", "caught"))


@step(
    version=1,
    config=QualityStepConfig,
    inputs={"files": Input("file", optional=True, many=True)},
    outputs={"classifier": Output("classifier")},
    metrics=_metrics,
    takes_in=_takes_in,
    headline="worst_auc",
    about="Trains a classifier of documents a language, and tries it on sources that it has not seen.",
    tags=("foundation",),
)
def train_quality_classifier(run: StepRun, config: QualityStepConfig) -> Measurements:
    """Learn from all sources what was first learned without each. Raises InputError for a file that cannot be read or
    is withdrawn, a language that has less than two sources on a side, and a source that is told by less than
    `LEAST_AUC` when it is held out."""
    from models.devices import use_threads

    use_threads(1)
    texts, others = read_sources(run, config)
    found: dict[str, float | Estimate] = {}
    thresholds, table = dict[str, float](), list[dict[str, Any]]()
    for language in config.languages:
        positives, negatives = _sides(texts[language], config, language)
        _tell_left_out(run, language, texts[language], {*positives, *negatives})
        held_out, classifier = _learned(positives, negatives)
        table += _table(language, positives, negatives, held_out)
        thresholds[language] = _threshold(held_out, positives, config)
        found |= _measured(language, positives, negatives, held_out, thresholds[language])
        classifier.save(run.output("classifier") / f"{language}{_ENDING}")
        run.progress((1 + config.languages.index(language)) / len(config.languages), language)
    (run.output("classifier") / _THRESHOLDS).write_text(json.dumps(thresholds, sort_keys=True))
    run.table("sources", table)
    run.table("languages", [{"language": name, "documents": n} for name, n in others.most_common()])
    worst = min((found[f"auc/{language}"] for language in config.languages), key=lambda each: each.value)  # type: ignore[union-attr]
    documents = sum(len(each) for of in texts.values() for each in of.values())
    return {"worst_auc": worst, "documents": float(documents), "other_languages": float(others.total()), **found}


def open_judge(folder: Path) -> QualityJudge:
    """What the step wrote, to be asked by the filter."""
    from models.ngram_classifier import NgramClassifier

    thresholds = json.loads((folder / _THRESHOLDS).read_text())
    classifiers = {language: NgramClassifier.load(folder / f"{language}{_ENDING}") for language in thresholds}
    return QualityJudge({language: partial(_scores, each) for language, each in classifiers.items()}, thresholds)


def _scores(classifier: "NgramClassifier", texts: Sequence[str]) -> list[float]:
    from models.ngram_classifier import features_of

    return [_score(logit) for logit in classifier.logits(features_of([("", text) for text in texts])).tolist()]


def _score(logit: float) -> float:
    """The logistic function, the same to the bit however many texts are asked about together."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


def _sides(texts: Texts, config: QualityStepConfig, language: str) -> tuple[Texts, Texts]:
    """The sources of both sides that have enough of the language. Raises InputError where a side has less than two."""
    sides = []
    for key, sources in (("positives", config.positives), ("negatives", config.negatives)):
        counts = {each.name: len(texts.get(each.name, ())) for each in sources}
        enough = {name: texts[name] for name, count in counts.items() if count >= LEAST_DOCUMENTS}
        if len(enough) < 2:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InputError(
                f"quality.{key}: {language}: two sources with {LEAST_DOCUMENTS} documents of it are needed, so that "
                f"one can be held out; there are {told}. Give another source, or take {language} out of "
                "quality.languages"
            )
        sides.append(enough)
    return sides[0], sides[1]


def _tell_left_out(run: StepRun, language: str, texts: Texts, learned: Container[str]) -> None:
    """A note of sources that have some documents of a language, and too few."""
    few = [f"{name} {len(mine)}" for name, mine in texts.items() if mine and name not in learned]
    if few:
        told = ", ".join(few)
        run.note(f"quality: {language}: less than {LEAST_DOCUMENTS} documents, so it learns nothing from them: {told}")


def _learned(positives: Texts, negatives: Texts) -> tuple["HeldOut", "NgramClassifier"]:
    """What is found on held-out sources, and the classifier of all of them."""
    from models.held_out_sources import fit, on_held_out_sources
    from models.ngram_classifier import features_of

    rows, texts = dict[str, list[int]](), list[tuple[str, str]]()
    for name, mine in (*positives.items(), *negatives.items()):
        rows[name] = list(range(len(texts), len(texts) + len(mine)))
        texts += [("", text) for text in mine]
    features = features_of(texts)
    sides = [{name: rows[name] for name in side} for side in (positives, negatives)]
    return on_held_out_sources(features, *sides), fit(features, *sides)


def _table(language: str, positives: Texts, negatives: Texts, held_out: "HeldOut") -> Iterator[dict[str, Any]]:
    """A row for each source. Raises InputError where one is not known, with all of them."""
    worst = min(held_out.auc, key=lambda name: held_out.auc[name])
    if held_out.auc[worst] < LEAST_AUC:
        told = ", ".join(f"{name} {figure(auc)}" for name, auc in held_out.auc.items())
        side = "positives" if worst in positives else "negatives"
        raise InputError(
            f"quality: {language}: held out, {worst} is told by an AUC of {figure(held_out.auc[worst])}, and "
            f"{figure(LEAST_AUC)} is needed before anything is filtered by it (each held out in turn: {told}). The "
            f"classifier has learned the other sources rather than what makes a text good: give more sources to "
            f"quality.{side} that differ in subject and form, take {worst} out if it is another sort of text, or take "
            f"{language} out of quality.languages"
        )
    for side, of in (("positives", positives), ("negatives", negatives)):
        for name, texts in of.items():
            low, high = _interval(held_out.auc[name], name, positives, negatives)
            interval = f"{figure(low)}–{figure(high)}"
            known = {"documents": len(texts), "AUC held out": figure(held_out.auc[name]), "interval": interval}
            yield {"language": language, "side": side, "source": name, **known}


def _interval(auc: float, name: str, positives: Texts, negatives: Texts) -> tuple[float, float]:
    """Of the texts of a source against all of the other side."""
    from models.algorithms.auc import auc_interval

    mine, other = (positives, negatives) if name in positives else (negatives, positives)
    return auc_interval(auc, len(mine[name]), sum(map(len, other.values())))


def _threshold(held_out: "HeldOut", positives: Texts, config: QualityStepConfig) -> float:
    from models.held_out_sources import threshold_of

    if config.threshold is not None:
        return config.threshold
    return _score(threshold_of([held_out.logits[name] for name in positives], config.max_lost_share))


def _measured(
    language: str, positives: Texts, negatives: Texts, held_out: "HeldOut", threshold: float
) -> dict[str, Estimate | float]:
    """By language: the worst source, each source, and which share of held-out texts of each side is dropped."""

    def auc(name: str) -> Estimate:
        value, n = held_out.auc[name], len(positives.get(name) or negatives[name])
        return Estimate(value, n, *_interval(value, name, positives, negatives), JUDGE)

    def dropped(names: Iterable[str]) -> Estimate:
        return rate_of([_score(logit) < threshold for name in names for logit in held_out.logits[name]], JUDGE)

    of_sources = {name: auc(name) for name in held_out.auc}
    return {
        f"auc/{language}": min(of_sources.values(), key=lambda each: each.value),
        f"threshold/{language}": threshold,
        f"lost/{language}": dropped(positives),
        f"caught/{language}": dropped(negatives),
        **{f"auc/{language}/{name}": each for name, each in of_sources.items()},
    }
