"""Which keys of a step's config are not what they were when its result was made."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from data_store.catalog.lineage import CHANGED
from flows.recipe.config import RunConfig
from tasks.engine.call import StepCall

_MOST = 4
_LONG = 40


def changed_keys(made_with: Mapping[str, Any], today: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(dotted key, value then, value today), in order of the keys; None where there is none."""
    then, now = dict(_flat(made_with)), dict(_flat(today))
    return [
        (key, then.get(key), now.get(key))
        for key in sorted({*then, *now})
        if key not in then or key not in now or then[key] != now[key]
    ]


def why_changed(made_with: Mapping[str, Any], call: StepCall) -> str:
    """Why the result of a step is out of date, for people: the keys of the config that changed, as a config file has
    them, with the values then and today; the first ones of many."""
    found = changed_keys(made_with, call.recipe())
    told = [f"{_key(key, call)} was {_short(then)}, is {_short(now)}" for key, then, now in found[:_MOST]]
    more = f"; and {len(found) - _MOST} more keys" if len(found) > _MOST else ""
    return f"{CHANGED}{': ' if told else ''}{'; '.join(told)}{more}"


def _key(key: str, call: StepCall) -> str:
    """The key as the config file has it: a step has sections of the file inside a config of its own."""
    inner = key.removeprefix("config.")
    if inner == key:
        return key
    parts = inner.split(".")
    at: Any = call.config
    for place, part in enumerate(parts):
        if section := _section_of(type(at), part):
            inner = ".".join([section, *parts[place:]])
        at = getattr(at, part, None)
    return inner


def _section_of(kind: type, field: str) -> str | None:
    """The section of the config file that a model is, or has this field in common with; None for one that is none, or
    several."""
    bases = [base for base in kind.__mro__ if issubclass(base, BaseModel) and field in base.model_fields]
    names = [
        name
        for name, declared in RunConfig.model_fields.items()
        if any(
            field in each.model_fields and any(issubclass(each, base) for base in bases)
            for each in (declared.annotation, *getattr(declared.annotation, "__args__", ()))
            if isinstance(each, type) and issubclass(each, BaseModel)
        )
    ]
    return names[0] if len(names) == 1 else None


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, values


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
