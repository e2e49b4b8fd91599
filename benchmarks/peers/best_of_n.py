"""Answers to the demo's prompts, the best of several at each of three temperatures: here and in transformers.

    python -m benchmarks.peers.best_of_n halter-store/demo [--samples 3] [--rounds 5] [--tree OTHER]

A policy answers the prompts of one iteration and a reward model scores the answers. transformers draws with `generate`,
prompts of like length together, and scores padded batches, both of as many rows as here. Prints the median CPU seconds
of each, one thread, and of theirs / ours. Ends with 1 where the answers of two sides differ in length by more than a
tenth.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.ppo import lay_out
from benchmarks.peers.turns import Side, Turn, alternate, ratios

PROMPTS, TOKENS, ROWS = 240, 48, 768  # of configs/demo.yaml
TEMPERATURES = (0.7, 1.0, 1.2)


def of_halter(folder: Path, samples: int) -> None:
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
    prompts = [prompt["ids"] for prompt in json.loads((folder / "prompts.json").read_text())]
    config, number = SamplingConfig(max_new_tokens=TOKENS, batch_size=ROWS), 0
    temperatures = [temperature for temperature in TEMPERATURES for _ in range(samples)]
    while True:
        number += 1
        turn.begin()
        asked = ask(prompts, temperatures, number)
        drawn = sample(policy, asked, config, end_ids=renderer.end_ids, pad_id=renderer.pad_id)
        rows = [[*ids, *each.ids] for ids, answers in zip(prompts, drawn, strict=True) for each in answers]
        scores = score_rows(reward, rows, renderer.pad_id, ROWS)
        turn.end(answers=len(scores), length=sum(len(each.ids) for answers in drawn for each in answers) / len(scores))


def of_transformers(folder: Path, samples: int) -> None:
    """The same with what transformers has for it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    turn, tokenizer = Turn(), AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy").eval()
    reward = AutoModelForSequenceClassification.from_pretrained(folder / "helpfulness", num_labels=1).eval()
    prompts = sorted((prompt["ids"] for prompt in json.loads((folder / "prompts.json").read_text())), key=len)
    pad, end, at_once = tokenizer.pad_token_id, tokenizer.eos_token_id, ROWS // samples

    def drawn(temperature: float) -> Iterator[tuple[list[int], list[int]]]:
        for start in range(0, len(prompts), at_once):
            batch = tokenizer.pad({"input_ids": prompts[start : start + at_once]}, return_tensors="pt")
            found = policy.generate(
                **batch, do_sample=True, temperature=temperature, top_k=0, top_p=1.0, max_new_tokens=TOKENS,
                num_return_sequences=samples, eos_token_id=end, pad_token_id=pad,
            )[:, batch["input_ids"].shape[1] :]  # fmt: skip
            for row, answer in enumerate(found.tolist()):
                last = answer.index(end) + 1 if end in answer else len(answer)
                yield prompts[start + row // samples], answer[:last]

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
        turn.end(answers=len(scores), length=sum(len(answer) for _, answer in answers) / len(answers))


def main() -> int:
    """0 where the sides have done the same work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--samples", type=int, default=3, help="of each prompt at each temperature")
    parser.add_argument("--tree", type=Path, help="another checkout of Halter")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=("halter", "transformers"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        (of_halter if given.side == "halter" else of_transformers)(given.store, given.samples)
        return 0
    with tempfile.TemporaryDirectory() as name:
        lay_out(given.store, Path(name), PROMPTS)
        command = ["-m", "benchmarks.peers.best_of_n", name, "--samples", str(given.samples), "--side"]
        sides = [Side("halter", [*command, "halter"]), Side("transformers", [*command, "transformers"])]
        if given.tree:
            sides.append(Side("other tree", [*command, "halter"], tree=given.tree.resolve()))
        found = alternate(sides, given.rounds)
    return ratios(found)


if __name__ == "__main__":
    sys.exit(main())
