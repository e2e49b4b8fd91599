"""A config with some of its values set, by dotted key, as rerun and studies do."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from data_store.closest import did_you_mean
from data_store.errors import InputError
from flows.recipe.config import RunConfig, checked


def with_values(config: RunConfig, values: Mapping[str, Any], where: str, folder: Path | None = None) -> RunConfig:
    """The config with some values set, by dotted key; paths in them are from `folder`. Raises InputError for unknown
    keys and bad values, and without a folder for a path that is not absolute: another process would look elsewhere."""
    content = config.model_dump(mode="json")
    for key, value in values.items():
        *path, last = key.split(".")
        section: Any = content
        for name in path:
            section = section.get(name) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            near = did_you_mean(".".join(path), _sections(config.model_dump(mode="json")))
            raise InputError(f"{where}: there is no section {'.'.join(path)!r} in the config to set {key} in{near}")
        section[last] = value
    changed = checked(content, where, folder)
    for key in values:
        for each in _relative(value_of(changed, key)):
            raise InputError(f"{where}: {key}: {each} is no absolute path; give {each.absolute()}, if that is it")
    return changed


def value_of(config: RunConfig, key: str) -> Any:
    """The value of a dotted key, also one that the config does not write out because it is at its default; None where
    its section is empty."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def _sections(content: Mapping[str, Any], path: str = "") -> Iterable[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield f"{path}{key}"
            yield from _sections(value, f"{path}{key}.")


def _relative(value: Any) -> Iterator[Path]:
    """The paths in it that are not absolute."""
    if isinstance(value, Path):
        yield from () if value.is_absolute() else (value,)
    elif isinstance(value, BaseModel):
        yield from (path for name in type(value).model_fields for path in _relative(getattr(value, name)))
    elif isinstance(value, Mapping):
        yield from (path for each in value.values() for path in _relative(each))
    elif isinstance(value, tuple | list | frozenset):
        yield from (path for each in value for path in _relative(each))
