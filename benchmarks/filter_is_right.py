"""How right the corpus filter is: `python -m benchmarks.filter_is_right FOLDER [--seed 0]`.

FOLDER holds the sets of benchmarks/filter_examples.py. Texts in other languages are this machine's own manual pages
(/usr/share/man), messages (/usr/share/locale) and Debian's copyright files (/usr/share/doc): the more of them are
installed, the more there is to measure on. docs/corpus-filter.md has the figures and what was read by hand.
"""

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.filter_examples import CONFIG, copyright_files, decisions, sets
from benchmarks.filter_languages import joined, labelled, manual_pages, messages
from data_store.corpus.batch import Batch
from data_store.corpus.filtering import filter_documents
from data_store.corpus.judged import mended
from data_store.corpus.language import LanguageConfig, OtherLanguage
from data_store.corpus.personal_data import MaskPersonalData, PersonalDataConfig
from data_store.corpus.registry import FilterConfig
from data_store.corpus.repair import MendEncoding, RepairConfig
from data_store.corpus.words import Hashes, Words, distinct, runs_of
from data_store.rows import row_kind
from tests.data_store.corpus.test_personal_data import POSITIVE, TRAPS

_LONG_MOST, _SHORT_MOST, _FEWEST = 300, 500, 50
_LEAST_WORDS = 40
_CHUNK = 6000
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
Row = tuple[str, str]


def languages(seed: int) -> Iterator[Row]:
    """Shares of texts by language that are kept as English, and of Chinese, Japanese and Korean kept alone."""
    short = list(messages(Path("/usr/share/locale")))
    long = labelled([*manual_pages(Path("/usr/share/man")), *joined(short, seed)], long=True)
    paragraphs = _drawn(long, _LONG_MOST, seed)
    for name, texts in (
        ("paragraphs", paragraphs),
        ("messages", _drawn(labelled(short, long=False), _SHORT_MOST, seed)),
    ):
        kept = {language: _kept(of, ("en", "code")) for language, of in texts.items()}
        english = kept.pop("en")
        others = sum(map(len, kept.values()))
        worst = sorted(kept, key=lambda language: -kept[language].mean())[:8]
        listed = ", ".join(f"{language} {100 * kept[language].mean():.1f}" for language in worst)
        share = 100 * sum(int(each.sum()) for each in kept.values()) / others
        yield f"{name} not in English kept as English, %", f"{share:.2f} of {others} in {len(kept)} languages; {listed}"
        yield f"English {name} kept, %", f"{100 * english.mean():.1f} of {len(english)}"
    for language in ("zh", "ja", "ko"):
        found = _kept(paragraphs.get(language, []), (language,))
        yield f"paragraphs in {language} kept when alone", f"{found.mean():.3f} of {len(found)}"


def _drawn(found: Sequence[tuple[str, str]], most: int, seed: int) -> dict[str, list[str]]:
    of: dict[str, list[str]] = {}
    for language, text in found:
        of.setdefault(language, []).append(text)
    rng = random.Random(seed)
    return {name: rng.sample(of[name], min(most, len(of[name]))) for name in sorted(of) if len(of[name]) >= _FEWEST}


def _kept(texts: Sequence[str], kept: Sequence[str]) -> np.ndarray:
    batch = Batch([""] * len(texts), texts, [{}] * len(texts), CONFIG.sample_characters)
    config = LanguageConfig.model_validate({"languages": kept})
    drops = [rule.drops for rule in OtherLanguage().rules(batch, config)]
    return ~np.any(drops, axis=0)


def near_duplicates(documents: pa.Table) -> Iterator[Row]:
    """Of the dropped ones those that no kept document is half like, and how many of those that a kept one is like were
    found, by 5-grams of the mended texts, all of them."""
    ids, texts = (documents.column(name).to_pylist() for name in ("doc_id", "text"))
    grams = {name: found for name, text in zip(ids, texts, strict=True) if len(found := _grams(text))}
    why = {one.doc_id: one.reason for one in decisions("copyright", documents)}
    of_pairs = {name for name in grams if why.get(name) in ("near_duplicate", "exact_duplicate")}
    changed = {"email", "phone", "address", "encoding"}
    kept = [name for name in ids if name in grams and why.get(name, "email") in changed]
    like = {name: _most_alike(name, grams, kept, before=ids.index(name)) for name in (*kept, *of_pairs)}
    lost = sum(like[name] < 0.5 for name in of_pairs)
    yield "copyright files dropped as duplicates that no kept one is half like", f"{lost} of {len(of_pairs)}"
    for least in (0.5, 0.7):
        alike = [name for name in like if like[name] >= least]
        found = sum(name in of_pairs for name in alike)
        yield f"duplicates of a kept one found, J ≥ {least}", f"{found / max(len(alike), 1):.3f} of {len(alike)}"


