"""The recipe's raw material: from the user's files, or from the little world."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from data_store.commands import halter
from data_store.errors import InputError
from data_store.reading.preference_formats.registry import FORMATS, PreferenceOptions
from data_store.reading.preference_readers import RECOGNISE, read_preferences
from data_store.reading.readers import read_dialogues, read_documents, read_prompts
from data_store.reading.row_import import Imported
from data_store.reading.source_files import source_files
from data_store.row_sources import is_named, without
from data_store.rows import AXES, row_kind
from models.config import Config
from tasks.engine.step import Files, Input, Output, StepRun, step
from tasks.sampling import is_held_out
from world.config import WorldConfig
from world.content import World
from world.demonstrations import make_demonstrations
from world.documents import make_documents
from world.instructions import make_instructions
from world.prompts import make_prompts

ROLES = (
    "documents",
    "demonstrations",
    *(f"{axis}_{kind}" for kind in ("prompts", "preferences") for axis in AXES),
)


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
    heldout_percent: int = Field(default=10, ge=0, le=90, description="Share of the prompts kept for evaluation")


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
    return any(not path.is_file() or name in annotators_of(path, config) for path in pairs)


def annotators_of(path: Path, config: ImportConfig) -> frozenset[str]:
    """Who judged the pairs of a file; it is read once per process as long as it does not change."""
    about = path.stat()
    options = config.preference_options.model_dump_json()
    looks = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return _annotators_of(path, config.preference_format, options, looks)


@cache
def _annotators_of(path: Path, preference_format: str, options: str, _looks: tuple[int, ...]) -> frozenset[str]:
    read = read_preferences([path], preference_format, options=PreferenceOptions.model_validate_json(options))
    return frozenset(read.rows.column("annotator").to_pylist())


@step(
    version=3,
    config=ImportConfig,
    inputs={role: Input("file", optional=True, many=True) for role in ROLES},
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
    files = _Files(run)
    if run.wants("documents"):
        documents = pa.Table.from_batches(read_documents(files.paths("documents"), config.text_field))
        files.write("documents", [files.renamed("documents", documents)])
    if run.wants("demonstrations"):
        read = read_dialogues(files.paths("demonstrations"), config.prompt_field, config.response_field)
        files.write("demonstrations", [files.accepted("demonstrations", read)])
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
            preferences.append(files.accepted(role, read))
    if run.wants("preferences"):
        withdrawn = run.withdrawn("annotator")
        files.write("preferences", [without(table, "annotator", withdrawn) for table in preferences])
    if run.wants("prompts"):
        rows: dict[str, dict[str, Any]] = {}
        for axis in AXES[::-1]:  # a prompt that both name is a safety prompt: there the safety model decides
            if found := files.paths(role := f"{axis}_prompts"):
                read = read_prompts(found, config.prompt_field, axis=axis)
                rows = {row["prompt_id"]: row for row in files.accepted(role, read).to_pylist()} | rows
        prompts = list(rows.values()) or _prompts_of(preferences)
        if not prompts:
            raise InputError(
                "there is no prompt: give data.helpfulness_prompts and data.safety_prompts, or preferences to take "
                "them from"
            )
        kind = row_kind("prompt")
        files.write("prompts", [pa.Table.from_pylist([_split(row, config) for row in prompts], kind.schema)])
    return files.finish()


class _Files:
    """The files of one import: names that tell them apart over all roles, and counts by file and outcome."""

    def __init__(self, run: StepRun) -> None:
        self.run = run
        found = {entry.path.resolve(): entry.path for role in ROLES for entry in run.all_inputs(role)}
        self.names = {file.path.resolve(): file.name for file in source_files(list(found.values()))}
        self.refused: list[pa.Table] = []
        self.counts: dict[str, int] = {}
        self.table: list[dict[str, Any]] = []

    def paths(self, role: str) -> list[Path]:
        """The files of a role, in the config's order."""
        if role in ("documents", "demonstrations") and not self.run.all_inputs(role) and self.run.withdrawn("source"):
            raise InputError(f"all files of data.{role} are withdrawn: give others, or undo a withdrawal")
        return [entry.path for entry in self.run.all_inputs(role)]

    def renamed(self, role: str, table: pa.Table) -> pa.Table:
        """Rows whose ids and sources name their file as it is told apart from those of the other roles."""
        names = {file.name: self.names[file.path.resolve()] for file in source_files(self.paths(role))}
        if all(old == new for old, new in names.items()):
            return table

        def rename(text: str) -> str:
            name, colon, line = text.rpartition(":")
            return f"{names.get(name, name)}{colon}{line}"

        for number, field in enumerate(table.schema):
            if field.name in ("source", "doc_id", "dialogue_id", "preference_id"):
                texts = [rename(text) for text in table.column(number).to_pylist()]
                table = table.set_column(number, field, pa.array(texts, field.type))
        return table

    def accepted(self, role: str, read: Imported) -> pa.Table:
        """What was read of a role; what was refused is kept aside and counted."""
        refused = self.renamed(role, read.refused)
        for (file, reason), count in _by_file(refused).items():
            self.table.append({"role": role, "file": file, "outcome": f"refused: {reason}", "rows": count})
            name = f"refused/{role}/{reason}"
            self.counts[name] = self.counts.get(name, 0) + count
        ids = pa.array([f"{role}/{source}" for source in refused.column("source").to_pylist()], pa.string())
        self.refused.append(refused.set_column(0, refused.schema.field("doc_id"), ids))
        rows = self.renamed(role, read.rows)
        for (file, _), count in _by_file(rows).items():
            self.table.append({"role": role, "file": file, "outcome": "accepted", "rows": count})
        return rows

    def write(self, role: str, tables: list[pa.Table]) -> None:
        """Write a data set. Raises InputError where withdrawals leave nothing of it."""
        table = pa.concat_tables(tables) if tables else None
        if not table:
            raise InputError(f"of the {role} nothing is left that is not withdrawn: give others, or undo a withdrawal")
        self.run.write_rows(role, table)
        self.counts[f"rows/{role}"] = len(table)

    def finish(self) -> dict[str, int]:
        """Write the refused rows and the table of counts."""
        self.run.write_rows("refused", pa.concat_tables(self.refused) if self.refused else [])
        self.run.table("files", self.table)
        return self.counts


