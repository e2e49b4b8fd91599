"""The texts that the quality classifiers learn from: drawn from the files of each source, by language."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_store.commands import halter
from data_store.corpus.describing import language_in
from data_store.corpus.judged import mended
from data_store.corpus.quality import CHARACTERS
from data_store.errors import InputError
from data_store.reading.readers import read_documents
from tasks.drawn_texts import DrawnTexts
from tasks.engine.step import StepRun
from tasks.file_roles import ReadingStepConfig, faults_of
from tasks.quality import QualitySourceChoice, QualityStepConfig

MOST_READ = 10_000
"""Documents of one file that are read, and a batch more: enough to draw from, however large it is."""

Texts = Mapping[str, Sequence[str]]
"""Source → its texts of one language."""


def faults_of_sources(config: QualityStepConfig, paths: Sequence[Path]) -> list[str]:
    """What the beginnings of the files hold for which the step would stop; in words."""
    return [
        f"quality: {source.name}: {fault}"
        for source, files in _of_sources(config, paths)
        for path in files
        for fault in faults_of("documents", path, ReadingStepConfig(text_field=source.text_field))
    ]


def _of_sources(
    config: QualityStepConfig, paths: Sequence[Path]
) -> Iterator[tuple[QualitySourceChoice, Sequence[Path]]]:
    """Each source with its files, which follow one another in the order of the sources."""
    for source, count in zip(config.sources, config.files, strict=True):
        yield source, paths[:count]
        paths = paths[count:]


def read_sources(run: StepRun, config: QualityStepConfig) -> tuple[dict[str, Texts], Counter[str]]:
    """Language → source → the beginnings of its documents, at most so many; and how many are of other languages. A text
    that two sources have is no source's: when one is held out, the other would know it."""
    paths = [entry.path for entry in run.all_inputs("files")]
    if len(paths) < sum(config.files):
        gone = ", ".join(run.withdrawn("source"))
        raise InputError(
            f"quality: files of its sources are withdrawn ({gone}): take them out of the config, or take it back with "
            f"`{halter('withdraw', 'source', 'NAME', '--undo')}`"
        )
    drawn = {
        language: {each.name: DrawnTexts(config.documents, run.seed) for each in config.sources}
        for language in config.languages
    }
    others = Counter[str]()
    for number, (source, files) in enumerate(_of_sources(config, paths)):
        for language, text in _documents(files, source, config):
            if language in drawn:
                drawn[language][source.name].add(text)
            else:
                others[language] += 1
        run.progress((1 + number) / len(config.files) / 2, f"reading {source.name}")
    return {
        language: _apart({name: each.texts() for name, each in of.items()}) for language, of in drawn.items()
    }, others


def _documents(
    paths: Sequence[Path], source: QualitySourceChoice, config: QualityStepConfig
) -> Iterator[tuple[str, str]]:
    """Language and beginning of each of the first documents of the files, mended as the filter does it."""
    for path in paths:
        read = 0
        for rows in read_documents([path], source.text_field):
            batch = mended(rows.column("doc_id").to_pylist(), rows.column("text").to_pylist(), config.filter)
            for index, text in enumerate(batch.texts):
                if text.strip():
                    yield language_in(batch, index), text[:CHARACTERS]
            read += len(rows)
            if read >= MOST_READ:
                break


def _apart(sources: Texts) -> Texts:
    """The texts that stand in one source alone."""
    standing = Counter(text for texts in sources.values() for text in texts)
    return {name: [text for text in texts if standing[text] == 1] for name, texts in sources.items()}
