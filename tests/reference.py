"""The reference of the config and of the command line.

`make reference` writes docs/reference-config.md from the pydantic models and docs/reference-cli.md from the Typer app.
What a key or an option means is said there alone; `halter --help` shows the same words.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import click
import typer.main
from pydantic import AfterValidator, AllowInfNan, BaseModel
from pydantic.fields import FieldInfo

from data_store.corpus.registry import WITH_QUALITY
from data_store.identity import check_run_name
from data_store.reading.preference_formats.registry import FORMATS
from flows.cli import app
from flows.recipe.config import RunConfig
from flows.recipe.data_config import Entry
from flows.study.config import StudyConfig
from models.llama_presets import PRESETS
from tasks.evaluations.evaluation import Measure
from tasks.evaluations.registry import EVALUATIONS, EvaluateConfig

ROOT = Path(__file__).resolve().parent.parent
CONFIG_PAGE = ROOT / "docs" / "reference-config.md"
CLI_PAGE = ROOT / "docs" / "reference-cli.md"
COMMAND = "make reference"

REQUIRED = "required"
EMPTY = "empty"
WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    date: "date",
    Any: "value",
    Entry: "path or {path: …}",
}


@dataclass(frozen=True)
class Key:
    """One key of the config as a person writes it. `default` is a value of JSON; REQUIRED and EMPTY where there is
    none."""

    path: str
    kind: str
    default: object
    bounds: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The keys under one key of the file; `path` is empty for those at the top. `absent`: nothing is there unless the
    section is given."""

    path: str
    meaning: str
    absent: bool
    keys: tuple[Key, ...]


def sections() -> Iterator[Section]:
    """The whole config, from the top down, in the order of the file."""
    yield from _sections("", RunConfig, None, RunConfig.__doc__ or "", absent=False)


def _sections(
    path: str, model: type[BaseModel], given: BaseModel | None, meaning: str, absent: bool
) -> Iterator[Section]:
    """`given` holds the values that the section around has as its default."""
    keys, inner = [], []
    for name, field in model.model_fields.items():
        dotted = f"{path}.{name}" if path else name
        below = _model_in(field)
        if below is None:
            default = _plain(getattr(given, name)) if given is not None else _default(field)
            keys.append(Key(dotted, _kind(field.annotation), default, _bounds(field), field.description or ""))
            continue
        held = getattr(given, name) if given is not None else field.get_default()
        values = held if isinstance(held, BaseModel) else None
        left_out = values is None and not field.is_required()
        dotted = f"{dotted}.STEP" if get_origin(field.annotation) is dict else dotted
        text = "\n\n".join([f"{field.description}.", " ".join((below.__doc__ or "").split())])
        inner.append((dotted, below, values, text, left_out))
    yield Section(path, meaning, absent, tuple(keys))
    for part in inner:
        yield from _sections(*part)


def _model_in(field: FieldInfo) -> type[BaseModel] | None:
    inside = get_args(field.annotation)
    for option in (field.annotation, *inside, *(each for part in inside for each in get_args(part))):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _default(field: FieldInfo) -> object:
    return REQUIRED if field.is_required() else _plain(field.get_default())


def _plain(value: object) -> object:
    if value in (None, (), "", {}):
        return EMPTY
    if isinstance(value, date):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def _kind(annotation: Any) -> str:
    if annotation in WORDS:
        return WORDS[annotation]
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_kind(each) for each in inside if each is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inside)
    if origin is tuple:
        return f"list of {_kind(inside[0])}"
    if origin is dict:
        return f"{_kind(inside[0])} to {_kind(inside[1])}"
    return WORDS[annotation]


