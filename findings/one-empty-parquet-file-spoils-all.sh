#!/bin/bash
# One Parquet file without rows among others makes `datasets.load_dataset` fail for all of them, if pyarrow's write_table
# wrote it; if a ParquetWriter wrote it that was closed without a table, the same files load.
#
# datasets 5.2.0 with pyarrow 26.0.1, Python 3.11. `write_table` of a table without rows leaves one row group that is empty; a shard
# of a filter that kept nothing is such a file, as is a split that is there for its schema. The reader takes the number of rows of the
# first row group for its batch size, 0, which Arrow refuses: DatasetGenerationError, "BatchSize must be greater than 0". The order of
# the files does not matter. A data set that has no rows at all cannot be loaded in either form, nor what
# `Dataset.to_parquet` itself wrote of one: it is told that "train" corresponds to no data, though the schema is in the file.
# Source: datasets/packaged_modules/parquet/parquet.py, `batch_size or parquet_fragment.row_groups[0].num_rows`.
# What avoids it: no file for what has no rows, or one without a row group, beside others; or `batch_size=` given by hand.
#
# Ends with 0 while it is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1
cat > "$folder/load.py" <<'PYTHON'
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

datasets.disable_progress_bars()
folder = Path(sys.argv[1])
full = pa.table({"prompt": ["a", "b"], "score": [1.0, 0.5]})
pq.write_table(full, folder / "full.parquet")
pq.write_table(full.slice(0, 0), folder / "one-group.parquet")
pq.ParquetWriter(folder / "no-group.parquet", full.schema).close()
datasets.Dataset(full.slice(0, 0)).to_parquet(folder / "own.parquet")


def outcome(number, names, **how):
    files = [str(folder / f"{name}.parquet") for name in names]
    try:
        found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=folder / str(number), **how)
    except Exception as error:
        return f"{type(error).__name__}: {error.__cause__ or error}"
    return f"{len(found)} rows"


refused = "DatasetGenerationError: BatchSize must be greater than 0, got 0"
nothing = 'ValueError: Instruction "train" corresponds to no data!'
cases = [
    (["full", "one-group"], {}, refused),
    (["one-group", "full"], {}, refused),
    (["full", "one-group"], {"batch_size": 8}, "2 rows"),
    (["full", "no-group"], {}, "2 rows"),
    (["one-group"], {}, refused),
    (["no-group"], {}, nothing),
    (["own"], {}, nothing),
]
changed = False
for number, (names, how, expected) in enumerate(cases):
    found = outcome(number, names, **how)
    print(f"{' + '.join(names):22} {str(how or ''):20} {found}")
    changed |= found != expected
sys.exit("this has changed" if changed else 0)
PYTHON
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/load.py" "$folder" 2> /dev/null
# full + one-group                            DatasetGenerationError: BatchSize must be greater than 0, got 0
# one-group + full                            DatasetGenerationError: BatchSize must be greater than 0, got 0
# full + one-group       {'batch_size': 8}    2 rows
# full + no-group                             2 rows
# one-group                                   DatasetGenerationError: BatchSize must be greater than 0, got 0
# no-group                                    ValueError: Instruction "train" corresponds to no data!
# own                                         ValueError: Instruction "train" corresponds to no data!
