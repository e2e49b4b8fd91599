"""The corpus filter and datatrove with the same rules on the same documents.

    pip install --no-deps --target FOLDER datatrove==0.10.1 'xxhash<4' loguru humanize spacy==3.8.18 thinc==8.3.14 \
        blis srsly catalogue murmurhash cymem preshed wasabi weasel confection cloudpathlib smart-open
    python -m benchmarks.peers.datatrove FILE.jsonl … --libraries FOLDER [--rounds 5] [--tree OTHER] [--save]

The documents are the first pages of the texts of FILE …, in English, some of them again with another ending, some that
say a paragraph again and again, some with addresses. The rules are those that both have: lines, phrases of three words
and stretches of ten that are said again, with one threshold each; e-mail and public IP addresses masked; near
duplicates by MinHash of 5-grams. Two sides are datatrove. In the one words are spaCy's, texts are made plain before
they are compared, and there are 14 bands of 8 hashes: what it does unless told otherwise. The other is told what Halter
does: runs of letters and digits, small letters, 64 bands of 4. Halter's other rules are asked, too, with thresholds
that nothing reaches, since most cannot be switched off; what MinHash finds it verifies. There is no figure unless all
sides keep the very same documents and mask as many addresses.
"""

import argparse
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

from benchmarks.peers.rows import Row, compare
from benchmarks.peers.turns import Turn

THEIRS = "datatrove 0.10.1"
AS_HERE = f"{THEIRS}, words and bands as here"
EMAIL, ADDRESS = "<EMAIL>", "<IP>"
LINES, PHRASE, STRETCH = 0.3, 0.18, 0.3
_CHARACTERS, _LEAST, _DOCUMENTS = 8_000, 1_500, 400
_ENDING = "Nothing of what is said here was written by the one who signs it, and all of it may be read by anybody."
_ADDRESSES = "Write to anna@mail{number}.example-company.org or look at 93.184.{number}.37 for the rest of it."
ROW = Row(
    "datatrove",
    "The corpus filter by the rules that both have: repetition, masks, near duplicates; 474 documents of 2.9 MB",
    alike={"documents kept": 0, "checksum of their names": 0, "e-mail addresses": 0, "IP addresses": 0},
    by_hand=True,
)


def documents(files: Sequence[Path]) -> Iterator[str]:
    """Pages of the texts; every tenth once more with another ending, and of every twelfth the beginning eight times."""
    from data_store.reading.readers import read_documents

    texts = (text for file in files for batch in read_documents([file]) for text in batch.column("text").to_pylist())
    pages = (text[start : start + _CHARACTERS] for text in texts for start in range(0, len(text), _CHARACTERS))
    for number, page in enumerate(page for page in pages if len(page) >= _LEAST):
        if number == _DOCUMENTS:
            return
        yield f"{page}\n{_ADDRESSES.format(number=number % 200)}" if number % 20 == 1 else page
        if number % 10 == 2:
            yield f"{page}\n{_ENDING}"
        if number % 12 == 3:
            yield "\n\n".join([page[:700]] * 8)


def lay_out(given: argparse.Namespace, folder: Path) -> None:
    """All documents as one file for both."""
    (folder / "source").mkdir()
    with (folder / "source" / "documents.jsonl").open("w") as file:
        for number, text in enumerate(documents(given.files)):
            file.write(json.dumps({"text": text, "id": f"d{number}"}) + "\n")


def told(kept: Path) -> dict[str, float]:
    """What was kept, of the file that a side has written."""
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    masks = {"e-mail addresses": EMAIL, "IP addresses": ADDRESS}
    return {
        "documents kept": len(rows),
        "checksum of their names": zlib.crc32(" ".join(row["id"] for row in rows).encode()),
        **{name: sum(row["text"].count(mask) for row in rows) for name, mask in masks.items()},
    }


