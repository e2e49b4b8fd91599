"""What cards of models and of data have in common: the front matter that the hub reads, sources with their licences,
and how to make the same again. Names of others stand in them as code, and no path of a machine does."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from data_store.commands import halter
from data_store.errors import InputError
from data_store.figures import figure, named
from flows.recipe.yaml_text import yaml_of

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Stated:
    """What only the person who exports knows: the licence of what is exported, those of its sources by name (a file's,
    or the asset's), and its languages as the hub writes them, such as `en`."""

    licence: str = UNKNOWN
    source_licences: Mapping[str, str] = field(default_factory=dict)
    languages: Sequence[str] = ()


def stated(licence: str, of_sources: Iterable[str], languages: Sequence[str]) -> Stated:
    """`of_sources`: each `NAME=LICENCE`. Raises InputError for one that is not."""
    found = {}
    for each in of_sources:
        name, _, value = each.partition("=")
        if not (name and value):
            raise InputError(f"--source-license {each!r}: write NAME=LICENSE, for example hh_helpful.jsonl.gz=mit")
        found[name] = value
    return Stated(licence, found, tuple(languages))


def front_matter(known: Stated, **fields: Any) -> str:
    """The YAML between two lines of dashes; fields without a value are left out."""
    given = {"license": known.licence, "language": list(known.languages), **fields}
    return f"---\n{yaml_of({key: value for key, value in given.items() if value})}---"


def source_name(source: Mapping[str, Any]) -> str:
    """A source of a lineage document as cards name it: of a file or folder its own name, of others the asset's."""
    facts = source["facts"]
    return PurePath(facts["path"]).name if facts.get("kind") == "file" else str(source["asset"])


def sources(document: Mapping[str, Any], known: Stated) -> Iterator[str]:
    """A table of what came from outside, with the hash by which the very same is known. Raises InputError for a licence
    of a source that is not among them."""
    there = {source_name(each): each for each in document["sources"]}
    unknown = sorted(set(known.source_licences) - set(there))
    if unknown:
        raise InputError(
            f"--source-license {unknown[0]}: there is no such source; there are: {', '.join(there) or 'none'}"
        )
    if not there:
        yield "Nothing came from outside: the data were generated, and judged, by this run itself."
        return
    yield from ("| source | licence | version |", "|---|---|---|")
    for name, each in there.items():
        yield f"| {named(name)} | {_cell(known.source_licences.get(name, UNKNOWN))} | `{each['version'][:16]}` |"


def redo(document: Mapping[str, Any], run: str) -> Iterator[str]:
    """What made it, and what it takes to make it again."""
    made = document["runs"][0]
    code = f"code `{made['code_version'][:12]}`" + (f", commit `{made['git_commit']}`" if made["git_commit"] else "")
    yield f"Made by the step {made['step']} of {made['part']} with seed {figure(made['seed'])}, {code}, by"
    yield f"{figure(len(document['runs']))} runs of steps in all. In the home of the run: "
    again = halter("rerun", made["part"], made["step"].replace("_", "-"), run=run)
    told = halter("lineage", document["asset"], "--json", run=run)
    yield f"`{again}`. Elsewhere the sources above, the config of the run and this code give the same;"
    yield f"`{told}` has the config, seed, code and libraries of each step."
    if made["set"]:
        values = json.dumps(made["set"], indent=1, sort_keys=True, default=str)
        yield from ("", "Its values that are not the defaults:", "", "```json", values.replace("```", "'''"), "```")


def _cell(text: str) -> str:
    return named(text) if text != UNKNOWN else UNKNOWN
