"""All formats of preferences, in the order in which a file's first record is tried, and their options joined.

They are imported one by one, not looked for in the folder, so that the code which is recorded of the step holds them.
"""

from collections.abc import Mapping

from data_store.reading.preference_formats.argilla import ARGILLA, ArgillaOptions
from data_store.reading.preference_formats.datasets import DATASETS
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.helpsteer import HELPSTEER
from data_store.reading.preference_formats.hh import HH
from data_store.reading.preference_formats.label_studio import LABEL_STUDIO, LabelStudioOptions
from data_store.reading.preference_formats.oasst import OASST, OasstOptions
from data_store.reading.preference_formats.options import ScoreOptions
from data_store.reading.preference_formats.rows import ROWS
from data_store.reading.preference_formats.ultrafeedback import ULTRAFEEDBACK

FORMATS: Mapping[str, PreferenceFormat] = {
    each.name: each
    for each in (
        OASST,
        ULTRAFEEDBACK,
        ARGILLA,
        LABEL_STUDIO,
        DATASETS,
        ROWS,
        HH,
        HELPSTEER,
    )
}
# on the command line a name is written with a hyphen
EXPORT_FORMATS: Mapping[str, PreferenceFormat] = {
    name.replace("_", "-"): each for name, each in FORMATS.items() if each.write is not None
}


# the last base's fields come first
class PreferenceOptions(LabelStudioOptions, ArgillaOptions, ScoreOptions, OasstOptions):
    """What the formats leave open. Each format reads its own."""
