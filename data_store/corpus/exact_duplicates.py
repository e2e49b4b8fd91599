"""The same text as an earlier document."""

from data_store.corpus.filter import Corpus, CorpusFilter

_EXACT_DUPLICATES = """
INSERT INTO verdicts
WITH normalised AS (
    SELECT place, doc_id, md5(trim(lower(regexp_replace(nfc_normalize(text), '\\s+', ' ', 'g')))) AS content
    FROM documents ANTI JOIN verdicts USING (place)
), first AS (
    SELECT content, min(place) AS place, arg_min(doc_id, place) AS doc_id FROM normalised GROUP BY content
)
SELECT normalised.place, 'exact_duplicate', 'of ' || first.doc_id
FROM normalised JOIN first USING (content) WHERE normalised.place > first.place
"""


class ExactDuplicates(CorpusFilter):
    """The first one stays."""

    reasons = {"exact_duplicate": "the same text but for case and white space as an earlier document"}

    def drop(self, corpus: Corpus) -> None:
        """By a hash of the normalised text."""
        corpus.execute(_EXACT_DUPLICATES)
