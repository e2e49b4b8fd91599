"""Drawing, scoring and rendering responses for steps: the glue between rows and token ids."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.config import SamplingConfig
from models.seeds import derive_seed

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Rendered, Renderer
    from models.generation import Response

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Answer:
    """An assistant's turn: the text that people see, and the token ids that it is where it was sampled.

    `ids` are of the tokenizer named by `tokenizer` (`Renderer.identity`), both None for what was not sampled here. They
    end with an end of turn where the model said one. `finished`: it did; what was not sampled here counts as finished.
    `row` names it in errors.
    """

    text: str
    ids: list[int] | None
    finished: bool
    tokenizer: str | None
    row: str


@dataclass(frozen=True)
class Drawn(Answer):
    """An answer that was just sampled."""

    ids: list[int]
    tokenizer: str

    def columns(self, side: str = "") -> dict[str, Any]:
        """What a row keeps of it beside its text; `side` is "_a" or "_b" for one side of a pair."""
        return {f"token_ids{side}": self.ids, f"finished{side}": self.finished, "tokenizer": self.tokenizer}


Dialogue = tuple[Messages, Answer]
"""What an answer is given to, and the answer."""


def response_of(row: Mapping[str, Any]) -> Dialogue:
    """A row of kind response."""
    name = f"response {row['response_id']}"
    return row["messages"], Answer(row["text"], row["token_ids"], row["finished"], row["tokenizer"], name)


def sides_of(row: Mapping[str, Any]) -> tuple[Dialogue, Dialogue]:
    """The two answers, a and b, of a row of kind pair or preference."""
    name = f"preference {row['preference_id']}" if "preference_id" in row else f"pair {row['pair_id']}"

    def side(letter: str) -> Dialogue:
        ids, finished = row[f"token_ids_{letter}"], row[f"finished_{letter}"] is not False
        answer = Answer(row[f"response_{letter}"], ids, finished, row["tokenizer"], f"{name}, response {letter}")
        return row["messages"], answer

    return side("a"), side("b")


def last_answer_of(row: Mapping[str, Any]) -> Dialogue:
    """A row of kind dialogue, which ends with the answer."""
    *before, last = row["messages"]
    name = f"dialogue {row['dialogue_id']}"
    return before, Answer(last["content"], row["token_ids"], row["finished"] is not False, row["tokenizer"], name)


def dialogue_ids(renderer: "Renderer", messages: Messages, answer: Answer) -> "Rendered":
    """A dialogue with its answer as models read and learn it: the sampled ids where they are of this tokenizer, else
    the text. Only an answer that is finished has an end.

    Raises ValueError, with the answer's row, where what is read would not be the prompt as the model was asked it and
    the very ids that it said.
    """
    from models.dialogue import Rendered

    whole = answered(messages, answer.text)
    if answer.ids is not None and answer.tokenizer == renderer.identity:
        rendered = renderer.dialogue(whole, answer.ids)
        if rendered.input_ids != [*renderer.prompt(messages), *answer.ids]:
            raise ValueError(f"{answer.row}: the dialogue's ids are not its prompt's and the {len(answer.ids)} sampled")
        return rendered
    rendered = renderer.dialogue(whole)
    if answer.finished or rendered.input_ids[-1] not in renderer.end_ids:
        return rendered
    *lengths, last = rendered.message_lengths  # cut, and sampled with another tokenizer: the template wrote the end
    return Rendered(rendered.input_ids[:-1], rendered.loss_mask[:-1], [*lengths, last - 1])


def open_renderer(folder: Path, template_date: date | None = None) -> "Renderer":
    """The renderer of a checkpoint's or tokenizer's folder. A base's is told the date for its template; checkpoints
    keep it."""
    from models.dialogue import Renderer
    from models.tokenizer import load_tokenizer

    return Renderer(load_tokenizer(folder), template_date)


def draw(
    policy: "nn.Module",
    renderer: "Renderer",
    dialogues: Sequence[Messages],
    config: SamplingConfig,
    *,
    temperature: float,
    num_samples: int,
    seed: int,
    on_progress: Callable[[float], None] | None = None,
) -> list[list[Drawn]]:
    """`num_samples` responses for each dialogue that ends with the user's turn."""
    from models.devices import use_threads
    from models.generation import sample
    from models.shards import map_shards

    use_threads(config.threads)
    prompts = [renderer.prompt(messages) for messages in dialogues]
    at = config.model_copy(update={"temperature": temperature})

    def part(rows: Sequence[list[int]], shard: int) -> "list[list[Response]]":
        return sample(
            policy,
            rows,
            at,
            num_samples=num_samples,
            end_ids=renderer.end_ids,
            pad_id=renderer.pad_id,
            seed=derive_seed(seed, "shard", shard),
            on_progress=on_progress if on_progress and shard == 0 else _unheard,
        )

    return [
        [
            Drawn(renderer.response(r.ids), r.ids, r.finished, renderer.identity, f"answer {k} to prompt {i}")
            for k, r in enumerate(responses)
        ]
        for i, responses in enumerate(map_shards(part, prompts, config.shards))
    ]


def _unheard(_: float) -> None:
    """One shard speaks for all."""


def score(
    models: Sequence["nn.Module"], renderer: "Renderer", dialogues: Sequence[Dialogue], config: SamplingConfig
) -> list[tuple[float, ...]]:
    """Raw reward scores of whole dialogues, one per model, in order. Of a cut answer no end is read."""
    from models.devices import use_threads
    from models.prefix_tree import Group, row_cost, share_prefixes
    from models.scoring import score_rows
    from models.shards import map_shards

    use_threads(config.threads)
    rows = [dialogue_ids(renderer, messages, answer).input_ids for messages, answer in dialogues]
    if not rows:
        return []
    groups = share_prefixes(rows, row_cost(models[0]), config.batch_size)  # a shard gets whole groups

    def part(mine: Sequence[Group], _: int) -> list[list[tuple[float, ...]]]:
        chosen = [rows[i] for group in mine for i in group.members]
        columns = [score_rows(model, chosen, renderer.pad_id, config.batch_size) for model in models]
        scores = zip(*columns, strict=True)
        return [[next(scores) for _ in group.members] for group in mine]

    found: dict[int, tuple[float, ...]] = {}
    for group, scores in zip(groups, map_shards(part, groups, config.shards), strict=True):
        found |= zip(group.members, scores, strict=True)
    return [found[i] for i in range(len(rows))]


def answered(messages: Messages, response: str) -> list[dict[str, str]]:
    """The dialogue with one more assistant turn."""
    return [*map(dict, messages), {"role": "assistant", "content": response}]


def row_id(*parts: Any) -> str:
    """A short id that depends on nothing but its parts."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:24]
