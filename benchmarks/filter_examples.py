"""Documents that the corpus filter drops or changes, drawn for a person to read: `python -m benchmarks.filter_examples
FOLDER [--seed 0] [--of 20] [--reason garbage]`.

FOLDER holds sets of texts as docs/corpus-filter.md lists them; Debian's copyright files are read from /usr/share/doc.
Each set goes through the filter by itself with English, Korean and program text kept. Of each reason, over all sets,
`--of` documents are drawn, as many of each set as there are while they last.
"""

import argparse
import difflib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa

from data_store.corpus.filtering import filter_documents
from data_store.corpus.judged import mended
from data_store.corpus.registry import FilterConfig
from data_store.reading.readers import read_documents
from data_store.rows import row_kind

CONFIG = FilterConfig(languages=("en", "ko", "code"))
_FIELDS = {
    "c4_demo.jsonl": "text",
    "gnome_help_ko.jsonl.gz": "text",
    "moby_dick.jsonl.gz": "text",
    "nsmc_ko.jsonl.gz": "text",
    "python_docs.jsonl.gz": "text",
    "python_stdlib.jsonl.gz": "text",
    "state_of_the_union.jsonl.gz": "text",
    "wikitext2_valid.txt": "text",
    "hh_helpful.jsonl.gz": "chosen",
    "hh_harmless.jsonl.gz": "chosen",
    "korean_chatbot_pairs.csv": "A",
    "self_instruct_seed_tasks.jsonl": "instruction",
    "boolq.jsonl.gz": "passage",
    "gsm8k_train.jsonl.gz": "answer",
    "mbpp.jsonl": "code",
    "xstest_prompts.csv": "prompt",
}
"""The sets by file, and the field of each that is read as a document."""


@dataclass(frozen=True)
class Decision:
    """What became of a document: a reason of being dropped or a word for a change, with what the filter says of it."""

    of: str
    doc_id: str
    reason: str
    detail: str
    text: str
    mended: str


def sets(folder: Path) -> Iterator[tuple[str, pa.Table]]:
    """Each set that FOLDER holds, with its documents. Raises SystemExit where it holds none."""
    found = {name: sorted(folder.rglob(name)) for name in _FIELDS}
    if not any(found.values()):
        raise SystemExit(f"{folder} holds none of the sets (links to folders are not followed): {', '.join(_FIELDS)}")
    for name, field in _FIELDS.items():
        for path in found[name]:
            yield name, pa.Table.from_batches(read_documents([path], text_field=field))
    yield "copyright", copyright_files()


def copyright_files(folder: Path = Path("/usr/share/doc")) -> pa.Table:
    """Debian's copyright files, in the order of their packages: a document each."""
    paths = sorted(path for path in folder.glob("*/copyright") if path.is_file())
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    names = [path.parent.name for path in paths]
    return pa.table([names, names, texts], schema=row_kind("document").schema)


def decisions(name: str, documents: pa.Table, config: FilterConfig = CONFIG) -> Iterator[Decision]:
    """All documents of a set that were dropped or changed."""
    texts = dict(zip(documents.column("doc_id").to_pylist(), documents.column("text").to_pylist(), strict=True))
    dropped: list[dict[str, str]] = []
    filter_documents(documents.to_batches(64), config, lambda _, go: dropped.extend(go.to_pylist()))
    for row in dropped:
        text = texts.pop(row["doc_id"])
        yield Decision(name, row["doc_id"], row["reason"], row["detail"], text, text)
    batch = mended(list(texts), list(texts.values()), config)
    for index, found in enumerate(batch.found):
        for what, often in found.items():
            doc_id = batch.ids[index]
            yield Decision(name, doc_id, what, f"{often} times", texts[doc_id], batch.texts[index])


def drawn(of_sets: Sequence[Sequence[Decision]], count: int, seed: int) -> list[Decision]:
    """`count` of them, one of each set in turn, each set in an order drawn from the seed."""
    rng = random.Random(seed)
    orders = [rng.sample(list(each), len(each)) for each in of_sets]
    return [one for turn in zip_longest(*orders) for one in turn if one is not None][:count]


def shown(one: Decision, characters: int) -> str:
    """As a person reads it: of a changed text the places that changed."""
    if one.text == one.mended:
        return one.text if len(one.text) <= characters else f"{one.text[:characters]} […]"
    matcher = difflib.SequenceMatcher(None, one.text[:20_000], one.mended[:20_000], autojunk=False)
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    return " ‖ ".join(
        f"{one.text[max(a - 30, 0) : a]}[{one.text[a:b]} → {one.mended[c:d]}]{one.text[b : b + 20]}"
        for _, a, b, c, d in changes[:8]
    )[: 2 * characters]


def main() -> None:
    """How many of each reason, and the drawn ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", type=int, default=20)
    parser.add_argument("--reason")
    parser.add_argument("--characters", type=int, default=400)
    given = parser.parse_args()
    found = [list(decisions(name, documents)) for name, documents in sets(given.folder)]
    for reason in sorted({one.reason for each in found for one in each}):
        if given.reason in (None, reason):
            _print(reason, [[one for one in each if one.reason == reason] for each in found], given)


def _print(reason: str, of_sets: Iterable[list[Decision]], given: argparse.Namespace) -> None:
    of_sets = [each for each in of_sets if each]
    counted = ", ".join(f"{each[0].of} {len(each)}" for each in of_sets)
    print(f"\n===== {reason}: {counted}")
    for number, one in enumerate(drawn(of_sets, given.of, given.seed), 1):
        print(f"--- {number}. {one.of} {one.doc_id} ({one.detail})\n{shown(one, given.characters)}")


if __name__ == "__main__":
    main()
