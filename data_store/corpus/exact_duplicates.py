"""The same text as an earlier document."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from data_store.corpus.batch import Batch
from data_store.corpus.filter import Comparison, CorpusFilter, SampleConfig
from data_store.corpus.kept_index import open_index


class ExactDuplicates(CorpusFilter):
    """The first one that is kept stays."""

    reasons = {"exact_duplicate": "the same text but for case and white space as a kept document"}

    def marks(self, batch: Batch, documents: Sequence[int], config: SampleConfig) -> Mapping[int, bytes]:
        """A 128-bit hash of the normalised text."""
        return {index: _key(batch.plain_text(index)) for index in documents}

    def comparison(self, config: SampleConfig, folder: Path, memory_bytes: int) -> Comparison:
        """By these hashes."""
        return _Texts(folder, memory_bytes)


class _Texts(Comparison):
    def __init__(self, folder: Path, memory_bytes: int) -> None:
        self._index = open_index(folder / "texts.sqlite", memory_bytes)
        self._index.execute("CREATE TABLE texts (key BLOB PRIMARY KEY, doc_id TEXT) WITHOUT ROWID")

    def repeats(self, mark: bytes) -> str | None:
        """The document of this hash."""
        found = self._index.execute("SELECT doc_id FROM texts WHERE key = ?", [mark]).fetchone()
        return None if found is None else f"of {found[0]}"

    def keep(self, doc_id: str, mark: bytes) -> None:
        """Under its hash."""
        self._index.execute("INSERT INTO texts VALUES (?, ?)", [mark, doc_id])

    def close(self) -> None:
        """Let the file go."""
        self._index.close()


def _key(plain_text: str) -> bytes:
    return blake2b(" ".join(plain_text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()
