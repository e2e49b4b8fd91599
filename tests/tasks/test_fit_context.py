"""Rows that the chat template of a base model does not serve are named, with their file, before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from models.tokenizer import load_tokenizer
from tasks.fit_context import FitStepConfig, fit_context
from tests.models.conftest import CORPUS
from tests.models.llama3_files import TEMPLATE, write_llama3_tokenizer
from tests.tasks.bench import step_run

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Who keeps the lamp?"}
ASSISTANT = {"role": "assistant", "content": "I do."}
REFUSES = "the chat template refuses a dialogue of the roles"
RULES = {
    "no system message": "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}",
    "one turn": "{% if messages | length > 2 %}{{ raise_exception('one turn alone') }}{% endif %}",
}


@pytest.mark.parametrize(
    ("rule", "role", "messages", "message"),
    [
        (
            "no system message",
            "demonstrations",
            [SYSTEM, USER, ASSISTANT],
            "demonstration r2: refuses system, user",
        ),
        (
            "no system message",
            "prompts",
            [SYSTEM, USER],
            "prompt r2: refuses system, user: no",
        ),
        (
            "one turn",
            "prompts",
            [USER, ASSISTANT, USER],
            "prompt r2: refuses user, assistant, user: one turn alone",
        ),
        (
            "one turn",
            "demonstrations",
            [USER, ASSISTANT, USER, ASSISTANT],
            "demonstration r2: refuses user, assistant, user",
        ),
    ],
)
def test_a_row_that_the_template_does_not_serve_is_named(
    tmp_path: Path, rule: str, role: str, messages: list[dict[str, str]], message: str
) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    tokenizer = load_tokenizer(write_llama3_tokenizer(CORPUS, folder))
    tokenizer.chat_template = RULES[rule] + TEMPLATE
    tokenizer.save_pretrained(folder)
    sound = [USER] if role == "prompts" else [USER, ASSISTANT]
    inputs: dict[str, Any] = {"tokenizer": folder, role: rows(role, sound, messages)}
    run = step_run(tmp_path, inputs=inputs, outputs={key: fit_context.outputs[key] for key in (role, "dropped")})
    with pytest.raises(InputError) as caught:
        fit_context.function(run, FitStepConfig(splits=(), dialogue_tokens=200, prompt_tokens=200, pair_tokens=200))
    assert str(caught.value).startswith(f"rows.jsonl:2: {message.replace('refuses', REFUSES)}")
    assert "Change or remove the row" in str(caught.value)


def rows(role: str, *dialogues: list[dict[str, str]]) -> tuple[str, list[dict[str, Any]]]:
    more = {"axis": "safety", "split": "train"} if role == "prompts" else {}
    kind = {"prompts": "prompt", "demonstrations": "dialogue"}[role]
    found = []
    for number, messages in enumerate(dialogues, start=1):
        names = {f"{kind}_id": f"r{number}", "source": f"rows.jsonl:{number}", "kind": "x", "messages": messages}
        found.append({**names, **more})
    return kind, found
