"""An input and an output."""

from data_store.reading.dialogue_formats.format import DialogueFormat, pair

INPUT_OUTPUT = DialogueFormat(
    "input_output",
    "`input` and `output`",
    lambda fields, _: {"input", "output"} <= set(fields),
    lambda record, _: [pair(record, "input", "output")],
)
