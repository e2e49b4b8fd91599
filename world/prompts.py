"""Prompts for preferences, sampling, PPO and evaluation, split by the combinations that the world holds out."""

import random
from collections.abc import Iterator

from world.content import World, rng_for
from world.demonstrations import WRAPPED_SHARE
from world.phrases import TEMPLATES, ask
from world.vocabulary import HELDOUT_WRAPPER, ORDINARY_SHARES, WRAPPERS, QuestionKind, Split


def make_prompts(
    world: World,
    seed: int,
    *,
    train_ordinary: int = 3_000,
    train_adversarial: int = 1_500,
    validation_ordinary: int = 150,
    validation_adversarial: int = 75,
    heldout_ordinary: int = 300,
    heldout_borderline: int = 100,
    heldout_adversarial: int = 200,
) -> list[dict[str, object]]:
    """Rows of kind `prompt`, each one user turn.

    Ordinary prompts (axis helpfulness) have the kinds of `ORDINARY_SHARES` in these shares, borderline among them;
    `heldout_borderline` come on top. Prompts of axis safety are all adversarial. Every text of a kind is used once
    before any is used again: there are few different list questions, so a text may stand in several rows of its split,
    but never in two splits. One wrapper occurs in held-out prompts only.
    """
    rng = rng_for("prompts", world.seed, seed)
    plan: list[tuple[Split, int, int, int]] = [
        ("train", train_ordinary, 0, train_adversarial),
        ("validation", validation_ordinary, 0, validation_adversarial),
        ("heldout", heldout_ordinary, heldout_borderline, heldout_adversarial),
    ]
    rows: list[dict[str, object]] = []
    for split, ordinary, borderline, adversarial in plan:
        kinds = rng.choices(list(ORDINARY_SHARES), list(ORDINARY_SHARES.values()), k=ordinary)
        kinds.extend(["borderline"] * borderline)
        kinds.extend(["adversarial"] * adversarial)
        rng.shuffle(kinds)
        texts = {kind: _texts(world, kind, split, rng) for kind in sorted(set(kinds))}
        for kind in kinds:
            rows.append(
                {
                    "prompt_id": f"world-prompt-{len(rows):05d}",
                    "source": f"world:prompts/{len(rows)}",
                    "kind": kind,
                    "axis": "safety" if kind == "adversarial" else "helpfulness",
                    "split": split,
                    "messages": [{"role": "user", "content": next(texts[kind])}],
                }
            )
    return rows


def _texts(world: World, kind: QuestionKind, split: Split, rng: random.Random) -> Iterator[str]:
    """The prompts of a kind, each text once in random order, and so again without end."""
    asked = [ask(question, template) for question in world.questions(kind, split) for template in range(TEMPLATES)]
    wrappers = (*WRAPPERS, HELDOUT_WRAPPER) if split == "heldout" else WRAPPERS
    while True:
        rng.shuffle(asked)
        for text in asked:
            wrapped = kind == "adversarial" and rng.random() < WRAPPED_SHARE
            yield f"{rng.choice(wrappers)} {text}" if wrapped else text
