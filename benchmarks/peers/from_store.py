"""Models and data of a finished run, laid out so that any library can read them."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODELS = {"policy": "policy-sampled", "safety": "reward-safety", "helpfulness": "reward-helpfulness"}


def lay_out(store: Path, folder: Path, *, prompts: int = 0, dialogues: int = 0, pairs: int = 0) -> None:
    """The models of the last iteration; so many prompts in prompts.json, a third of them adversarial, demonstrations in
    dialogues.json and judged pairs in pairs.json, each as token ids.

    Raises SystemExit where the store lacks one.
    """
    from data_store.names import AssetName
    from data_store.store import Store
    from tasks.answers import dialogue_ids, open_renderer
    from tasks.train_reward import sides

    opened = Store.open(store)
    heads = opened.heads()
    last = max(
        (name.part for name in heads if name.name == "policy-sampled"), key=lambda part: int(part[1:]), default="V1"
    )

    def version(kind: str, name: str, part: str) -> str:
        found = next((head.version_id for asset, head in heads.items() if asset == AssetName(kind, name, part)), None)
        if found is None:
            raise SystemExit(f"{store} has no {kind}/{name}@{part}: give the store of a finished run with PPO")
        return found

    def drawn(name: str, part: str, count: int, **wanted: str) -> list[dict[str, Any]]:
        rows = opened.rows(version("dataset", name, part)).to_pylist()
        fit = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
        if len(fit) < count:
            raise SystemExit(f"{store}: dataset/{name}@{part} has {len(fit)} rows that fit, {count} are needed")
        return random.Random(0).sample(fit, count)

    for name, kept in MODELS.items():
        (folder / name).symlink_to(opened.checkout(version("model", kept, last)))
    renderer = open_renderer(folder / "policy")

    def asked() -> Iterator[dict[str, Any]]:
        for axis, count in (("safety", prompts // 3), ("helpfulness", prompts - prompts // 3)):
            for row in drawn("prompts", "base", count, split="train", axis=axis):
                yield {"ids": renderer.prompt(row["messages"]), "is_safety": axis == "safety"}

    def learned() -> Iterator[dict[str, Any]]:
        for row in drawn("demonstrations", "base", dialogues):
            for each in renderer.dialogues(row["messages"]):
                yield {"input_ids": each.input_ids, "loss_mask": each.loss_mask}

    def judged() -> Iterator[dict[str, Any]]:
        for row in drawn("preferences", last, pairs):
            prompt = renderer.prompt(row["messages"])
            chosen, rejected = (dialogue_ids(renderer, *side).input_ids[len(prompt) :] for side in sides(row))
            yield {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}

    for name, rows in (("prompts", asked()), ("dialogues", learned()), ("pairs", judged())):
        (folder / f"{name}.json").write_text(json.dumps(list(rows)))


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """What `lay_out` wrote."""
    rows: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())
    return rows
