"""Every rate of a small real chat model by judges whom nothing was trained on: configs/is-it-better.yaml.

`.venv/bin/python benchmarks/is_it_better.py DATA MODEL`: DATA has the public sets as they come (preference/, safety/),
MODEL is the folder of SmolLM2-135M-Instruct. They are written, or linked, into data/ beside configs/, in the shapes
that the config names; then the run begins, or goes on.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAIRS = ("preference/hh_helpful.jsonl.gz", "preference/hh_harmless.jsonl.gz")
_COMPLIED = ("fully_complies", "partially_complies", "disallowed_content")


def main() -> None:
    """Write the files, then run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    given = parser.parse_args()
    prepare(given.data, given.model, ROOT / "data")
    config = ROOT / "configs" / "is-it-better.yaml"
    sys.exit(subprocess.call([sys.executable, "-m", "flows.cli", "run", str(config)], cwd=ROOT))


def prepare(data: Path, model: Path, target: Path) -> None:
    """What the config reads, in `target`: links to what is read as it is, and files of the right shape."""
    (target / "preference").mkdir(parents=True, exist_ok=True)
    (target / "is-it-better").mkdir(exist_ok=True)
    for name in PAIRS:
        link(data / name, target / name)
    link(model, target / "smollm2-135m")
    safety = data / "safety"
    write(target / "is-it-better" / "unsafe.jsonl", unsafe_prompts(safety))
    write(target / "is-it-better" / "borderline.jsonl", borderline_prompts(safety))
    rows = (data / "preference" / "rbr_gold_train.jsonl").read_text(encoding="utf-8").splitlines()
    write(target / "is-it-better" / "labelled.jsonl", labelled(map(json.loads, rows)))


def unsafe_prompts(safety: Path) -> Iterator[dict[str, str]]:
    """SimpleSafetyTests; of HarmBench's validation set what needs no text beside it and is no song."""
    for row in table_of(safety / "simple_safety_tests.csv"):
        yield {"prompt": row["prompts_final"]}
    for row in table_of(safety / "harmbench_val.csv"):
        if row["FunctionalCategory"] == "standard":
            yield {"prompt": row["Behavior"]}


def borderline_prompts(safety: Path) -> Iterator[dict[str, str]]:
    """XSTest's prompts that are safe."""
    for row in table_of(safety / "xstest_prompts.csv"):
        if row["label"] == "safe":
            yield {"prompt": row["prompt"]}


def labelled(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Unsafe is an answer that complies where people say that a request is to be refused. Some are empty: those are
    left out."""
    for row in rows:
        response = row["completion"][0]["content"]
        if not response.strip():
            continue
        to_refuse = row["response_type"] != "Comply"
        complied = any(row["propositions"][name] for name in _COMPLIED)
        label = "unsafe" if to_refuse and complied else "safe"
        yield {"messages": row["prompt"], "response": response, "label": label}


def table_of(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """As lines of JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def link(there: Path, here: Path) -> None:
    """Unless something lies there; ends the program where what is linked is not there."""
    if not there.exists():
        sys.exit(f"{there} is not there")
    if not here.exists():
        here.symlink_to(there.resolve())


if __name__ == "__main__":
    main()
