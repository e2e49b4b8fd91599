"""How much there is to read and to answer, before anything was read: counts and mean lengths of the raw material.

Of a little world some rows are made and measured; of files the records are counted (lines, or what a Parquet file says
of itself), and how long their rows are, and how many of them are left in, is told by their beginnings.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from data_store.reading.source_files import unpacked
from data_store.rows import AXES
from flows.forecast.beginnings import AROUND, Beginning, Lengths, beginning_of, lengths_of, prompts_of_pairs
from flows.forecast.passes import ALIKE, Spread, spread_of
from flows.recipe.config import RunConfig
from world.content import World
from world.demonstrations import make_demonstrations
from world.documents import make_documents

_SAMPLE = 200  # rows of a world
_ROLES = ("prompts", "preferences")
_AND_PROMPT = 1.6  # characters that are cut of a pair and of the prompt that is taken from it, by those of its line
_MOST_BYTES = 64 << 20  # that are read of a file
# Mean characters of a token of the little world's few words, by the size of the vocabulary
_OF_WORLD = ((512, 1.6), (900, 3.1), (1 << 62, 3.5))
# Of real text: English under 32,768 pieces, and so much less each time that their number is halved (docs/log.md)
_OF_TEXT, _PIECES, _HALVED, _LEAST = 4.2, 32_768, 0.45, 1.0


@dataclass(frozen=True)
class Volume:
    """Counts, and mean tokens of each: of a document, of a whole demonstration, of a prompt, and of an answer.
    `turn_tokens`: of a prompt's last message. `pair_prompt_tokens` and `pair_answer_tokens` are those of pairs from
    files, which are counted as they are left in; `characters`: mean characters of a token, by which texts that no step
    makes are counted."""

    documents: float
    document_tokens: float
    demonstrations: float
    demonstration_tokens: float
    prompt_tokens: float
    answer_tokens: float
    helpfulness_pairs: float
    safety_pairs: float
    characters: float
    turn_tokens: float = 0.0
    pair_prompt_tokens: float = 0.0
    pair_answer_tokens: float = 0.0
    test_pairs: float = 0.0
    dialogues: float = 0.0
    """Demonstrations and prompts of files before any is left out."""
    pairs: float = 0.0
    """The same of pairs."""
    dialogue_characters: float = 0.0
    """Of demonstrations, prompts and pairs, all that is cut into tokens to see whether it fits: a pair's prompt is also
    one of its own."""
    prompts: Spread = ALIKE
    """How prompts of files differ in length; those of a little world hardly do."""
    rows: Spread = ALIKE
    """The same of pairs."""


@dataclass(frozen=True)
class Count:
    """Records of a role, and their characters."""

    records: float = 0.0
    characters: float = 0.0

    @property
    def mean(self) -> float:
        """Characters of a record."""
        return self.characters / self.records if self.records else 0.0


def characters_per_token(vocab_size: int) -> float:
    """A rule of thumb for real text under a vocabulary of this size: one of few pieces cuts finer."""
    return min(_OF_TEXT, max(_LEAST, _OF_TEXT - _HALVED * math.log2(_PIECES / vocab_size)))


def volume_of(config: RunConfig, vocab_size: int) -> Volume:
    """What the config's data come to under a vocabulary of this size."""
    if config.data.world is not None:
        return _of_world(config, next(value for most, value in _OF_WORLD if vocab_size <= most))
    return _of_files(config, characters_per_token(vocab_size))


def _of_world(config: RunConfig, per_token: float) -> Volume:
    size = config.data.world
    if size is None:
        raise ValueError("the config has no world")
    world = World(size.seed)
    documents = [row["text"] for row in make_documents(world, _SAMPLE, size.seed)]
    demonstrations = make_demonstrations(world, _SAMPLE, size.seed)
    dialogues = [cast(list[Mapping[str, str]], row["messages"]) for row in demonstrations]

    def said(role: str) -> float:
        texts = [each["content"] for messages in dialogues for each in messages if each["role"] == role]
        return statistics.fmean(map(len, texts)) / per_token

    prompt, answer = said("user") + AROUND, said("assistant")
    turns = statistics.fmean(len(messages) / 2 for messages in dialogues)
    return Volume(
        documents=size.documents * (1 + size.defect_share),
        document_tokens=statistics.fmean(map(len, documents)) / per_token,
        demonstrations=size.demonstrations,
        demonstration_tokens=turns * (prompt + answer),
        prompt_tokens=prompt,
        answer_tokens=answer,
        helpfulness_pairs=0,
        safety_pairs=0,
        characters=per_token,
        turn_tokens=prompt,
        dialogues=size.demonstrations,
        dialogue_characters=size.demonstrations * turns * (prompt + answer) * per_token,
    )


