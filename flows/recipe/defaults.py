"""Which values of a config somebody has set: those that are not the defaults."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import to_jsonable_python


def differing(model: type[BaseModel] | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a config as plain values those that differ from the defaults of its model, by their whole names
    (`training.learning_rate`). All of them where the model is not known, or does not know the key."""
    return _differing(model, values, None, "")


def _differing(
    model: type[BaseModel] | None, values: Mapping[str, Any], defaults: Mapping[str, Any] | None, prefix: str
) -> dict[str, Any]:
    """`defaults`: what the section itself is by default, where that is more than its model says."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        field = None if model is None else model.model_fields.get(key)
        inner = None if field is None else _section(field.annotation)
        known = defaults is not None and key in defaults
        default: Any = ...
        if defaults is not None and known:
            default = defaults[key]
        elif field is not None and not field.is_required():
            default = to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and inner is not None:
            below = _differing(inner, value, default if isinstance(default, Mapping) else None, f"{name}.")
            found |= below or ({name: {}} if default is None else {})
        elif value != default:
            found[name] = value
    return found


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model of a section, also of one that may be left out."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None
