"""Messages of role and content, as OpenAI's files and most sets of the hub have them."""

from data_store.reading.dialogue_formats.format import DialogueFormat
from data_store.reading.messages import messages_of

MESSAGES = DialogueFormat(
    "messages",
    "`messages` of role and content; thoughts may stand in `reasoning_content`",
    lambda fields, _: "messages" in fields,
    lambda record, _: [messages_of(record)],
)
