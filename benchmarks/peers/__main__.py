"""Every comparison that a short wait allows, as one page: `make bench`.

    python -m benchmarks.peers --store halter-store/demo --trl FOLDER [--rounds 5] [--out docs/speed.md]

Ends with 1 where two sides of a row did not do the same work, or a row failed; the page is then left as it was.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.turns import ROOT

LIBRARIES = ("torch", "transformers", "peft", "accelerate")
HEAD = """# Speed beside others

`make bench` writes this page: the same work here and in what people would take instead, a process of one thread each,
which take turns. Theirs / ours is the median over rounds; above 1 Halter takes less processor time. [The log](log.md)
has what was tried, and larger models.

"""


def cpu() -> str:
    """Its name as the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "an unknown CPU"


def main() -> int:
    """0 where the page was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="store of a finished demo")
    parser.add_argument("--trl", type=Path, required=True, help="folder with TRL 1.9")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "speed.md")
    given = parser.parse_args()
    rows = {
        "Pretraining, demo size, 20 steps": ["pretrain"],
        "A PPO iteration of the demo, 96 prompts": ["ppo", str(given.store), "--trl", str(given.trl)],
        "Best of nine, 240 prompts of the demo": ["best_of_n", str(given.store)],
    }
    page = HEAD
    for title, (module, *options) in rows.items():
        command = [sys.executable, "-m", f"benchmarks.peers.{module}", *options, "--rounds", str(given.rounds)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"{title}: ended with {done.returncode}\n{done.stdout}", file=sys.stderr)
            return 1
        page += f"## {title}\n\n{done.stdout}\n"
    installed = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    page += f"{datetime.now(UTC):%-d %B %Y}, {cpu()}, {installed}; PPO's rival is TRL 1.9.2; "
    page += f"{given.rounds} rounds.\n"
    given.out.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
