"""The corpus filter, reason by reason, and on the little world's seeded defects."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from data_store.corpus import filtering
from data_store.corpus.filtering import filter_documents
from data_store.corpus.registry import CHANGED, REASONS, FilterConfig
from data_store.errors import InputError
from data_store.reading.readers import read_documents
from data_store.rows import row_kind
from world.content import World
from world.documents import defect_truth, make_documents

REAL = Path(__file__).parents[4] / "shared" / "data" / "pretrain"
WORDS = tuple(
    """
    stone river candle garden winter letter market bridge copper window harbor forest basket silver thunder meadow
    ladder pocket saddle velvet anchor barrel cotton dragon engine feather guitar hammer island jacket kitchen lantern
    """.split()  # noqa: SIM905
)
ENGLISH = "The keeper of the lamp walked down to the harbor and asked whether the ship from the north was late again."
GERMAN = "Der Hund schläft unter dem alten Baum und wir haben gestern einen langen Spaziergang am See gemacht."
ALWAYS = "a plain sentence that is always kept here"

KOREAN = "강아지가 정원의 오래된 나무 아래에서 자고 있고 우리는 어제 호숫가를 따라 오랫동안 산책을 했습니다."
CODE = "import os\n\n\ndef total(values):\n    result = 0\n    for value in values:\n        result += value\n"


@dataclass
class Filtered:
    kept: pa.Table
    dropped: pa.Table
    counts: dict[str, int]
    changed: dict[str, int]


def filtered(documents: Iterable[pa.RecordBatch], config: FilterConfig | None = None) -> Filtered:
    """What is written, put together."""
    kept, dropped = [row_kind("document").schema.empty_table()], [row_kind("dropped").schema.empty_table()]

    def write(stay: pa.Table, go: pa.Table) -> None:
        kept.append(stay)
        dropped.append(go)

    counts = filter_documents(documents, config or FilterConfig(), write)
    result = Filtered(pa.concat_tables(kept), pa.concat_tables(dropped), counts.dropped, counts.changed)
    assert (counts.kept, counts.documents - counts.kept) == (result.kept.num_rows, result.dropped.num_rows)
    return result


def corpus(texts: Sequence[str]) -> pa.Table:
    ids = [f"d{i}" for i in range(len(texts))]
    return pa.table([ids, ids, list(texts)], schema=row_kind("document").schema)


def prose(words: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def reasons(texts: Sequence[str], **config: Any) -> list[str]:
    """The reason for each text, or "kept"; a text that is always kept stands at the end."""
    table = corpus([*texts, ALWAYS])
    last = f"d{len(texts)}"
    result = filtered(table.to_batches(), FilterConfig(**config))
    by_id = dict(
        zip(result.dropped.column("doc_id").to_pylist(), result.dropped.column("reason").to_pylist(), strict=True)
    )
    assert by_id.pop(last, "kept") in ("kept", "other_language")
    return [by_id.get(f"d{i}", "kept") for i in range(len(texts))]


def kept_texts(texts: Sequence[str], **config: Any) -> list[str]:
    """What is written of the texts that stay."""
    return filtered(corpus(texts).to_batches(), FilterConfig(**config)).kept.column("text").to_pylist()


def test_kept_and_dropped_rows_are_of_their_kinds_in_their_order_and_counted() -> None:
    result = filtered(corpus(["one two", ENGLISH, KOREAN, prose(30, 1), "", ENGLISH]).to_batches())
    assert result.kept.schema == row_kind("document").schema
    assert result.dropped.schema == row_kind("dropped").schema
    assert result.kept.column("doc_id").to_pylist() == ["d1", "d3"]
    assert result.kept.column("text").to_pylist()[0] == ENGLISH
    assert result.dropped.to_pylist() == [
        {"doc_id": "d0", "source": "d0", "reason": "too_short", "detail": "2 words"},
        {"doc_id": "d2", "source": "d2", "reason": "other_language", "detail": "foreign script 1.00"},
        {"doc_id": "d4", "source": "d4", "reason": "too_short", "detail": "0 words"},
        {"doc_id": "d5", "source": "d5", "reason": "exact_duplicate", "detail": "of d1"},
    ]
    expected = dict.fromkeys(REASONS, 0) | {"too_short": 2, "other_language": 1, "exact_duplicate": 1}
    assert result.counts == expected


def test_length_bounds_hold_to_the_word_and_to_the_character() -> None:
    assert reasons(["one two three four five", "one two three four"]) == ["kept", "too_short"]
    assert reasons([ENGLISH, ENGLISH + "!"], max_characters=len(ENGLISH)) == ["kept", "too_long"]
    assert reasons(["天地玄黄宇宙洪荒"], languages=("en", "zh"), min_words=8) == ["kept"]
    review = "정말 재미있고 감동적인 영화입니다."  # 1 + 2 + 2 + 3 words' worth of syllables
    assert reasons([review], languages=("ko",), min_words=8) == ["kept"]
    assert reasons([f"{review[:-2]}."], languages=("ko", "en"), min_words=8) == ["too_short"]


def test_a_number_or_a_latin_name_that_korean_writes_onto_a_word_is_a_word_of_its_own() -> None:
    """«40 years ago», «the sequel's CG»: where English has a blank there is none in Korean."""
    texts = ["40년 전 영화 맞나", "속편 CG는 최고다", "사십년 전 영화 맞나", "별로ㅋㅋㅋㅋ 그냥 그래"]
    # 40, 1, 1, 1, 1; 1, CG, 1, 2; 2, 1, 1, 1; 1 (laughing is none), 1, 1
    assert reasons(texts, languages=("ko",), min_words=5) == ["kept", "kept", "kept", "too_short"]
    assert reasons([*texts, GERMAN], languages=("ko", "de"), min_words=6) == [*["too_short"] * 4, "kept"]


