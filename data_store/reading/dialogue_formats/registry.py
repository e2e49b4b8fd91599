"""All formats of dialogues, in the order in which a record is tried.

They are imported one by one, not looked for in the folder, so that the code which is recorded of the step holds them.
"""

from collections.abc import Mapping

from data_store.reading.dialogue_formats.alpaca import ALPACA
from data_store.reading.dialogue_formats.capybara import CAPYBARA
from data_store.reading.dialogue_formats.dolly import DOLLY
from data_store.reading.dialogue_formats.format import DialogueFormat
from data_store.reading.dialogue_formats.guanaco import GUANACO
from data_store.reading.dialogue_formats.input_output import INPUT_OUTPUT
from data_store.reading.dialogue_formats.messages import MESSAGES
from data_store.reading.dialogue_formats.openorca import OPENORCA
from data_store.reading.dialogue_formats.pair import PAIR
from data_store.reading.dialogue_formats.prompt_completion import PROMPT_COMPLETION
from data_store.reading.dialogue_formats.question_answer import QUESTION_ANSWER
from data_store.reading.dialogue_formats.self_instruct import SELF_INSTRUCT
from data_store.reading.dialogue_formats.sharegpt import SHAREGPT
from data_store.reading.dialogue_formats.turns import TURNS

DIALOGUE_FORMATS: Mapping[str, DialogueFormat] = {
    each.name: each
    for each in (
        MESSAGES,
        SHAREGPT,
        TURNS,
        CAPYBARA,
        SELF_INSTRUCT,
        PAIR,
        PROMPT_COMPLETION,
        DOLLY,
        OPENORCA,
        ALPACA,
        QUESTION_ANSWER,
        INPUT_OUTPUT,
        GUANACO,
    )
}
