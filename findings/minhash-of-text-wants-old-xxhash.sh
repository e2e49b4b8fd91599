#!/bin/bash
# MinHash of datatrove with its default hash function raises a TypeError on every document where xxhash 4 is installed.
# datatrove names xxhash without a bound in its extra, so a fresh installation gets 4; with 3.8 the same lines work.
#
# datatrove 0.10.1, xxhash 4.1.0 and 3.8.2, Python 3.11. Source: datatrove/utils/hashes/xxhash.py gives text to
# xxh64_intdigest; xxhash took text as UTF-8 up to 3, and from 4 on takes bytes alone, as hashlib does.
# What avoids it: `xxhash<4`, or `HashConfig(hash_fc="sha1")`, whose function encodes by itself.
#
# Seen:
#   xxhash 4.1.0: TypeError: Strings must be encoded before hashing
#   xxhash 4.1.0, sha1: 112 hashes
#   xxhash 3.8.2: 112 hashes
#
# Ends with 0 while it is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
install datatrove==0.10.1 xxhash==4.1.0 tokenizers==0.23.1 nltk==3.10.4 spacy==3.8.18
cat >"$folder/signature.py" <<'PYTHON'
import sys
from importlib.metadata import version

from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig

name = sys.argv[1]
config = MinhashConfig(n_grams=5, hash_config=HashConfig(precision=64, hash_fc=name))
step = MinhashDedupSignature(output_folder="/nowhere", config=config)
told = f"xxhash {version('xxhash')}" + (f", {name}" if name != "xxhash" else "")
try:
    shingles = step.get_shingles("the quick brown fox jumps over the lazy dog and goes home again")
    print(f"{told}: {sum(map(len, step.get_signature(shingles)))} hashes")
except TypeError as error:
    print(f"{told}: TypeError: {error}")
PYTHON
run() { "$folder/venv/bin/python" "$folder/signature.py" "$1" 2>"$folder/errors" || { cat "$folder/errors"; return 1; }; }
{
    run xxhash
    run sha1
    install xxhash==3.8.2
    run xxhash
} >"$folder/seen"
cat "$folder/seen"
diff "$folder/seen" - <<'TEXT'
xxhash 4.1.0: TypeError: Strings must be encoded before hashing
xxhash 4.1.0, sha1: 112 hashes
xxhash 3.8.2: 112 hashes
TEXT