@pytest.mark.parametrize(
    "text",
    [
        "4711 0815 1234 9999 8888 7777 6666 5555 4444 3333 2222 x1 y2 z3",
        "a$b%c &d*e+ f/g<h =i>j @k^l _m{n |o}p ~q#r $s%t &u*v words here and there",
        "short " + "aGVsbG8gd29ybGQgdGhpcyBpcyBiYXNlNjQ" * 5 + " and four more words",
        "this is sooooooooooooooooooooooooooooooooooooo very long",
        "word " * 50,
    ],
)
def test_garbage_of_five_sorts_is_dropped(text: str) -> None:
    assert reasons([text]) == ["garbage"]


def test_ruled_lines_and_a_lively_short_text_are_no_garbage() -> None:
    ruled = f"A title of the page\n{'=' * 60}\n\n{ENGLISH}\n{'-' * 60}\n"
    assert reasons([ruled, "What??? No way!!! That was so ~~cool~~ :-) I love it"]) == ["kept", "kept"]


def test_languages_are_kept_as_configured_english_korean_and_code() -> None:
    texts = [ENGLISH, KOREAN, CODE, GERMAN]
    other = "other_language"
    assert reasons(texts) == ["kept", other, "kept", other]
    assert reasons(texts, languages=("en", "ko", "code")) == ["kept", "kept", "kept", other]
    assert reasons(texts, languages=("ko",)) == [other, "kept", other, other]
    assert reasons(texts, languages=("de",)) == [other, other, other, "kept"]
    assert reasons(texts, languages=("ko", "code")) == [other, "kept", "kept", other]


@pytest.mark.parametrize(
    "text",
    [
        "Le chien dort sous le vieil arbre du jardin et nous avons fait une promenade.",
        "El perro duerme debajo del árbol viejo y mi hermana trabaja en una panadería del centro.",
        "Il cane dorme sotto il vecchio albero del giardino e noi siamo andati con la nonna al mare.",
        "De hond slaapt onder de oude boom en wij hebben gisteren een lange wandeling gemaakt.",
        "O cachorro dorme debaixo da árvore velha e minha irmã trabalha em uma padaria do centro.",
        "Pies śpi pod starym drzewem w ogrodzie, a moja siostra piecze świeże bułki każdego dnia.",
        "Собака спит под старым деревом в саду, а вчера мы долго гуляли вдоль озера.",
        "犬は庭の古い木の下で寝ています。昨日、私たちは湖のほとりを散歩しました。",
        "الكلب ينام تحت الشجرة القديمة في الحديقة وأمس مشينا طويلا على ضفاف البحيرة",
    ],
)
def test_other_languages_are_known_by_script_function_words_or_accents(text: str) -> None:
    assert reasons([text]) == ["other_language"]