def _bounds(field: FieldInfo) -> str:
    signs = {annotated_types.Ge: ("≥", "ge"), annotated_types.Gt: (">", "gt")}
    signs |= {annotated_types.Le: ("≤", "le"), annotated_types.Lt: ("<", "lt")}
    found = []
    for each in field.metadata:
        if type(each) in signs:
            sign, name = signs[type(each)]
            found.append(f"{sign} {_shown(getattr(each, name))}")
        elif isinstance(each, annotated_types.MinLen):
            found.append(f"{each.min_length} or more of them")
        elif (pattern := getattr(each, "pattern", None)) is not None:
            found.append("`" + pattern.strip("^()$").replace("|", "`, `") + "`")
        elif isinstance(each, AllowInfNan):
            found.append("finite")
        elif isinstance(each, annotated_types.MaxLen):
            found.append(f"{each.max_length} or fewer of them")
        elif each == AfterValidator(check_run_name):
            found.append("a-z, 0-9, `_`, `.`, `-`, at most 48 of them, the first a letter or a digit")
        else:
            raise TypeError(f"the reference has no word for {each!r}")
    return ", ".join(found)


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def config_page() -> str:
    """The text of docs/reference-config.md."""
    lines = [
        "# Reference: the config",
        "",
        _written("flows/recipe/config.py, models/config.py and the files in tasks/"),
        "",
        "One YAML file is one complete named run: `halter run CONFIG`. Only `name`, `iterations` and `data` must be",
        "there. A dot goes one level down: `ppo.kl_coef` is the key `kl_coef` in the section `ppo`. So it is written",
        "after `--set` of `halter rerun`, and in the field `overrides` in the Prefect UI. An unknown key is an error,",
        "and the message names the nearest one that there is.",
        "",
        f"«{REQUIRED}»: there is no default. «{EMPTY}»: nothing is set; what that means stands beside it. Lists",
        "are written `[0.7, 1.0]`. Defaults are the paper's (Llama 2) where it gives a value. For a little model on a",
        "laptop they are far too large: start from a file in configs/.",
    ]
    for section in sections():
        lines += ["", f"## {section.path}" if section.path else "## At the top", "", section.meaning]
        if section.absent:
            lines += ["", f"Not there unless you write `{section.path}:`. Then these hold:"]
        if section.keys:
            lines += ["", "| key | type | default | bounds | what it means |", "|---|---|---|---|---|"]
            lines += [
                f"| `{key.path}` | {key.kind} | {_default_cell(key.default)} | {key.bounds} | {_cell(key.meaning)} |"
                for key in section.keys
            ]
        if section.path in MEMBERS:
            lines += ["", *MEMBERS[section.path]()]
    lines += ["", "## Study files", "", "A study file (docs/studies.md) is YAML of its own: `halter study FILE`.", ""]
    lines += ["| key | type | default | bounds | what it means |", "|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {_kind(field.annotation)} | {_default_cell(_default(field))} | {_bounds(field)} "
        f"| {_cell(field.description or '')} |"
        for name, field in StudyConfig.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def _presets() -> list[str]:
    return ["Presets: " + ", ".join(f"`{name}`" for name in PRESETS) + "."]


def _formats() -> list[str]:
    rows = [f"| `{name}` | {_cell(each.about)} |" for name, each in FORMATS.items()]
    return [
        "Formats of preferences, in the order in which they are tried:",
        "",
        "| format | what it is |",
        "|---|---|",
        *rows,
    ]


def _reasons() -> list[str]:
    rows = [f"| `{reason}` | {_cell(meaning)} |" for reason, meaning in WITH_QUALITY.items()]
    return ["A document goes for the first reason that holds:", "", "| reason | what it means |", "|---|---|", *rows]


def _metrics() -> list[str]:
    rows: dict[str, list[Measure]] = {}
    for each in EVALUATIONS:
        for metric in each.metrics(EvaluateConfig()):
            rows.setdefault(metric.meaning, []).append(metric)
    return [
        "What is measured, and under which title tables show it:",
        "",
        "| metric | title | what it means |",
        "|---|---|---|",
        *(
            f"| {', '.join(f'`{metric.name}`' for metric in found)} | {found[0].column} | {_cell(meaning)} |"
            for meaning, found in rows.items()
        ),
    ]


# what stands below the keys of a section
MEMBERS = {"data": _formats, "model": _presets, "filter": _reasons, "evaluate": _metrics}


def _default_cell(value: object) -> str:
    if value in (REQUIRED, EMPTY):
        return str(value)
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} of them"
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def commands() -> Iterator[tuple[str, Any]]:
    """(name, command) of each command of `halter`, `annotators add` and the like among them."""
    yield from _commands(typer.main.get_command(app), "")


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(click.Context(group)):  # in the order of `halter --help`
        command = group.commands[name]
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def cli_page() -> str:
    """The text of docs/reference-cli.md."""
    lines = [
        "# Reference: the command line",
        "",
        _written("flows/cli.py and the files beside it"),
        "",
        "Exit codes: 0 done, also when a run waits for people; 1 a failure; 2 wrong input, with a message that names",
        "the file, the row and the field; 130 Ctrl-C, after which the same command goes on.",
        "",
        "| environment variable | what it means |",
        "|---|---|",
        "| `HALTER_HOME` | folder with the stores of all runs; `halter-store` in the working directory if not given |",
        "| `PREFECT_API_URL` | a Prefect server of your own; without it a command starts one on this machine |",
        "| `PREFECT_HOME` | where Prefect has its database; `.prefect` beside the stores if not given |",
        "| `PREFECT_SERVER_API_PORT` | port of the server that a command starts; 4200 or any free one if not given |",
    ]
    for name, command in commands():
        lines += ["", f"## halter {name}", "", (command.help or "").strip()]
        lines += ["", "```", " ".join([f"halter {name}", *map(_usage, command.params)]), "```"]
        if command.params:
            lines += ["", "| argument or option | type | default | what it means |", "|---|---|---|---|"]
            lines += [f"| {' | '.join(_parameter(each))} |" for each in command.params]
    return "\n".join(lines) + "\n"


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name.upper()).strip("[]")
        return str(name if parameter.required else f"[{name}]")
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    return f"[{parameter.opts[0]}{value}]{'…' if parameter.multiple else ''}"


def _parameter(parameter: Any) -> tuple[str, str, str, str]:
    annotation = parameter.type_descriptor.annotation
    if parameter.param_type_name == "argument":
        name, kind = _usage(parameter).strip("[]"), _kind(annotation)
    elif parameter.is_flag:
        name, kind = parameter.opts[0], "switch"
    else:
        name, kind = parameter.opts[0], _kind(get_args(annotation)[0] if parameter.multiple else annotation)
    if parameter.multiple:
        kind += ", may be given again"
    if getattr(parameter, "max", None) is not None:
        kind += f", {parameter.min} to {parameter.max}"
    default = (
        REQUIRED if parameter.required else f"`{parameter.default}`" if parameter.default not in (None, False) else ""
    )
    return f"`{name}`", kind, default, _cell(parameter.help)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").removesuffix(".")


def _written(sources: str) -> str:
    return f"<!-- Written by `{COMMAND}` from {sources}. Do not edit. -->"


PAGES = {CONFIG_PAGE: config_page, CLI_PAGE: cli_page}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write both pages; without it, print them")
    write = parser.parse_args().write
    for path, page in PAGES.items():
        if write:
            path.write_text(page())
        else:
            sys.stdout.write(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
