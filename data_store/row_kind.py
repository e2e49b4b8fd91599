"""What a kind of rows is. data_store/rows.py has all kinds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from data_store.encoding import text_hash


@dataclass(frozen=True)
class RowKind:
    """A kind of rows: schema (nullability included), columns whose values together are unique, and allowed words."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ends_with_user: bool = False

    @property
    def schema_hash(self) -> str:
        """sha256 over the field names, types and nullability, in order of name."""
        fields = sorted((f.name, str(f.type), f.nullable) for f in self.schema)
        return text_hash(repr((self.name, fields)))


def schema_of(**types: pa.DataType | tuple[pa.DataType]) -> pa.Schema:
    """A schema; a type inside a 1-tuple is nullable."""
    return pa.schema(
        [
            pa.field(name, kind[0], nullable=True) if isinstance(kind, tuple) else pa.field(name, kind, nullable=False)
            for name, kind in types.items()
        ]
    )
