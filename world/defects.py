"""The corpus's seeded defects, each of a known kind, so that a filter's precision and recall can be measured.

All but `too_short` and `exact_duplicate` are like web pages: 40 words and more, where clean documents have fewer than
40. The only long clean documents are those that the near duplicates are near to.
"""

import random
import string
from collections.abc import Callable
from typing import Final

DEFECT_SHARES: Final[dict[str, float]] = {
    "exact_duplicate": 0.20,
    "near_duplicate": 0.18,
    "boilerplate": 0.14,
    "personal_data": 0.13,
    "garbage": 0.10,
    "other_language": 0.11,
    "unsafe_text": 0.08,
    "too_short": 0.06,
}
"""Kind -> its share of all defects."""

NEAR_DUPLICATES_PER_ORIGINAL: Final = 3

_MENU = "home | about us | products | contact | log in | sign up"
_COPYRIGHT = "copyright 2023. all rights reserved."
_BOILERPLATE = (
    "this website uses cookies to improve your experience.",
    "click here to accept all cookies and continue.",
    "read our privacy policy and our terms of service.",
    "subscribe to our newsletter for weekly offers.",
    "share this page on social media.",
    "please enable javascript to view this page.",
    "skip to main content. back to top.",
    "add to cart. free shipping on all orders over 50 dollars.",
    "previous page | next page | sitemap | help center",
    "follow us. like us. powered by a free blog theme.",
)
_UNSAFE = (
    "xxx porn videos, free porn every day.",
    "watch hot nude girls live on sex cams now.",
    "adult xxx movies, no sign up, all naked.",
    "you fucking bitch, you worthless piece of shit.",
    "buy viagra and cheap pills for hardcore sex.",
    "online casino bonus with free porn and nude photos.",
    "these fucking people are scum and should all die.",
    "hardcore sex chat with naked teens over 18.",
)
_LANGUAGES: Final[dict[str, tuple[str, ...]]] = {
    "german": (
        "der hund schläft unter dem alten baum im garten.",
        "wir haben gestern einen langen spaziergang am see gemacht.",
        "das wetter ist heute nicht besonders schön, aber morgen wird es besser.",
        "meine schwester arbeitet in einer kleinen bäckerei in der stadt.",
        "er hat das buch auf den tisch gelegt und ist dann gegangen.",
        "die kinder spielen jeden nachmittag auf der straße vor dem haus.",
        "ich möchte nächstes jahr mit meinen freunden nach italien fahren.",
    ),
    "spanish": (
        "el perro duerme debajo del árbol viejo en el jardín.",
        "ayer dimos un largo paseo por la orilla del lago.",
        "hoy no hace muy buen tiempo, pero mañana será mejor.",
        "mi hermana trabaja en una pequeña panadería del centro.",
        "dejó el libro sobre la mesa y después se fue a su casa.",
        "los niños juegan todas las tardes en la calle delante de la escuela.",
        "el año que viene quiero viajar a italia con mis amigos.",
    ),
    "french": (
        "le chien dort sous le vieil arbre du jardin.",
        "hier nous avons fait une longue promenade au bord du lac.",
        "il ne fait pas très beau aujourd'hui, mais demain ce sera mieux.",
        "ma sœur travaille dans une petite boulangerie de la ville.",
        "il a posé le livre sur la table et puis il est parti.",
        "les enfants jouent chaque après-midi dans la rue devant la maison.",
        "l'année prochaine je voudrais aller en italie avec mes amis.",
    ),
    "korean": (
        "강아지가 정원의 오래된 나무 아래에서 자고 있습니다.",
        "어제 우리는 호숫가를 따라 오랫동안 산책을 했습니다.",
        "오늘은 날씨가 별로 좋지 않지만 내일은 좋아질 것입니다.",
        "제 여동생은 시내의 작은 빵집에서 일하고 있습니다.",
        "그는 책을 책상 위에 놓고 집으로 돌아갔습니다.",
        "아이들은 매일 오후 학교 앞 골목에서 즐겁게 놉니다.",
        "내년에는 친구들과 함께 이탈리아로 여행을 가고 싶습니다.",
        "도서관에는 조용히 책을 읽는 사람들이 많이 있습니다.",
    ),
}
_FIRST_NAMES = ("maria", "john", "susan", "peter", "linda", "robert", "julia", "thomas")
_LAST_NAMES = ("miller", "smith", "jones", "baker", "cooper", "fisher", "turner", "walker")
_STREETS = ("oak street", "main street", "park avenue", "hill road", "lake drive", "church lane")
_NOISE = string.ascii_letters + string.digits + "#$%&*+/<=>@\\^_{|}~"
_SHORT = ("page {}", "read more", "n/a", "untitled {}", "loading", "error {}", "see above.", "yes", "menu", "photo {}")
FILLERS = ("also", "again", "today", "really", "indeed", "now")


