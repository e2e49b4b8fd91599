"""What a judge of quality drops, which documents it is asked about, and which it leaves alone."""

import random
from collections.abc import Sequence

import pyarrow as pa

from data_store.corpus.batch import Batch
from data_store.corpus.counts import FilterCounts
from data_store.corpus.describing import language_in
from data_store.corpus.filtering import filter_documents
from data_store.corpus.language import LanguageConfig, OtherLanguage
from data_store.corpus.quality import CHARACTERS, LOW_QUALITY, QualityJudge
from data_store.corpus.registry import REASONS, WITH_QUALITY, FilterConfig
from data_store.rows import row_kind

GOOD = "The keeper of the lamp walked down to the harbor and asked whether the ship from the north was late again."
BAD = "Buy the best cheap shoes of the year in our online shop today and save more money than with any other shop."
GERMAN = "Der Hund schläft unter dem alten Baum und wir haben gestern einen langen Spaziergang am See gemacht."
LIKE_ENGLISH = tuple(
    """
    is are was were it they we you the a of to in on at by for with from about this that some many stone river candle
    garden winter letter market bridge copper window harbor forest basket silver thunder meadow ladder pocket
    """.split()  # noqa: SIM905
)


class Asked:
    """A judge for English that holds what speaks of shoes for bad, and remembers what it was asked."""

    def __init__(self, least: float = 0.5) -> None:
        self.texts: list[str] = []
        self.judge = QualityJudge({"en": self._scores}, {"en": least})

    def _scores(self, texts: Sequence[str]) -> list[float]:
        self.texts += texts
        return [0.25 if "shoes" in text else 0.75 for text in texts]


def filtered(texts: Sequence[str], judge: QualityJudge | None) -> tuple[list[str], list[tuple[str, str]], FilterCounts]:
    ids = [f"d{n}" for n in range(len(texts))]
    documents = pa.table([ids, [f"a:{n}" for n in range(len(texts))], texts], schema=row_kind("document").schema)
    kept, dropped = list[str](), list[tuple[str, str]]()

    def write(stay: pa.Table, go: pa.Table) -> None:
        kept.extend(stay.column("text").to_pylist())
        dropped.extend((row["reason"], row["detail"]) for row in go.to_pylist())

    config = FilterConfig(languages=("en", "de"))
    return kept, dropped, filter_documents(documents.to_batches(max_chunksize=2), config, write, judge)


def test_a_document_below_the_threshold_of_its_language_is_dropped_with_its_score_counted_and_shown() -> None:
    kept, dropped, counts = filtered([GOOD, BAD], Asked().judge)
    assert kept == [GOOD]
    assert dropped == [(LOW_QUALITY, "en 0.25, below 0.50")]
    assert counts.dropped == {**dict.fromkeys(WITH_QUALITY, 0), LOW_QUALITY: 1}
    assert [(each.doc_id, each.reason, each.beginning) for each in counts.examples] == [("d1", LOW_QUALITY, BAD)]


def test_at_the_threshold_a_document_stays() -> None:
    assert filtered([GOOD, BAD], Asked(least=0.25).judge)[0] == [GOOD, BAD]


def test_documents_of_languages_without_a_classifier_are_left_alone_and_counted() -> None:
    asked = Asked()
    kept, _, counts = filtered([GERMAN, GOOD], asked.judge)
    assert kept == [GERMAN, GOOD]
    assert asked.texts == [GOOD]
    assert counts.left_alone == {"de": 1}


def test_it_is_asked_of_what_no_rule_drops_by_itself_and_before_duplicates_are_looked_for() -> None:
    asked = Asked()
    _, dropped, _ = filtered(["too short", BAD, BAD, GOOD, GOOD], asked.judge)
    assert asked.texts == [BAD, BAD, GOOD, GOOD]
    assert [reason for reason, _ in dropped] == ["too_short", LOW_QUALITY, LOW_QUALITY, "exact_duplicate"]


def test_it_reads_the_beginning_of_a_document_as_it_was_mended() -> None:
    asked = Asked()
    rng = random.Random(1)
    sentences = (" ".join(rng.sample(LIKE_ENGLISH, 9)) for _ in range(60))
    filtered([". ".join([f"He wrote to ann@example.com. {GOOD}", *sentences])], asked.judge)
    (read,) = asked.texts
    assert len(read) == CHARACTERS
    assert "<EMAIL>" in read
    assert "ann@" not in read


def test_without_a_judge_the_reasons_are_those_that_they_were() -> None:
    counts = filtered([GOOD, BAD], None)[2]
    assert list(counts.dropped) == list(REASONS)
    assert LOW_QUALITY not in REASONS
    assert list(WITH_QUALITY) == [*list(REASONS)[:-3], LOW_QUALITY, *list(REASONS)[-3:]], "before duplicates"


def test_the_rule_the_judge_and_the_description_ask_for_a_language_once() -> None:
    batch = Batch(["d0"], [GERMAN], [{}], 20_000)
    list(OtherLanguage().rules(batch, LanguageConfig(languages=("en", "de"))))
    assert batch.languages[0][0][0] == "de"
    batch.languages[0] = [("fr", 0.9)]  # what was said stands
    judge = QualityJudge({"fr": lambda texts: [0.25] * len(texts)}, {"fr": 0.5})
    assert judge.drops(batch, [0]) == ({0: "fr 0.25, below 0.50"}, {})
    assert language_in(batch, 0) == "fr"
