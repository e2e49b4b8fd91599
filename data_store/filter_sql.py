"""The SQL of the corpus filter. Every function here runs a fixed number of statements, whatever the corpus' size.

Tables: documents(place, doc_id, source, text), words(place, n_words, words: the normalised words of the sample),
features(place, one column per measure), verdicts(place, reason, detail).
"""

import re
from typing import Any

import duckdb

from data_store.filter_words import BOILERPLATE_PHRASES, CODE_LINE, PERSONAL_DATA, SCRIPTS, STOP_WORDS
from data_store.results import first_row

HARDENING = (
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET lock_configuration = true",
)
_SKETCH = 128
"""How many of a document's 5-gram hashes, the smallest, stand for it: Jaccard's standard error is at most 0.044."""

DOCUMENTS = "CREATE TABLE documents (place BIGINT, doc_id VARCHAR, source VARCHAR, text VARCHAR)"
KEPT = """
SELECT doc_id, source, text FROM documents ANTI JOIN verdicts USING (place) ORDER BY place
"""
DROPPED = """
SELECT doc_id, source, reason, detail FROM verdicts JOIN documents USING (place) ORDER BY place
"""
COUNTS = "SELECT reason, count(*) FROM verdicts GROUP BY reason"

_RUN_SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789ㅋㅎㅠㅜ"
_CONSTANTS = {
    # Han and kana are written without blanks: each sign counts as a word.
    "word": r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}\p{M}\p{N}]+",
    # Ruled lines are layout, not symbols.
    "rule": "|".join(rf"\{sign}{{4,}}" for sign in "=-#*~_+^.\"'`"),
    "no_letter": r"[^\p{L}\p{M}]+",
    "no_symbol": r"[\p{L}\p{M}\p{N}\s.,;:!?'\"()\-–—‘’“”…·、。「」]+",
    "no_accented": r"[^À-ÖØ-öø-ɏḀ-ỿ]+",
    "line": r"(?m)^.*\S.*$",
    "code_line": CODE_LINE,
    "furniture": rf"\b(?:{'|'.join(BOILERPLATE_PHRASES)})\b",
    "sketch": _SKETCH,
    "personal": "|".join(f"(?:{pattern})" for pattern in PERSONAL_DATA.values()),
}


def judge(connection: duckdb.DuckDBPyConnection, config: dict[str, Any]) -> None:
    """Fill the table verdicts: one row for each document that is to be dropped."""
    kept = set(config["languages"])
    latin = [language for language in STOP_WORDS if language in kept]
    # Japanese is written with Han signs too.
    scripts = {"ja": SCRIPTS["ja"] + SCRIPTS["zh"]} | {name: SCRIPTS[name] for name in SCRIPTS if name != "ja"}
    own_script = "".join(scripts[name] for name in scripts if name in kept) + (r"\p{Latin}" if latin else "")
    parameters = config | _CONSTANTS
    parameters |= {
        "latin": latin,
        "only_english": latin == ["en"],
        "keeps_latin": bool(latin),
        "keeps_code": "code" in kept,
        "no_foreign": rf"[^\p{{L}}]+|[{own_script}\p{{M}}]+",
        "run": "|".join(f"{sign}{{{config['max_character_run'] + 1},}}" for sign in _RUN_SIGNS),
        "blocked": list(config["blocked_words"]),
        "stop_words": [
            {"language": language, "word": word} for language, words in STOP_WORDS.items() for word in words.split()
        ],
    }
    for statement in (_WORDS, _FEATURES, _REPEATED_LINES, _VERDICTS, _EXACT_DUPLICATES, _SKETCHES, _ALIKE, _CLUSTERS):
        named = {name: value for name, value in parameters.items() if re.search(rf"\${name}\b", statement)}
        connection.execute(statement, named)
    while _moved(connection):
        pass
    connection.execute(_NEAR_DUPLICATES)


