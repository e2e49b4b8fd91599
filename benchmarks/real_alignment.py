"""A real alignment of a small chat model, in two iterations: configs/smollm2-135m-real.yaml.

`.venv/bin/python benchmarks/real_alignment.py DATA MODEL`: as benchmarks/is_it_better.py, and the demonstrations are
refusals in sentences of our own, behind prompts of AdvBench that nothing else reads. The model as it comes answers the
same prompts, for the same judges. At the end the run waits for people on the annotation page, and says so.

`--minutes 8` stops after so long, for a machine that is lent; the same command goes on. `--name NAME` gives another
model of the hub's format the same run under its own name, NAME-real: one of a billion weights on a GPU, say.
"""

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.is_it_better import PAIRS, borderline_prompts, link, table_of, write

ROOT = Path(__file__).resolve().parents[1]
MODEL = "smollm2-135m"
DEMONSTRATIONS, EVALUATED = 160, 59
"""Of AdvBench's 520 prompts; all others are what rejection sampling asks."""
FEW = (10, 40)
"""Of the demonstrations, where configs/studies/refusals.yaml has fewer."""

_OPENINGS = (
    "I can't help with that.",
    "I won't help with this one.",
    "No, I can't do that for you.",
    "I'm not able to help with this.",
    "That is something I won't do.",
    "I have to decline this request.",
    "Sorry, but I can't take part in this.",
    "I will not write that.",
)
_REASONS = (
    "It could hurt somebody.",
    "People could come to harm by it.",
    "It is against the law in most places, and for good reasons.",
    "What you ask for is made to injure or to deceive others.",
    "I don't give instructions for things that endanger people.",
    "Somebody else would pay for it.",
    "The damage that it does is hard to undo.",
)
_OFFERS = (
    "If something is troubling you, I am glad to talk about that.",
    "Tell me what you are trying to solve, and we can look for a safe way.",
    "If you are in danger, please call your local emergency number.",
    "I can explain how people protect themselves from it.",
    "Is there anything else that I can do for you?",
    "I can help with a lawful way to reach your goal.",
    "",
)


def main() -> None:
    """Write the files, then run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", default=MODEL, help="what the model, and so the runs, are called")
    parser.add_argument("--minutes", type=float, help="stop then")
    given = parser.parse_args()
    deadline = None if given.minutes is None else time.monotonic() + given.minutes * 60
    sys.exit(run(prepare(given.data, given.model, ROOT / "data", given.name), deadline))


def run(config: Path, deadline: float | None) -> int:
    """The exit status of the run of a config; at the deadline it is ended, so that it can go on."""
    process = subprocess.Popen([sys.executable, "-m", "flows.cli", "run", str(config)], cwd=ROOT)
    try:
        return process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.terminate()  # an interrupt is not heard by what a shell has started in the background
        process.wait()
        print(f"{config.stem} was stopped as its time is up; the same command goes on from there")
        return 3


def prepare(data: Path, model: Path, target: Path, name: str = MODEL) -> Path:
    """What the config reads, in `target`; gives the config, that of another model written beside it."""
    (target / "preference").mkdir(parents=True, exist_ok=True)
    (target / "real").mkdir(exist_ok=True)
    for pairs in PAIRS:
        link(data / pairs, target / pairs)
    link(model, target / name)
    safety = data / "safety"
    prompts = adv_bench(safety)
    shown, asked = prompts[:DEMONSTRATIONS], prompts[DEMONSTRATIONS : len(prompts) - EVALUATED]
    write(target / "real" / "refusals.jsonl", refusals(shown))
    for few in FEW:
        write(target / "real" / f"refusals-{few}.jsonl", refusals(shown[:few]))
    write(target / "real" / "adversarial.jsonl", ({"prompt": prompt} for prompt in asked))
    write(target / "real" / "unsafe.jsonl", unsafe(safety, prompts[len(prompts) - EVALUATED :]))
    write(target / "real" / "borderline.jsonl", borderline_prompts(safety))
    config = ROOT / "configs" / f"{MODEL}-real.yaml"
    return config if name == MODEL else _renamed(config, target / "real", name)


def _renamed(config: Path, folder: Path, name: str) -> Path:
    """The config for another model, in `folder`, from which its files are one level nearer."""
    written = folder / config.name.replace(MODEL, name)
    text = config.read_text(encoding="utf-8").replace(MODEL, name).replace("SmolLM2-135M-Instruct", name)
    written.write_text(text.replace("../data/", "../"), encoding="utf-8")
    return written


def adv_bench(safety: Path) -> list[str]:
    """Its prompts, in an order of our own."""
    seeds = yaml.safe_load((safety / "adv_bench.yaml").read_text(encoding="utf-8"))["seeds"]
    prompts = sorted(each["value"] for each in seeds)
    random.Random(0).shuffle(prompts)
    return prompts


def refusals(prompts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A demonstration for each: a refusal, mostly with a reason and an offer."""
    rng = random.Random(1)
    for prompt in prompts:
        said = " ".join(part for part in map(rng.choice, (_OPENINGS, _REASONS, _OFFERS)) if part)
        yield {
            "kind": "refusal",
            "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": said}],
        }


def unsafe(safety: Path, of_adv_bench: Sequence[str]) -> Iterator[dict[str, str]]:
    """SimpleSafetyTests, HarmBench's validation set where it needs no text beside it and is no song, and the rest of
    AdvBench: the kind that is learned from. Each names its set."""
    for row in table_of(safety / "simple_safety_tests.csv"):
        yield {"prompt": row["prompts_final"], "category": "simple_safety_tests"}
    for row in table_of(safety / "harmbench_val.csv"):
        if row["FunctionalCategory"] == "standard":
            yield {"prompt": row["Behavior"], "category": "harmbench"}
    for prompt in of_adv_bench:
        yield {"prompt": prompt, "category": "adv_bench"}


if __name__ == "__main__":
    main()
