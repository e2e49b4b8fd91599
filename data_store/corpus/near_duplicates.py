"""Nearly the same text as an earlier document."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from data_store.corpus.batch import Batch
from data_store.corpus.filter import Comparison, CorpusFilter, SampleConfig
from data_store.corpus.kept_index import open_index
from data_store.corpus.words import Hashes, Words, distinct, ordered_sums, runs_of

_RUN = 5
_SIGNATURE, _BANDS, _SEED = 256, 64, 2307
"""64 bands of 4: of two documents with a Jaccard similarity of .5, 98.4 % meet in a band, of .7 all but 1 in 10^7."""
_SKETCH = 4096
"""How many 5-gram hashes of a document, the smallest, stand for it: all of most; else an error of .008 at most."""
_CANDIDATES = 16
Sketch = npt.NDArray[np.uint32]
BandKeys = npt.NDArray[np.int64]


class NearDuplicatesConfig(SampleConfig):
    """How alike is too alike."""

    near_duplicate_min_words: int = Field(
        default=40, ge=5, description="Near duplicates are looked for among documents of this many words and more."
    )
    near_duplicate_similarity: float = Field(
        default=0.5, gt=0, le=1, description="Smallest Jaccard similarity of two documents' word 5-grams."
    )


class NearDuplicates(CorpusFilter):
    """MinHash signatures tell which kept documents may be alike (Broder 1997; bands: Leskovec and others, Mining of
    Massive Datasets, section 3.4); their 5-grams tell which are."""

    reasons = {"near_duplicate": "by word 5-grams nearly the same as a kept document"}

    def marks(
        self, batch: Batch, documents: Sequence[int], config: NearDuplicatesConfig
    ) -> Mapping[int, tuple[BandKeys, Sketch]]:
        """Signature and sketch of the documents that have enough words."""
        from rensa import RMinHash

        grams = {
            index: found
            for index in documents
            if batch.n_words[index] >= config.near_duplicate_min_words and len(found := _grams(batch, index))
        }
        if not grams:
            return {}
        ends = np.cumsum([len(found) for found in grams.values()])
        offsets = np.concatenate(([0], ends)).astype(np.uint64)
        flat = np.concatenate(list(grams.values()))
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, _SIGNATURE, _SEED).to_rows()
        bands = _band_keys(np.array(matrix, np.uint64))
        return {index: (keys, _sketch(found)) for (index, found), keys in zip(grams.items(), bands, strict=True)}

    def comparison(self, config: NearDuplicatesConfig, folder: Path, memory_bytes: int) -> Comparison:
        """With signatures and 5-grams on the disk."""
        return _Signatures(config, folder, memory_bytes)


class _Signatures(Comparison):
    """A band of a signature leads to the first kept document that has it: 64 entries a document, and at most 64
    candidates, however many documents are alike."""

    def __init__(self, config: NearDuplicatesConfig, folder: Path, memory_bytes: int) -> None:
        self._config = config
        self._index = open_index(folder / "signatures.sqlite", memory_bytes)
        self._index.execute("CREATE TABLE bands (key INTEGER PRIMARY KEY, document INTEGER)")
        self._index.execute("CREATE TABLE kept (document INTEGER PRIMARY KEY, doc_id TEXT, at INTEGER, n INTEGER)")
        self._file = (folder / "sketches").open("w+b", buffering=0)
        self._end, self._kept = 0, 0

    def repeats(self, mark: tuple[BandKeys, Sketch]) -> str | None:
        """The most likely of the kept documents that share a band, if it is alike."""
        bands, sketch = mark
        keys = ",".join("?" * _BANDS)
        found = self._index.execute(f"SELECT document FROM bands WHERE key IN ({keys})", bands.tolist())  # noqa: S608
        for (candidate,), _ in Counter(found.fetchall()).most_common(_CANDIDATES):
            doc_id, at, n = self._index.execute(
                "SELECT doc_id, at, n FROM kept WHERE document = ?", [candidate]
            ).fetchone()
            other = np.frombuffer(os.pread(self._file.fileno(), 4 * n, at), np.uint32)
            if similarity(sketch, other) >= self._config.near_duplicate_similarity:
                return f"of {doc_id}"
        return None

    def keep(self, doc_id: str, mark: tuple[BandKeys, Sketch]) -> None:
        """Under those of its bands that no other has."""
        bands, sketch = mark
        self._index.execute("INSERT INTO kept VALUES (?, ?, ?, ?)", [self._kept, doc_id, self._end, len(sketch)])
        self._index.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?)", [(key, self._kept) for key in bands.tolist()]
        )
        self._file.write(sketch.tobytes())
        self._end += sketch.nbytes
        self._kept += 1

    def close(self) -> None:
        """Let both files go."""
        self._index.close()
        self._file.close()


def similarity(one: Sketch, two: Sketch) -> float:
    """The Jaccard similarity of two sets of which each sketch has the smallest hashes, sorted: exact where both are
    whole, else by the smallest of both together (Broder 1997)."""
    together = np.union1d(one, two)
    if len(one) == _SKETCH or len(two) == _SKETCH:
        together = together[:_SKETCH]
    shared = np.intersect1d(one, two, assume_unique=True)
    return float(np.count_nonzero(shared <= together[-1]) / len(together))


def _grams(batch: Batch, index: int) -> Hashes:
    """The different runs of five words of the whole text, sorted."""
    if len(batch.samples[index]) == len(batch.texts[index]):
        hashes = batch.words.hashes[batch.words.of(index)]
    else:
        hashes = Words([batch.plain_text(index)]).hashes
    return distinct(runs_of(hashes, _RUN))


def _sketch(grams: Hashes) -> Sketch:
    found = (grams >> np.uint64(32)).astype(np.uint32)  # the halves of sorted numbers are sorted
    return found[np.concatenate(([True], found[1:] != found[:-1]))][:_SKETCH]


def _band_keys(signatures: Hashes) -> BandKeys:
    """(documents, bands): a 64-bit number for each band, its place included."""
    documents, width = len(signatures), _SIGNATURE // _BANDS
    placed = np.concatenate(
        [
            np.broadcast_to(np.arange(_BANDS, dtype=np.uint64)[None, :, None], (documents, _BANDS, 1)),
            signatures.reshape(documents, _BANDS, width),
        ],
        axis=2,
    )
    flat = placed.reshape(-1)
    keys = ordered_sums(flat, np.arange(0, len(flat), width + 1))
    return keys.view(np.int64).reshape(documents, _BANDS)
