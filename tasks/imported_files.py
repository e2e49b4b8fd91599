"""The files of one import: names that tell them apart over all roles, and counts by file and outcome."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_store.errors import InputError
from data_store.reading.preference_formats.registry import PreferenceOptions
from data_store.reading.preference_readers import read_preferences
from data_store.reading.row_import import Imported, row_identity
from data_store.reading.source_files import source_files
from data_store.rows import AXES
from tasks.engine.step import StepRun

ROLES = (
    "documents",
    "demonstrations",
    "instructions",
    *(f"{axis}_{kind}" for kind in ("prompts", "preferences", "evaluation_prompts") for axis in AXES),
    "borderline_prompts",
)


def annotators_of(path: Path, preference_format: str, options: PreferenceOptions) -> frozenset[str]:
    """Who judged the pairs of a file; it is read once per process as long as it does not change."""
    about = path.stat()
    looks = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return _annotators_of(path, preference_format, options.model_dump_json(), looks)


@cache
def _annotators_of(path: Path, preference_format: str, options: str, _looks: tuple[int, ...]) -> frozenset[str]:
    read = read_preferences([path], preference_format, options=PreferenceOptions.model_validate_json(options))
    return frozenset(read.rows.column("annotator").to_pylist())


class ImportedFiles:
    """What is read of them, what is refused, and how many rows each gives."""

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
            if field.name in ("source", "doc_id", "dialogue_id"):
                texts = [rename(text) for text in table.column(number).to_pylist()]
                table = table.set_column(number, field, pa.array(texts, field.type))
        if "preference_id" in table.column_names:
            number = table.schema.get_field_index("preference_id")
            axes, sources = (table.column(name).to_pylist() for name in ("axis", "source"))
            ids = [row_identity(axis, source) for axis, source in zip(axes, sources, strict=True)]
            table = table.set_column(number, table.schema.field(number), pa.array(ids, pa.string()))
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