def _of_files(config: RunConfig, per_token: float) -> Volume:
    lengths = lengths_of(config, per_token)

    def beginnings(name: str, look: Callable[[RunConfig, str, Lengths], Beginning | None]) -> dict[str, Beginning]:
        found = {axis: look(config, f"{axis}_{name}", lengths) for axis in AXES}
        return {axis: each for axis, each in found.items() if each is not None}

    found = {role: count(paths) for role, paths in config.data.files().items()}
    documents, demonstrations = found.get("documents", Count()), found.get("demonstrations", Count())
    asked, judged = ([found[f"{axis}_{name}"] for axis in AXES if f"{axis}_{name}" in found] for name in _ROLES)
    dialogues = beginning_of(config, "demonstrations", lengths) or Beginning(1.0, 0.0, 0.0, 0.0)
    pairs = beginnings("preferences", beginning_of) if config.iterations else {}
    prompts = beginnings("prompts", beginning_of) or beginnings("preferences", prompts_of_pairs) or {"": dialogues}
    said = pairs or {"": dialogues}
    left = {axis: found[f"{axis}_preferences"].records * each.kept for axis, each in pairs.items()}
    return Volume(
        documents=documents.records,
        document_tokens=documents.mean / per_token,
        demonstrations=demonstrations.records * dialogues.kept,
        demonstration_tokens=dialogues.prompt + dialogues.answer + AROUND,
        prompt_tokens=statistics.fmean(each.prompt for each in prompts.values()),
        answer_tokens=statistics.fmean(each.answer for each in said.values()),
        helpfulness_pairs=left.get("helpfulness", 0.0),
        safety_pairs=left.get("safety", 0.0),
        characters=per_token,
        turn_tokens=statistics.fmean(each.turn for each in prompts.values()),
        pair_prompt_tokens=statistics.fmean(each.prompt for each in said.values()),
        pair_answer_tokens=statistics.fmean(each.answer for each in said.values()),
        dialogues=demonstrations.records + sum(each.records for each in asked),
        pairs=sum(each.records for each in judged),
        dialogue_characters=demonstrations.characters
        + sum(each.characters for each in asked)
        + _AND_PROMPT * sum(each.characters for each in judged),
        test_pairs=sum(
            min(count(each.files).records, config.reward_tests.max_pairs) for each in config.reward_tests.sets
        ),
        prompts=spread_of(length for each in prompts.values() for length in each.lengths),
        rows=spread_of(length for each in said.values() for length in each.lengths),
    )


def count(paths: Iterable[Path]) -> Count:
    """Records and characters of some files. Raises OSError for one that is not there."""
    records = characters = 0.0
    for path in paths:
        found = _of_parquet(path) if path.suffix == ".parquet" else _of_lines(path)
        records, characters = records + found.records, characters + found.characters
    return Count(records, characters)


def _of_parquet(path: Path) -> Count:
    import pyarrow.parquet as pq

    about = pq.ParquetFile(path).metadata
    groups = [about.row_group(number).total_byte_size for number in range(about.num_row_groups)]
    return Count(about.num_rows, float(sum(groups)))


def _of_lines(path: Path) -> Count:
    lines = read = 0
    size = path.stat().st_size
    with path.open("rb") as file:
        text = unpacked(file, path)
        while read < _MOST_BYTES and (part := text.read(1 << 20)):
            lines, read = lines + part.count(b"\n"), read + len(part)
        share = 1.0 if read < _MOST_BYTES else max(file.tell() / size, 1e-9)
    return Count(max(lines, 1) / share, read / share)
