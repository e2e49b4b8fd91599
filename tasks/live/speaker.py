"""A model that talks to somebody, with the scores of reward models behind each answer."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_store.annotation.batches import Message
from data_store.annotation.chat import Said
from data_store.annotation.live import LiveResponse, TooLongError
from data_store.errors import InputError
from data_store.figures import seconds
from models.config import SamplingConfig
from models.seeds import derive_seed
from tasks.answers import Drawn, open_renderer
from tasks.sampling import score

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer


class Models:
    """The models of a chat. Adapters on one base share its weights, which are in memory once."""

    def __init__(self, dtype: str = "float32", threads: int = 1) -> None:
        from transformers.utils import logging

        from models.devices import use_threads

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        use_threads(threads)
        self.dtype, self.threads = dtype, threads
        self._bases: dict[Path, nn.Module] = {}
        self._renderers: dict[Path, Renderer] = {}

    def policy(self, folder: Path, base: Path | None) -> "nn.Module":
        """One that answers."""
        from models.checkpoint import load_policy

        return load_policy(folder, self._base(base), dtype=self.dtype)

    def reward(self, folder: Path, base: Path | None) -> "nn.Module":
        """One that scores."""
        from models.checkpoint import load_reward

        return load_reward(folder, self._base(base), dtype=self.dtype)

    def renderer(self, folder: Path) -> "Renderer":
        """How this folder's tokenizer renders dialogues."""
        if folder not in self._renderers:
            self._renderers[folder] = open_renderer(folder)
        return self._renderers[folder]

    def _base(self, folder: Path | None) -> "nn.Module | None":
        from models.checkpoint import load_policy

        if folder is not None and folder not in self._bases:
            self._bases[folder] = load_policy(folder, dtype=self.dtype)
        return None if folder is None else self._bases[folder]


class Judges:
    """Reward models by name, each with the renderer of its own folder."""

    def __init__(self, models: Mapping[str, "tuple[nn.Module, Renderer]"], threads: int) -> None:
        self.models, self._sampling = dict(models), SamplingConfig(batch_size=1, threads=threads)

    def scores(self, messages: Sequence[Message], answer: Drawn) -> dict[str, float]:
        """The raw score that each gives this answer; none where that model cannot read the dialogue."""
        found = {}
        for name, (model, renderer) in self.models.items():
            limit: int = model.config.max_position_embeddings  # type: ignore[union-attr, assignment]
            try:
                length = len(renderer.prompt(messages))
            except ValueError:  # its template refuses a role that the speaker's has
                continue
            if length + len(answer.ids) <= limit:
                ((found[name],),) = score([model], renderer, [(messages, answer)], self._sampling)
        return found


class FolderSpeaker:
    """A speaker that is a loaded policy. version: what rows name it by. context: tokens of a dialogue, answer included;
    most_seconds: for one answer, after which it is stopped."""

    def __init__(
        self,
        name: str,
        version: str,
        policy: "nn.Module",
        renderer: "Renderer",
        judges: Judges,
        *,
        context: int,
        max_new_tokens: int,
        most_seconds: float,
    ) -> None:
        from models.streaming import Streamer

        self.name, self.version, self.judges = name, version, judges
        self.streamer, self.renderer = Streamer(policy, context), renderer
        self.max_new_tokens, self.most_seconds = max_new_tokens, most_seconds

    def answer(self, messages: Sequence[Message], temperature: float, seed: int) -> Iterator[str | Said]:
        """Drawn as `tasks.sampling.draw` draws with this seed. Raises InputError for roles that the template refuses,
        TooLongError for a dialogue that leaves no room."""
        try:
            prompt = self.renderer.prompt(messages)
        except ValueError as error:
            raise InputError(f"{self.name} cannot read this dialogue: {error}") from None
        if len(prompt) + 1 > self.streamer.context:
            raise TooLongError(len(prompt), self.streamer.context - 1)
        return self._answer(messages, prompt, temperature, seed)

    def _answer(
        self, messages: Sequence[Message], prompt: list[int], temperature: float, seed: int
    ) -> Iterator[str | Said]:
        from models.generation import Request

        began, first, ids, text = time.monotonic(), 0.0, list[int](), ""
        ends, stopped = set(self.renderer.end_ids), ""
        for token in self.streamer.stream(
            Request(prompt, (temperature,), derive_seed(seed, "prompt", 0)),
            max_new_tokens=self.max_new_tokens,
            end_ids=self.renderer.end_ids,
        ):
            ids.append(token)
            first = first or time.monotonic() - began
            if (said := self.renderer.response(ids)) != text:
                text = said
                yield text
            if token not in ends and time.monotonic() - began > self.most_seconds:
                stopped = f"stopped after {seconds(self.most_seconds)}"
                break
        spent = time.monotonic() - began
        drawn = Drawn(text, ids, ids[-1] in ends, self.renderer.identity, f"an answer of {self.name}")
        response = LiveResponse(
            text,
            self.version,
            round(1000 * temperature),
            seed,
            finished=drawn.finished,
            token_ids=ids,
            tokenizer=drawn.tokenizer,
        )
        yield Said(response, self.judges.scores(messages, drawn), first, spent, stopped)
