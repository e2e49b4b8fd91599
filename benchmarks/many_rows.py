"""What many preference rows cost on their way into the recipe: import_data, publish, check out, read as dictionaries.

    python -m benchmarks.many_rows [--rows 100000] [--against ../other-checkout] [--turns 3] [--json] [--save]

Each stage is a process of its own, whose seconds of the processor and peak memory count; before it is timed, both
checkouts are held to give the same version. With `--against` the same stages of another checkout of halter take turns
with these. `--save` keeps the figures for docs/speed.md.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.rows import circumstances, save

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("import", "publish", "open")
STAGE = """
import json, sys, time
from pathlib import Path
from data_store.names import AssetName
from data_store.records import RunOutput, RunRecord
from data_store.store import Store
from tasks.engine.step import StepInput, StepRun
from tasks.import_data import ImportStepConfig, import_data
stage, folder = sys.argv[1], Path(sys.argv[2])
started, clock, told = time.process_time(), time.monotonic(), ""
if stage == "import":
    inputs = {"helpfulness_preferences": ("pairs.jsonl",), "helpfulness_prompts": ("prompts.jsonl",)}
    run = StepRun(
        name="import_data", part="base", seed=0, folder=folder / "step",
        outputs={role: import_data.outputs[role] for role in ("preferences", "prompts", "refused")},
        inputs={role: tuple(StepInput(name, name, folder / name) for name in names) for role, names in inputs.items()},
    )
    told = str(import_data.function(run, ImportStepConfig(preference_format="rows"))["rows/preferences"])
elif stage == "publish":
    store = Store.open(folder / "store")
    made = store.publish("dataset", folder / "step" / "out" / "preferences", row_kind="preference")
    run = RunRecord(step="import_data", part="base", fingerprint="f", code_version="c", config={}, seed=0)
    store.begin_run(run)
    store.commit_run(run, [], {"preferences": RunOutput(AssetName.parse("dataset/preferences@base"), made)})
    told = made.version_id
elif stage == "open":
    store = Store.open(folder / "store")
    head = store.heads()[AssetName.parse("dataset/preferences@base")]
    entry = StepInput("dataset/preferences@base", head.version_id, store.checkout(head.version_id))
    run = StepRun(name="x", part="V1", seed=0, inputs={"preferences": (entry,)}, outputs={}, folder=folder)
    started, clock = time.process_time(), time.monotonic()
    read = run.each_row if hasattr(run, "each_row") else run.records
    told = str(sum(row["chosen"] == "a" for row in read("preferences")))
peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(json.dumps([time.process_time() - started, time.monotonic() - clock, peak / 1024, told]))
"""


def write_files(folder: Path, rows: int) -> None:
    """Pairs of about 500 characters on half as many prompts, and some prompts."""
    rng = random.Random(0)
    words = [f"word{number}" for number in range(5000)]

    def text(length: int) -> str:
        return " ".join(rng.choices(words, k=length))

    with (folder / "pairs.jsonl").open("w") as file:
        for number in range(rows):
            pair = {
                "prompt": f"{text(12)} {number // 2}",
                "response_a": text(20),
                "response_b": text(20),
                "chosen": "ab"[number % 2],
                "annotator": f"person {number % 50}",
            }
            file.write(json.dumps(pair) + "\n")
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text(12)}) + "\n" for _ in range(1000)))


def run_stage(name: str, folder: Path) -> tuple[float, float, float, str]:
    """The same of this checkout."""
    return stage(ROOT, name, folder)


def stage(code: Path, name: str, folder: Path) -> tuple[float, float, float, str]:
    """(processor, clock, peak in MB, what it came to) of one stage of the code that lies there."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", STAGE, name, str(folder)],
        env={**os.environ, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        check=True,
    )
    processor, clock, peak, told = json.loads(done.stdout.splitlines()[-1])
    return float(processor), float(clock), float(peak), str(told)


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description="The cost of many preference rows")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--against", type=Path, help="Another checkout of halter")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="Keep it as benchmarks/results/many_rows.json")
    given = parser.parse_args()
    codes = {"here": ROOT, **({"there": given.against.resolve()} if given.against else {})}
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {
        name: {each: [] for each in codes} for name in STAGES
    }
    came_to: dict[str, set[str]] = {name: set() for name in STAGES}
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch, "files")
        files.mkdir()
        write_files(files, given.rows)
        for _ in range(given.turns):
            for each, code in codes.items():
                folder = Path(scratch, each)
                shutil.copytree(files, folder)
                for name in STAGES:
                    *cost, told = stage(code, name, folder)
                    found[name][each].append((cost[0], cost[1], cost[2]))
                    came_to[name].add(told)
                shutil.rmtree(folder)
    assert all(len(told) == 1 for told in came_to.values()), f"they do not come to the same: {came_to}"
    if given.save:
        stages = {name: by_code["here"] for name, by_code in found.items()}
        save({"name": "many_rows", "work": f"{given.rows:,} preference pairs of about 500 characters",
              "pairs": given.turns, "stages": stages, **circumstances()})  # fmt: skip
    if given.json:
        print(json.dumps({"rows": given.rows, "load": os.getloadavg()[0], **found}, indent=1))
        return
    print(f"{given.rows} rows, load {os.getloadavg()[0]:.1f}; medians of {given.turns}")
    for name, by_code in found.items():
        for each, costs in by_code.items():
            processor, clock, peak = (statistics.median(values) for values in zip(*costs, strict=True))
            print(f"{name:<8} {each:<6} processor {processor:6.2f} s   clock {clock:6.2f} s   peak {peak:6.0f} MB")


if __name__ == "__main__":
    main()
