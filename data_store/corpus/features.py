"""The measures of documents in SQL: those that several filters share, and those that each brings, in one pass."""

from collections.abc import Mapping, Sequence

from data_store.corpus.filter import Corpus, DocumentFilter

DOCUMENTS = "CREATE TABLE documents (place BIGINT, doc_id VARCHAR, source VARCHAR, text VARCHAR)"
_CODE_LINE = (
    r"(?m)^[ \t]*(?:(?:def|class|elif|except|while|for|with|if|async|switch|fn|func|struct|enum)\b.*[:{(,\\]\s*$"
    r"|(?:import|from)\s+[\w.]+(?:\s+import\b.*|\s+as\s+\w+|,.*|;)?\s*$|(?:return|raise|yield|del|assert|pass|break)\b.*$"
    r"|(?:try|else|finally):|@\w+|#|//|/\*|\*/|(?:public|private|protected|static|const|let|var|function)\s"
    r"|[\w.\[\]\"']+(?:, ?[\w.]+)*\s*[-+*/|&]?=[^=].*$|[\w.]+\(.*\)?,?\s*$|[)\]}]+[,;]?\s*$|.*[;{}]\s*$)"
)
PARAMETERS: Mapping[str, str] = {
    # Han and kana are written without blanks: each sign counts as a word.
    "word": r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}\p{M}\p{N}]+",
    # Ruled lines are layout, not symbols.
    "rule": "|".join(rf"\{sign}{{4,}}" for sign in "=-#*~_+^.\"'`"),
    "no_letter": r"[^\p{L}\p{M}]+",
    "line": r"(?m)^.*\S.*$",
    "code_line": _CODE_LINE,
}

_WORD_COUNTS = """
CREATE TABLE word_counts AS
SELECT place, word, count(*) AS n FROM (
    SELECT place, unnest(regexp_extract_all(lower(left(text, $sample_characters)), $word)) AS word FROM documents
) GROUP BY ALL
"""

# said and seen: the words, and the signs but for white space, as divisors
_FEATURES = """
CREATE TABLE features AS
WITH measured AS (
    SELECT
        place,
        length(text) AS characters,
        length(regexp_replace(sample, '\\s+', '', 'g')) AS visible,
        length(regexp_replace(sample, $no_letter, '', 'g')) AS letters,
        len(regexp_extract_all(sample, $line)) AS lines,
        len(regexp_extract_all(sample, $code_line)) AS code_lines,
        {of_sample}
    FROM (
        SELECT place, text, regexp_replace(left(text, $sample_characters), $rule, '', 'g') AS sample FROM documents
    )
), totals AS (
    SELECT place, sum(n) AS n_words, {of_words} FROM word_counts GROUP BY place
)
SELECT
    measured.*,
    lines >= 3 AND code_lines >= 0.4 * lines AS is_code,
    greatest(visible, 1) AS seen,
    greatest(coalesce(n_words, 0), 1) AS said,
    {totals}
FROM measured LEFT JOIN totals USING (place)
"""

_VERDICTS = """
CREATE TABLE verdicts AS
SELECT place, verdict[1] AS reason, verdict[2] AS detail
FROM (SELECT place, CASE {rules} END AS verdict FROM features {joins})
WHERE verdict IS NOT NULL
"""


def judge_each(corpus: Corpus, filters: Sequence[DocumentFilter]) -> None:
    """Fill features and verdicts."""
    of_sample = [f"{sql} AS {name}" for each in filters for name, sql in each.of_sample.items()]
    of_words = {name: sql for each in filters for name, sql in each.of_words.items()}
    tables = {name: sql for each in filters for name, sql in each.tables.items()}
    rules = [rule for each in filters for rule in each.rules]
    corpus.execute(_WORD_COUNTS)
    corpus.execute(
        _FEATURES.format(
            of_sample=", ".join(of_sample),
            of_words=", ".join(f"{sql} AS {name}" for name, sql in of_words.items()),
            totals=", ".join(f"coalesce({name}, 0) AS {name}" for name in ("n_words", *of_words)),
        )
    )
    for name, sql in tables.items():
        corpus.execute(f"CREATE TABLE {name} AS {sql}")
    corpus.execute(
        _VERDICTS.format(
            rules="\n".join(f"WHEN {holds} THEN ('{reason}', {detail})" for reason, holds, detail in rules),
            joins=" ".join(f"LEFT JOIN {name} USING (place)" for name in tables),
        )
    )
