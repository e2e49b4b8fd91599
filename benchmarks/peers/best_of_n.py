"""Answers to prompts, the best of several at each of three temperatures: here and in transformers.

    python -m benchmarks.peers.best_of_n halter-store/smoke [--rounds 7] [--tree OTHER] [--save]

A policy answers the prompts of one iteration and a reward model scores the answers. transformers draws with `generate`,
prompts of like length together, and scores padded batches, both of as many rows as here. No figure is given where the
answers differ in mean length by more than a tenth.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.from_store import lay_out, read
from benchmarks.peers.rows import Row, compare
from benchmarks.peers.turns import Turn

PROMPTS, SAMPLES, TOKENS, ROWS = 80, 3, 48, 768  # of configs/demo.yaml
TEMPERATURES = (0.7, 1.0, 1.2)
ROW = Row(
    "best_of_n",
    f"{SAMPLES * len(TEMPERATURES)} answers to each of {PROMPTS} prompts of the smoke run (2 layers of 96), drawn and "
    "scored",
    alike={"answers": 0},
    sampled="tokens of an answer",
)


def of_halter(folder: Path) -> None:
    """All answers and their scores, once a turn."""
    import torch

    from models.checkpoint import load_policy, load_reward
    from models.config import SamplingConfig
    from models.generation import ask, sample
    from models.scoring import score_rows
    from tasks.answers import open_renderer

    torch.set_num_threads(1)
    turn, renderer = Turn(), open_renderer(folder / "policy")
    policy, reward = load_policy(folder / "policy"), load_reward(folder / "helpfulness")
    prompts = [prompt["ids"] for prompt in read(folder, "prompts")]
    config, number = SamplingConfig(max_new_tokens=TOKENS, batch_size=ROWS), 0
    temperatures = [temperature for temperature in TEMPERATURES for _ in range(SAMPLES)]
    while True:
        number += 1
        turn.begin()
        asked = ask(prompts, temperatures, number)
        drawn = sample(policy, asked, config, end_ids=renderer.end_ids, pad_id=renderer.pad_id)
        rows = [[*ids, *each.ids] for ids, answers in zip(prompts, drawn, strict=True) for each in answers]
        scores = score_rows(reward, rows, renderer.pad_id, ROWS)
        length = sum(len(each.ids) for answers in drawn for each in answers) / len(scores)
        turn.end(answers=len(scores), **{"tokens of an answer": length})


def of_transformers(folder: Path) -> None:
    """The same with what transformers has for it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    turn, tokenizer = Turn(), AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy").eval()
    reward = AutoModelForSequenceClassification.from_pretrained(folder / "helpfulness", num_labels=1).eval()
    prompts = sorted((prompt["ids"] for prompt in read(folder, "prompts")), key=len)
    pad, end, at_once = tokenizer.pad_token_id, tokenizer.eos_token_id, ROWS // SAMPLES

    def drawn(temperature: float) -> Iterator[tuple[list[int], list[int]]]:
        for start in range(0, len(prompts), at_once):
            batch = tokenizer.pad({"input_ids": prompts[start : start + at_once]}, return_tensors="pt")
            found = policy.generate(
                **batch, do_sample=True, temperature=temperature, top_k=0, top_p=1.0, max_new_tokens=TOKENS,
                num_return_sequences=SAMPLES, eos_token_id=end, pad_token_id=pad,
            )[:, batch["input_ids"].shape[1] :]  # fmt: skip
            for row, answer in enumerate(found.tolist()):
                last = answer.index(end) + 1 if end in answer else len(answer)
                yield prompts[start + row // SAMPLES], answer[:last]

    while True:
        turn.begin()
        with torch.inference_mode():
            torch.manual_seed(1)
            answers = [answer for temperature in TEMPERATURES for answer in drawn(temperature)]
            rows = sorted((prompt + answer for prompt, answer in answers), key=len)
            scores: list[float] = []
            for start in range(0, len(rows), ROWS):
                batch = tokenizer.pad(
                    {"input_ids": rows[start : start + ROWS]}, return_tensors="pt", padding_side="right"
                )
                scores += reward(**batch).logits[:, 0].tolist()
        length = sum(len(answer) for _, answer in answers) / len(answers)
        turn.end(answers=len(scores), **{"tokens of an answer": length})


SIDES = {"Halter": of_halter, "transformers": of_transformers}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_out(given.store, folder, prompts=PROMPTS)))