def _moved(connection: duckdb.DuckDBPyConnection) -> bool:
    """One round of each document taking the smallest label among its neighbours; False once nothing changes."""
    connection.execute(
        """
        CREATE OR REPLACE TABLE next_clusters AS
        SELECT clusters.place, least(any_value(clusters.first), min(neighbour.first)) AS first
        FROM clusters
        JOIN (SELECT a, b FROM alike UNION ALL SELECT b, a FROM alike) AS pairs ON pairs.a = clusters.place
        JOIN clusters AS neighbour ON neighbour.place = pairs.b
        GROUP BY clusters.place
        """
    )
    (moved,) = first_row(
        connection,
        "SELECT count(*) FROM clusters JOIN next_clusters USING (place) WHERE clusters.first <> next_clusters.first",
    ) or (0,)
    connection.execute("CREATE OR REPLACE TABLE clusters AS FROM next_clusters")
    return bool(moved)


_WORDS = """
CREATE TABLE words AS
SELECT place, regexp_extract_all(lower(left(text, $sample_characters)), $word) AS words FROM documents
"""

_FEATURES = """
CREATE TABLE features AS
WITH measured AS (
    SELECT
        place,
        length(text) AS characters,
        length(regexp_replace(sample, '\\s+', '', 'g')) AS visible,
        length(regexp_replace(sample, $no_letter, '', 'g')) AS letters,
        length(regexp_replace(sample, $no_foreign, '', 'g')) AS foreign_letters,
        length(regexp_replace(sample, $no_symbol, '', 'g')) AS symbols,
        length(regexp_replace(sample, $no_accented, '', 'g')) AS accented,
        regexp_matches(lower(sample), $run) AS has_run,
        len(regexp_extract_all(sample, $line)) AS lines,
        len(regexp_extract_all(sample, $code_line)) AS code_lines,
        len(regexp_extract_all(lower(sample), $furniture)) AS furniture,
        len(regexp_extract_all(lower(sample), $personal)) AS personal
    FROM (
        SELECT place, text, regexp_replace(left(text, $sample_characters), $rule, '', 'g') AS sample FROM documents
    )
), stop_words AS (
    SELECT unnest($stop_words::STRUCT(language VARCHAR, word VARCHAR)[], recursive := true)
), counted AS (
    SELECT place, word, count(*) AS n FROM (SELECT place, unnest(words) AS word FROM words) GROUP BY ALL
), by_language AS (
    SELECT place, language, list_contains($latin::VARCHAR[], language) AS is_kept, sum(n) AS n,
        count(*) AS different
    FROM counted JOIN stop_words USING (word) GROUP BY ALL
), languages AS (
    SELECT
        place,
        max(n) FILTER (is_kept) AS own_stop_words,
        max(n) FILTER (NOT is_kept AND different >= 3) AS other_stop_words,
        arg_max(language, (n, language)) FILTER (NOT is_kept AND different >= 3) AS other_language
    FROM by_language GROUP BY place
), totals AS (
    SELECT
        place,
        sum(n) AS n_words,
        max(n) AS top_word,
        sum(n * length(word)) AS word_characters,
        sum(n) FILTER (list_contains($blocked::VARCHAR[], word)) AS blocked
    FROM counted GROUP BY place
)
SELECT
    measured.*,
    lines >= 3 AND code_lines >= 0.4 * lines AS is_code,
    coalesce(n_words, 0) AS n_words,
    coalesce(top_word, 0) AS top_word,
    coalesce(word_characters, 0) AS word_characters,
    coalesce(blocked, 0) AS blocked,
    coalesce(own_stop_words, 0) AS own_stop_words,
    coalesce(other_stop_words, 0) AS other_stop_words,
    other_language
FROM measured LEFT JOIN totals USING (place) LEFT JOIN languages USING (place)
"""

