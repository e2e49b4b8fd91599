"""What the steps of a corpus have to read, mend, judge and learn pieces from."""

import math

from data_store.corpus.filtering import MOST_OF_USE, group_characters, processes_for
from flows.forecast.passes import Work
from flows.forecast.place import At
from flows.forecast.volumes import Volume, count
from tasks.imported_files import names_of
from tasks.pretrain_sources import source_of
from tasks.quality_texts import MOST_READ


def characters_of(volume: Volume) -> float:
    """Of all documents."""
    return volume.documents * volume.document_tokens * volume.characters


def reading(at: At) -> Work:
    """Each document is read once."""
    return Work(records=at.volume.documents, characters=characters_of(at.volume))


def filtering(at: At) -> Work:
    """To ask a classifier of quality of each document takes as long as the rest of the filter (docs/log.md)."""
    times = 1 if at.config.quality is None else 2
    characters, of = characters_of(at.volume), at.config.filter
    processes = processes_for(at.call.processes, of)
    groups = math.ceil(characters / group_characters(of, processes))
    return Work(
        records=at.volume.documents * times,
        characters=characters * times,
        processes=max(1, min(processes, groups, MOST_OF_USE)),
    )


def learning_quality(at: At) -> Work:
    """Documents that are read and mended, and as often as a text is learned from: for each positive and each negative
    source there is a fit without the two, and one of all. Of several languages each may have as many documents."""
    of = at.config.quality
    if of is None:
        return Work()
    sides = []
    read = 0.0
    for side in (of.positives, of.negatives):
        found = [count(each.files).records for each in side]
        read += sum(min(each, MOST_READ) for each in found)
        sides.append([min(each, of.documents) for each in found])
    positives, negatives = sides
    every = sum(positives) + sum(negatives)
    fitted = every + sum(every - one - other for one in positives for other in negatives)
    return Work(records=read + fitted * len(of.languages))


def extending(at: At) -> Work:
    """All documents are read; pieces are learned from the files of some sources."""
    of, mix, files = at.config.extend_tokenizer, at.config.mix, at.config.data.files()
    if of is None or mix is None:
        return Work()
    names = names_of(path for paths in files.values() for path in paths)
    documents = [(path, names[path.resolve()]) for path in files.get("documents", ())]
    learned = [path for path, name in documents if mix.sources[source_of(name, mix.sources)].name in of.sources]
    return Work(records=at.volume.documents, characters=count(learned).characters)
