"""The kinds of rows: their pyarrow schemas, keys and allowed words, and the check that a table is of its kind.

Every id is text. Ratings and labels are stored as the annotator's word, never as a number. A response that was sampled
here is its token ids: `token_ids` with the identity of the tokenizer that they are ids of (`tokenizer`), and whether
the model said its end (`finished`). All three are null for what was not sampled here; the text is what people see.
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from data_store.errors import InputError
from data_store.row_kind import RowKind, schema_of

MESSAGES = pa.list_(pa.field("element", pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])))
ROLES = ("system", "user", "assistant")
AXES = ("helpfulness", "safety")
RATINGS = ("significantly_better", "better", "slightly_better", "negligibly_better")
SAFETY_LABELS = ("chosen_safe_other_unsafe", "both_safe", "both_unsafe")
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


_S, _I32, _I64, _F64, _BOOL = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()
_IDS = (pa.list_(pa.field("element", pa.int32())),)

ROW_KINDS: Mapping[str, RowKind] = {
    kind.name: kind
    for kind in (
        RowKind("document", schema_of(doc_id=_S, source=_S, text=_S), ("doc_id",)),
        RowKind("dropped", schema_of(doc_id=_S, source=_S, reason=_S, detail=_S), ("doc_id",)),
        RowKind(
            "dialogue",  # ids and finished are of the last message
            schema_of(
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
            schema_of(check=_S, found=_S, consequence=_S),
            ("check",),
            {"consequence": CONSEQUENCES},
        ),
        RowKind(
            "prompt",
            schema_of(prompt_id=_S, source=_S, kind=_S, axis=_S, split=_S, messages=MESSAGES),
            ("prompt_id",),
            {"axis": AXES, "split": ("train", "validation", "heldout")},
            ends_with_user=True,
        ),
        RowKind(
            "instruction",
            schema_of(instruction_id=_S, source=_S, text=_S, short=_S, kind=_S, split=_S),
            ("instruction_id",),
            {"split": ("train", "heldout")},
        ),
        RowKind(
            "pair",
            schema_of(
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
        RowKind(
            "preference",
            schema_of(
                preference_id=_S,
                source=_S,
                prompt_id=_S,
                axis=_S,
                iteration=_S,
                split=(_S,),
                messages=MESSAGES,
                response_a=_S,
                response_b=_S,
                token_ids_a=_IDS,
                token_ids_b=_IDS,
                finished_a=(_BOOL,),
                finished_b=(_BOOL,),
                tokenizer=(_S,),
                policy_version_a=(_S,),
                policy_version_b=(_S,),
                temperature_milli_a=(_I32,),
                temperature_milli_b=(_I32,),
                chosen=_S,
                rating=_S,
                safety_label=(_S,),
                annotator=_S,
            ),
            ("preference_id",),
            {
                "axis": AXES,
                "split": ("train", "heldout"),
                "chosen": ("a", "b"),
                "rating": RATINGS,
                "safety_label": SAFETY_LABELS,
            },
            ends_with_user=True,
        ),
        RowKind(
            "answer",
            schema_of(pair_id=_S, question=_S, answer=(_S,), refused=(_S,)),
            ("pair_id", "question"),
        ),
        RowKind(
            "attack",
            schema_of(
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
            schema_of(
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
            schema_of(
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
            schema_of(
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
            schema_of(response_id=_S, reward_version=_S, kind=_S, value=_F64),
            ("response_id", "reward_version", "kind"),
            {"kind": AXES},
        ),
    )
}


def row_kind(name: str) -> RowKind:
    """The kind of that name; raises InputError that lists the kinds there are."""
    if name not in ROW_KINDS:
        raise InputError(f"there is no row kind {name!r}: use one of {', '.join(ROW_KINDS)}")
    return ROW_KINDS[name]


def conform(table: pa.Table, kind: RowKind, where: str) -> pa.Table:
    """The table in the kind's columns and types, every rule checked. `where` names the file in messages.

    Raises InputError naming the row (counted from 0) and the field for: a missing or foreign column, a type that cannot
    be cast without loss, a null where none may be, a word that is not allowed, messages that are empty, have an unknown
    role or do not end as they must, token ids without their tokenizer, and a key that comes twice.
    """
    missing = [name for name in kind.schema.names if name not in table.column_names]
    foreign = [name for name in table.column_names if name not in kind.schema.names]
    if missing or foreign:
        raise InputError(
            f"{where}: not the columns of a {kind.name} row: missing {missing}, unknown {foreign}; "
            f"wanted are {', '.join(kind.schema.names)}"
        )
    columns = []
    for wanted in kind.schema:
        try:
            column = table.column(wanted.name).cast(wanted.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise InputError(f"{where}: field {wanted.name!r} must be {wanted.type}: {error}") from None
        if not wanted.nullable and column.null_count:
            row = pc.index(column.is_null(), value=True).as_py()
            raise InputError(f"{where}: row {row}: field {wanted.name!r} is empty; give it a value")
        columns.append(column)
    conformed = pa.table(columns, schema=kind.schema)
    for name, words in kind.words.items():
        _check_words(conformed.column(name), name, words, where)
    if "messages" in kind.schema.names:
        _check_messages(conformed.column("messages"), kind, where)
    if "tokenizer" in kind.schema.names:
        _check_sampled(conformed, where)
    _check_key(conformed, kind, where)
    return conformed


def _check_words(column: pa.ChunkedArray, name: str, words: tuple[str, ...], where: str) -> None:
    allowed = pc.or_(pc.is_in(column, value_set=pa.array(words)), column.is_null())
    row = pc.index(allowed, value=False).as_py()
    if row >= 0:
        raise InputError(
            f"{where}: row {row}: field {name!r} is {column[row].as_py()!r}; use one of {', '.join(words)}"
        )


def _check_sampled(table: pa.Table, where: str) -> None:
    """Ids say nothing without the tokenizer that they are of, nor whether an answer with ids was cut."""
    for name in table.column_names:
        if not name.startswith("token_ids"):
            continue
        sampled = table.column(name).is_valid()
        for beside in ("tokenizer", name.replace("token_ids", "finished")):
            row = pc.index(pc.and_(sampled, table.column(beside).is_null()), value=True).as_py()
            if row >= 0:
                raise InputError(f"{where}: row {row}: field {name!r} has ids, {beside!r} is empty; give both or none")


def _check_messages(column: pa.ChunkedArray, kind: RowKind, where: str) -> None:
    row = 0
    for chunk in column.chunks:
        lengths = chunk.value_lengths().to_pylist()
        messages = chunk.flatten()
        roles, contents = messages.field("role").to_pylist(), messages.field("content")
        if 0 in lengths:
            raise InputError(
                f"{where}: row {row + lengths.index(0)}: field 'messages' is an empty list; give a user turn"
            )
        if contents.null_count or messages.null_count or not set(roles) <= set(ROLES):
            row += _first_broken(lengths, [r in ROLES and c.is_valid for r, c in zip(roles, contents, strict=True)])
            raise InputError(
                f"{where}: row {row}: field 'messages' needs a role ({', '.join(ROLES)}) and a content in each turn"
            )
        if kind.ends_with_user:
            end = 0
            for offset, length in enumerate(lengths):
                end += length
                if roles[end - 1] != "user":
                    raise InputError(
                        f"{where}: row {row + offset}: field 'messages' ends with role {roles[end - 1]!r}; "
                        f"a {kind.name} must end with a user turn"
                    )
        row += len(chunk)


def _first_broken(lengths: list[int], sound: list[bool]) -> int:
    """The index of the list that holds the first unsound item."""
    item, end = sound.index(False), 0
    for row, length in enumerate(lengths):
        end += length
        if item < end:
            return row
    return len(lengths)


def _check_key(table: pa.Table, kind: RowKind, where: str) -> None:
    keys = table.select(kind.key)
    if keys.group_by(list(kind.key)).aggregate([]).num_rows == table.num_rows:
        return
    seen: dict[tuple[object, ...], int] = {}
    for row, key in enumerate(zip(*(keys.column(name).to_pylist() for name in kind.key), strict=True)):
        first = seen.setdefault(key, row)
        if first != row:
            raise InputError(f"{where}: row {row}: {kind.key} {key} is already the key of row {first}; make it unique")