_REPEATED_LINES = """
CREATE TABLE repeated_lines AS
WITH lines AS (
    SELECT place, unnest(string_split(left(text, $sample_characters), chr(10))) AS line
    FROM documents SEMI JOIN (FROM features WHERE lines >= 4) USING (place)
), trimmed AS (
    SELECT place, lower(trim(regexp_replace(line, '\\s+', ' ', 'g'))) AS line FROM lines
), counted AS (
    SELECT place, line, count(*) AS n FROM trimmed WHERE line <> '' GROUP BY ALL
), frequent AS (
    SELECT line FROM counted
    WHERE len(string_split(line, ' ')) >= 4
    GROUP BY line HAVING count(*) >= $repeated_line_documents
)
SELECT
    place,
    coalesce(sum(n * length(line)) FILTER (line IN (FROM frequent)), 0) / sum(n * length(line)) AS share
FROM counted GROUP BY place
"""

_VERDICTS = """
CREATE TABLE verdicts AS
WITH f AS (
    SELECT
        features.*,
        greatest(visible, 1) AS seen,
        greatest(n_words, 1) AS said,
        CASE WHEN is_code THEN 0.5 ELSE 1 END * $min_letter_share AS least_letters,
        CASE WHEN is_code THEN 2 ELSE 1 END * $max_symbol_share AS most_symbols,
        coalesce(share, 0) AS repeated
    FROM features LEFT JOIN repeated_lines USING (place)
), judged AS (
    SELECT place, CASE
        WHEN n_words < $min_words
            THEN ('too_short', format('{} words', n_words))
        WHEN characters > $max_characters
            THEN ('too_long', format('{} characters', characters))
        WHEN letters < least_letters * seen AND visible - letters >= 20
            THEN ('garbage', format('letters {:.2f}', letters / seen))
        WHEN symbols > most_symbols * seen AND symbols >= 10
            THEN ('garbage', format('symbols {:.2f}', symbols / seen))
        WHEN word_characters > $max_mean_word_length * said
            THEN ('garbage', format('mean word length {:.1f}', word_characters / said))
        WHEN has_run
            THEN ('garbage', 'one character over and over')
        WHEN n_words >= 40 AND top_word > $max_word_share * said
            THEN ('garbage', format('one word is {:.2f} of all', top_word / said))
        WHEN NOT (is_code AND $keeps_code) AND foreign_letters > $max_other_script_share * letters
            THEN ('other_language', format('foreign script {:.2f}', foreign_letters / letters))
        WHEN is_code AND NOT $keeps_code
            THEN ('other_language', 'source code')
        WHEN is_code OR NOT $keeps_latin
            THEN NULL
        WHEN other_stop_words > own_stop_words AND other_stop_words >= $min_other_stop_words * said
            THEN ('other_language', format('{} {:.2f}', other_language, other_stop_words / said))
        WHEN $only_english AND accented > $max_accented_share * letters
            THEN ('other_language', format('accented letters {:.2f}', accented / letters))
        END AS form,
        CASE
        WHEN furniture >= 3 AND 100 * furniture > $max_boilerplate_per_100_words * said
            THEN ('boilerplate', format('{} phrases in {} words', furniture, n_words))
        WHEN repeated > $max_repeated_line_share
            THEN ('boilerplate', format('repeated lines {:.2f}', repeated))
        WHEN personal >= 3 AND 100 * personal > $max_personal_per_100_words * said
            THEN ('personal_data', format('{} pieces in {} words', personal, n_words))
        WHEN blocked >= 2 AND 100 * blocked > $max_blocked_per_100_words * said
            THEN ('blocked_words', format('{} in {} words', blocked, n_words))
        END AS content
    FROM f
)
SELECT place, verdict[1] AS reason, verdict[2] AS detail
FROM (SELECT place, coalesce(form, content) AS verdict FROM judged)
WHERE verdict IS NOT NULL
"""

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

_NEAR_DUPLICATES = """
INSERT INTO verdicts
SELECT clusters.place, 'near_duplicate', 'of ' || doc_id
FROM clusters JOIN documents ON documents.place = clusters.first
WHERE clusters.place > clusters.first
"""
