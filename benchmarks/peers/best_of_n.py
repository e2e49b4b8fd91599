"""Answers to prompts, the best of several at each of three temperatures: here and in transformers.

    python -m benchmarks.peers.best_of_n halter-store/smoke [--rounds 7] [--tree OTHER] [--save]

A policy answers the prompts of one iteration and a reward model scores the answers. transformers draws with `generate`,
prompts of like length together, and scores padded batches, both of as many rows as here. No figure is given where the
answers differ in mean length by more than a tenth.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.from_store import lay_out, read
from benchmarks.peers.opened import base_of, tokenizer_of, with_transformers
from benchmarks.peers.rows import Row, compare
from benchmarks.peers.turns import Turn

PROMPTS, SAMPLES, TOKENS, ROWS = 80, 3, 48, 768  # of configs/demo.yaml
TEMPERATURES = (0.7, 1.0, 1.2)
TOLD = "tokens of an answer"
ROW = Row(
    "best_of_n",
    f"{SAMPLES * len(TEMPERATURES)} answers to each of {PROMPTS} prompts of the smoke run (2 layers of 96), drawn and "
    "scored",
    alike={"answers": 0},
    sampled=TOLD,
)


@dataclass(frozen=True)
class Shape:
    """What is asked for: answers to each prompt at each temperature, of at most so many tokens, `rows` at once. They
    end at the end of the turn or, with `every`, at each id that it divides."""

    samples: int
    temperatures: tuple[float, ...]
    tokens: int
    rows: int
    every: int | None = None

    def ends(self, usual: Sequence[int], vocabulary: int) -> list[int]:
        """All ids that end an answer."""
        return [*usual] if self.every is None else [*range(0, vocabulary, self.every)]


def of_halter(shape: Shape) -> Callable[[Path], None]:
    """All answers and their scores, once a turn."""

    def side(folder: Path) -> None:
        import torch

        from models.checkpoint import load_policy, load_reward
        from models.config import SamplingConfig
        from models.generation import ask, sample
        from models.scoring import score_rows
        from tasks.answers import open_renderer

        torch.set_num_threads(1)
        turn, renderer, base = Turn(), open_renderer(folder / "policy"), base_of(folder)
        policy, reward = load_policy(folder / "policy", base), load_reward(folder / "helpfulness", base)
        prompts = [prompt["ids"] for prompt in read(folder, "prompts")]
        config, number = SamplingConfig(max_new_tokens=shape.tokens, batch_size=shape.rows), 0
        temperatures = [temperature for temperature in shape.temperatures for _ in range(shape.samples)]
        ends = shape.ends(renderer.end_ids, len(renderer.tokenizer))
        while True:
            number += 1
            turn.begin()
            asked = ask(prompts, temperatures, number)
            drawn = sample(policy, asked, config, end_ids=ends, pad_id=renderer.pad_id)
            rows = [[*ids, *each.ids] for ids, answers in zip(prompts, drawn, strict=True) for each in answers]
            scores = score_rows(reward, rows, renderer.pad_id, shape.rows)
            length = sum(len(each.ids) for answers in drawn for each in answers) / len(scores)
            turn.end(answers=len(scores), **{TOLD: length})

    return side


def of_transformers(shape: Shape) -> Callable[[Path], None]:
    """The same with what transformers has for it."""

    def side(folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

        torch.set_num_threads(1)
        turn, tokenizer = Turn(), tokenizer_of(folder)
        policy = with_transformers(AutoModelForCausalLM, folder, "policy").eval()
        reward = with_transformers(AutoModelForSequenceClassification, folder, "helpfulness", num_labels=1).eval()
        prompts = sorted((prompt["ids"] for prompt in read(folder, "prompts")), key=len)
        ends, at_once = shape.ends([tokenizer.eos_token_id], len(tokenizer)), shape.rows // shape.samples

        def drawn(temperature: float) -> Iterator[tuple[list[int], list[int]]]:
            for start in range(0, len(prompts), at_once):
                asked = {"input_ids": prompts[start : start + at_once]}
                batch = tokenizer.pad(asked, return_tensors="pt", padding_side="left")
                found = policy.generate(
                    **batch, do_sample=True, temperature=temperature, top_k=0, top_p=1.0, max_new_tokens=shape.tokens,
                    num_return_sequences=shape.samples, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id,
                )[:, batch["input_ids"].shape[1] :]  # fmt: skip
                for row, answer in enumerate(found.tolist()):
                    said = next((place for place, token in enumerate(answer, 1) if token in stops), len(answer))
                    yield prompts[start + row // shape.samples], answer[:said]

        stops = set(ends)
        while True:
            turn.begin()
            with torch.inference_mode():
                torch.manual_seed(1)
                answers = [answer for temperature in shape.temperatures for answer in drawn(temperature)]
                rows = sorted((prompt + answer for prompt, answer in answers), key=len)
                scores: list[float] = []
                for start in range(0, len(rows), shape.rows):
                    batch = tokenizer.pad(
                        {"input_ids": rows[start : start + shape.rows]}, return_tensors="pt", padding_side="right"
                    )
                    scores += reward(**batch).logits[:, 0].tolist()
            length = sum(len(answer) for _, answer in answers) / len(answers)
            turn.end(answers=len(scores), **{TOLD: length})

    return side


def sides(shape: Shape) -> dict[str, Callable[[Path], None]]:
    """Both."""
    return {"Halter": of_halter(shape), "transformers": of_transformers(shape)}


SIDES = sides(Shape(SAMPLES, TEMPERATURES, TOKENS, ROWS))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_out(given.store, folder, prompts=PROMPTS)))
