"""Alpaca: an instruction, an input and an output; `system` and `history` beside them, as LLaMA-Factory has them.

https://github.com/tatsu-lab/stanford_alpaca
"""

from data_store.reading.dialogue_formats.format import DialogueFormat, pair

ALPACA = DialogueFormat(
    "alpaca",
    "Alpaca: `instruction`, `input` and `output`, with `system` and `history`",
    lambda fields, _: "instruction" in fields,
    lambda record, _: [pair(record, "instruction", "output", "input")],
)
