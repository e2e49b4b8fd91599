#!/bin/bash
# The first value that is bound to a DuckDB statement imports pandas, and so does the first Python list that becomes a
# pyarrow array, wherever pandas happens to be installed.
#
# duckdb 1.5.5 and pyarrow 26.0.1 with pandas 3.1.1, Python 3.11. Neither needs pandas for this, and nobody asked for a
# data frame: a command of half a second takes one second, because a library that it uses (`datasets`) depends on pandas.
# Source: duckdb's conversion of parameters asks its import cache for pandas.NaT and pandas.NA before it looks at the
# kinds of values that it knows; pyarrow asks its pandas shim whether the sequence is a Series.
# What avoids it: queries that bind nothing, `fetchnumpy`, arrays that come from DuckDB.
#
# Ends with 0 while it is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.5 pyarrow==26.0.1 pandas==3.1.1
run() { "$folder/venv/bin/python" -c "import sys, time
$1
print('pandas' in sys.modules)"; }
check() {
  found=$(run "$2")
  echo "$1: pandas imported: $found"
  [ "$found" = "$3" ] || { echo "this has changed"; exit 1; }
}
check "duckdb, no value bound       " "import duckdb; duckdb.connect().execute('SELECT 1').fetchall()" False
check "duckdb, one number bound     " "import duckdb; duckdb.connect().execute('SELECT ?', [1]).fetchall()" True
check "duckdb, None bound           " "import duckdb; duckdb.connect().execute('SELECT ?', [None]).fetchall()" False
check "duckdb, result as numpy      " "import duckdb; duckdb.connect().execute('SELECT 1').fetchnumpy()" False
check "duckdb, result as arrow      " "import duckdb; duckdb.connect().execute('SELECT 1').to_arrow_table()" False
check "pyarrow, imported            " "import pyarrow" False
check "pyarrow, array of a list     " "import pyarrow; pyarrow.array([1])" True
check "pyarrow, array to numpy      " "import duckdb; duckdb.connect().execute('SELECT 1 a').to_arrow_table()['a'].to_numpy()" True
run "start = time.process_time(); import pandas; print(f'importing pandas takes {time.process_time() - start:.2f} s of the processor')" | head -1
