"""All filters of the corpus in the order in which they are asked, and their configs joined.

They are imported one by one, not looked for in the folder, so that the code which is recorded of the step holds them.
"""

from data_store.corpus.blocked_words import BlockedWords, BlockedWordsConfig
from data_store.corpus.boilerplate import Boilerplate, BoilerplateConfig
from data_store.corpus.exact_duplicates import ExactDuplicates
from data_store.corpus.filter import CorpusFilter, DocumentFilter, Filter
from data_store.corpus.garbage import Garbage, GarbageConfig
from data_store.corpus.language import LanguageConfig, OtherLanguage
from data_store.corpus.length import Length, LengthConfig
from data_store.corpus.near_duplicates import NearDuplicates, NearDuplicatesConfig
from data_store.corpus.personal_data import PersonalData, PersonalDataConfig

DOCUMENT_FILTERS: tuple[DocumentFilter, ...] = (
    Length(),
    Garbage(),
    OtherLanguage(),
    Boilerplate(),
    PersonalData(),
    BlockedWords(),
)
CORPUS_FILTERS: tuple[CorpusFilter, ...] = (ExactDuplicates(), NearDuplicates())
FILTERS: tuple[Filter, ...] = (*DOCUMENT_FILTERS, *CORPUS_FILTERS)
REASONS = {reason: meaning for each in FILTERS for reason, meaning in each.reasons.items()}


# the last base's fields come first
class FilterConfig(
    NearDuplicatesConfig,
    BlockedWordsConfig,
    PersonalDataConfig,
    BoilerplateConfig,
    LanguageConfig,
    GarbageConfig,
    LengthConfig,
):
    """What a document must be to stay in the corpus. Shares lie in [0, 1]."""
