"""What is wrong in a config, in words."""

import difflib
from collections.abc import Iterable
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
            message = problem["msg"].removeprefix("Value error, ")
            given = problem.get("input")
            shown = f" (given: {given!r})" if key and isinstance(given, str | int | float) else ""
            yield f"{where}: {key + ': ' if key else ''}{message}{shown}"


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
