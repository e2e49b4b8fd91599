"""Whether a safety score has a level, or only an order.

A ranking loss fixes differences of scores alone: 0.15 (Llama 2, section 3.2.3) means something only where labelled
responses have taught the model which score is an unsafe one. The step that trains a safety model writes beside it from
how many; whoever compares a score with a threshold asks here.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_FILE = "safety-level.json"


def write_level(folder: Path, pairs: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Keep how many safe and unsafe responses the model in `folder` learned from, and return it."""
    labels = [row["safety_label"] for row in pairs if row["safety_label"]]
    unsafe = 2 * labels.count("both_unsafe") + labels.count("chosen_safe_other_unsafe")
    learned = {"safe": 2 * len(labels) - unsafe, "unsafe": unsafe}
    (folder / _FILE).write_text(json.dumps(learned))
    return learned


def threshold_of(folder: Path, wanted: float) -> float:
    """`wanted` where the safety model in `folder` learned both from safe and from unsafe responses, else 0: then the
    safety model decides on safety prompts alone."""
    file = folder / _FILE
    learned = json.loads(file.read_text()) if file.exists() else {}
    return wanted if min(learned.get("safe", 0), learned.get("unsafe", 0)) > 0 else 0.0