def test_word_lists_without_function_words_and_single_foreign_names_stay() -> None:
    lists = "door pilot stone cat shirt door pilot stone cat shirt door pilot stone cat shirt"
    assert reasons([lists, f"{ENGLISH} Café Müller is open."]) == ["kept", "kept"]


def test_page_furniture_is_dropped_and_a_single_mention_stays() -> None:
    page = "We use cookies. Read our privacy policy and terms of service. Click here to sign up. All rights reserved."
    assert reasons([page, f"{ENGLISH} He had brought cookies."]) == ["boilerplate", "kept"]


def test_lines_that_stand_in_many_kept_documents_drop_the_later_ones_but_not_code() -> None:
    furniture = "our shop is open on all days\nsend us your wishes any time\nthe best prices in the town"
    pages = [f"{furniture}\n{prose(8, seed)}" for seed in range(12)]
    assert reasons(pages) == ["kept"] * 10 + ["repeated_lines"] * 2
    assert reasons(pages, max_repeated_line_share=0.9) == ["kept"] * 12
    assert reasons(pages, repeated_line_documents=3) == ["kept"] * 3 + ["repeated_lines"] * 9
    licence = "# free to use for all people\n# without a warranty of any kind\nimport os\n"
    modules = [f"{licence}def f{n}():\n    return {n}\n" for n in range(12)]
    assert reasons(modules) == ["kept"] * 12


def test_a_list_of_addresses_is_dropped_and_prose_with_some_is_kept_with_masks() -> None:
    entries = " ".join(f"ann{n}@example.com lives in the town, call 212-555-012{n} now." for n in range(3))
    assert reasons([entries, f"{entries} {prose(100, 3)}"]) == ["personal_data", "kept"]
    (kept,) = kept_texts([f"{ENGLISH} Write to ann.lee@example.com or call 010-1234-5678."])
    assert kept == f"{ENGLISH} Write to <EMAIL> or call <PHONE>."
    (kept,) = kept_texts([f"{ENGLISH} Write to ann.lee@example.com."], mask_personal_data=False)
    assert kept.endswith("ann.lee@example.com.")
    result = filtered(corpus([f"{ENGLISH} Write to ann.lee@example.com.", entries]).to_batches())
    assert {what: n for what, n in result.changed.items() if n} == {"email": 1}
    assert set(result.changed) == set(CHANGED)


def test_a_table_of_years_is_neither_personal_nor_garbage() -> None:
    table = "The sums of the years follow. 1990 1991 1992 1993 were good, 2001 2002 2003 2004 better, by far, he said."
    assert kept_texts([table]) == [table]


def test_three_different_blocked_words_drop_and_names_of_whales_and_towns_do_not() -> None:
    thrice, twice = f"fuck {ENGLISH} shit bitch", f"fuck {ENGLISH} {prose(15, 4)} shit fuck"
    harmless = f"{ENGLISH} Moby Dick of Scunthorpe saw a cock, a tit and the ass of Essex in bondage."
    assert reasons([thrice, twice, harmless]) == ["blocked_words", "kept", "kept"]
    lamps = "a lamp, a light and a sun at sea"
    assert reasons([thrice, lamps], blocked_words=("lamp", "light", "sun")) == ["kept", "blocked_words"]


def test_korean_words_are_found_with_their_endings_and_inside_of_others_they_are_not() -> None:
    bad = "이 병신들아 씨발놈의 지랄을 그만하고 꺼져라 제발"
    good = "시발점에서 출발한 버스는 종점까지 한 시간이 걸린다고 기사님이 말씀하셨습니다"
    assert reasons([bad, good], languages=("ko",)) == ["blocked_words", "kept"]


def test_exact_duplicates_differ_in_case_and_white_space_at_most_and_the_first_stays() -> None:
    variants = [
        ENGLISH,
        ENGLISH.upper(),
        ENGLISH.replace(" ", "\n "),
        ENGLISH + "!",
        "cafe\u0301 " + ENGLISH,
        "café " + ENGLISH,
    ]
    assert reasons(variants) == ["kept", "exact_duplicate", "exact_duplicate", "kept", "kept", "exact_duplicate"]


