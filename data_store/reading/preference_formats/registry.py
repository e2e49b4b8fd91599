"""All formats of preferences, in the order in which a file's records are tried, and their options joined.

They are imported one by one, not looked for in the folder, so that the code which is recorded of the step holds them.
"""

from collections.abc import Mapping

from data_store.reading.preference_formats.argilla import ARGILLA, ArgillaOptions
from data_store.reading.preference_formats.chatbot_arena import CHATBOT_ARENA
from data_store.reading.preference_formats.datasets import DATASETS
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.helpsteer import HELPSTEER
from data_store.reading.preference_formats.helpsteer_preference import HELPSTEER_PREFERENCE
from data_store.reading.preference_formats.hh import HH
from data_store.reading.preference_formats.kto import KTO
from data_store.reading.preference_formats.label_studio import LABEL_STUDIO, LabelStudioOptions
from data_store.reading.preference_formats.nectar import NECTAR
from data_store.reading.preference_formats.oasst import OASST, OasstOptions
from data_store.reading.preference_formats.oasst_flat import OASST_FLAT
from data_store.reading.preference_formats.openai_dpo import OPENAI_DPO
from data_store.reading.preference_formats.options import ScoreOptions
from data_store.reading.preference_formats.pku_saferlhf import PKU_SAFERLHF
from data_store.reading.preference_formats.rows import ROWS
from data_store.reading.preference_formats.safety_labels import SAFETY_LABELLED
from data_store.reading.preference_formats.scored_lists import SCORED_LISTS
from data_store.reading.preference_formats.shp import SHP
from data_store.reading.preference_formats.stack_exchange import STACK_EXCHANGE
from data_store.reading.preference_formats.summarize_feedback import SUMMARIZE_FEEDBACK
from data_store.reading.preference_formats.ultrafeedback import ULTRAFEEDBACK
from data_store.reading.preference_formats.webgpt import WEBGPT

FORMATS: Mapping[str, PreferenceFormat] = {
    each.name: each
    for each in (
        OASST,
        OASST_FLAT,
        ARGILLA,
        LABEL_STUDIO,
        ULTRAFEEDBACK,
        CHATBOT_ARENA,
        PKU_SAFERLHF,
        HELPSTEER_PREFERENCE,
        NECTAR,
        WEBGPT,
        SHP,
        SUMMARIZE_FEEDBACK,
        OPENAI_DPO,
        DATASETS,
        ROWS,
        HH,
        HELPSTEER,
        SCORED_LISTS,
        STACK_EXCHANGE,
        SAFETY_LABELLED,
        KTO,
    )
}
# on the command line a name is written with a hyphen
EXPORT_FORMATS: Mapping[str, PreferenceFormat] = {
    name.replace("_", "-"): each for name, each in FORMATS.items() if each.write is not None
}


# the last base's fields come first
class PreferenceOptions(LabelStudioOptions, ArgillaOptions, ScoreOptions, OasstOptions):
    """What the formats leave open. Each format reads its own."""
