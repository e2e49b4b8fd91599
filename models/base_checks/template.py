"""The chat template of a model, through the renderer that the recipe uses: which dialogues it serves, and how a turn
ends."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from models.base_checks.finding import Finding
from models.dialogue import Message, Renderer
from models.tokenizer import ends_in

_ANSWER = "The lamp is lit."
_USER: Message = {"role": "user", "content": "Is the lamp lit?"}
_ASSISTANT: Message = {"role": "assistant", "content": _ANSWER}
_SYSTEM: Message = {"role": "system", "content": "Answer in one sentence."}
DIALOGUES: dict[str, tuple[Message, ...]] = {
    "one turn": (_USER,),
    "several turns": (_USER, _ASSISTANT, _USER),
    "system message": (_SYSTEM, _USER),
    "system message, several turns": (_SYSTEM, _USER, _ASSISTANT, _USER),
}
_UNSERVED = (ValueError, TemplateError, TypeError, LookupError)


def check_template(
    tokenizer: PreTrainedTokenizerBase, folder: Path, template_date: date | None = None
) -> tuple[Renderer, list[Finding]]:
    """The renderer, and what the template serves. Raises ValueError where it does not serve a single turn, and where a
    dialogue is not its prompt, the answer and the end of the turn. A template that asks for the date is told
    `template_date`."""
    try:
        renderer = Renderer(tokenizer, template_date)
        ends = _round_trip(renderer, DIALOGUES["one turn"])
    except _UNSERVED as error:
        raise ValueError(f"the chat template cannot be used: {error}") from None
    found = [Finding("end of turn", f"{_token(renderer, ends)}{_other_ends(renderer, ends, folder)}")]
    for name, messages in DIALOGUES.items():
        found.append(Finding(name, _served(renderer, messages)))
    return renderer, found


def _round_trip(renderer: Renderer, messages: Sequence[Message]) -> int:
    """The id that ends the model's turn. Raises ValueError unless the answered dialogue is prompt, answer and end."""
    prompt = renderer.prompt(messages)
    rendered = renderer.dialogue([*messages, _ASSISTANT])
    said = rendered.input_ids[len(prompt) :]
    if rendered.input_ids[: len(prompt)] != prompt or not all(rendered.loss_mask[len(prompt) :]):
        raise ValueError("the answered dialogue does not begin with the prompt that asks for the answer")
    if not said or said[-1] != renderer.end_ids[0]:
        raise ValueError(f"an answer does not end with {_token(renderer, renderer.end_ids[0])}, the end of a turn")
    if (text := renderer.response(said[:-1])) != _ANSWER:
        raise ValueError(f"the answer {_ANSWER!r} comes back as {text!r}")
    return said[-1]


def _served(renderer: Renderer, messages: Sequence[Message]) -> str:
    try:
        _round_trip(renderer, messages)
    except _UNSERVED as error:
        return f"not served: {error}"
    return "served"


def _other_ends(renderer: Renderer, end: int, folder: Path) -> str:
    """What generation_config.json stops at, where that is something else."""
    stops = set(ends_in(folder / "generation_config.json"))
    if not stops - {end}:
        return ""
    others = ", ".join(_token(renderer, each) for each in sorted(stops - {end}))
    if end in stops:
        return f"; generation_config.json stops at {others} as well"
    return f"; generation_config.json stops at {others} and not there: other tools will let this model run on"


def _token(renderer: Renderer, id: int) -> str:
    return f"{renderer.tokenizer.convert_ids_to_tokens(id)!r} ({id})"
