"""The recipe's raw material: from the user's files, or from the little world."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from data_store.preference_readers import read_preferences
from data_store.readers import read_dialogues, read_documents, read_prompts
from data_store.row_import import Imported
from data_store.rows import AXES, row_kind
from models.config import Config
from tasks.sampling import is_held_out
from tasks.step import Output, StepRun, step
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
        default="hh", pattern="^(hh|rows)$", description="hh: Anthropic HH; rows: one pair a line"
    )
    default_rating: str = Field(default="better", description="Rating word of pairs that say only which is better")
    heldout_percent: int = Field(default=10, ge=0, le=90, description="Share of the prompts kept for evaluation")


@step(
    version=1,
    config=ImportConfig,
    outputs={
        "documents": Output("dataset", "document"),
        "demonstrations": Output("dataset", "dialogue"),
        "prompts": Output("dataset", "prompt"),
        "instructions": Output("dataset", "instruction"),
        "preferences": Output("dataset", "preference"),
        "refused": Output("dataset", "dropped"),
    },
)
def import_data(run: StepRun, config: ImportConfig) -> Mapping[str, float]:
    """Write each data set that the plan wants, with the source of every row."""
    counts = _from_world(run, config.world) if config.world is not None else _from_files(run, config)
    run.table("counts", [{"data set": name, "rows": rows} for name, rows in counts.items()])
    return {f"rows/{name}": float(rows) for name, rows in counts.items()}


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
    for role, rows in wanted.items():
        run.write_rows(role, rows)
    return {role: len(rows) for role, rows in wanted.items()}


def _from_files(run: StepRun, config: ImportConfig) -> dict[str, int]:
    counts: dict[str, int] = {}
    refused: list[pa.Table] = []

    def paths(role: str) -> list[Path]:
        return [entry.path for entry in run.all_inputs(role)]

    def take(role: str, tables: list[Imported]) -> pa.Table:
        for table in tables:
            refused.append(table.refused)
            for reason, count in table.refused_counts().items():
                counts[f"{role} refused: {reason}"] = counts.get(f"{role} refused: {reason}", 0) + count
        return pa.concat_tables([table.rows for table in tables])

    def write(role: str, table: pa.Table) -> None:
        run.write_rows(role, table)
        counts[role] = len(table)

    if run.wants("documents"):
        write("documents", pa.Table.from_batches(read_documents(paths("documents"), config.text_field)))
    if run.wants("demonstrations"):
        read = read_dialogues(paths("demonstrations"), config.prompt_field, config.response_field)
        write("demonstrations", take("demonstrations", [read]))
    pairs = [
        read_preferences(found, config.preference_format, axis=axis, default_rating=config.default_rating)
        for axis in AXES
        if (found := paths(f"{axis}_preferences"))
    ]
    preferences = take("preferences", pairs) if pairs else None
    if preferences is not None:
        write("preferences", preferences)
    if run.wants("prompts"):
        read_in = [
            read_prompts(found, config.prompt_field, axis=axis) for axis in AXES if (found := paths(f"{axis}_prompts"))
        ]
        rows = take("prompts", read_in).to_pylist() if read_in else []
        if not rows and preferences is not None:
            rows = _prompts_of(preferences)
        write("prompts", pa.Table.from_pylist([_split(row, config) for row in rows], row_kind("prompt").schema))
    if refused:
        run.write_rows("refused", pa.concat_tables(refused))
    return counts


def _prompts_of(preferences: pa.Table) -> list[dict[str, Any]]:
    """The prompts that pairs were collected on, each once."""
    rows: dict[str, dict[str, Any]] = {}
    for pair in preferences.to_pylist():
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
