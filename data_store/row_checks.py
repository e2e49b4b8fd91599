"""Whether a table is of its kind, row by row."""

import pyarrow as pa
import pyarrow.compute as pc

from data_store.errors import InputError
from data_store.rows import ROLES, RowKind


def conform(table: pa.Table, kind: RowKind, where: str) -> pa.Table:
    """The table in the kind's columns and types, every rule checked. `where` names the file in messages.

    Raises InputError naming the row (counted from 0) and the field for: a missing or foreign column, a type that cannot
    be cast without loss, a null where none may be, a word that is not allowed, messages that are empty, have an unknown
    role or do not end as they must, token ids without their tokenizer, and a key that comes twice.
    """
    checks = RowChecks(kind, where)
    conformed = checks.conform(table)
    checks.finish()
    return conformed


class RowChecks:
    """The same for a table that comes in pieces. Of the pieces only the keys are held, which are unique over all."""

    def __init__(self, kind: RowKind, where: str) -> None:
        self._kind, self._where = kind, where
        self._keys: list[pa.Table] = []
        self._rows = 0

    def conform(self, piece: pa.Table) -> pa.Table:
        """The next piece in the kind's columns and types. Raises InputError as `conform` does, but for keys."""
        first, self._rows = self._rows, self._rows + len(piece)
        conformed = _cast(piece, self._kind, self._where, first)
        for name, words in self._kind.words.items():
            _check_words(conformed.column(name), name, words, self._where, first)
        if "messages" in self._kind.schema.names:
            _check_messages(conformed.column("messages"), self._kind, self._where, first)
        if "tokenizer" in self._kind.schema.names:
            _check_sampled(conformed, self._where, first)
        self._keys.append(conformed.select(self._kind.key))
        return conformed

    def finish(self) -> None:
        """Raises InputError where a key came twice."""
        if self._keys:
            _check_key(pa.concat_tables(self._keys), self._kind, self._where)


def _cast(table: pa.Table, kind: RowKind, where: str, first: int) -> pa.Table:
    missing = [name for name in kind.schema.names if name not in table.column_names]
    foreign = [name for name in table.column_names if name not in kind.schema.names]
    if missing or foreign:
        raise InputError(
            f"{where}: not the columns of a {kind.name} row: missing {missing}, unknown {foreign}; "
            f"wanted are {', '.join(kind.schema.names)}"
        )
    columns = []
    for wanted in kind.schema:
        try:
            column = table.column(wanted.name).cast(wanted.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise InputError(f"{where}: field {wanted.name!r} must be {wanted.type}: {error}") from None
        if not wanted.nullable and column.null_count:
            row = first + pc.index(column.is_null(), value=True).as_py()
            raise InputError(f"{where}: row {row}: field {wanted.name!r} is empty; give it a value")
        columns.append(column)
    return pa.table(columns, schema=kind.schema)


def _check_words(column: pa.ChunkedArray, name: str, words: tuple[str, ...], where: str, first: int) -> None:
    allowed = pc.or_(pc.is_in(column, value_set=pa.array(words)), column.is_null())
    row = pc.index(allowed, value=False).as_py()
    if row >= 0:
        raise InputError(
            f"{where}: row {first + row}: field {name!r} is {column[row].as_py()!r}; use one of {', '.join(words)}"
        )


def _check_sampled(table: pa.Table, where: str, first: int) -> None:
    """Ids say nothing without the tokenizer that they are of, nor whether an answer with ids was cut."""
    for name in table.column_names:
        if not name.startswith("token_ids"):
            continue
        sampled = table.column(name).is_valid()
        for beside in ("tokenizer", name.replace("token_ids", "finished")):
            row = pc.index(pc.and_(sampled, table.column(beside).is_null()), value=True).as_py()
            if row >= 0:
                raise InputError(
                    f"{where}: row {first + row}: field {name!r} has ids, {beside!r} is empty; give both or none"
                )


def _check_messages(column: pa.ChunkedArray, kind: RowKind, where: str, first: int) -> None:
    for chunk in column.chunks:
        lengths = chunk.value_lengths()
        if (row := pc.index(lengths, value=0).as_py()) >= 0:
            raise InputError(f"{where}: row {first + row}: field 'messages' is an empty list; give a user turn")
        messages = chunk.flatten()
        roles = messages.field("role")
        known = pc.and_(pc.is_in(roles, value_set=pa.array(ROLES)), messages.is_valid())
        broken = pc.index(pc.and_(known, messages.field("content").is_valid()), value=False).as_py()
        if broken >= 0:
            row = first + pc.list_parent_indices(chunk)[broken].as_py()
            raise InputError(
                f"{where}: row {row}: field 'messages' needs a role ({', '.join(ROLES)}) and a content in each turn"
            )
        if kind.ends_with_user:
            last = roles.take(pc.subtract(pc.cumulative_sum(lengths), 1))
            if (row := pc.index(pc.equal(last, "user"), value=False).as_py()) >= 0:
                raise InputError(
                    f"{where}: row {first + row}: field 'messages' ends with role {last[row].as_py()!r}; "
                    f"a {kind.name} must end with a user turn"
                )
        first += len(chunk)


def _check_key(table: pa.Table, kind: RowKind, where: str) -> None:
    keys = table.select(kind.key)
    if keys.group_by(list(kind.key)).aggregate([]).num_rows == table.num_rows:
        return
    seen: dict[tuple[object, ...], int] = {}
    for row, key in enumerate(zip(*(keys.column(name).to_pylist() for name in kind.key), strict=True)):
        first = seen.setdefault(key, row)
        if first != row:
            raise InputError(f"{where}: row {row}: {kind.key} {key} is already the key of row {first}; make it unique")