def mix_defects(
    write_clean: Callable[[], str], clean_count: int, defect_share: float, rng: random.Random
) -> list[tuple[str, str | None]]:
    """`clean_count` clean texts and seeded defects in random order, each with its kind of defect or None.

    `defect_share` is the share of defects in the whole. Each group of duplicates keeps its first text as a clean one.
    """
    total = round(clean_count * defect_share / (1 - defect_share))
    counts = {kind: round(total * share) for kind, share in DEFECT_SHARES.items()}
    originals = min(counts["near_duplicate"] // NEAR_DUPLICATES_PER_ORIGINAL, clean_count)

    # A text, the group whose first member is clean, and its kind; the clean ones are in no group.
    entries: list[tuple[str, int | None, str | None]] = []
    for group in range(originals):
        page = long_page(write_clean, rng)
        entries.append((page, group, "near_duplicate"))
        entries += [(alter(page, rng), group, "near_duplicate") for _ in range(NEAR_DUPLICATES_PER_ORIGINAL)]
    clean = [write_clean() for _ in range(clean_count - originals)]
    copied = rng.sample(range(len(clean)), min(counts["exact_duplicate"], len(clean)))
    groups = {index: originals + number for number, index in enumerate(copied)}
    for index, text in enumerate(clean):
        if index in groups:
            entries += [(text, groups[index], "exact_duplicate")] * 2
        else:
            entries.append((text, None, None))
    for kind, write in _WRITERS.items():
        entries += [(write(rng), None, kind) for _ in range(counts[kind])]

    rng.shuffle(entries)
    met: set[int] = set()
    corpus: list[tuple[str, str | None]] = []
    for text, in_group, defect in entries:
        first = in_group is not None and in_group not in met
        corpus.append((text, None if first else defect))
        if in_group is not None:
            met.add(in_group)
    return corpus


def long_page(write_clean: Callable[[], str], rng: random.Random) -> str:
    """A clean text of 50 to 90 words, of several clean documents."""
    least = rng.randint(50, 60)
    page = write_clean()
    while len(page.split()) < least:
        page = f"{page} {write_clean()}"
    return page


def alter(text: str, rng: random.Random) -> str:
    """The text with a filler word put in somewhere: a near duplicate, and what it says stays as true as it was.

    Of the n - 4 five-grams of n words at most 4 are broken, so that two versions of one text of 50 words have a Jaccard
    similarity of about 0.7, and less where the text repeats itself.
    """
    words = text.split()
    words.insert(rng.randrange(len(words) + 1), rng.choice(FILLERS))
    return " ".join(words)


def _fill(rng: random.Random, sentences: tuple[str, ...]) -> str:
    """Sentences in random order until there are at least 40 to 50 words."""
    least = rng.randint(40, 50)
    chosen: list[str] = []
    while len(" ".join(chosen).split()) < least:
        chosen += rng.sample(sentences, len(sentences))
        while len(" ".join(chosen[:-1]).split()) >= least:
            chosen.pop()
    return " ".join(chosen)


def _boilerplate(rng: random.Random) -> str:
    return f"{_MENU} {_fill(rng, _BOILERPLATE)} {_COPYRIGHT}"


def _unsafe_text(rng: random.Random) -> str:
    return _fill(rng, _UNSAFE)


def _other_language(rng: random.Random) -> str:
    return _fill(rng, _LANGUAGES[rng.choice(tuple(_LANGUAGES))])


def _personal_data(rng: random.Random) -> str:
    """Entries of an address list. Hosts and numbers are those reserved for examples."""
    entries = []
    for _ in range(3):
        first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
        entries.append(
            f"{first} {last} lives at {rng.randint(1, 99)} {rng.choice(_STREETS)}. write to {first}.{last}"
            f"{rng.randint(1, 99)}@example.com or call 212-555-01{rng.randint(0, 99):02d} in the evening."
        )
    return " ".join(entries)


def _garbage(rng: random.Random) -> str:
    return " ".join("".join(rng.choices(_NOISE, k=rng.randint(2, 9))) for _ in range(rng.randint(40, 60)))


def _too_short(rng: random.Random) -> str:
    return rng.choice(_SHORT).format(rng.randint(1, 99))


_WRITERS: Final[dict[str, Callable[[random.Random], str]]] = {
    "boilerplate": _boilerplate,
    "personal_data": _personal_data,
    "garbage": _garbage,
    "other_language": _other_language,
    "unsafe_text": _unsafe_text,
    "too_short": _too_short,
}
