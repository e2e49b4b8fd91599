"""The row of the classifiers that the corpus filter asks, and what they learn from."""

from collections.abc import Iterable

from data_store.corpus.registry import FilterConfig
from flows.recipe.conditions import has_quality
from flows.recipe.places import Place, Row, here, only, where
from tasks.engine.reading import Incoming
from tasks.incoming.files import File
from tasks.quality import QualitySource, QualitySourceChoice, QualityStepConfig, QualityTrainingConfig
from tasks.train_quality_classifier import train_quality_classifier


def _files(at: Place) -> tuple[Incoming, ...]:
    """Those of all sources, the positives first."""
    section = at.config.quality
    return () if section is None else tuple(File(path) for each in section.sources for path in each.files)


def _training(at: Place) -> QualityStepConfig:
    """Without the files: a path is in no fingerprint."""
    section = at.config.quality
    if section is None:
        raise AssertionError("the row is there where there are sources to learn from")
    return QualityStepConfig(
        **only(QualityTrainingConfig, section),
        positives=_choices(section.positives),
        negatives=_choices(section.negatives),
        files=tuple(len(each.files) for each in section.sources),
        filter=FilterConfig(**only(FilterConfig, at.config.filter)),
    )


def _choices(sources: Iterable[QualitySource]) -> tuple[QualitySourceChoice, ...]:
    return tuple(QualitySourceChoice(**only(QualitySourceChoice, each)) for each in sources)


QUALITY_ROW = Row(train_quality_classifier, _training, {"files": _files}, {"classifier": "quality"}, when=has_quality)
QUALITY = where(has_quality, here("classifier/quality"))
