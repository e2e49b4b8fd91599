"""What step calls read from outside the catalog, as it is now: files, people's judgements, attacks of red teams, and
other runs' results. The counterpart of `tasks.engine.execute.resolve_inputs` that writes nothing, so that anybody may
look."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from data_store.annotation.book import BOOK_FILE, Book
from data_store.content.publishing import describe_source
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.records import Head, RunInput
from data_store.store import Store
from tasks.engine.call import StepCall, readings
from tasks.engine.reading import Outside

_MOST_NAMED = 3


def hash_sources(store: Store, calls: Iterable[StepCall]) -> None:
    """Hash the files outside that have changed since they were hashed last. Do it before the catalog is held open for a
    look: a base model takes a minute, and writers would wait."""
    for path in {path for call in calls for paths in call.files.values() for path in paths}:
        try:
            describe_source("source", path, store.source_hashes)
        except (InputError, OSError):
            continue  # the look says so
    store.source_hashes.save()


class Looker:
    """Looks at what calls read from outside. Use as a context: the book of judgements is opened once for all."""

    def __init__(self, store: Store, heads: Mapping[AssetName, Head], book: Book | None) -> None:
        self.store, self.heads, self.book = store, heads, book

    @classmethod
    @contextmanager
    def open(cls, store: Store, heads: Mapping[AssetName, Head], calls: Iterable[StepCall]) -> Iterator["Looker"]:
        """For these calls; the book is left alone where none of them reads it."""
        reads = any(each.reads_book for call in calls for given in call.inputs.values() for each in given)
        book = Book.open(store.root) if reads and (store.root / BOOK_FILE).exists() else None
        try:
            yield cls(store, heads, book)
        finally:
            if book is not None:
                book.close()

    def look(self, call: StepCall) -> tuple[Outside, ...]:
        """All that the call would read from outside, in the order of `resolve_inputs`."""
        found = (each.look(at) for each, at in readings(self.store, self.heads, call, self.book))
        return tuple(each for each in found if each is not None)


def differences(now: Iterable[Outside], read: Iterable[RunInput], files: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What a run read from outside and is not the same now, in words; nothing where all is. `files`: version → path
    inside it → sha256, of the versions that were read."""
    found: list[str] = []
    now = list(now)
    before = {(entry.role, entry.asset): entry.version_id for entry in read}
    left, added = dict(before), list[Outside]()
    for each in now:
        version = left.pop((each.role, each.asset), None)
        if version is None:
            added.append(each)
        elif each.version_id is None:
            found.append(f"{each.what} {each.absent}")
        elif each.version_id != version:
            found += _inside(each, files.get(version, {}))
    # the same content under another name is read as what it was: it is the content that counts
    for each in added:
        same = next((key for key, version in left.items() if key[0] == each.role and version == each.version_id), None)
        if same is not None:
            left.pop(same)
        else:
            found.append(f"{each.what} is new" if each.version_id else f"{each.what} {each.absent}")
    found += [f"{asset.name} is no longer read" for _, asset in left]
    return found or _reordered(now, before)


def _reordered(now: Iterable[Outside], before: Mapping[tuple[str, AssetName], str]) -> list[str]:
    """The roles whose files are the same and come in another order: a step reads them one after the other."""
    found = []
    for role in dict.fromkeys(each.role for each in now if each.path is not None):
        numbered = re.compile(rf"{re.escape(role)}-(\d+)-")
        places = [
            (int(match[1]), version)
            for (of, asset), version in before.items()
            if of == role and (match := numbered.match(asset.name))
        ]
        if [each.version_id for each in now if each.role == role] != [version for _, version in sorted(places)]:
            found.append(f"{role} come in another order")
    return found


def _inside(now: Outside, before: Mapping[str, str]) -> list[str]:
    if now.path is None or not before:
        return [f"{now.what} has changed"]
    if not now.path.is_dir():
        return [f"{now.path} has changed"]
    found = []
    for name in sorted({*before, *now.files}):
        if name not in now.files:
            found.append(f"{now.path / name} is gone")
        elif name not in before:
            found.append(f"{now.path / name} is new")
        elif before[name] != now.files[name]:
            found.append(f"{now.path / name} has changed")
    return found


def in_words(found: list[str]) -> str:
    """The first of the differences, and how many more there are."""
    more = len(found) - _MOST_NAMED
    return "; ".join([*found[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])
