"""The corpus filter, reason by reason, and on the little world's seeded defects."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from data_store.corpus.filtering import FilterResult, filter_documents
from data_store.corpus.registry import REASONS, FilterConfig
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
KOREAN = "강아지가 정원의 오래된 나무 아래에서 자고 있고 우리는 어제 호숫가를 따라 오랫동안 산책을 했습니다."
CODE = "import os\n\n\ndef total(values):\n    result = 0\n    for value in values:\n        result += value\n"


def corpus(texts: Sequence[str]) -> pa.Table:
    ids = [f"d{i}" for i in range(len(texts))]
    return pa.table([ids, ids, list(texts)], schema=row_kind("document").schema)


def prose(words: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def reasons(texts: Sequence[str], **config: Any) -> list[str]:
    """The reason for each text, or "kept"; a text that is always kept stands at the end."""
    result = filter_documents(corpus([*texts, "a plain sentence that is always kept here"]), FilterConfig(**config))
    by_id = dict(
        zip(result.dropped.column("doc_id").to_pylist(), result.dropped.column("reason").to_pylist(), strict=True)
    )
    return [by_id.get(f"d{i}", "kept") for i in range(len(texts))]


def parts(result: FilterResult) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, int]]:
    return result.kept.to_pylist(), result.dropped.to_pylist(), result.counts


def test_kept_and_dropped_rows_are_of_their_kinds_in_their_order_and_counted() -> None:
    result = filter_documents(corpus(["one two", ENGLISH, KOREAN, prose(30, 1), "", ENGLISH]))
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


def test_lines_that_stand_in_many_documents_are_boilerplate() -> None:
    furniture = "our shop is open on all days\nsend us your wishes any time\nthe best prices in the town"
    pages = [f"{furniture}\n{prose(8, seed)}" for seed in range(12)]
    assert reasons(pages) == ["boilerplate"] * 12
    assert reasons(pages[:9]) == ["kept"] * 9
    assert reasons(pages, max_repeated_line_share=0.9) == ["kept"] * 12


def test_personal_data_is_counted_per_100_words() -> None:
    contact = (
        "write to ann.lee@example.com or call 212-555-0123 now and ask for id 078-05-1120 of the good keeper please"
    )
    korean = (
        "주민등록번호는 900101-1234567 이고 전화번호는 010-1234-5678 이며 "
        "전자우편 주소는 kim@example.co.kr 이니 서울로 오십시오"
    )
    iban = (
        "please pay what is owed to DE89 3704 0044 0532 0130 00 or else to GB29NWBK60161331926819 of the other bank "
        "or with the old card 4111 1111 1111 1111 that was found on the floor of the keeper of the lamp"
    )
    assert reasons([contact, korean, iban], languages=("en", "ko")) == ["personal_data"] * 3
    assert reasons([f"{contact} {prose(100, 3)}"]) == ["kept"]
    tables = "In 2019 the sum was 1200 and in 2020 it was 3400 of 5600 on 2021-03-04 at 10:30 in the morning."
    assert reasons([tables]) == ["kept"]


def test_blocked_words_are_configurable_and_a_single_one_stays() -> None:
    twice = f"fuck {ENGLISH} shit"
    assert reasons([twice, f"fuck {ENGLISH}", f"{ENGLISH} Moby Dick of Scunthorpe."]) == [
        "blocked_words",
        "kept",
        "kept",
    ]
    assert reasons([twice, "a lamp and a lamp at sea"], blocked_words=("lamp",)) == ["kept", "blocked_words"]


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


def _altered(text: str, *places: int) -> str:
    words = text.split()
    return " ".join("another" if i in places else word for i, word in enumerate(words))


def test_near_duplicates_are_judged_by_5_grams_from_40_words_up() -> None:
    # 60 words have 56 5-grams; one word changed in the middle spoils 5: similarity 51 / 61 = .84.
    long, short = prose(60, 5), prose(39, 6)
    texts = [long, _altered(long, 30), short, _altered(short, 20)]
    assert reasons(texts) == ["kept", "near_duplicate", "kept", "kept"]
    assert reasons(texts, near_duplicate_min_words=39) == ["kept", "near_duplicate", "kept", "near_duplicate"]
    assert reasons(texts, near_duplicate_similarity=51 / 61) == ["kept", "near_duplicate", "kept", "kept"]
    assert reasons(texts, near_duplicate_similarity=51 / 61 + 0.001) == ["kept"] * 4


def test_a_chain_of_near_duplicates_is_one_cluster_whose_first_stays() -> None:
    # Neighbours share 81 / 91 and more; the ends, 12 changes apart, fall below the threshold.
    chain = [prose(90, 7)]
    for place in range(3, 87, 7):
        chain.append(_altered(chain[-1], place))
    assert reasons([chain[0], chain[-1]]) == ["kept", "kept"]
    assert reasons(chain) == ["kept"] + ["near_duplicate"] * 12


def test_long_documents_are_compared_by_sketches_of_their_5_grams() -> None:
    long = prose(3000, 8)
    tenth = _altered(long, *range(0, 3000, 100))
    half = " ".join(long.split()[:900] + prose(2100, 9).split())
    assert reasons([long, tenth, half, prose(3000, 10)]) == ["kept", "near_duplicate", "kept", "kept"]


def test_the_first_reason_that_applies_counts_and_duplicates_of_dropped_documents_are_not_duplicates() -> None:
    assert reasons([GERMAN, GERMAN]) == ["other_language", "other_language"]
    assert reasons([f"{GERMAN} fuck shit"]) == ["other_language"]


def test_the_result_is_free_of_threads_batches_and_memory() -> None:
    texts = [prose(random.Random(i).randint(3, 90), i % 150) for i in range(400)]
    table = corpus(texts)
    alone = filter_documents(table, threads=1, memory_limit="2GB")
    batches = iter(table.to_batches(max_chunksize=7))
    together = filter_documents(batches, threads=4, memory_limit="200MB")
    assert parts(together) == parts(alone)
    assert alone.counts["exact_duplicate"] > 0


def test_a_corpus_that_filters_down_to_nothing_is_an_error_with_the_counts() -> None:
    with pytest.raises(InputError, match=r"kept none of 3 documents \(too_short 2, other_language 1\)"):
        filter_documents(corpus(["a", "b", KOREAN]))


def test_rows_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="wanted are doc_id, source, text"):
        filter_documents(pa.table({"text": ["a"]}))


def test_an_empty_field_is_named_and_a_broken_file_says_so_itself(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 1 of the corpus: field 'text' is empty"):
        filter_documents(pa.table({"doc_id": ["a", "b"], "source": ["a", "b"], "text": [ENGLISH, None]}))
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text"\n')
    with pytest.raises(InputError, match=r"a\.jsonl line 2: not JSON"):
        filter_documents(read_documents([tmp_path / "a.jsonl"]))


def test_config_refuses_unknown_fields_languages_and_phrases_as_blocked_words() -> None:
    for broken in ({"min_word": 3}, {"languages": ("xx",)}, {"blocked_words": ("two words",)}, {"languages": ()}):
        with pytest.raises(ValidationError):
            FilterConfig.model_validate(broken)
    assert all(field.description for field in FilterConfig.model_fields.values())


def test_null_characters_quotes_and_dollars_pass_unharmed() -> None:
    odd = "it's $1 and \x00 \"quoted\" $word -- '; DROP TABLE documents; and the rest"
    result = filter_documents(corpus([odd]))
    assert result.kept.column("text").to_pylist() == [odd]


@pytest.mark.parametrize("seed", [0, 1])
def test_seeded_defects_of_the_little_world_are_found_and_clean_documents_stay(seed: int) -> None:
    world = World(seed)
    documents, truth = make_documents(world, 6000, seed), defect_truth(world, 6000, seed)
    result = filter_documents(pa.Table.from_pylist(documents, schema=row_kind("document").schema))
    found = {row["doc_id"]: row["reason"] for row in result.dropped.to_pylist()}
    expected = {doc_id: defect.replace("unsafe_text", "blocked_words") for doc_id, defect in truth.items()}
    for reason in sorted(set(expected.values())):
        is_defect = {doc_id for doc_id, defect in expected.items() if defect == reason}
        is_found = {doc_id for doc_id, why in found.items() if why == reason}
        assert len(is_defect & is_found) >= 0.95 * len(is_defect), reason
        assert len(is_defect & is_found) >= 0.95 * len(is_found), reason
    assert len(set(found) - set(truth)) <= 0.001 * len(documents)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real sets are not at {REAL}")
@pytest.mark.parametrize(
    ("name", "least_kept"),
    [("c4_demo.jsonl", 0.97), ("moby_dick.jsonl.gz", 0.98), ("python_stdlib.jsonl.gz", 0.97)],
)
def test_good_english_and_python_stay(name: str, least_kept: float) -> None:
    result = filter_documents(read_documents([REAL / name]))
    assert result.kept.num_rows >= least_kept * (result.kept.num_rows + result.dropped.num_rows)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real sets are not at {REAL}")
def test_korean_manuals_stay_where_korean_is_kept_and_go_where_it_is_not() -> None:
    file = REAL / "gnome_help_ko.jsonl.gz"
    kept = filter_documents(read_documents([file]), FilterConfig(languages=("en", "ko")))
    assert kept.counts["other_language"] == 0
    assert kept.kept.num_rows >= 250
    counts = filter_documents(read_documents([file, REAL / "c4_demo.jsonl"])).counts
    assert counts["other_language"] >= 330
