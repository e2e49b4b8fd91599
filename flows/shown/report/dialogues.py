"""Dialogues side by side over the iterations, chosen by a rule and not by hand."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_store.figures import figure, rate
from flows.shown.answered import Answered
from flows.shown.policies import Policy
from flows.shown.report.facts import Facts
from flows.shown.report.parts import Section

MOST = 10
_FOLDED = 600  # characters of a text beyond which it is folded
_CUT = 20_000  # characters of one text
_WORDS = 400  # of an answer that are compared
SCORE = "oracle_score"
_REFUSALS = ("false_refusal", "ordinary_refusal", "adversarial_refusal")
_SAYS = {"violation": "unsafe", **dict.fromkeys(_REFUSALS, "refused")}
_AGAINST = {1.0: "better than SFT", 0.5: "as good as SFT", 0.0: "worse than SFT"}


def dialogues(facts: Facts) -> Section:
    """Up to ten held-out prompts with the answer of each policy, and what the judge says of it."""
    found = [policy for policy in facts.policies if policy.answered.answers]
    if not found:
        return Section("dialogues", "Dialogues", ["No policy has answered held-out prompts yet."])
    first, last = found[0].answered, found[-1].answered
    chosen = choose(first, last)
    texts = [
        f"Chosen by a rule, {MOST} at most: of each group of held-out prompts the first by its id, then those whose "
        f"score by the judge differs most between {found[0].label} and {found[-1].label}, among equals those whose "
        "words do."
    ]
    shown = [_shown(key, first if key in first.prompts else last, found) for key in chosen]
    return Section("dialogues", "Dialogues", texts, extra={"dialogues": shown})


def choose(first: Answered, last: Answered, most: int = MOST) -> list[str]:
    """Prompt ids by the rule: the first of each group (axis and kind), then those that changed most, ties by id."""
    groups: dict[tuple[str, str], str] = {}
    for key in sorted(first.prompts.keys() & last.prompts.keys()):
        groups.setdefault((first.prompts[key]["axis"], first.prompts[key]["kind"]), key)
    chosen = sorted(groups.values())[:most]
    changes = changed(first, last)
    more = sorted(changes, key=lambda key: (*changes[key].order, key))
    return chosen + [key for key in more if key not in chosen][: most - len(chosen)]


@dataclass(frozen=True)
class Change:
    """How far two answers to one prompt lie apart: by the score of the judge, None where no one judge scored both, and
    by the share of words that are not the same, 0 to 1."""

    score: float | None
    words: float

    @property
    def order(self) -> tuple[float, float]:
        """Larger changes of the score come first, then larger ones of the words."""
        return -(self.score or 0.0), -self.words

    @property
    def is_any(self) -> bool:
        """Whether anything changed."""
        return bool(self.score) or self.words > 0


def changed(a: Answered, b: Answered, *, same_judge: bool = True) -> dict[str, Change]:
    """Of each prompt that both answered, by its id."""
    ours, theirs = (a.values.get(SCORE, {}), b.values.get(SCORE, {})) if same_judge else ({}, {})
    return {
        key: Change(
            abs(theirs[key] - ours[key]) if key in ours and key in theirs else None,
            distance(a.answers[key]["text"], b.answers[key]["text"]),
        )
        for key in a.answers.keys() & b.answers.keys()
    }


def distance(a: str, b: str) -> float:
    """1 minus the share of words that two texts have in common, in order (Ratcliff and Obershelp, as difflib has it);
    of long ones the first 400 words."""
    ours, theirs = a.split()[:_WORDS], b.split()[:_WORDS]
    return 1 - difflib.SequenceMatcher(None, ours, theirs, autojunk=False).ratio()


def folded(said: str) -> dict[str, Any]:
    """A text for the page: whole where it is short, else its beginning and the rest; of a very long one how many
    characters are left out."""
    kept = said[:_CUT]
    return {
        "head": kept[:_FOLDED] if len(kept) > _FOLDED else kept,
        "rest": kept[_FOLDED:] if len(kept) > _FOLDED else "",
        "left_out": figure(len(said) - len(kept)) if len(said) > len(kept) else "",
    }


def _shown(key: str, of: Answered, found: Sequence[Policy]) -> dict[str, Any]:
    prompt = of.prompts[key]
    return {
        "id": key,
        "group": f"{prompt['axis']}, {prompt['kind']}",
        "messages": [{"role": m["role"], **folded(m["content"])} for m in prompt["messages"]],
        "answers": [_answer(policy, key) for policy in found if key in policy.answered.answers],
    }


def _answer(policy: Policy, key: str) -> dict[str, Any]:
    answer, values = policy.answered.answers[key], policy.answered.values
    said = []
    score = values.get(SCORE, {}).get(key)
    for metric, word in _SAYS.items():
        if values.get(metric, {}).get(key) == 1:
            said.append(word)
    if (against := values.get("win_rate", {}).get(key)) in _AGAINST and policy.part != "V0":
        said.append(_AGAINST[float(str(against))])
    if not answer["finished"]:
        said.append("cut off at the length limit")
    return {
        "policy": policy.label,
        "judge": policy.judge,
        "run": policy.run.run.run_id,
        "score": score,
        "score_text": rate(score),
        "said": said,
        "text": folded(answer["text"]),
    }


def pair_shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A judged pair, with what was said of it and by whom."""
    return {
        "messages": [{"role": m["role"], **folded(m["content"])} for m in row["messages"]],
        "chosen": folded(row[f"response_{row['chosen']}"]),
        "rejected": folded(row["response_b" if row["chosen"] == "a" else "response_a"]),
        "rating": row["rating"].replace("_", " "),
        "label": (row["safety_label"] or "").replace("_", " "),
        "axis": row["axis"],
        "annotator": row["annotator"],
    }
