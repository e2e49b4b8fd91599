"""The kinds of rows: their pyarrow schemas, keys and allowed words. `row_checks.py` holds tables against them.

Every id is text. Ratings and labels are stored as the annotator's word, never as a number. A response that was sampled
here is its token ids: `token_ids` with the identity of the tokenizer that they are ids of (`tokenizer`), and whether
the model said its end (`finished`). All three are null for what was not sampled here; the text is what people see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from data_store.encoding import text_hash
from data_store.errors import InputError

MESSAGES = pa.list_(pa.field("element", pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])))
ROLES = ("system", "user", "assistant")
AXES = ("helpfulness", "safety")
RATINGS = ("significantly_better", "better", "slightly_better", "negligibly_better")
SAFETY_LABELS = ("chosen_safe_other_unsafe", "both_safe", "both_unsafe")
# Which of two responses refuse, where people are asked it: in evaluations, of prompts that only sound dangerous.
REFUSALS = ("neither", "a", "b", "both")
# Of a red team: how bad a response is (Llama 2, section 4.4, where the first two count as violations), which risk the
# attack aims at and by which way it comes (sections 4.2.1 and 4.3).
SEVERITIES = ("severe_violation", "violation", "safe_unhelpful", "safe_minor_issues", "safe_helpful")
VIOLATIONS = SEVERITIES[:2]
RISKS = (
    *("criminal_planning", "human_trafficking", "controlled_substances", "sexual_content", "unqualified_advice"),
    *("privacy", "weapons", "hate", "self_harm", "other"),
)
VECTORS = (
    *("direct", "hypothetical_question", "malformed_input", "extended_dialogue", "role_play", "false_premise"),
    *("psychological", "metaphor", "other_language", "other"),
)
# Of a judgement of an answer: how good it is, whether it is better than another, unsafe, or a refusal.
QUESTIONS = ("score", "better", "unsafe", "refused")
# Of what was found of a model: the recipe goes its usual way, or trains without several dialogues in one row.
ONE_DIALOGUE_A_ROW = "one_dialogue_a_row"
CONSEQUENCES = ("none", ONE_DIALOGUE_A_ROW)
# How an item of a benchmark is answered: by the likeliest of some choices, or by code in the manner of two benchmarks.
BENCHMARK_FORMS = ("choice", "humaneval", "mbpp", "task")


@dataclass(frozen=True)
class RowKind:
    """A kind of rows: schema (nullability included), columns whose values together are unique, and allowed words."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ends_with_user: bool = False

    @property
    def schema_hash(self) -> str:
        """sha256 over the field names, types and nullability, in order of name."""
        fields = sorted((f.name, str(f.type), f.nullable) for f in self.schema)
        return text_hash(repr((self.name, fields)))


def _schema(**types: pa.DataType | tuple[pa.DataType]) -> pa.Schema:
    """A schema; a type inside a 1-tuple is nullable."""
    return pa.schema(
        [
            pa.field(name, kind[0], nullable=True) if isinstance(kind, tuple) else pa.field(name, kind, nullable=False)
            for name, kind in types.items()
        ]
    )


_S, _I32, _I64, _F64, _BOOL = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()
_IDS = (pa.list_(pa.field("element", pa.int32())),)
_NAMES = pa.list_(pa.field("element", pa.string()))
_FLOATS = pa.list_(pa.field("element", pa.float64()))

_PREFERENCE: Mapping[str, pa.DataType | tuple[pa.DataType]] = {
    **dict.fromkeys(("preference_id", "source", "prompt_id", "axis", "iteration"), _S),
    "split": (_S,),
    "messages": MESSAGES,
    **{f"response_{side}": _S for side in "ab"},
    **{f"token_ids_{side}": _IDS for side in "ab"},
    **{f"finished_{side}": (_BOOL,) for side in "ab"},
    "tokenizer": (_S,),
    **{f"policy_version_{side}": (_S,) for side in "ab"},
    **{f"temperature_milli_{side}": (_I32,) for side in "ab"},
    "chosen": _S,
    "rating": _S,
    "safety_label": (_S,),
    "annotator": _S,
}
_JUDGED: Mapping[str, tuple[str, ...]] = {
    "axis": AXES,
    "split": ("train", "heldout"),
    "chosen": ("a", "b"),
    "rating": RATINGS,
    "safety_label": SAFETY_LABELS,
}

