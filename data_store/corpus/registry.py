"""All that is done to the corpus in the order in which it is done, and the configs joined.

They are imported one by one, not looked for in the folder, so that the code which is recorded of the step holds them.
"""

from pydantic import Field

from data_store.corpus.blocked_words import BlockedWords, BlockedWordsConfig
from data_store.corpus.boilerplate import Boilerplate, BoilerplateConfig
from data_store.corpus.exact_duplicates import ExactDuplicates
from data_store.corpus.filter import Change, CorpusFilter, DocumentFilter, Filter
from data_store.corpus.garbage import Garbage, GarbageConfig
from data_store.corpus.language import LanguageConfig, OtherLanguage
from data_store.corpus.length import Length, LengthConfig
from data_store.corpus.near_duplicates import NearDuplicates, NearDuplicatesConfig
from data_store.corpus.personal_data import MaskPersonalData, PersonalData, PersonalDataConfig
from data_store.corpus.quality import REASON
from data_store.corpus.repair import MendEncoding, RepairConfig, StripMarkup
from data_store.corpus.repeated_lines import RepeatedLines, RepeatedLinesConfig
from data_store.corpus.repetition import Repetition, RepetitionConfig

CHANGES: tuple[Change, ...] = (MendEncoding(), StripMarkup(), MaskPersonalData())
DOCUMENT_FILTERS: tuple[DocumentFilter, ...] = (
    Length(),
    Garbage(),
    OtherLanguage(),
    Boilerplate(),
    PersonalData(),
    Repetition(),
    BlockedWords(),
)
CORPUS_FILTERS: tuple[CorpusFilter, ...] = (ExactDuplicates(), RepeatedLines(), NearDuplicates())
FILTERS: tuple[Filter, ...] = (*DOCUMENT_FILTERS, *CORPUS_FILTERS)
_OF_DOCUMENTS, _OF_CORPUS = (
    {reason: meaning for each in filters for reason, meaning in each.reasons.items()}
    for filters in (DOCUMENT_FILTERS, CORPUS_FILTERS)
)
REASONS = {**_OF_DOCUMENTS, **_OF_CORPUS}
WITH_QUALITY = {**_OF_DOCUMENTS, **REASON, **_OF_CORPUS}
"""The same where a quality classifier is asked, too: what costs most of each document by itself comes last of those."""
CHANGED = {what: meaning for each in CHANGES for what, meaning in each.counted.items()}


# the last base's fields come first
class FilterConfig(
    NearDuplicatesConfig,
    RepeatedLinesConfig,
    BlockedWordsConfig,
    RepetitionConfig,
    PersonalDataConfig,
    BoilerplateConfig,
    LanguageConfig,
    GarbageConfig,
    LengthConfig,
    RepairConfig,
):
    """What a document must be to stay in the corpus. Shares lie in [0, 1]."""

    memory_mb: int = Field(
        default=256,
        ge=64,
        description="Memory for the documents at hand and for what kept ones are known by; what does not fit lies in "
        "temporary files. It changes the time, never the result.",
    )


class FilterSectionConfig(FilterConfig):
    """The same as a person writes it, with what decides nothing of the result."""

    processes: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Processes of the step's machine that judge documents side by side; empty: as many as it has "
        "processors, at most 8, and one for each 64 MB of memory_mb. No part of what made a version",
    )
