"""How fast documents are held against evaluation samples: `python -m benchmarks.contamination [MEGABYTES] [SAMPLES]`.

Texts of words as they are distributed in texts (Zipf), a tokenizer trained on them, 1 in 1,000 documents with a sample
in it. Printed are the speeds of reading tokens and of the search alone, the memory, and what was found of the planted.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.memory import peak_memory
from models.algorithms.overlap import OverlapSearch
from models.config import TokenizerConfig
from models.tokenizer import train_tokenizer
from models.word_encoder import WordEncoder


def main() -> None:
    """Print one line a figure."""
    megabytes, samples = (int(sys.argv[k]) if len(sys.argv) > k else default for k, default in ((1, 40), (2, 2000)))
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(20_000)])
    weights = 1 / np.arange(1, len(words) + 1)
    weights /= weights.sum()

    def text(length: int) -> str:
        return " ".join(words[rng.choice(len(words), length, p=weights)])

    with tempfile.TemporaryDirectory() as folder:
        config = TokenizerConfig(vocab_size=8000)
        tokenizer = train_tokenizer([text(200) for _ in range(2000)], Path(folder), config, seed=0)
        asked = [text(60) for _ in range(samples)]
        encode = WordEncoder(tokenizer).encode_all
        search = OverlapSearch(encode(asked))
        size, documents, tokens, reading, looking, planted = 0, 0, 0, 0.0, 0.0, set()
        while size < megabytes * 1_000_000:
            batch = [text(400) for _ in range(1000)]
            number = int(rng.integers(samples))
            planted.add(number)
            batch[0] += f" {asked[number]} {text(20)}"
            size += sum(map(len, batch))
            started = time.perf_counter()
            read = encode(batch)
            between = time.perf_counter()
            search.add([f"d{documents + place}" for place in range(len(batch))], read)
            reading, looking = reading + between - started, looking + time.perf_counter() - between
            documents, tokens = documents + len(batch), tokens + sum(map(len, read))
        started = time.perf_counter()
        found = search.overlaps()
        looking += time.perf_counter() - started
    hit = {number for number, each in enumerate(found) if each.share >= 0.8}
    clean = sum(each.share > 0 for number, each in enumerate(found) if number not in planted)
    print(f"{size / 1e6:.0f} MB, {tokens / 1e6:.1f} M tokens, {documents:,} documents, {samples:,} samples")
    print(f"tokens are read at {size / 1e6 / reading:.1f} MB/s, searched at {size / 1e6 / looking:.1f} MB/s")
    print(f"together {size / 1e6 / (reading + looking):.1f} MB/s")
    print(f"planted {len(planted)}, found {len(hit & planted)}; of {samples - len(planted)} others {clean} touched")
    print(f"peak memory {peak_memory() / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
