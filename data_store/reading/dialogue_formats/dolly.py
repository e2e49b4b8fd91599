"""Dolly: an instruction, its context and a response.

https://huggingface.co/datasets/databricks/databricks-dolly-15k
"""

from data_store.reading.dialogue_formats.format import DialogueFormat, pair

DOLLY = DialogueFormat(
    "dolly",
    "Dolly: `instruction`, `context` and `response`",
    lambda fields, _: {"instruction", "response"} <= set(fields),
    lambda record, _: [pair(record, "instruction", "response", "context")],
)
