"""The words and phrases by which the corpus filter knows languages, page furniture and blocked text."""

STOP_WORDS: dict[str, str] = {
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

SCRIPTS: dict[str, str] = {
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

BOILERPLATE_PHRASES: tuple[str, ...] = (
    r"cookies?",
    r"(?:enable|requires?|turn on) javascript",
    r"privacy policy",
    r"terms (?:of|and) (?:service|use|conditions)",
    r"all rights reserved",
    r"copyright (?:©|\(c\)|\d{4})",
    r"(?:log|sign) ?in",
    r"sign up",
    r"click here",
    r"read more",
    r"(?:subscribe|sign up) (?:to|for) (?:our|the) newsletter",
    r"skip to (?:main )?content",
    r"back to top",
    r"add to (?:cart|basket|wishlist)",
    r"free shipping",
    r"share this",
    r"follow us",
    r"like us",
    r"about us",
    r"contact us",
    r"powered by",
    r"sitemap|site map",
    r"(?:previous|next) (?:page|post|article)",
    r"leave a (?:reply|comment)",
    r"lorem ipsum",
    r"쿠키를? 사용|개인정보 ?(?:처리|취급) ?방침|이용 ?약관|무단 ?(?:전재|복제)",
)
"""Page furniture as regular expressions, matched between word boundaries in lower-case text."""

_BLOCKED = (
    "anal arsehole asshole bastard bitch bitches blowjob bollocks bondage boobs bukkake cock cocks cocksucker cum "
    "cumshot cunt cunts dick dildo ejaculation erotica fag faggot faggots fuck fucked fucker fuckers fucking "
    "gangbang handjob hardcore hentai hooker horny jizz kike masturbate milf motherfucker nigga nigger niggers "
    "nude nudes orgy paki penis piss porn porno pornography pussy rapist retard scum sexcam sexcams shemale shit "
    "shitty slut sluts spic stripper threesome tits tranny twat upskirt vagina viagra whore whores xxx"
)
BLOCKED_WORDS: tuple[str, ...] = tuple(_BLOCKED.split())
"""Default of `FilterConfig.blocked_words`: sexual text, insults and slurs. One alone in a long text drops nothing."""

PERSONAL_DATA: dict[str, str] = {
    "e-mail": r"[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}",
    "phone": r"(?:\+\d{1,3}[ .-]?)?\(?\b\d{2,4}\)?[ .-]\d{3,4}[ .-]\d{4}\b",
    "id number": r"\b(?:\d{3}-\d{2}-\d{4}|\d{6}-[1-8]\d{6})\b",
    "iban": r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){3,7}(?: ?[a-z0-9]{1,3})?\b",
    "card": r"\b\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}\b",
}
"""Personal data as regular expressions on lower-case text: US social security and Korean resident numbers are ids."""

CODE_LINE = (
    r"(?m)^[ \t]*(?:(?:def|class|elif|except|while|for|with|if|async|switch|fn|func|struct|enum)\b.*[:{(,\\]\s*$"
    r"|(?:import|from)\s+[\w.]+(?:\s+import\b.*|\s+as\s+\w+|,.*|;)?\s*$|(?:return|raise|yield|del|assert|pass|break)\b.*$"
    r"|(?:try|else|finally):|@\w+|#|//|/\*|\*/|(?:public|private|protected|static|const|let|var|function)\s"
    r"|[\w.\[\]\"']+(?:, ?[\w.]+)*\s*[-+*/|&]?=[^=].*$|[\w.]+\(.*\)?,?\s*$|[)\]}]+[,;]?\s*$|.*[;{}]\s*$)"
)
"""A line that looks like source code."""