ROW_KINDS: Mapping[str, RowKind] = {
    kind.name: kind
    for kind in (
        RowKind("document", _schema(doc_id=_S, source=_S, text=_S), ("doc_id",)),
        RowKind("dropped", _schema(doc_id=_S, source=_S, reason=_S, detail=_S), ("doc_id",)),
        RowKind(  # the documents of a file before and after a stage of the corpus filter: mending, then each reason
            "corpus_stage",
            _schema(
                source=_S,
                place=_I32,
                stage=_S,
                **{f"{what}_{when}": _I64 for what in ("documents", "characters") for when in ("before", "after")},
            ),
            ("source", "stage"),
        ),
        RowKind(  # in how many documents of a sample of the corpus something is found; source: empty for all files
            "corpus_share",
            _schema(source=_S, about=_S, axis=_S, name=_S, documents=_I64, sampled=_I64),
            ("source", "about", "axis", "name"),
            {"about": ("language", "pronoun", "term")},
        ),
        RowKind(  # one of the first documents that were dropped for a reason: how it begins, mended and masked
            "dropped_example",
            _schema(doc_id=_S, source=_S, reason=_S, detail=_S, beginning=_S),
            ("doc_id",),
        ),
        RowKind(
            "dialogue",  # ids and finished are of the last message
            _schema(
                dialogue_id=_S,
                source=_S,
                kind=_S,
                messages=MESSAGES,
                token_ids=_IDS,
                finished=(_BOOL,),
                tokenizer=(_S,),
            ),
            ("dialogue_id",),
        ),
        RowKind(
            "finding",
            _schema(check=_S, found=_S, consequence=_S),
            ("check",),
            {"consequence": CONSEQUENCES},
        ),
        RowKind(
            "prompt",
            _schema(prompt_id=_S, source=_S, kind=_S, category=(_S,), axis=_S, split=_S, messages=MESSAGES),
            ("prompt_id",),
            {"axis": AXES, "split": ("train", "validation", "heldout")},
            ends_with_user=True,
        ),
        RowKind(
            "instruction",
            _schema(instruction_id=_S, source=_S, text=_S, short=_S, kind=_S, split=_S, check=(_S,)),
            ("instruction_id",),
            {"split": ("train", "heldout")},
        ),
        RowKind(
            "pair",
            _schema(
                pair_id=_S,
                source=_S,
                prompt_id=_S,
                axis=_S,
                iteration=_S,
                messages=MESSAGES,
                response_a=_S,
                response_b=_S,
                token_ids_a=_IDS,
                token_ids_b=_IDS,
                finished_a=_BOOL,
                finished_b=_BOOL,
                tokenizer=(_S,),
                policy_version_a=_S,
                policy_version_b=_S,
                temperature_milli_a=_I32,
                temperature_milli_b=_I32,
            ),
            ("pair_id",),
            {"axis": AXES},
            ends_with_user=True,
        ),
        RowKind("preference", _schema(**_PREFERENCE), ("preference_id",), _JUDGED, ends_with_user=True),
        RowKind(  # of a test set of reward models
            "test_pair",
            _schema(test_set=_S, **_PREFERENCE),
            ("test_set", "preference_id"),
            _JUDGED,
            ends_with_user=True,
        ),
        RowKind(  # what a reward model says of both answers of a pair that no model learned from
            "pair_score",
            _schema(
                test_set=_S,
                preference_id=_S,
                iteration=_S,
                model=_S,
                reward_version=_S,
                chosen_score=_F64,
                rejected_score=_F64,
                rating=_S,
                annotator=_S,
            ),
            ("test_set", "iteration", "preference_id", "model"),
            {"model": AXES, "rating": RATINGS},
        ),
        RowKind(  # what one person said of a pair of an evaluation; nothing chosen: the adjudicator dropped the pair
            "opinion",
            _schema(
                opinion_id=_S,
                batch=_S,
                question_id=_S,
                prompt_id=_S,
                axis=_S,
                response_a=_S,
                response_b=_S,
                chosen=(_S,),
                rating=(_S,),
                safety_label=(_S,),
                refusing=(_S,),
                annotator=_S,
                decision=_BOOL,
            ),
            ("opinion_id",),
            {
                "axis": AXES,
                "chosen": ("a", "b"),
                "rating": RATINGS,
                "safety_label": SAFETY_LABELS,
                "refusing": REFUSALS,
            },
        ),
        RowKind(
            "answer",
            _schema(pair_id=_S, question=_S, answer=(_S,), refused=(_S,)),
            ("pair_id", "question"),
        ),
        RowKind(
            "attack",
            _schema(
                attack_id=_S,
                source=_S,
                iteration=_S,
                policy_version=_S,
                annotator=_S,
                messages=MESSAGES,
                response=_S,
                finished=_BOOL,
                temperature_milli=_I32,
                seed=_I64,
                severity=_S,
                risk=_S,
                vector=_S,
                seconds=_F64,
            ),
            ("attack_id",),
            {"severity": SEVERITIES, "risk": RISKS, "vector": VECTORS},
            ends_with_user=True,
        ),
        RowKind(
            "response",
            _schema(
                response_id=_S,
                prompt_id=_S,
                iteration=_S,
                policy_version=_S,
                temperature_milli=_I32,
                seed=_I64,
                text=_S,
                token_ids=_IDS,
                finished=_BOOL,
                tokenizer=(_S,),
                messages=MESSAGES,
            ),
            ("response_id",),
        ),
        RowKind(  # what a judge said of a policy's answer to a held-out prompt
            "judgement",
            _schema(
                prompt_id=_S,
                judge=_S,
                question=_S,
                against=(_S,),
                value=(_F64,),
                first_order=(_F64,),
                second_order=(_F64,),
                refused=(_S,),
            ),
            ("prompt_id", "judge", "question", "against"),
            {"question": QUESTIONS},
        ),
        RowKind(  # what judges of evaluations are asked; `other` is the answer that the response is compared with
            "question",
            _schema(
                question_id=_S,
                prompt_id=_S,
                question=_S,
                against=(_S,),
                axis=_S,
                kind=_S,
                messages=MESSAGES,
                response=_S,
                finished=_BOOL,
                other=(_S,),
                other_finished=(_BOOL,),
            ),
            ("question_id",),
            {"question": QUESTIONS, "axis": AXES},
            ends_with_user=True,
        ),
        RowKind(
            "score",
            _schema(response_id=_S, reward_version=_S, kind=_S, value=_F64),
            ("response_id", "reward_version", "kind"),
            {"kind": AXES},
        ),
        RowKind(  # an answer of PPO at a look at validation prompts: its reward, and KL to the reference in nats
            "look",
            _schema(
                training_step=_I32,
                prompt_id=_S,
                axis=_S,
                messages=MESSAGES,
                text=_S,
                token_ids=_IDS,
                finished=_BOOL,
                tokenizer=(_S,),
                reward=_F64,
                kl=_F64,
            ),
            ("training_step", "prompt_id"),
            {"axis": AXES},
            ends_with_user=True,
        ),
        RowKind(  # an adversarial prompt answered with and without a safety pre-prompt; scores as the model gives them
            "distillation",
            _schema(
                **dict.fromkeys(("prompt_id", "category", "preprompt", "plain", "distilled", "fate"), _S),
                plain_score=_F64,
                distilled_score=_F64,
            ),
            ("prompt_id",),
            {"fate": ("kept", "no_rise", "cut")},
        ),
        RowKind(
            "item_overlap",  # of an item of an evaluation set with training data; lengths in tokens
            _schema(
                evaluation_set=_S,
                item_id=_S,
                tokens=_I32,
                contaminated=_I32,
                share=_F64,
                longest=_I32,
                longest_share=_F64,
                longest_text=_S,
                documents=_NAMES,
            ),
            ("evaluation_set", "item_id"),
        ),
        RowKind(
            "benchmark_item",
            _schema(
                benchmark=_S,
                suite=_S,
                item_id=_S,
                source=_S,
                form=_S,
                prompt=_S,
                choices=(_NAMES,),
                answer=(_I32,),
                tests=(_S,),
                entry_point=(_S,),
            ),
            ("benchmark", "item_id"),
            {"form": BENCHMARK_FORMS},
        ),
        RowKind(
            # log-probabilities of the choices in nats; `detail` is how a program ended; `cut`: not read whole
            "benchmark_result",
            _schema(
                benchmark=_S,
                suite=_S,
                item_id=_S,
                draw=_I32,
                policy_version=_S,
                score=_F64,
                normalised_score=(_F64,),
                logprobs=(_FLOATS,),
                response=(_S,),
                detail=(_S,),
                cut=_BOOL,
            ),
            ("benchmark", "item_id", "draw"),
        ),
    )
}


def row_kind(name: str) -> RowKind:
    """The kind of that name; raises InputError that lists the kinds there are."""
    if name not in ROW_KINDS:
        raise InputError(f"there is no row kind {name!r}: use one of {', '.join(ROW_KINDS)}")
    return ROW_KINDS[name]
