"""OpenOrca: a system prompt, a question and a response.

https://huggingface.co/datasets/Open-Orca/OpenOrca
"""

from data_store.reading.dialogue_formats.format import DialogueFormat, pair

OPENORCA = DialogueFormat(
    "openorca",
    "OpenOrca: `system_prompt`, `question` and `response`",
    lambda fields, _: {"question", "response"} <= set(fields),
    lambda record, _: [pair(record, "question", "response")],
)
