"""TRL's prompt and completion, as texts or as messages.

https://huggingface.co/docs/trl/dataset_formats#prompt-completion
"""

from data_store.reading.dialogue_formats.format import DialogueFormat
from data_store.reading.messages import answer_in, prompt_in

PROMPT_COMPLETION = DialogueFormat(
    "prompt_completion",
    "TRL's `prompt` and `completion`, texts or messages",
    lambda fields, _: {"prompt", "completion"} <= set(fields),
    lambda record, _: [
        [
            *prompt_in(record, "prompt"),
            {"role": "assistant", "content": answer_in(record, "completion", record.value("completion"))},
        ]
    ],
)
