"""Chat templates: which dialogues they serve, how a turn ends, and the date."""

import json
from datetime import date
from pathlib import Path

import pytest
from tokenizers import normalizers
from transformers import PreTrainedTokenizerBase

from models.base_checks.template import check_template
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer

SAY = "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] }}<|eot_id|>"
ASK = "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
PLAIN = "{% for message in messages %}" + SAY + "{% endfor %}" + ASK


@pytest.fixture
def opened(llama3_folder: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(llama3_folder)


def with_template(tokenizer: PreTrainedTokenizerBase, template: str) -> PreTrainedTokenizerBase:
    tokenizer.chat_template = template
    return tokenizer


def served(tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, str]:
    return {each.check: each.found for each in check_template(tokenizer, folder)[1]}


def test_what_a_template_serves_is_told(any_renderer: Renderer, tmp_path: Path) -> None:
    found = served(any_renderer.tokenizer, tmp_path)
    assert found["one turn"] == found["several turns"] == "served"
    assert found["end of turn"].startswith(repr(any_renderer.tokenizer.eos_token))


@pytest.mark.parametrize(
    ("rule", "unserved"),
    [
        ("messages[0]['role'] == 'system'", {"system message", "system message, several turns"}),
        ("messages | length > 2", {"several turns", "system message", "system message, several turns"}),
        ("messages | length > 3", {"several turns", "system message, several turns"}),
    ],
)
def test_what_a_template_raises_for_is_told_and_is_no_failure(
    opened: PreTrainedTokenizerBase, tmp_path: Path, rule: str, unserved: set[str]
) -> None:
    template = "{% if " + rule + " %}{{ raise_exception('not such a dialogue') }}{% endif %}" + PLAIN
    found = served(with_template(opened, template), tmp_path)
    told = {name for name, text in found.items() if text.startswith("not served: ") and "not such a dialogue" in text}
    assert told == unserved
    assert {name for name, text in found.items() if text == "served"} == set(found) - unserved - {"end of turn"}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "no chat template"),
        ("{{ raise_exception('nobody is served') }}", "nobody is served"),
        ("{% for message in %}", "the chat template cannot be used: "),
        ("{{ messages[0].nothing.at_all }}", "the chat template cannot be used: "),
    ],
    ids=["none", "raises", "broken", "unknown names"],
)
def test_a_template_that_cannot_be_learned_from_is_refused(
    opened: PreTrainedTokenizerBase, tmp_path: Path, template: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_template(with_template(opened, template), tmp_path)


def test_a_tokenizer_that_changes_the_words_is_refused(opened: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    opened.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(ValueError, match=r"the answer 'The lamp is lit.*' comes back as 'the lamp"):
        check_template(with_template(opened, PLAIN), tmp_path)


@pytest.mark.parametrize(("written", "end"), [("", "<|eot_id|>"), ("<|end_of_text|>", "<|end_of_text|>")])
def test_a_turn_ends_with_what_the_template_writes_or_the_end_of_sequence_where_it_writes_none(
    opened: PreTrainedTokenizerBase, tmp_path: Path, written: str, end: str
) -> None:
    found = served(with_template(opened, PLAIN.replace("<|eot_id|>", written)), tmp_path)
    assert found["end of turn"].startswith(repr(end))
    assert found["one turn"] == "served"


@pytest.mark.parametrize("form", ["%d %B %Y", "%Y-%m-%d", "%H:%M", "%A"])
def test_a_template_that_asks_the_clock_is_told_the_runs_date(
    opened: PreTrainedTokenizerBase, tmp_path: Path, form: str
) -> None:
    dated = with_template(opened, f"Today is {{{{ strftime_now('{form}') }}}}.\n{PLAIN}")
    renderer, found = check_template(dated, tmp_path, date(2025, 3, 9))
    text = renderer.tokenizer.decode(renderer.prompt([{"role": "user", "content": "x"}]))
    assert text.startswith(f"Today is {date(2025, 3, 9):{form}}.")
    assert {each.found for each in found if each.check == "one turn"} == {"served"}


def test_a_template_that_takes_the_date_that_it_is_given_passes(
    opened: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    dated = "Today is {{ date_string or strftime_now('%d %B %Y') }}.\n" + PLAIN
    assert served(with_template(opened, dated), tmp_path)["one turn"] == "served"


@pytest.mark.parametrize(
    ("stops", "told"),
    [
        (None, ""),
        ("<|eot_id|>", ""),
        (["<|eot_id|>", "<|end_of_text|>"], "stops at '<|end_of_text|>' (ID) as well"),
        ("<|end_of_text|>", "stops at '<|end_of_text|>' (ID) and not there: other tools will let this model run on"),
    ],
)
def test_where_other_tools_stop_is_told(
    opened: PreTrainedTokenizerBase, tmp_path: Path, stops: str | list[str] | None, told: str
) -> None:
    if stops is not None:
        ids = opened.convert_tokens_to_ids(stops)
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    end = served(with_template(opened, PLAIN), tmp_path)["end of turn"]
    own = f"'<|eot_id|>' ({opened.eos_token_id})"
    other = str(opened.convert_tokens_to_ids("<|end_of_text|>"))
    assert end == own + (f"; generation_config.json {told.replace('ID', other)}" if told else "")


def test_a_generation_config_that_is_cut_is_refused(opened: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"eos_')
    with pytest.raises(ValueError, match=r"generation_config.json: it is no JSON with keys and values"):
        check_template(with_template(opened, PLAIN), tmp_path)