def of_halter(folder: Path) -> None:
    """The whole file a turn."""
    from data_store.corpus.filtering import filter_documents
    from data_store.corpus.registry import FilterConfig

    most = 10**9
    config = FilterConfig(
        min_words=0,
        mend_encoding=False,
        strip_markup=False,
        min_letter_share=0,
        max_symbol_share=1,
        max_mean_word_length=most,
        max_character_run=most,
        max_word_share=1,
        max_boilerplate_per_100_words=most,
        max_personal_per_100_words=most,
        max_blocked_per_100_words=most,
        max_repeated_line_share=1,
        max_duplicate_line_share=LINES,
        max_phrase_share=PHRASE,
        max_duplicate_stretch_share=STRETCH,
    )
    turn, kept = Turn(), folder / "kept.jsonl"
    while True:
        turn.begin()
        with kept.open("w") as file:

            def write(stay: Any, _go: Any, file: Any = file) -> None:
                for row in stay.to_pylist():
                    file.write(json.dumps({"text": row["text"], "id": row["doc_id"]}) + "\n")

            filter_documents(_read(folder / "source" / "documents.jsonl"), config, write)
        turn.end(**told(kept))


def _read(path: Path) -> Iterator[Any]:
    """With the ids of the file, which datatrove keeps too."""
    import pyarrow as pa

    from data_store.rows import row_kind

    with path.open() as file:
        rows = [json.loads(line) for line in file]
    ids, texts = ([row[name] for row in rows] for name in ("id", "text"))
    yield from pa.table([ids, ids, texts], schema=row_kind("document").schema).to_batches(64)


def of_datatrove(bands: int, hashes: int, *, as_here: bool) -> Callable[[Path], None]:
    """The whole file a turn, in one process, by the stages that its own example for MinHash has."""

    def side(folder: Path) -> None:
        if as_here:
            _words_as_here()
        from datatrove.executor import LocalPipelineExecutor
        from loguru import logger

        logger.remove()
        turn, out = Turn(), folder / f"{bands}x{hashes}"
        while True:
            rmtree(out, ignore_errors=True)
            turn.begin()
            for number, (tasks, steps) in enumerate(_stages(folder / "source", out, bands, hashes, as_here=as_here)):
                LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=f"{out}/log/{number}").run()
            turn.end(**told(out / "kept" / "00000.jsonl"))

    return side


def _stages(source: Path, out: Path, bands: int, hashes: int, *, as_here: bool) -> Iterator[tuple[int, list[Any]]]:
    """In how many tasks each is done, and its steps."""
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.filters import GopherRepetitionFilter
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import TextNormConfig

    kept = dict.fromkeys(
        ("norm_whitespace", "remove_punctuation", "norm_numbers", "norm_unicode_diacritics"), not as_here
    )
    config = MinhashConfig(5, bands, hashes, norm_config=TextNormConfig(**kept), hash_config=HashConfig(precision=64))
    off = dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_para_char_frac"))
    shares = {"dup_line_char_frac": LINES, "top_n_grams": ((3, PHRASE),), "dup_n_grams": ((10, STRETCH),)}
    masks = {"email_replacement": EMAIL, "ip_replacement": ADDRESS}
    rules = [GopherRepetitionFilter(**off, **shares), PIIFormatter(**masks)]
    yield 1, [JsonlReader(f"{source}"), *rules, JsonlWriter(f"{out}/ruled", compression=None)]
    yield 1, [JsonlReader(f"{out}/ruled"), MinhashDedupSignature(f"{out}/signatures", config)]
    yield bands, [MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config)]
    yield 1, [MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config)]
    last = [MinhashDedupFilter(f"{out}/remove"), JsonlWriter(f"{out}/kept", compression=None)]
    yield 1, [JsonlReader(f"{out}/ruled"), *last]


def _words_as_here() -> None:
    """In the place of spaCy's, before any of its steps is imported."""
    from datatrove.utils import word_tokenizers

    class Words(word_tokenizers.WordTokenizer):  # type: ignore[misc, name-defined]
        pattern = re.compile(r"[^\W_]+")

        def word_tokenize(self, text: str) -> list[str]:
            return self.pattern.findall(text)

        def sent_tokenize(self, text: str) -> list[str]:
            raise NotImplementedError

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            raise NotImplementedError

    word_tokenizers.load_word_tokenizer = lambda language: Words(language)


SIDES = {
    "Halter": of_halter,
    THEIRS: of_datatrove(14, 8, as_here=False),
    AS_HERE: of_datatrove(64, 4, as_here=True),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    sys.exit(compare(ROW, parser, SIDES, lay_out, older=(THEIRS, AS_HERE)))
