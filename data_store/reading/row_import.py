"""Turning records into rows of a kind, with what is well-formed but of no use refused by name and counted."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from data_store.encoding import content_hash
from data_store.errors import InputError
from data_store.reading.bad_rows import BadRows, Refusal, RefusedRowError
from data_store.reading.messages import Messages
from data_store.reading.source_files import Record
from data_store.row_checks import RowChecks
from data_store.rows import row_kind

_ROWS_AT_ONCE = 8192


class NothingLeftError(InputError):
    """Every row was refused, or there was none."""


class Imported(NamedTuple):
    """`rows` of the kind that was read, and `refused` rows of kind dropped: (doc_id, source, reason, detail)."""

    rows: pa.Table
    refused: pa.Table

    def refused_counts(self) -> dict[str, int]:
        """How many rows were refused for each reason, most frequent first."""
        return dict(Counter(self.refused.column("reason").to_pylist()).most_common())


def import_rows(
    records: Iterable[Record], convert: Callable[[Record], dict[str, Any]], kind: str, bad: BadRows | None = None
) -> Imported:
    """Convert each record to a row of `kind`; what raises RefusedRowError goes to the refused rows, and so does what
    cannot be read where `bad` has it dropped.

    Raises:
        InputError: a row that cannot be read.
        NothingLeftError: no record, or none that was not refused.
    """
    bad = bad or BadRows()

    def converted() -> Iterator[dict[str, Any] | Refusal]:
        for record in records:
            try:
                yield convert(record)
            except RefusedRowError as refusal:
                yield Refusal(record.source, refusal.reason, refusal.detail)
            except InputError as error:
                bad.meet(error, record.source)
            yield from bad.taken()
        yield from bad.taken()

    return gather(converted(), kind)


def gather(found: Iterable[dict[str, Any] | Refusal], kind: str) -> Imported:
    """Rows of `kind`, and what was refused, as tables. Raises NothingLeftError where no row is left."""
    return joined(gathered(found, kind))


def joined(pieces: Iterable[Imported]) -> Imported:
    """All of them as one; there is at least one."""
    return Imported(*(pa.concat_tables(tables) for tables in zip(*pieces, strict=True)))


def gathered(found: Iterable[dict[str, Any] | Refusal], kind: str) -> Iterator[Imported]:
    """The same some rows at a time; keys are compared, and NothingLeftError is raised, at the end."""
    checks, schema = RowChecks(row_kind(kind), kind), row_kind(kind).schema
    rows, refused = list[dict[str, Any]](), list[dict[str, str]]()
    read, counts, first = 0, Counter[str](), ""

    def piece() -> Imported:
        nonlocal read
        read += len(rows)
        table = checks.conform(pa.Table.from_pylist(rows, schema=schema))
        made = Imported(table, pa.Table.from_pylist(refused, schema=row_kind("dropped").schema))
        rows.clear()
        refused.clear()
        return made

    for each in found:
        if isinstance(each, Refusal):
            told = each.detail.encode(errors="backslashreplace").decode()  # of a text that may hold half a character
            refused.append({"doc_id": each.source, "source": each.source, "reason": each.reason, "detail": told})
            counts[each.reason] += 1
            first = first or f"; the first, {each.source}: {told or each.reason}"
        else:
            rows.append(each)
        if len(rows) + len(refused) == _ROWS_AT_ONCE:
            yield piece()
    yield piece()
    if not read:
        told = f"{dict(counts) or 'none, the files are empty'}{first}"
        raise NothingLeftError(f"no {kind} is left of {counts.total()} rows; refused: {told}")
    checks.finish()


def prompt_id_of(messages: Messages) -> str:
    """The id of a prompt, from its messages alone."""
    return f"prompt-{content_hash(messages)[:24]}"


def row_identity(axis: str, source: str) -> str:
    """The id of an imported judgement: a file can be given for both axes."""
    return f"{axis}/{source}"
