"""The recipe's raw material: from the user's files, or from the little world."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa
from pydantic import Field

from data_store.commands import halter
from data_store.content.row_batches import Row, row_dicts
from data_store.errors import InputError
from data_store.reading.messages import Messages
from data_store.reading.row_import import Imported
from data_store.row_sources import is_named, without
from data_store.rows import AXES, row_kind
from tasks.engine.step import Files, Input, Output, StepRun, step
from tasks.file_roles import PAIRS, ROLES, ReadingConfig, ReadingStepConfig, annotators_in
from tasks.held_out import is_held_out, plain, texts
from tasks.imported_files import ImportedFiles
from tasks.set_apart import HELD_OUT, IN_REWARD_TEST, each_without_texts, without_texts
from world.config import WorldConfig
from world.content import World
from world.demonstrations import make_demonstrations
from world.documents import make_documents
from world.instructions import make_instructions
from world.prompts import make_prompts


class ImportConfig(ReadingConfig):
    """How to read the files; or the world to generate."""

    world: WorldConfig | None = Field(default=None, description="Generate a little world instead of reading files")
    heldout_percent: int = Field(
        default=10,
        ge=0,
        le=90,
        description="Share of the prompts kept for evaluation, told by their text. A split that a file says "
        "is obeyed, and an axis that has evaluation_prompts keeps no others",
    )


class ImportStepConfig(ImportConfig, ReadingStepConfig):
    """The same for the step."""


WORLD = "world"
"""What rows of a little world have for the name of their file."""
WORLD_ROLES = ("documents", "demonstrations", "prompts", "instructions")


def _imports(config: ImportStepConfig, sources: Files, what: str, name: str) -> bool:
    """Whether a file of this name is read, a part of the world is generated, or a file has pairs by this annotator."""
    if config.world is not None:
        return what == "source" and name in {f"{WORLD}:{role}" for role in WORLD_ROLES}
    if what == "source":
        return any(is_named(path, name) for role in ROLES for path in sources.get(role, ()))
    pairs = tuple((role, path) for role in PAIRS for path in sources.get(role, ()))
    # of a file that is not there nothing can be said; what was read of it may have been theirs
    return any(not path.is_file() or name in annotators_in(role, path, config) for role, path in pairs)


@step(
    version=6,
    config=ImportStepConfig,
    inputs={
        **{role: Input("file", optional=True, many=True) for role in ROLES},
        "reward_tests": Input("dataset", "test_pair", optional=True),
    },
    outputs={
        "documents": Output("dataset", "document"),
        "demonstrations": Output("dataset", "dialogue"),
        "prompts": Output("dataset", "prompt"),
        "instructions": Output("dataset", "instruction"),
        "preferences": Output("dataset", "preference"),
        "refused": Output("dataset", "dropped"),
    },
    metrics=[
        *(f"rows/{rows}" for rows in ("documents", "demonstrations", "prompts", "instructions", "preferences")),
        *(f"refused_share/{role}" for role in ROLES),
    ],
    takes_in=_imports,
    headline="rows/documents",
    about="Reads the files of the config, or generates the little world.",
    tags=("foundation",),
)
def import_data(run: StepRun, config: ImportStepConfig) -> Mapping[str, float]:
    """Write each data set that the plan wants, with the source of every row; withdrawn rows are left out."""
    if config.world is not None:
        made = _from_world(run, config.world)
        run.table("counts", [{"what": name, "rows": rows} for name, rows in made.items()])
        return {name: float(rows) for name, rows in made.items()}
    files = ImportedFiles(run, config)
    _from_files(run, config, files)
    counts = files.finish()
    run.table("counts", [{"what": name, "rows": rows} for name, rows in counts.items()])
    return {name: float(rows) for name, rows in counts.items()} | files.shares()


def _from_world(run: StepRun, config: WorldConfig) -> dict[str, int]:
    world = World(config.seed)
    made: dict[str, list[Any]] = {
        "documents": make_documents(world, config.documents, config.seed, config.defect_share),
        "demonstrations": make_demonstrations(world, config.demonstrations, config.seed),
        "prompts": make_prompts(
            world,
            config.seed,
            **config.model_dump(exclude={"seed", "documents", "defect_share", "demonstrations"}),
        ),
        "instructions": make_instructions(world),
    }
    wanted = {role: rows for role, rows in made.items() if run.wants(role)}
    for name in run.withdrawn("source"):
        if name.removeprefix("world:") in wanted:
            raise InputError(
                f"{name} is withdrawn, and a world without it is none: read files instead, or take it back with "
                f"`{halter('withdraw', 'source', name, '--undo')}`"
            )
    for role, rows in wanted.items():
        run.write_rows(role, rows)
    return {f"rows/{role}": len(rows) for role, rows in wanted.items()}


def _from_files(run: StepRun, config: ImportStepConfig, files: ImportedFiles) -> None:
    tested = texts(run.records("reward_tests"))

    def untested(read: Imported) -> Imported:
        return without_texts(read, tested, IN_REWARD_TEST)

    if run.wants("documents"):
        files.write("documents", [files.documents()])
    if run.wants("instructions"):
        split = partial(_split, percent=config.heldout_percent, validation=0)
        files.write("instructions", [files.read("instructions", split)])
    prompts_of_pairs: dict[str, dict[str, Row]] = {}  # by role and id

    def pairs(role: str) -> Iterator[pa.Table]:
        found = prompts_of_pairs.setdefault(role, {})
        for table in files.pairs(role, lambda pieces: each_without_texts(pieces, tested, IN_REWARD_TEST)):
            _add_prompts(found, table, files, config, asked)
            yield without(table, "annotator", withdrawn)

    withdrawn = run.withdrawn("annotator")
    # of the axes that have no prompts of their own
    asked = [axis for axis in AXES if run.wants("prompts") and not files.paths(f"{axis}_prompts")]
    preferences = (table for role in PAIRS if files.paths(role) for table in pairs(role))
    if run.wants("preferences"):
        files.write("preferences", preferences)
    else:
        deque(preferences, maxlen=0)  # what is refused is told all the same
    if run.wants("prompts"):
        of_pairs = [prompts_of_pairs.get(role, {}) for role in PAIRS[::-1]]  # one of both axes is a safety prompt
        prompts = _prompts(files, of_pairs, config, untested)
        files.write("prompts", [pa.Table.from_pylist(prompts, row_kind("prompt").schema)])
        held_out = texts(prompts)
    if run.wants("demonstrations"):
        apart = held_out if run.wants("prompts") else frozenset[str]()
        read = files.read("demonstrations", of_those=lambda each: untested(without_texts(each, apart, HELD_OUT)))
        files.write("demonstrations", [read])


def _prompts(
    files: ImportedFiles, of_pairs: list[dict[str, Row]], config: ImportConfig, untested: Callable[[Imported], Imported]
) -> list[Row]:
    """All prompts, each with its split. One that both axes name is a safety prompt: there the safety model decides."""
    rows: dict[str, dict[str, Any]] = {}
    for axis in AXES[::-1]:
        if files.paths(role := f"{axis}_prompts"):
            read = files.read(role, _split_of(files, axis, config), untested)
            rows = {row["prompt_id"]: row for row in read.to_pylist()} | rows
    for prompt_id, row in chain.from_iterable(found.items() for found in of_pairs):
        rows.setdefault(prompt_id, row)
    apart = _evaluation_prompts(files)
    if not rows and not apart:
        raise InputError(
            "there is no prompt: give data.helpfulness_prompts and data.safety_prompts, or preferences to take them "
            "from"
        )
    return _once_held_out([*rows.values(), *apart])


def _evaluation_prompts(files: ImportedFiles) -> list[dict[str, Any]]:
    """The prompts of files that nothing trains on."""
    sets = [(f"{axis}_evaluation_prompts", axis, "import") for axis in AXES[::-1]]
    rows: list[dict[str, Any]] = []
    for role, axis, kind in (*sets, ("borderline_prompts", "helpfulness", "borderline")):
        if files.paths(role):
            words = {"axis": axis, "split": "heldout", **({"kind": kind} if kind == "borderline" else {})}
            rows += [{**row, **words} for row in files.read(role).to_pylist()]
    return rows


def _once_held_out(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each prompt once, evaluation's before others, and no text in two splits: what is held out anywhere is held out
    everywhere, and what validates does not train."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["prompt_id"] not in found or row["split"] == "heldout":
            found[row["prompt_id"]] = row
    held_out, validation = texts(found.values()), texts(found.values(), "validation")

    def split(row: dict[str, Any]) -> str:
        text = plain(row["messages"])
        return "heldout" if text in held_out else "validation" if text in validation else str(row["split"])

    return [{**row, "split": split(row)} for row in found.values()]


def _add_prompts(
    found: dict[str, Row], pairs: pa.Table, files: ImportedFiles, config: ImportConfig, axes: Collection[str]
) -> None:
    """Add the prompts that pairs on these axes were collected on by their id, each once. Where a file holds a pair out,
    its prompt is."""
    for pair in row_dicts(pairs.select(["prompt_id", "source", "axis", "messages", "split"])):
        if pair["axis"] not in axes or pair["prompt_id"] in found:
            continue
        split = _split_of(files, pair["axis"], config)(pair["messages"])
        if pair["split"] is not None:  # what validates trains no reward model either way
            split = "heldout" if pair["split"] == "heldout" else split.replace("heldout", "train")
        found[pair["prompt_id"]] = {**pair, "kind": "import", "split": split}


def _split_of(files: ImportedFiles, axis: str, config: ImportConfig) -> Callable[[Messages], str]:
    """Tells the split of a prompt of which its file says none."""
    percent = 0 if files.paths(f"{axis}_evaluation_prompts") else config.heldout_percent
    return partial(_split, percent=percent, validation=10)


def _split(messages: Messages, percent: int, validation: int) -> str:
    """`percent` are held out, and `validation` percent of the others serve for PPO's looks."""
    if is_held_out(messages, percent, "evaluation"):
        return "heldout"
    return "validation" if is_held_out(messages, validation, "validation") else "train"
