"""Documents in languages that are not kept, by script, function words and accented letters."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from data_store.corpus.filter import DocumentFilter, SampleConfig

Language = Literal[
    "en", "de", "fr", "es", "it", "pt", "nl", "ko", "ja", "zh", "ru", "ar", "he", "el", "hi", "th", "code"
]

_STOP_WORDS: dict[str, str] = {
    "en": "the of and to in a is that it for was on are as with his they at be this have from or had by but what some "
    "we can out other were all there when your how said an each she which do their if will about many then them so "
    "would her him has more could no my than been who its now did down may after where most through before our me "
    "too any because does not you he i",
    "de": "der die das und ist nicht ein eine einen einem einer ich wir sie er es mit auf für von zu den dem des im "
    "am auch als wie bei nach aus oder aber wenn wird werden hat haben sind war noch nur sich über unter vor dass "
    "kann mein meine meinen dein ihr ihre sehr mehr hier schon gestern heute morgen",
    "fr": "le la les un une des du de et est que qui dans pour pas sur avec au aux ce cette ces il elle nous vous ils "
    "elles je tu ne se son sa ses mon ma mes leur plus par mais ou où sont été fait être avoir comme tout très hier "
    "aujourd demain puis sans même",
    "es": "el la los las un una unos unas de del y es que en por para con no se su sus al lo como más pero o este esta "
    "estos estas yo tú él ella nosotros mi mis muy fue ser está son hay ya todo todos cuando donde sobre después "
    "ayer hoy mañana sin entre hasta también",
    "it": "il lo la gli le un una di del della dei delle e è che in per con non si su al alla come più ma o questo "
    "questa io lui lei noi mio mia molto sono era essere ha hanno anche quando dove dopo ieri oggi domani senza tra "
    "nel nella ci suo sua",
    "pt": "o a os as um uma de do da dos das e é que em no na nos nas por para com não se seu sua ao à como mais mas "
    "ou este esta eu ele ela nós meu minha muito foi ser está são há já também quando onde sobre depois ontem hoje "
    "amanhã sem até",
    "nl": "de het een en is van in op te dat die niet met voor zijn was aan er ook als maar om door over bij nog naar "
    "uit wordt dan heeft hij zij ik wij jij mijn deze dit kan meer geen worden werd onder na al wel gisteren vandaag "
    "morgen tussen zonder",
}
"""Frequent function words of the languages in Latin script, separated by blanks."""

_SCRIPTS: dict[str, str] = {
    "ko": r"\p{Hangul}",
    "ja": r"\p{Hiragana}\p{Katakana}",
    "zh": r"\p{Han}",
    "ru": r"\p{Cyrillic}",
    "ar": r"\p{Arabic}",
    "he": r"\p{Hebrew}",
    "el": r"\p{Greek}",
    "hi": r"\p{Devanagari}",
    "th": r"\p{Thai}",
}
"""Script, as a regular-expression class, by the language that stands for it."""


class LanguageConfig(SampleConfig):
    """Which languages are kept."""

    languages: tuple[Language, ...] = Field(
        default=("en", "code"),
        min_length=1,
        description="Languages to keep. Scripts stand for a language: Hangul ko, kana ja, Han zh, Cyrillic ru.",
    )
    max_other_script_share: float = Field(
        default=0.3, ge=0, le=1, description="Largest share of letters in scripts of languages that are not kept."
    )
    max_accented_share: float = Field(
        default=0.04,
        ge=0,
        le=1,
        description="Where English is the only kept language in Latin script: largest share of accented letters.",
    )
    min_other_stop_words: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of another language's function words, at least three of them, that drops a document if no "
        "kept language has as many.",
    )


class OtherLanguage(DocumentFilter):
    """Source code is a language of its own: it is judged by nothing but its script."""

    reasons = {"other_language": "another script, another language's function words, many accented letters"}
    of_sample = {
        "foreign_letters": "length(regexp_replace(sample, $no_foreign, '', 'g'))",
        "accented": "length(regexp_replace(sample, $no_accented, '', 'g'))",
    }
    tables = {
        "languages": """
            WITH stop_words AS (
                SELECT unnest($stop_words::STRUCT(language VARCHAR, word VARCHAR)[], recursive := true)
            ), by_language AS (
                SELECT place, language, list_contains($latin::VARCHAR[], language) AS is_kept, sum(n) AS n,
                    count(*) AS different
                FROM word_counts JOIN stop_words USING (word) GROUP BY ALL
            )
            SELECT
                place,
                max(n) FILTER (is_kept) AS own_stop_words,
                max(n) FILTER (NOT is_kept AND different >= 3) AS other_stop_words,
                arg_max(language, (n, language)) FILTER (NOT is_kept AND different >= 3) AS other_language
            FROM by_language GROUP BY place
        """
    }
    rules = (
        (
            "other_language",
            "NOT (is_code AND $keeps_code) AND foreign_letters > $max_other_script_share * letters",
            "format('foreign script {:.2f}', foreign_letters / letters)",
        ),
        ("other_language", "is_code AND NOT $keeps_code", "'source code'"),
        (
            "other_language",
            "NOT is_code AND $keeps_latin AND other_stop_words > coalesce(own_stop_words, 0) "
            "AND other_stop_words >= $min_other_stop_words * said",
            "format('{} {:.2f}', other_language, other_stop_words / said)",
        ),
        (
            "other_language",
            "NOT is_code AND $only_english AND accented > $max_accented_share * letters",
            "format('accented letters {:.2f}', accented / letters)",
        ),
    )

    def parameters(self, config: LanguageConfig) -> Mapping[str, Any]:
        """Scripts and function words of the languages that are kept, and of the others."""
        kept = set(config.languages)
        latin = [language for language in _STOP_WORDS if language in kept]
        # Japanese is written with Han signs too.
        scripts = {"ja": _SCRIPTS["ja"] + _SCRIPTS["zh"]} | {name: _SCRIPTS[name] for name in _SCRIPTS if name != "ja"}
        own_script = "".join(scripts[name] for name in scripts if name in kept) + (r"\p{Latin}" if latin else "")
        return {
            "no_foreign": rf"[^\p{{L}}]+|[{own_script}\p{{M}}]+",
            "no_accented": r"[^À-ÖØ-öø-ɏḀ-ỿ]+",
            "stop_words": [
                {"language": language, "word": word}
                for language, words in _STOP_WORDS.items()
                for word in words.split()
            ],
            "latin": latin,
            "keeps_latin": bool(latin),
            "only_english": latin == ["en"],
            "keeps_code": "code" in kept,
        }
