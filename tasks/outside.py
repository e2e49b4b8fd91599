"""What step calls read from outside the catalog, as it is now: files, people's judgements, attacks of red teams, and
other runs' results. The counterpart of `tasks.execute.resolve_inputs` that writes nothing, so that anybody may look."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from data_store.adoption import adopted_asset, offered
from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.handover import batch_name, judgements_asset, judgements_today
from data_store.annotation.red_team_export import attacks_asset, attacks_today
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.publishing import describe_source
from data_store.records import Head, RunInput
from data_store.store import Store
from tasks.call import StepCall
from tasks.execute import source_name
from tasks.incoming import Adopted, Attacked, Judged
from tasks.judges import Asked

_MOST_NAMED = 3


@dataclass(frozen=True)
class Outside:
    """One input from outside. `version_id` is what it is now, None where it is not there, which `absent` says; `what`
    names it for people. Of files: `path` is the file or the folder, `files` what lies there, by path inside it, with
    hashes."""

    role: str
    asset: AssetName
    version_id: str | None
    what: str
    path: Path | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    absent: str = "is not there yet"


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
        reads = any(call.of(Judged) or call.of(Attacked) for call in calls)
        book = Book.open(store.root) if reads and (store.root / BOOK_FILE).exists() else None
        try:
            yield cls(store, heads, book)
        finally:
            if book is not None:
                book.close()

    def look(self, call: StepCall) -> tuple[Outside, ...]:
        """All that the call would read from outside, in the order of `resolve_inputs`."""
        found = [self._file(role, path, n) for role, paths in call.files.items() for n, path in enumerate(paths)]
        for role, given in call.inputs.items():
            for each in given:
                if isinstance(each, Judged) and each.pairs in self.heads:
                    found.append(self._judged(role, call.part, each))
                elif isinstance(each, Asked) and each.pairs in self.heads:
                    asset = each.answers(call.part, self.heads[each.pairs].version_id)
                    found.append(Outside(role, asset, self._known(asset), f"what {each.endpoint.model} answered"))
                elif isinstance(each, Attacked):
                    found.append(self._attacked(role, each.part))
                elif isinstance(each, Adopted):
                    asset = adopted_asset(each.run, each.name)
                    today = offered(self.store, each.run, each.name) or self._known(asset)
                    found.append(Outside(role, asset, today, f"{each.name} of run {each.run}"))
        return tuple(found)

    def _judged(self, role: str, part: str, each: Judged) -> Outside:
        batch_id = batch_name(part, self.heads[each.pairs].version_id)
        asset, known = judgements_asset(batch_id), self._known(judgements_asset(batch_id))
        today = known if self.book is None else judgements_today(self.store, self.book, batch_id) or known
        return Outside(role, asset, today, f"what people judged in batch {batch_id}")

    def _attacked(self, role: str, part: str) -> Outside:
        asset, known = attacks_asset(part), self._known(attacks_asset(part))
        today = attacks_today(self.store, self.book, part) if known is None or self.book is not None else known
        return Outside(role, asset, today, f"what red teams attacked {part} with")

    def _known(self, asset: AssetName) -> str | None:
        return self.heads[asset].version_id if asset in self.heads else None

    def _file(self, role: str, path: Path, number: int) -> Outside:
        asset = AssetName("source", source_name(role, path, number), "external")
        try:
            now = describe_source("source", path, self.store.source_hashes)
        except (InputError, OSError):
            return Outside(role, asset, None, str(path), path, absent="is gone")
        return Outside(role, asset, now.version_id, str(path), path, {ref.path: ref.sha256 for ref in now.objects})


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