def _grams(text: str) -> Hashes:
    if len(text) > CONFIG.max_characters:
        return Words([]).hashes
    batch = mended([""], [text], CONFIG)
    return (
        distinct(runs_of(Words([batch.plain_text(0)]).hashes, 5))
        if batch.n_words[0] >= _LEAST_WORDS
        else runs_of(Words([]).hashes, 5)
    )


def _most_alike(name: str, grams: dict[str, Hashes], kept: Sequence[str], before: int) -> float:
    """The largest Jaccard similarity to a kept document that stands before."""
    mine, best = grams[name], 0.0
    for other in kept[:before]:
        if other == name:
            break
        theirs = grams[other]
        if min(len(mine), len(theirs)) < best * max(len(mine), len(theirs)):
            continue
        shared = len(np.intersect1d(mine, theirs, assume_unique=True))
        best = max(best, shared / (len(mine) + len(theirs) - shared))
    return best


def chunks(texts: Sequence[str]) -> Iterator[Row]:
    """A book in pieces of which each shares its half with the next."""
    words = " ".join(texts).split()
    pieces = [" ".join(words[at : at + _CHUNK]) for at in range(0, len(words) - _CHUNK, _CHUNK // 2)]
    yield "half overlapping pieces of a book kept", f"{_filtered(pieces)[0]} of {len(pieces)}"


def _filtered(texts: Sequence[str], config: FilterConfig = CONFIG) -> tuple[int, dict[str, int], list[str]]:
    ids = [f"{number}" for number in range(len(texts))]
    table = pa.table([ids, ids, list(texts)], schema=row_kind("document").schema)
    kept: list[str] = []
    counts = filter_documents(
        table.to_batches(64), config, lambda stay, _: kept.extend(stay.column("text").to_pylist())
    )
    return counts.kept, {reason: count for reason, count in counts.dropped.items() if count}, kept


def people() -> Iterator[Row]:
    """The invented persons of tests/data_store/corpus/test_personal_data.py and what only looks like one."""
    config = PersonalDataConfig()
    found = sum(kind in MaskPersonalData().change(text, config)[1] for kind, text in POSITIVE)
    taken = sum(bool(MaskPersonalData().change(text, config)[1]) for text in TRAPS)
    yield "invented persons found; look-alikes taken for one", f"{found} of {len(POSITIVE)}; {taken} of {len(TRAPS)}"


def encodings(of_sets: dict[str, list[str]], seed: int) -> Iterator[Row]:
    """Texts that are read wrongly on purpose, at most 300 of a set, and what is changed of all as they are."""
    config, mend = RepairConfig(), MendEncoding()
    back, tried, changed, sound = 0, 0, 0, 0
    for texts in of_sets.values():
        beyond = [text[:2000] for text in texts if not text[:2000].isascii()]
        sound += len(beyond)
        changed += sum(bool(mend.change(text, config)[1]) for text in beyond)
        for text in random.Random(seed).sample(beyond, min(300, len(beyond))):
            for encoding in ("latin-1", "cp1252"):
                try:
                    broken = text.encode().decode(encoding)
                except UnicodeDecodeError:
                    continue
                tried += 1
                back += mend.change(broken, config)[0] == mend.change(text, config)[0]
    yield "UTF-8 read as Latin-1 or Windows-1252 restored, %", f"{100 * back / tried:.2f} of {tried}"
    yield "sound texts changed, %", f"{100 * changed / sound:.3f} of {sound}"


def main() -> None:
    """A line a measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    texts = {name: documents.column("text").to_pylist() for name, documents in sets(given.folder)}
    for rows in (
        languages(given.seed),
        near_duplicates(copyright_files()),
        chunks(texts["moby_dick.jsonl.gz"]),
        people(),
        encodings(texts, given.seed),
    ):
        for name, value in rows:
            print(f"{name}: {value}", flush=True)
    for name, of in texts.items():
        kept, dropped, left = _filtered(of)
        addresses = sum(len(_ADDRESS.findall(text)) for text in left)
        listed = ", ".join(f"{reason} {count} ({100 * count / len(of):.1f} %)" for reason, count in dropped.items())
        print(f"{name}: {kept} of {len(of)} kept; {listed or 'none dropped'}; {addresses} addresses left", flush=True)


if __name__ == "__main__":
    main()