def _altered(text: str, *places: int, word: str = "another") -> str:
    words = text.split()
    return " ".join(word if i in places else each for i, each in enumerate(words))


def test_near_duplicates_are_judged_by_5_grams_from_40_words_up() -> None:
    # 60 words have 56 5-grams; one word changed in the middle spoils 5: similarity 51 / 61 = .84.
    long, short = prose(60, 5), prose(39, 6)
    texts = [long, _altered(long, 30), short, _altered(short, 20)]
    assert reasons(texts) == ["kept", "near_duplicate", "kept", "kept"]
    assert reasons(texts, near_duplicate_min_words=39) == ["kept", "near_duplicate", "kept", "near_duplicate"]
    assert reasons(texts, near_duplicate_similarity=51 / 61) == ["kept", "near_duplicate", "kept", "kept"]
    assert reasons(texts, near_duplicate_similarity=51 / 61 + 0.001) == ["kept"] * 4


@pytest.mark.conformance(
    "a chain of near duplicates loses documents that no kept one is like",
    equation="data_store.corpus.near_duplicates:similarity",
)
def test_of_a_chain_of_near_duplicates_each_that_no_kept_one_is_like_stays() -> None:
    # 90 words have 86 5-grams. Of 13 versions each differs from the one before in a word, and shares 81 / 91 with it;
    # n words apart, (86 - 5 n) / (86 + 5 n) are shared: .49 at 6 and .57 at 5 apart, so every sixth one stays.
    chain = [prose(90, 7)]
    for place in range(5, 84, 6):
        chain.append(_altered(chain[-1], place, word=f"other{place}"))
    kept = [i for i, reason in enumerate(reasons(chain)) if reason == "kept"]
    assert kept == [0, 6, 12]


def test_half_overlapping_chunks_of_a_book_stay() -> None:
    words = prose(2000, 11).split()
    chunks = [" ".join(words[start : start + 200]) for start in range(0, 1900, 100)]
    assert reasons(chunks) == ["kept"] * len(chunks)


def test_long_documents_are_compared_by_sketches_of_their_5_grams() -> None:
    long = prose(3000, 8)
    tenth = _altered(long, *range(0, 3000, 100))
    half = " ".join(long.split()[:900] + prose(2100, 9).split())
    assert reasons([long, tenth, half, prose(3000, 10)]) == ["kept", "near_duplicate", "kept", "kept"]


@pytest.mark.parametrize(
    "text",
    [
        "Buy the best shoes now at our shop. " * 60,
        "\n".join(["Here is a line of the page.", "Another line that is said."] * 20),
        f"{prose(100, 21)} {prose(300, 22)} {prose(300, 22)}",
    ],
    ids=["phrase", "lines", "stretch"],
)
def test_prose_that_repeats_itself_is_dropped(text: str) -> None:
    assert reasons([text, prose(700, 23)]) == ["repetition", "kept"]


def test_a_name_of_three_words_may_be_said_six_times_in_a_short_text() -> None:
    about = [f"{prose(12, seed)} the Upper Harbor Company {prose(4, seed + 50)}" for seed in range(7)]
    text = ". ".join(about[:6])
    assert len(text.split()) >= 100
    assert reasons([text, ". ".join(about)], max_phrase_share=0.1) == ["kept", "repetition"]


def test_hearts_and_tears_of_a_review_are_no_garbage() -> None:
    loved = "사랑해요♥♥♥♥♥♥♥♥ 정말 최고의 영화였습니다 ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ~~~~~~"
    assert reasons([loved], languages=("ko",)) == ["kept"]


def test_the_first_reason_that_applies_counts_and_duplicates_of_dropped_documents_are_not_duplicates() -> None:
    assert reasons([GERMAN, GERMAN]) == ["other_language", "other_language"]
    assert reasons([f"{GERMAN} fuck shit bitch"]) == ["other_language"]


