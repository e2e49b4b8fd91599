"""What is wrong in a config, in words."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from flows.recipe.data_config import TAGS


def messages(error: ValidationError, where: str, model: type[BaseModel]) -> Iterable[str]:
    """One for each key: `where` it stands, what it should be, and which key may be meant."""
    for problem in error.errors():
        parts = (str(part) for part in problem["loc"])
        location = [part for part in parts if part not in TAGS and not part.startswith(("tuple[", "literal["))]
        key = ".".join(location)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(location[-1], _fields(model, location[:-1]), n=1, cutoff=0.5)
            hint = f"; did you mean {'.'.join([*location[:-1], near[0]])}?" if near else ""
            yield f"{where}: there is no key {key}{hint}"
        else:
            message = _in_words(problem["type"], problem.get("ctx", {})) or problem["msg"].removeprefix("Value error, ")
            given = problem.get("input")
            shown = f" (given: {given!r})" if key and isinstance(given, str | int | float) else ""
            yield f"{where}: {key + ': ' if key else ''}{message}{shown}"


def _in_words(kind: str, about: Mapping[str, Any]) -> str:
    """What a list should be, in words of YAML, not of Python; empty for what is wrong otherwise."""
    if kind in ("tuple_type", "list_type"):
        return "give a list: [one, another]"
    bounds = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}
    if kind not in bounds or about.get("field_type") not in ("Tuple", "List"):
        return ""
    word, bound = bounds[kind]
    return f"give {word} {about[bound]}, not {about['actual_length']}"


def _fields(config: type[BaseModel], location: list[str]) -> list[str]:
    """The keys that the section at `location` knows."""
    model: Any = config
    for name in location:
        if name.isdigit():  # an entry of a list
            continue
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)