def _by_file(table: pa.Table) -> dict[tuple[str, str], int]:
    """(file, reason) → rows; the reason is empty where the rows have none."""
    sources = table.column("source").to_pylist()
    reasons = table.column("reason").to_pylist() if "reason" in table.column_names else [""] * len(sources)
    files = (source.rpartition(":")[0] for source in sources)
    return dict(sorted(Counter(zip(files, reasons, strict=True)).items()))


def _prompts_of(preferences: list[pa.Table]) -> list[dict[str, Any]]:
    """The prompts that pairs were collected on, each once; one of both axes is a safety prompt."""
    rows: dict[str, dict[str, Any]] = {}
    for pair in (row for table in preferences[::-1] for row in table.to_pylist()):
        fields = {name: pair[name] for name in ("prompt_id", "source", "axis", "messages")}
        rows.setdefault(pair["prompt_id"], {**fields, "kind": "import", "split": "train"})
    return list(rows.values())


def _split(prompt: dict[str, Any], config: ImportConfig) -> dict[str, Any]:
    """Held-out prompts follow from their id; of the others, a tenth serves for validation."""
    if prompt["split"] != "train":
        return prompt
    if is_held_out(prompt["prompt_id"], config.heldout_percent):
        return {**prompt, "split": "heldout"}
    return {**prompt, "split": "validation" if is_held_out("validation" + prompt["prompt_id"], 10) else "train"}
