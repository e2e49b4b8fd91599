"""Dialogues out of a record's fields: the shapes in which they are handed round, and what is told beside them.

Read are messages of `role` and `content` (OpenAI's, where `developer` is the system, contents may be lists of texts and
thoughts stand in `reasoning_content`) and of `from` and `value` (ShareGPT's).
"""

from collections.abc import Mapping
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.source_files import Record
from data_store.rows import ROLES

Messages = list[dict[str, str]]

_ROLES = {**{role: role for role in ROLES}, "developer": "system"}
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "system": "system",
    **dict.fromkeys(("gpt", "assistant", "model", "bot", "chatgpt", "bing", "bard"), "assistant"),
}
_TOOLS = frozenset(
    {"tool", "function", "function_call", "function_response", "tool_call", "tool_response", "observation", "ipython"}
)
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_SYSTEM = ("system", "system_prompt")
_BESIDE = frozenset({*_SYSTEM, "weight", "tools", "images", "videos", "history"})


def messages_of(record: Record, field: str = "messages") -> Messages:
    """The messages in `field`; a single one may stand there without a list.

    Raises:
        InputError: it is no list of messages, or a role is not known.
        RefusedRowError: a message is of a tool (tool_turns), holds more than text (not_text), or is not to be learned
            (weight_0).
    """
    return messages_in(record, field, record.fields.get(field))


def messages_in(record: Record, name: str, value: Any) -> Messages:
    """The same of a value that `name` leads to. A system message that says nothing is none."""
    listed = [value] if isinstance(value, Mapping) else value
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{record.where}: field {name!r} must be a list of messages with role and content")
    messages = [_message(record, f"{name}[{number}]", each) for number, each in enumerate(listed)]
    if messages[0]["role"] == "system" and not messages[0]["content"].strip() and len(messages) > 1:
        return messages[1:]
    return messages


def prompt_in(record: Record, field: str) -> Messages:
    """A prompt given as text, or as messages."""
    if isinstance(record.fields.get(field), list):
        return messages_of(record, field)
    return [{"role": "user", "content": record.text(field).strip()}]


def prompt_of(record: Record, field: str = "prompt") -> Messages:
    """The prompt of a record that is given for its prompt alone: `messages`, `field`, an instruction with its input, a
    question, a goal (AdvBench), or a whole conversation up to the first answer."""
    fields = record.fields
    if field not in fields and isinstance(fields.get("messages"), list):
        return messages_of(record)
    if isinstance(fields.get(field), Mapping):  # RealToxicityPrompts
        return prompt_in(Record(f"{record.where} {field}", record.source, dict(fields[field])), "text")
    if field in fields:
        return prompt_in(record, field)
    for name in ("conversations", "conversation"):
        if isinstance(fields.get(name), list):
            of_texts = all(isinstance(each, str) for each in fields[name])
            begin = turns_of(record, name) if of_texts else messages_of(record, name)
            end = next((n for n, each in enumerate(begin) if each["role"] == "assistant"), len(begin))
            if not end:
                raise RefusedRowError("last_turn_not_user", "the conversation begins with the assistant")
            return begin[:end]
    name = next((name for name in ("instruction", "question", "goal") if name in fields), field)
    asked = record.text(name).strip()
    more = record.text("input").strip() if name == "instruction" and fields.get("input") is not None else ""
    return [{"role": "user", "content": f"{asked}\n\n{more}" if more else asked}]


