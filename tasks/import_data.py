"""The recipe's raw material: from the user's files, or from the little world."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pyarrow as pa
from pydantic import Field

from data_store.commands import halter
from data_store.errors import InputError
from data_store.reading.messages import Messages
from data_store.reading.preference_formats.registry import FORMATS, PreferenceOptions
from data_store.reading.preference_readers import RECOGNISE, read_preferences
from data_store.reading.readers import read_dialogues, read_documents, read_instructions, read_prompts
from data_store.row_sources import is_named, without
from data_store.rows import AXES, row_kind
from models.config import Config
from tasks.engine.step import Files, Input, Output, StepRun, step
from tasks.held_out import is_held_out, plain, texts
from tasks.imported_files import ROLES, ImportedFiles, annotators_of
from tasks.set_apart import HELD_OUT, IN_REWARD_TEST, without_texts
from world.config import WorldConfig
from world.content import World
from world.demonstrations import make_demonstrations
from world.documents import make_documents
from world.instructions import make_instructions
from world.prompts import make_prompts


class ImportConfig(Config):
    """How to read the files; or the world to generate."""

    world: WorldConfig | None = Field(default=None, description="Generate a little world instead of reading files")
    text_field: str = Field(default="text", description="Field of a document that holds its text")
    prompt_field: str = Field(default="prompt", description="Field of a prompt, and of a dialogue given as a pair")
    response_field: str = Field(default="response", description="Field of a dialogue's answer when given as a pair")
    preference_format: str = Field(
        default=RECOGNISE,
        pattern=f"^({'|'.join((RECOGNISE, *FORMATS))})$",
        description="docs/preference-sources.md describes them; auto: each file's first record tells",
    )
    preference_options: PreferenceOptions = Field(
        default=PreferenceOptions(), description="What is read out of the formats of others, and how"
    )
    default_rating: str = Field(default="better", description="Rating word of pairs that say only which is better")
    category_fields: tuple[str, ...] = Field(
        default=("category",),
        description="Fields of a prompt that say of which category it is, such as XSTest's type; of several the first "
        "that a record has. Rates of refusals and violations are given by category, too",
    )
    heldout_percent: int = Field(
        default=10,
        ge=0,
        le=90,
        description="Share of the prompts kept for evaluation, told by their text. A split that a file says "
        "is obeyed, and an axis that has evaluation_prompts keeps no others",
    )


WORLD_ROLES = ("documents", "demonstrations", "prompts", "instructions")
PAIRS = tuple(role for role in ROLES if role.endswith("_preferences"))


def _imports(config: ImportConfig, sources: Files, what: str, name: str) -> bool:
    """Whether a file of this name is read, a part of the world is generated, or a file has pairs by this annotator."""
    if config.world is not None:
        return what == "source" and name in {f"world:{role}" for role in WORLD_ROLES}
    if what == "source":
        return any(is_named(path, name) for role in ROLES for path in sources.get(role, ()))
    pairs = tuple(path for role in PAIRS for path in sources.get(role, ()))
    # of a file that is not there nothing can be said; what was read of it may have been theirs
    return any(
        not path.is_file() or name in annotators_of(path, config.preference_format, config.preference_options)
        for path in pairs
    )


@step(
    version=4,
    config=ImportConfig,
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
    metrics=[f"rows/{rows}" for rows in ("documents", "demonstrations", "prompts", "instructions", "preferences")],
    takes_in=_imports,
    headline="rows/documents",
    about="Reads the files of the config, or generates the little world.",
    tags=("foundation",),
)
def import_data(run: StepRun, config: ImportConfig) -> Mapping[str, float]:
    """Write each data set that the plan wants, with the source of every row; withdrawn rows are left out."""
    counts = _from_world(run, config.world) if config.world is not None else _from_files(run, config)
    run.table("counts", [{"what": name, "rows": rows} for name, rows in counts.items()])
    return {name: float(rows) for name, rows in counts.items()}


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


def _from_files(run: StepRun, config: ImportConfig) -> dict[str, int]:
    files = ImportedFiles(run)
    tested = texts(run.records("reward_tests"))
    if run.wants("documents"):
        documents = pa.Table.from_batches(read_documents(files.paths("documents"), config.text_field))
        files.write("documents", [files.renamed("documents", documents)])
    if run.wants("instructions"):
        split = partial(_split, percent=config.heldout_percent, validation=0)
        files.write(
            "instructions", [files.accepted("instructions", read_instructions(files.paths("instructions"), split))]
        )
    preferences = []
    for axis in AXES:
        if found := files.paths(role := f"{axis}_preferences"):
            read = read_preferences(
                found,
                config.preference_format,
                axis=axis,
                default_rating=config.default_rating,
                options=config.preference_options,
            )
            preferences.append(files.accepted(role, without_texts(read, tested, IN_REWARD_TEST)))
    if run.wants("preferences"):
        withdrawn = run.withdrawn("annotator")
        files.write("preferences", [without(table, "annotator", withdrawn) for table in preferences])
    if run.wants("prompts"):
        prompts = _prompts(files, preferences, config, tested)
        files.write("prompts", [pa.Table.from_pylist(prompts, row_kind("prompt").schema)])
        held_out = texts(prompts)
    if run.wants("demonstrations"):
        read = read_dialogues(files.paths("demonstrations"), config.prompt_field, config.response_field)
        read = without_texts(read, held_out, HELD_OUT) if run.wants("prompts") else read
        files.write("demonstrations", [files.accepted("demonstrations", without_texts(read, tested, IN_REWARD_TEST))])
    return files.finish()


def _prompts(
    files: ImportedFiles, preferences: list[pa.Table], config: ImportConfig, tested: frozenset[str]
) -> list[dict[str, Any]]:
    """All prompts, each with its split. One that both axes name is a safety prompt: there the safety model decides."""
    rows: dict[str, dict[str, Any]] = {}
    for axis in AXES[::-1]:
        if found := files.paths(role := f"{axis}_prompts"):
            split_of = _split_of(files, axis, config)
            read = read_prompts(
                found, config.prompt_field, axis=axis, split_of=split_of, category_fields=config.category_fields
            )
            accepted = files.accepted(role, without_texts(read, tested, IN_REWARD_TEST))
            rows = {row["prompt_id"]: row for row in accepted.to_pylist()} | rows
    rows = rows or {row["prompt_id"]: row for row in _prompts_of(preferences, files, config)}
    if not rows:
        raise InputError(
            "there is no prompt: give data.helpfulness_prompts and data.safety_prompts, or preferences to take them "
            "from"
        )
    return _once_held_out([*rows.values(), *_evaluation_prompts(files, config)])


def _evaluation_prompts(files: ImportedFiles, config: ImportConfig) -> list[dict[str, Any]]:
    """The prompts of files that nothing trains on."""
    sets = [(f"{axis}_evaluation_prompts", axis, "import") for axis in AXES[::-1]]
    rows: list[dict[str, Any]] = []
    for role, axis, kind in (*sets, ("borderline_prompts", "helpfulness", "borderline")):
        if found := files.paths(role):
            read = read_prompts(
                found,
                config.prompt_field,
                axis=axis,
                kind=kind,
                category_fields=config.category_fields,
                harmless=kind == "borderline",
            )
            words = {"axis": axis, "split": "heldout", **({"kind": kind} if kind == "borderline" else {})}
            rows += [{**row, **words} for row in files.accepted(role, read).to_pylist()]
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


def _prompts_of(preferences: list[pa.Table], files: ImportedFiles, config: ImportConfig) -> list[dict[str, Any]]:
    """The prompts that pairs were collected on, each once; one of both axes is a safety prompt. Where a file holds a
    pair out, its prompt is."""
    rows: dict[str, dict[str, Any]] = {}
    for pair in (row for table in preferences[::-1] for row in table.to_pylist()):
        fields = {name: pair[name] for name in ("prompt_id", "source", "axis", "messages")}
        split = _split_of(files, pair["axis"], config)(pair["messages"])
        if pair["split"] is not None:  # what validates trains no reward model either way
            split = "heldout" if pair["split"] == "heldout" else split.replace("heldout", "train")
        rows.setdefault(pair["prompt_id"], {**fields, "kind": "import", "split": split})
    return list(rows.values())


def _split_of(files: ImportedFiles, axis: str, config: ImportConfig) -> Callable[[Messages], str]:
    """Tells the split of a prompt of which its file says none."""
    percent = 0 if files.paths(f"{axis}_evaluation_prompts") else config.heldout_percent
    return partial(_split, percent=percent, validation=10)


def _split(messages: Messages, percent: int, validation: int) -> str:
    """`percent` are held out, and `validation` percent of the others serve for PPO's looks."""
    if is_held_out(messages, percent, "evaluation"):
        return "heldout"
    return "validation" if is_held_out(messages, validation, "validation") else "train"
