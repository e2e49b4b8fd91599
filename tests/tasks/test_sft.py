"""V0: what the step takes from a base model, and what it learns."""

import json
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from models.config import SFTConfig
from models.tokenizer import load_tokenizer
from tasks.answers import open_renderer
from tasks.engine.step import Output
from tasks.sft import SFTStepConfig, sft
from tests.tasks.bench import step_run
from tests.tasks.little_policy import little_policy

DATED = (
    "Today is {{ strftime_now('%Y-%m-%d') }}."
    "{%- for m in messages -%}{{- bos_token + m.content + eos_token -}}{%- endfor -%}"
)
# An earlier answer is shown without its words.
FORGETFUL = (
    "{%- for m in messages -%}{{- bos_token + m.role + ' ' -}}"
    "{{- (m.content if m.role == 'user' or loop.last else '...') + eos_token -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- bos_token + 'assistant ' -}}{%- endif -%}"
)
WORDS = (("user", "be kind"), ("assistant", "the llama"), ("user", "ask"), ("assistant", "never spits"))
DIALOGUE = [{"role": role, "content": content} for role, content in WORDS]


def with_template(folder: Path, template: str) -> Path:
    """The little policy as a base model with another chat template."""
    base = little_policy(folder)
    tokenizer: PreTrainedTokenizerBase = load_tokenizer(base)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(base)
    return base


def run(folder: Path, base: Path, rows: list[dict[str, Any]] | None, config: SFTStepConfig) -> dict[str, float]:
    """The step's metrics; its policy lies in out/policy."""
    inputs: dict[str, Any] = {"base": base} | ({} if rows is None else {"demonstrations": ("dialogue", rows)})
    made = step_run(folder, inputs=inputs, outputs={"policy": Output("model")}, part="V0")
    return dict(sft.function(made, config))


@pytest.mark.parametrize("day", [date(2024, 7, 26), date(2025, 3, 9)])
def test_the_date_that_the_config_gives_goes_with_the_policy(tmp_path: Path, day: date) -> None:
    base = with_template(tmp_path / "base", DATED)
    run(tmp_path / "run", base, None, SFTStepConfig(training=SFTConfig(), template_date=day))
    policy = tmp_path / "run" / "out" / "policy"
    assert json.loads((policy / "tokenizer_config.json").read_text())["template_date"] == day.isoformat()
    renderer = open_renderer(policy)
    assert f"Today is {day.isoformat()}." in str(renderer.tokenizer.decode(renderer.prompt(DIALOGUE[:1])))
    assert renderer.identity == open_renderer(base, day).identity


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_demonstrations_the_policy_is_the_base_to_the_bit_whatever_is_trained_in(
    tmp_path: Path, dtype: Literal["float32", "bfloat16"]
) -> None:
    base = little_policy(tmp_path / "base")
    weights = {name: weight.bfloat16() for name, weight in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    run(tmp_path / "run", base, None, SFTStepConfig(training=SFTConfig(dtype=dtype)))
    made = load_file(tmp_path / "run" / "out" / "policy" / "model.safetensors")
    assert made.keys() == weights.keys()
    for name, weight in weights.items():
        assert torch.equal(made[name], weight.float()), name


@pytest.mark.slow
def test_each_answer_is_learned_in_a_row_of_its_own_where_the_template_rewrites_turns(tmp_path: Path) -> None:
    base = with_template(tmp_path / "base", FORGETFUL)
    rows = [{"dialogue_id": "d1", "source": "d.jsonl:1", "kind": "import", "messages": DIALOGUE}]
    config = SFTStepConfig(training=SFTConfig(sequence_length=64, batch_size=1, epochs=1))
    assert run(tmp_path / "run", base, rows, config)["dialogues"] == 2.0
