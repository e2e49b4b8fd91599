"""Names of assets: the pointers by which people and steps speak of versions, such as `model/policy@V2`."""

import re
from dataclasses import dataclass

from data_store.errors import InputError, StoreError

# Names end up in SQL results, in URLs and in file listings; the whitelist keeps them harmless in all three.
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_PART = re.compile(r"V(0|[1-9][0-9]{0,3})|[a-z][a-z0-9_.-]{0,63}")
_VALID = re.compile(f"(?:{_WORD.pattern})/(?:{_WORD.pattern})@(?:{_PART.pattern})")


@dataclass(frozen=True, order=True)
class AssetName:
    """A named pointer to versions: `kind/name@part`.

    kind and name match `[a-z0-9][a-z0-9_.-]{0,63}`; part is an iteration (`V0`, `V12`) or a word (`base`, `external`).
    Raises InputError for anything else.
    """

    kind: str
    name: str
    part: str

    def __post_init__(self) -> None:
        if _VALID.fullmatch(str(self)):  # one look: names are made by the ten thousand
            return
        for field, value, pattern, example in (
            ("kind", self.kind, _WORD, "'model' or 'dataset'"),
            ("name", self.name, _WORD, "'policy' or 'reward-safety'"),
            ("part", self.part, _PART, "'V2', 'base' or 'external'"),
        ):
            if not pattern.fullmatch(value):
                raise InputError(
                    f"asset {field} {value!r} is not a valid name: use {example} "
                    f"(lower-case letters, digits, '_', '.', '-', at most 64)"
                )

    @classmethod
    def parse(cls, text: str) -> "AssetName":
        """Read `kind/name@part`; raises InputError that shows the form wanted."""
        head, at, part = text.partition("@")
        kind, slash, name = head.partition("/")
        if not at or not slash:
            raise InputError(f"{text!r} is not an asset name: write kind/name@part, for example model/policy@V2")
        return cls(kind, name, part)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}@{self.part}"


def one_name(text: str) -> str:
    """A text of the catalog as one part of a path: raises StoreError where it would lead elsewhere. A journal that came
    from somewhere may say anything."""
    if not text or text.startswith(".") or "/" in text or "\0" in text:
        raise StoreError(f"{text[:80]!r} cannot be the name of a file of the store: its journal was changed by hand")
    return text


def slug(text: str) -> str:
    """The asset name for a file's name: lower case, every foreign character replaced by '-', at most 64 long."""
    cleaned = re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).lstrip("_.-").rstrip("-")[:64]
    if not cleaned:
        raise InputError(f"no asset name can be made of {text!r}: give one, for example 'documents'")
    return cleaned
