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
            row = pc.index(column.is_null(), value=True).as_py()
            raise InputError(f"{where}: row {row}: field {wanted.name!r} is empty; give it a value")
        columns.append(column)
    conformed = pa.table(columns, schema=kind.schema)
    for name, words in kind.words.items():
        _check_words(conformed.column(name), name, words, where)
    if "messages" in kind.schema.names:
        _check_messages(conformed.column("messages"), kind, where)
    if "tokenizer" in kind.schema.names:
        _check_sampled(conformed, where)
    _check_key(conformed, kind, where)
    return conformed


def _check_words(column: pa.ChunkedArray, name: str, words: tuple[str, ...], where: str) -> None:
    allowed = pc.or_(pc.is_in(column, value_set=pa.array(words)), column.is_null())
    row = pc.index(allowed, value=False).as_py()
    if row >= 0:
        raise InputError(
            f"{where}: row {row}: field {name!r} is {column[row].as_py()!r}; use one of {', '.join(words)}"
        )


def _check_sampled(table: pa.Table, where: str) -> None:
    """Ids say nothing without the tokenizer that they are of, nor whether an answer with ids was cut."""
    for name in table.column_names:
        if not name.startswith("token_ids"):
            continue
        sampled = table.column(name).is_valid()
        for beside in ("tokenizer", name.replace("token_ids", "finished")):
            row = pc.index(pc.and_(sampled, table.column(beside).is_null()), value=True).as_py()
            if row >= 0:
                raise InputError(f"{where}: row {row}: field {name!r} has ids, {beside!r} is empty; give both or none")


def _check_messages(column: pa.ChunkedArray, kind: RowKind, where: str) -> None:
    row = 0
    for chunk in column.chunks:
        lengths = chunk.value_lengths().to_pylist()
        messages = chunk.flatten()
        roles, contents = messages.field("role").to_pylist(), messages.field("content")
        if 0 in lengths:
            raise InputError(
                f"{where}: row {row + lengths.index(0)}: field 'messages' is an empty list; give a user turn"
            )
        if contents.null_count or messages.null_count or not set(roles) <= set(ROLES):
            row += _first_broken(lengths, [r in ROLES and c.is_valid for r, c in zip(roles, contents, strict=True)])
            raise InputError(
                f"{where}: row {row}: field 'messages' needs a role ({', '.join(ROLES)}) and a content in each turn"
            )
        if kind.ends_with_user:
            end = 0
            for offset, length in enumerate(lengths):
                end += length
                if roles[end - 1] != "user":
                    raise InputError(
                        f"{where}: row {row + offset}: field 'messages' ends with role {roles[end - 1]!r}; "
                        f"a {kind.name} must end with a user turn"
                    )
        row += len(chunk)


def _first_broken(lengths: list[int], sound: list[bool]) -> int:
    """The index of the list that holds the first unsound item."""
    item, end = sound.index(False), 0
    for row, length in enumerate(lengths):
        end += length
        if item < end:
            return row
    return len(lengths)


def _check_key(table: pa.Table, kind: RowKind, where: str) -> None:
    keys = table.select(kind.key)
    if keys.group_by(list(kind.key)).aggregate([]).num_rows == table.num_rows:
        return
    seen: dict[tuple[object, ...], int] = {}
    for row, key in enumerate(zip(*(keys.column(name).to_pylist() for name in kind.key), strict=True)):
        first = seen.setdefault(key, row)
        if first != row:
            raise InputError(f"{where}: row {row}: {kind.key} {key} is already the key of row {first}; make it unique")
