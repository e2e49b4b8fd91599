"""The corpus filter beside datatrove's, on the same documents: repetition, personal data, near duplicates.

    python -m venv FOLDER; FOLDER/bin/pip install datatrove==0.10.1 'xxhash<4' tokenizers nltk spacy
    python -m benchmarks.peers.datatrove FILE.jsonl … --python FOLDER/bin/python [--rounds 2]

datatrove's Gopher repetition rules, its formatter of personal data and MinHash (5-grams, 14 × 8), one process, against
`filter_documents` with all its rules, of which datatrove's steps have no like: language, repair, boilerplate. So the
work is not equal, and Halter does the larger part. Prints processor seconds of each with its imports, and how many
documents were kept.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_THEIRS = """
import json, os, sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import GopherRepetitionFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig

source, out = sys.argv[1:]
config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
stages = [
    [JsonlReader(source), GopherRepetitionFilter(), PIIFormatter(), JsonlWriter(f"{out}/a", compression=None)],
    [JsonlReader(f"{out}/a"), MinhashDedupSignature(output_folder=f"{out}/signatures", config=config)],
    [MinhashDedupBuckets(input_folder=f"{out}/signatures", output_folder=f"{out}/buckets", config=config)],
    [MinhashDedupCluster(input_folder=f"{out}/buckets", output_folder=f"{out}/remove", config=config)],
    [
        JsonlReader(f"{out}/a"),
        MinhashDedupFilter(input_folder=f"{out}/remove"),
        JsonlWriter(f"{out}/kept", compression=None),
    ],
]
for number, stage in enumerate(stages):
    tasks = 14 if number == 2 else 1
    LocalPipelineExecutor(pipeline=stage, tasks=tasks, workers=1, logging_dir=f"{out}/log/{number}").run()
kept = sum(1 for name in os.listdir(f"{out}/kept") for _ in open(f"{out}/kept/{name}"))
print(json.dumps({"seconds": sum(os.times()[:4]), "kept": kept}))
"""


def ours(folder: Path) -> dict[str, float]:
    """Filter all files of a folder in this process."""
    import pyarrow as pa

    from data_store.corpus.filtering import filter_documents
    from data_store.corpus.registry import FilterConfig
    from data_store.reading.readers import read_documents
    from data_store.rows import row_kind

    texts = [text for batch in read_documents(sorted(folder.iterdir())) for text in batch.column("text").to_pylist()]
    ids = [f"d{number}" for number in range(len(texts))]
    table, kept = pa.table([ids, ids, texts], schema=row_kind("document").schema), 0

    def count(stay: pa.Table, _go: pa.Table) -> None:
        nonlocal kept
        kept += stay.num_rows

    filter_documents(iter(table.to_batches(64)), FilterConfig(languages=("en", "code")), count)
    return {"seconds": sum(os.times()[:4]), "kept": kept}


def main() -> None:
    """Each in a process of its own, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--python", type=Path, help="of an environment with datatrove")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ours:
        print(json.dumps(ours(given.files[0])))
        return
    found: dict[str, list[dict[str, float]]] = {"halter": [], "datatrove": []}
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "source")
        source.mkdir()
        for file in given.files:
            (source / file.name).symlink_to(file.resolve())
        for number in range(given.rounds):
            sides = {
                "halter": [sys.executable, "-m", "benchmarks.peers.datatrove", str(source), "--ours"],
                "datatrove": [str(given.python), "-c", _THEIRS, str(source), str(Path(name, str(number)))],
            }
            for side, command in sides.items():
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[side].append(json.loads(done.stdout.splitlines()[-1]))
    characters = sum(file.stat().st_size for file in given.files)
    for side, results in found.items():
        seconds = statistics.median(each["seconds"] for each in results)
        told = f"{characters / seconds / 1e6:.2f} MB/s"
        print(f"{side}: {seconds:.1f} s of the processor, {told}, {results[0]['kept']:.0f} documents kept")
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(found["halter"], found["datatrove"], strict=True)]
    print(f"datatrove / halter: {statistics.median(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f}, n {len(ratios)})")


if __name__ == "__main__":
    main()
