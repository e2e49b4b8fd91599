"""Nearly the same text as an earlier document."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from data_store.corpus.filter import Corpus, CorpusFilter, SampleConfig

_SKETCH = 128
"""How many of a document's 5-gram hashes, the smallest, stand for it: Jaccard's standard error is at most 0.044."""

# md5 rather than hash(): its values do not change with DuckDB's version.
_SKETCHES = """
CREATE TABLE sketches AS
WITH long_enough AS (
    SELECT place, regexp_extract_all(lower(nfc_normalize(text)), $word) AS w
    FROM documents ANTI JOIN verdicts USING (place) SEMI JOIN (
        FROM features WHERE n_words >= $near_duplicate_min_words
    ) USING (place)
), grams AS (
    SELECT place, list_zip(w[:len(w) - 4], w[2:len(w) - 3], w[3:len(w) - 2], w[4:len(w) - 1], w[5:]) AS grams
    FROM long_enough
)
SELECT place, list_sort(list_distinct(list_transform(
    grams, lambda g: md5_number_lower(concat_ws(' ', g[1], g[2], g[3], g[4], g[5]))
)))[1:$sketch] AS sketch
FROM grams
"""

# A hash leads from each document to the first and the previous one that has it: as many pairs as hashes, no squares.
_ALIKE = """
CREATE TABLE alike AS
WITH hashes AS (
    SELECT place, unnest(sketch) AS hash FROM sketches
), ordered AS (
    SELECT place, lag(place) OVER same AS previous, first_value(place) OVER same AS first FROM hashes
    WINDOW same AS (PARTITION BY hash ORDER BY place)
), pairs AS (
    SELECT DISTINCT unnest([previous, first]) AS a, place AS b FROM ordered WHERE previous IS NOT NULL
), sharing AS (
    -- The smallest hashes of both are at least as many as those of either: a cheap bound before the sort.
    SELECT a, b, one.sketch AS one, two.sketch AS two, list_intersect(one.sketch, two.sketch) AS shared
    FROM pairs JOIN sketches AS one ON one.place = a JOIN sketches AS two ON two.place = b
    WHERE len(shared) >= $near_duplicate_similarity * greatest(len(one.sketch), len(two.sketch))
), compared AS (
    SELECT a, b, shared, list_sort(list_distinct(list_concat(one, two)))[1:$sketch] AS smallest FROM sharing
)
SELECT a, b FROM compared WHERE len(list_intersect(shared, smallest)) >= $near_duplicate_similarity * len(smallest)
"""

_CLUSTERS = """
CREATE TABLE clusters AS
SELECT place, place AS first FROM (SELECT a AS place FROM alike UNION SELECT b FROM alike)
"""

_NEXT_CLUSTERS = """
CREATE OR REPLACE TABLE next_clusters AS
SELECT clusters.place, least(any_value(clusters.first), min(neighbour.first)) AS first
FROM clusters
JOIN (SELECT a, b FROM alike UNION ALL SELECT b, a FROM alike) AS pairs ON pairs.a = clusters.place
JOIN clusters AS neighbour ON neighbour.place = pairs.b
GROUP BY clusters.place
"""

_MOVED = """
SELECT count(*) FROM clusters JOIN next_clusters USING (place) WHERE clusters.first <> next_clusters.first
"""

_NEAR_DUPLICATES = """
INSERT INTO verdicts
SELECT clusters.place, 'near_duplicate', 'of ' || doc_id
FROM clusters JOIN documents ON documents.place = clusters.first
WHERE clusters.place > clusters.first
"""


class NearDuplicatesConfig(SampleConfig):
    """How alike is too alike."""

    near_duplicate_min_words: int = Field(
        default=40, ge=5, description="Near duplicates are looked for among documents of this many words and more."
    )
    near_duplicate_similarity: float = Field(
        default=0.5, gt=0, le=1, description="Smallest Jaccard similarity of two documents' word 5-grams."
    )


class NearDuplicates(CorpusFilter):
    """Documents that are alike, in a chain too, are a cluster; its first one stays."""

    reasons = {"near_duplicate": "in one cluster with an earlier document, by word 5-grams"}

    def parameters(self, config: NearDuplicatesConfig) -> Mapping[str, Any]:
        """The size of a sketch."""
        return {"sketch": _SKETCH}

    def drop(self, corpus: Corpus) -> None:
        """By sketches of 5-grams."""
        for statement in (_SKETCHES, _ALIKE, _CLUSTERS):
            corpus.execute(statement)
        while _moved(corpus):
            pass
        corpus.execute(_NEAR_DUPLICATES)


def _moved(corpus: Corpus) -> bool:
    """One round of each document taking the smallest label among its neighbours; False once nothing changes."""
    corpus.execute(_NEXT_CLUSTERS)
    (moved,) = corpus.first_row(_MOVED) or (0,)
    corpus.execute("CREATE OR REPLACE TABLE clusters AS FROM next_clusters")
    return bool(moved)
