"""Every comparison that a short wait allows, and the page of all figures: `make bench`.

    python -m benchmarks.peers halter-store/smoke --libraries FOLDER [--rounds 7] [--commit EARLIER]
    python -m benchmarks.peers --page

FOLDER has TRL 1.9.2. EARLIER is a commit whose build takes part as one more side of each row but many_rows, and is on
the page too. With `--page` nothing is measured. Ends with 1 where the sides of a row did not do the same work, or a row
failed; the page is then left as it was.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.peers import page
from benchmarks.peers.turns import ROOT


def main() -> int:
    """0 where the page was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, nargs="?", help="of a finished run with PPO")
    parser.add_argument("--libraries", type=Path, help="folder with TRL 1.9.2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commit", help="an earlier build, which takes part as well")
    parser.add_argument("--page", action="store_true", help="only write the page")
    given = parser.parse_args()
    if not given.page:
        if not given.store or not given.libraries:
            parser.error("give a store and --libraries, or --page")
        store, rounds = (
            str(given.store),
            ["--rounds", str(given.rounds), "--save", *(["--commit", given.commit] if given.commit else [])],
        )
        rows = (
            ["peers.pretrain", *rounds],
            *([f"peers.{name}", store, *rounds] for name in ("sft", "reward", "dpo", "best_of_n")),
            *([f"peers.{name}", store, "--libraries", str(given.libraries), *rounds] for name in ("ppo", "ppo_even")),
            ["many_rows", "--save"],
        )
        failed = [
            module
            for module, *options in rows
            if subprocess.run(
                [sys.executable, "-m", f"benchmarks.{module}", *options], cwd=ROOT, check=False
            ).returncode
        ]
        if failed:
            print(f"without a figure: {', '.join(failed)}; the page is left as it was", file=sys.stderr)
            return 1
    page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
