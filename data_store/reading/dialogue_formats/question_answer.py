"""A question and its answer, as KoAlpaca and many sets of questions have them.

https://huggingface.co/datasets/beomi/KoAlpaca-v1.1a
"""

from data_store.reading.dialogue_formats.format import DialogueFormat, pair

QUESTION_ANSWER = DialogueFormat(
    "question_answer",
    "`question` and `answer`",
    lambda fields, _: {"question", "answer"} <= set(fields),
    lambda record, _: [pair(record, "question", "answer")],
)