@pytest.mark.slow
@pytest.mark.conformance(
    "which documents stay depends on the memory of the filter",
    equation="data_store.corpus.filtering:filter_documents",
)
def test_the_result_is_free_of_batches_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [prose(random.Random(i).randint(3, 90), i % 150) for i in range(400)]
    table = corpus(texts)
    alone = filtered(table.to_batches())
    monkeypatch.setattr(filtering, "_BYTES_A_CHARACTER", 100_000)  # 320 characters at once
    together = filtered(table.to_batches(max_chunksize=7), FilterConfig(memory_mb=64))
    assert together == alone
    assert alone.counts["exact_duplicate"] > 0
    assert alone.counts["near_duplicate"] > 0


def test_a_corpus_that_filters_down_to_nothing_is_an_error_with_the_counts() -> None:
    with pytest.raises(InputError, match=r"kept none of 3 documents \(too_short 2, other_language 1\)"):
        filtered(corpus(["a", "b", KOREAN]).to_batches())


def test_rows_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="wanted are doc_id, source, text"):
        filtered(pa.table({"text": ["a"]}).to_batches())


def test_an_empty_field_is_named_and_a_broken_file_says_so_itself(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 1 of the corpus: field 'text' is empty"):
        filtered(pa.table({"doc_id": ["a", "b"], "source": ["a", "b"], "text": [ENGLISH, None]}).to_batches())
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text"\n')
    with pytest.raises(InputError, match=r"a\.jsonl line 2: not JSON"):
        filtered(read_documents([tmp_path / "a.jsonl"]))


def test_config_refuses_unknown_fields_languages_and_phrases_as_blocked_words() -> None:
    for broken in ({"min_word": 3}, {"languages": ("xx",)}, {"blocked_words": ("two words",)}, {"languages": ()}):
        with pytest.raises(ValidationError):
            FilterConfig.model_validate(broken)
    assert all(field.description for field in FilterConfig.model_fields.values())


def test_null_characters_quotes_and_dollars_pass_unharmed() -> None:
    odd = "it's $1 and \x00 \"quoted\" $word -- '; DROP TABLE documents; and the rest"
    result = filtered(corpus([odd]).to_batches())
    assert result.kept.column("text").to_pylist() == [odd]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_seeded_defects_of_the_little_world_are_found_and_clean_documents_stay(seed: int) -> None:
    world = World(seed)
    documents, truth = make_documents(world, 6000, seed), defect_truth(world, 6000, seed)
    result = filtered(pa.Table.from_pylist(documents, schema=row_kind("document").schema).to_batches())
    found = {row["doc_id"]: row["reason"] for row in result.dropped.to_pylist()}
    expected = {doc_id: defect.replace("unsafe_text", "blocked_words") for doc_id, defect in truth.items()}
    for reason in sorted(set(expected.values())):
        is_defect = {doc_id for doc_id, defect in expected.items() if defect == reason}
        is_found = {doc_id for doc_id, why in found.items() if why == reason}
        assert len(is_defect & is_found) >= 0.95 * len(is_defect), reason
        # Noise with few symbols is of no language, which is as good a reason.
        assert len(is_found & truth.keys()) >= 0.95 * len(is_found), reason
    # Drills of copying, words in random order, have no language: a few are taken for another one.
    assert len(set(found) - set(truth)) <= 0.002 * len(documents)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real sets are not at {REAL}")
@pytest.mark.parametrize(
    ("name", "least_kept"),
    [("c4_demo.jsonl", 0.97), ("moby_dick.jsonl.gz", 0.98), ("python_stdlib.jsonl.gz", 0.97)],
)
def test_good_english_and_python_stay(name: str, least_kept: float) -> None:
    result = filtered(read_documents([REAL / name]))
    assert result.kept.num_rows >= least_kept * (result.kept.num_rows + result.dropped.num_rows)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real sets are not at {REAL}")
def test_korean_manuals_stay_where_korean_is_kept_and_go_where_it_is_not() -> None:
    file = REAL / "gnome_help_ko.jsonl.gz"
    kept = filtered(read_documents([file]), FilterConfig(languages=("en", "ko")))
    assert kept.counts["other_language"] == 0
    assert kept.kept.num_rows >= 250
    counts = filtered(read_documents([file, REAL / "c4_demo.jsonl"])).counts
    assert counts["other_language"] >= 330
