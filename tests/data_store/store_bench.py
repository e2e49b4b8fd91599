"""A bench for the store's tests: short words for making versions and runs in a real store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_store.names import AssetName
from data_store.records import Publication, RunInput, RunOutput, RunRecord
from data_store.rows import ROW_KINDS
from data_store.store import Store


@dataclass
class Bench:
    """Makes folders, rows and committed runs in one store."""

    store: Store
    folder: Path
    made: int = 0

    def files(self, **files: str) -> Path:
        """A folder with these files; '__' in a name stands for '/'."""
        folder = self._fresh()
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    def rows(self, kind: str, rows: list[dict[str, Any]]) -> Path:
        """A folder with a rows.parquet of this kind."""
        folder = self._fresh()
        pq.write_table(pa.Table.from_pylist(rows, schema=ROW_KINDS[kind].schema), folder / "rows.parquet")
        return folder

    def documents(self, *texts: str) -> Path:
        """A folder with document rows, the id made of the text."""
        return self.rows("document", [{"doc_id": f"id-{t}", "source": "test.jsonl:1", "text": t} for t in texts])

    def publish(self, text: str, kind: str = "model") -> Publication:
        """A published folder with one file of this text."""
        return self.store.publish(kind, self.files(weights=text))

    def run(
        self,
        step: str,
        outputs: Mapping[str, str | Publication],
        inputs: tuple[str, ...] = (),
        *,
        fingerprint: str | None = None,
    ) -> RunRecord:
        """A committed run: reads the heads of `inputs`, writes {asset: text of its one file, or a publication}."""
        self.made += 1
        record = RunRecord(step, "V1", fingerprint or f"fingerprint-{self.made}", "1", {"n": self.made}, self.made)
        reads = []
        heads = self.store.heads() if inputs else {}
        for position, name in enumerate(inputs):
            head = heads[AssetName.parse(name)]
            reads.append(RunInput(f"input-{position}", head.asset, head.version_id, head.run_id))
        writes = {
            f"output-{position}": RunOutput(
                AssetName.parse(name), content if isinstance(content, Publication) else self.publish(content)
            )
            for position, (name, content) in enumerate(outputs.items())
        }
        self.store.commit_run(record, reads, writes)
        return record

    def _fresh(self) -> Path:
        self.made += 1
        folder = self.folder / f"folder-{self.made}"
        folder.mkdir(parents=True)
        return folder