def answer_in(record: Record, name: str, value: Any) -> str:
    """An answer given as text, as one message of the assistant, or as a list of one; null says nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return record.check_text(name, value).strip()
    messages = messages_in(record, name, value)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        said = ", ".join(message["role"] for message in messages)
        raise RefusedRowError("not_one_answer", f"{name} holds turns of {said}")
    return messages[0]["content"].strip()


def turns_of(record: Record, field: str, first: str = "user") -> Messages:
    """A dialogue given as a list of texts, by turns."""
    texts = record.fields.get(field)
    if not isinstance(texts, list) or not texts:
        raise InputError(f"{record.where}: field {field!r} must be a list of texts, the user's first")
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [
        {"role": roles[number % 2], "content": record.check_text(f"{field}[{number}]", text).strip()}
        for number, text in enumerate(texts)
    ]


def with_context(record: Record, messages: Messages) -> Messages:
    """The dialogue behind what the record says beside it: `system` or `system_prompt` as its system message, `history`
    as earlier turns, each of a question and an answer.

    Raises RefusedRowError where the dialogue has another system message (system_differs), and where the record asks not
    to be learned from (weight_0) or needs what is no text (tool_turns, not_text); InputError for anything else there.
    """
    if not record.fields.keys() & _BESIDE:
        return messages
    _check_weight(record, "weight", record.fields.get("weight"))
    for field, reason in (("tools", "tool_turns"), ("images", "not_text"), ("videos", "not_text")):
        if record.fields.get(field) not in (None, "", "[]", []):
            raise RefusedRowError(reason, f"field {field}")
    system = next((record.text(name).strip() for name in _SYSTEM if record.fields.get(name) not in (None, "")), "")
    own = messages[:1] if messages and messages[0]["role"] == "system" else []
    if system and own and own[0]["content"].strip() != system:
        raise RefusedRowError("system_differs", "the record and its dialogue have two")
    begin = own or ([{"role": "system", "content": system}] if system else [])
    return [*begin, *_history(record), *messages[len(own) :]]


def with_thoughts(record: Record, answer: str) -> str:
    """The answer behind the thoughts that the record holds for it."""
    return _thought(record, "", record.fields, answer)


def check_turns(messages: Messages) -> None:
    """Refuse what is no dialogue: after a system message user and assistant by turns, assistant last, none empty."""
    turns = [message["role"] for message in messages if message["role"] != "system"]
    if not turns or turns[-1] != "assistant":
        raise RefusedRowError("last_turn_not_assistant", f"the turns are {', '.join(turns) or 'none'}")
    if turns != ["user", "assistant"] * (len(turns) // 2) or any(m["role"] == "system" for m in messages[1:]):
        raise RefusedRowError("turns_do_not_alternate", f"the turns are {', '.join(m['role'] for m in messages)}")
    for number, message in enumerate(messages):
        if not message["content"].strip():
            raise RefusedRowError("empty_message", f"message {number} of the {message['role']}")


def _message(record: Record, name: str, message: Any) -> dict[str, str]:
    if isinstance(message, Mapping) and {"from", "value"} <= set(message):
        said, roles, keys = message["from"], _SPEAKERS, ("from", "value")
    elif isinstance(message, Mapping) and "role" in message and ("content" in message or message.get("tool_calls")):
        said, roles, keys = message["role"], _ROLES, ("role", "content")
    else:
        raise InputError(f"{record.where}: field {name!r} must have role and content")
    if not isinstance(said, str) or (said not in roles and said not in _TOOLS):
        known = ", ".join(ROLES if keys[0] == "role" else _SPEAKERS)
        raise InputError(f"{record.where}: field '{name}.{keys[0]}' is {said!r}; use one of {known}")
    if said in _TOOLS or message.get("tool_calls") or message.get("function_call"):
        raise RefusedRowError("tool_turns", f"{name} is of a tool")
    role = roles[said]
    content = _text(record, f"{name}.{keys[1]}", message.get(keys[1]))
    if role == "assistant":
        _check_weight(record, f"{name}.weight", message.get("weight"))
        content = _thought(record, f"{name}.", message, content)
    return {"role": role, "content": content}


def _text(record: Record, name: str, content: Any) -> str:
    """A content: text, null for none, or a list of parts of which all are texts."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return record.check_text(name, content)
    texts = list[str]()
    for number, part in enumerate(content):
        if isinstance(part, Mapping) and part.get("type", "text") != "text":
            raise RefusedRowError("not_text", f"{name}[{number}] is {str(part['type'])[:40]}")
        text = part.get("text") if isinstance(part, Mapping) else part
        texts.append(record.check_text(f"{name}[{number}]", text))
    return "".join(texts)


def _thought(record: Record, name: str, fields: Mapping[str, Any], answer: str) -> str:
    """Thoughts stand before their answer, as models say them."""
    for key in _THOUGHTS:
        if fields.get(key) not in (None, ""):
            return f"<think>\n{record.check_text(f'{name}{key}', fields[key]).strip()}\n</think>\n\n{answer}"
    return answer


def _check_weight(record: Record, name: str, weight: Any) -> None:
    if weight is None or weight == "":
        return
    if weight in (0, "0", "0.0"):
        raise RefusedRowError("weight_0", f"field {name}")
    if weight not in (1, "1", "1.0"):
        raise InputError(f"{record.where}: field {name!r} is {weight!r}; rows weigh 1, or 0 to be left out")


def _history(record: Record) -> Messages:
    """Earlier turns of the form [[question, answer], …]."""
    history = record.fields.get("history")
    if history in (None, "", [], "[]"):
        return []
    if not isinstance(history, list) or not all(isinstance(each, list) and len(each) == 2 for each in history):
        raise InputError(f"{record.where}: field 'history' must be a list of [question, answer]; fix or remove it")
    return [
        {"role": role, "content": record.check_text(f"history[{number}][{place}]", pair[place]).strip()}
        for number, pair in enumerate(history)
        for place, role in enumerate(("user", "assistant"))
    ]
