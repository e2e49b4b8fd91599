"""Which rows, or files, one version has and another has not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_store.content.row_hashing import hashes_in
from data_store.content.rowsets import load_rows
from data_store.errors import StoreError
from data_store.records import VersionInfo
from data_store.rows import ROW_KINDS
from data_store.store import Store

_MOST_ROWS = 2_000_000  # of a version whose keys are compared
_LARGEST = 256 << 20  # bytes of a version whose rows are shown
_NOT_SHOWN = ("token_ids", "token_ids_a", "token_ids_b", "tokenizer")


@dataclass(frozen=True)
class ContentDifference:
    """What b has and a has not (`added`), the other way round (`dropped`), what both have under the same key with other
    content (`changed`), and what is the same (`kept`), in rows or in files.

    `examples`: the first of each by key, rows without their token ids; `note` says where something was not looked at.
    """

    name: str
    unit: str
    version_a: str | None
    version_b: str | None
    added: int
    dropped: int
    changed: int
    kept: int
    examples: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    note: str = ""

    @property
    def is_same(self) -> bool:
        """Nothing differs."""
        return not (self.added or self.dropped or self.changed) and self.version_a == self.version_b


def compare(name: str, a: tuple[Store, str | None], b: tuple[Store, str | None], examples: int) -> ContentDifference:
    """Two versions under one name; None for a side that has none. A version whose content is gone cannot be compared,
    and the note says so."""
    infos = [None if version is None else store.version(version) for store, version in (a, b)]
    one, other = infos
    versions = (a[1], b[1])
    if one is None or other is None:
        only = one or other
        number = 0 if only is None else _size(only)
        unit = "rows" if only is not None and only.row_kind else "files"
        added, dropped = (number, 0) if one is None else (0, number)
        return ContentDifference(
            name, unit, *versions, added, dropped, 0, 0, note=f"only in {'b' if one is None else 'a'}"
        )
    if one.row_kind != other.row_kind:
        note = f"not comparable: {one.row_kind or 'files'} and {other.row_kind or 'files'}"
        return ContentDifference(name, "rows", *versions, 0, 0, 0, 0, note=note)
    if one.version_id == other.version_id:
        return ContentDifference(name, "rows" if one.row_kind else "files", *versions, 0, 0, 0, _size(one))
    try:
        if one.row_kind is None:
            return _files(name, one, other, examples)
        return _rows(name, (a[0], one), (b[0], other), examples)
    except StoreError as error:  # removed by gc, or damaged
        return ContentDifference(name, "rows", *versions, 0, 0, 0, 0, note=f"not compared: {error}")


def _size(info: VersionInfo) -> int:
    return len(info.objects) if info.n_rows is None else info.n_rows


def _files(name: str, a: VersionInfo, b: VersionInfo, most: int) -> ContentDifference:
    ours, theirs = ({ref.path: ref.sha256 for ref in info.objects} for info in (a, b))
    both = ours.keys() & theirs.keys()
    found = {
        "added": sorted(theirs.keys() - both),
        "dropped": sorted(ours.keys() - both),
        "changed": sorted(path for path in both if ours[path] != theirs[path]),
    }
    added, dropped, changed = (len(found[kind]) for kind in ("added", "dropped", "changed"))
    examples = {kind: paths[:most] for kind, paths in found.items() if paths[:most]}
    versions = (a.version_id, b.version_id)
    return ContentDifference(name, "files", *versions, added, dropped, changed, len(both) - changed, examples)


def _rows(name: str, a: tuple[Store, VersionInfo], b: tuple[Store, VersionInfo], most: int) -> ContentDifference:
    """By the hashes of the rows, which a version keeps; keys are read of those alone that differ."""
    kind = ROW_KINDS[str(a[1].row_kind)]
    ours, theirs = (_hashes(*side) for side in (a, b))
    only_a, only_b = _lacking(ours, theirs), _lacking(theirs, ours)
    kept = int(len(ours) - only_a.sum())
    versions = (a[1].version_id, b[1].version_id)
    if max(len(ours), len(theirs)) > _MOST_ROWS:
        note = "by content alone: too many rows to compare their keys"
        return ContentDifference(name, "rows", *versions, int(only_b.sum()), int(only_a.sum()), 0, kept, note=note)
    keys_a, keys_b = _keys(*a, only_a, kind.key), _keys(*b, only_b, kind.key)
    found = {
        "added": sorted(keys_b.keys() - keys_a.keys()),
        "dropped": sorted(keys_a.keys() - keys_b.keys()),
        "changed": sorted(keys_a.keys() & keys_b.keys()),
    }
    counts = tuple(len(found[each]) for each in ("added", "dropped", "changed"))
    examples: dict[str, list[Any]] = {}
    note = ""
    if most and max(a[1].bytes, b[1].bytes) > _LARGEST:
        note = "too large to show rows"
    elif most:
        added, dropped, changed = (found[each][:most] for each in ("added", "dropped", "changed"))
        of_a = _shown(*a, [keys_a[key] for key in (*dropped, *changed)])
        of_b = _shown(*b, [keys_b[key] for key in (*added, *changed)])
        pairs = zip(of_a[len(dropped) :], of_b[len(added) :], strict=True)
        both = [{"a": ours, "b": theirs} for ours, theirs in pairs]
        examples = {"added": of_b[: len(added)], "dropped": of_a[: len(dropped)], "changed": both}
    shown = {each: rows for each, rows in examples.items() if rows}
    return ContentDifference(name, "rows", *versions, counts[0], counts[1], counts[2], kept, shown, note)


def _hashes(store: Store, info: VersionInfo) -> pa.FixedSizeBinaryArray:
    """The row hashes of a version, in its order."""
    (ids,) = (ref for ref in info.objects if ref.role == "ids")
    return hashes_in(store.objects.sound(ids.sha256).read_bytes())


def _lacking(hashes: pa.FixedSizeBinaryArray, others: pa.FixedSizeBinaryArray) -> npt.NDArray[np.bool_]:
    """Which of the hashes are not among the others."""
    found: npt.NDArray[np.bool_] = pc.invert(pc.is_in(hashes, value_set=others)).to_numpy(zero_copy_only=False)
    return found


def _keys(
    store: Store, info: VersionInfo, wanted: npt.NDArray[np.bool_], key: Sequence[str]
) -> dict[tuple[Any, ...], int]:
    """Key → place in the version, of the rows that are wanted."""
    if not wanted.any():
        return {}
    table = load_rows(store.objects, info.objects, key)
    places = np.flatnonzero(wanted)
    chosen = table.take(pa.array(places))
    columns = [chosen.column(name).to_pylist() for name in key]
    return dict(zip(zip(*columns, strict=True), places.tolist(), strict=True))


def _shown(store: Store, info: VersionInfo, places: Iterable[int]) -> list[dict[str, Any]]:
    listed = list(places)
    if not listed:
        return []
    columns = [name for name in ROW_KINDS[str(info.row_kind)].schema.names if name not in _NOT_SHOWN]
    rows: list[dict[str, Any]] = load_rows(store.objects, info.objects, columns).take(pa.array(listed)).to_pylist()
    return rows
