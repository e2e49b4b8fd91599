"""The files of one import: names that tell them apart over all roles, and counts by file and outcome."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_store.errors import InputError
from data_store.reading.bad_rows import BAD_ROW
from data_store.reading.readers import read_documents
from data_store.reading.row_import import Imported, row_identity
from data_store.reading.source_files import source_files
from data_store.rows import row_kind
from tasks.engine.step import StepRun
from tasks.file_roles import ROLES, ReadingStepConfig, SplitOf, each_pair, read_role, too_many_bad

_ACCEPTED = "accepted"


class ImportedFiles:
    """What is read of them, what is refused, and how many rows each gives."""

    def __init__(self, run: StepRun, config: ReadingStepConfig) -> None:
        self.run, self.config = run, config
        self.names = names_of(entry.path for role in ROLES for entry in run.all_inputs(role))
        self.refused: list[pa.Table] = []
        self.counts: dict[str, int] = {}
        self.table: list[dict[str, Any]] = []
        self._counts: dict[str, Counter[tuple[str, str]]] = {}
        self._first_bad: dict[str, str] = {}

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

    def read(
        self, role: str, split_of: SplitOf | None = None, of_those: Callable[[Imported], Imported] | None = None
    ) -> pa.Table:
        """The rows of a role, of which `of_those` may refuse some; what was refused is kept aside and counted."""
        how = {} if split_of is None else {"split_of": split_of}
        read = read_role(role, self.paths(role), self.config, self.config.bad_rows, **how)
        return self._accepted(role, read if of_those is None else of_those(read))

    def pairs(self, role: str, of_those: Callable[[Iterable[Imported]], Iterable[Imported]]) -> Iterator[pa.Table]:
        """The same of pairs, some at a time: of what is too large to be held."""
        for read in of_those(each_pair(role, self.paths(role), self.config, self.config.bad_rows)):
            yield self._taken(role, read)
        self._settle(role)

    def documents(self) -> pa.Table:
        """The documents of the corpus."""
        bad, paths = self.config.bad_rows, self.paths("documents")
        of_files = self.config.options("documents", paths)
        rows = pa.Table.from_batches(read_documents(paths, self.config.text_field, bad=bad, of_files=of_files))
        refused = [{"doc_id": each.source, **each._asdict()} for each in bad.taken()]
        return self._accepted("documents", Imported(rows, pa.Table.from_pylist(refused, row_kind("dropped").schema)))

    def shares(self) -> dict[str, float]:
        """Of each role the share of its rows that were refused."""
        refused, all_rows = Counter[str](), Counter[str]()
        for row in self.table:
            all_rows[row["role"]] += row["rows"]
            refused[row["role"]] += row["rows"] if row["outcome"] != _ACCEPTED else 0
        return {f"refused_share/{role}": refused[role] / rows for role, rows in all_rows.items()}

    def _accepted(self, role: str, read: Imported) -> pa.Table:
        rows = self._taken(role, read)
        self._settle(role)
        return rows

    def _taken(self, role: str, read: Imported) -> pa.Table:
        """Some rows of a role under the names of their files, counted; the refused ones are kept aside."""
        refused, rows = self.renamed(role, read.refused), self.renamed(role, read.rows)
        counts = self._counts.setdefault(role, Counter())
        counts.update({(file, f"refused: {reason}"): count for (file, reason), count in _by_file(refused).items()})
        counts.update({(file, _ACCEPTED): count for (file, _), count in _by_file(rows).items()})
        for row in refused.to_pylist():
            if row["reason"] == BAD_ROW:
                self._first_bad.setdefault(role, row["detail"])
        ids = pa.array([f"{role}/{source}" for source in refused.column("source").to_pylist()], pa.string())
        self.refused.append(refused.set_column(0, refused.schema.field("doc_id"), ids))
        return rows

    def _settle(self, role: str) -> None:
        """What became of all rows of a role: in the table and the counts, and told."""
        counts = self._counts.pop(role, Counter())
        for (file, outcome), count in sorted(counts.items(), key=lambda each: (each[0][1] == _ACCEPTED, each[0])):
            self.table.append({"role": role, "file": file, "outcome": outcome, "rows": count})
            if outcome != _ACCEPTED:
                name = f"refused/{role}/{outcome.removeprefix('refused: ')}"
                self.counts[name] = self.counts.get(name, 0) + count
        self._check_share(role)
        self._tell(role)

    def _check_share(self, role: str) -> None:
        """Raises InputError for a file of which too many rows could not be read."""
        for file in {row["file"] for row in self.table if row["role"] == role}:
            mine = [row for row in self.table if (row["role"], row["file"]) == (role, file)]
            bad = sum(row["rows"] for row in mine if row["outcome"] == f"refused: {BAD_ROW}")
            rows = sum(row["rows"] for row in mine)
            if fault := too_many_bad(bad, rows, file, self._first_bad.get(role, ""), self.config):
                raise InputError(f"data.{role}: {fault}")

    def _tell(self, role: str) -> None:
        """A note where something was refused."""
        mine = [row for row in self.table if row["role"] == role]
        reasons = Counter[str]()
        for row in mine:
            reasons[row["outcome"]] += row["rows"]
        accepted = reasons.pop(_ACCEPTED, 0)
        if reasons:
            said = ", ".join(f"{reason.removeprefix('refused: ')} {count}" for reason, count in reasons.most_common())
            everything = accepted + reasons.total()
            self.run.note(f"{role}: {accepted} of {everything} rows are read; left out: {said}")

    def write(self, role: str, tables: Iterable[pa.Table]) -> None:
        """Write a data set as its rows come. Raises InputError where withdrawals leave nothing of it."""
        rows = 0
        with self.run.writing_rows(role) as write:
            for table in tables:
                write(table)
                rows += len(table)
        if not rows:
            raise InputError(f"of the {role} nothing is left that is not withdrawn: give others, or undo a withdrawal")
        self.counts[f"rows/{role}"] = rows

    def finish(self) -> dict[str, int]:
        """Write the refused rows and the table of counts."""
        self.run.write_rows("refused", pa.concat_tables(self.refused) if self.refused else [])
        self.run.table("files", self.table)
        return self.counts


def names_of(paths: Iterable[Path]) -> dict[Path, str]:
    """Resolved path → what rows call the file, of the files of all roles; one may have several."""
    found = {path.resolve(): path for path in paths}
    return {file.path.resolve(): file.name for file in source_files(list(found.values()))}


def _by_file(table: pa.Table) -> dict[tuple[str, str], int]:
    """(file, reason) → rows; the reason is empty where the rows have none."""
    sources = table.column("source").to_pylist()
    reasons = table.column("reason").to_pylist() if "reason" in table.column_names else [""] * len(sources)
    files = (source.rpartition(":")[0] for source in sources)
    return dict(sorted(Counter(zip(files, reasons, strict=True)).items()))
