"""Numbers of people in texts: telephones, ids, cards, accounts, addresses of machines. Each has a pattern, and
something that it must fulfil."""

import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network

import numpy as np
import numpy.typing as npt

from data_store.corpus.signs import code_points

Span = tuple[int, int, str]
_NUMBER = re.compile(
    r"(?P<resident>\d{6}-[1-8]\d{6})"
    r"|(?P<social>\d{3}-\d{2}-\d{4})"
    r"|(?P<card>\d{4}(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}(?P=gap)\d{1,7}|3[47]\d{2}(?P<other>[ -]?)\d{6}(?P=other)\d{5})"
    r"|(?P<address>\d{1,3}(?:\.\d{1,3}){3})"
    r"|(?P<phone>\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"
    r"|\(0?\d{2,5}\)[ -]?\d{3,4}[ .-]?\d{3,4}|01[016789]\d{7,8}|\d{2,5}(?:[ .-]\d{2,6}){1,4})"
)
_ACCOUNT = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?")
_COLONS = re.compile(r"::?[0-9a-fA-F]{1,4}::?[0-9a-fA-F]{1,4}::?[0-9a-fA-F]")
_ADDRESS6 = re.compile(r"[0-9a-fA-F]{1,4}(?::{1,2}[0-9a-fA-F]{1,4}){3,7}")
_CALLED = re.compile(
    r"(?:(?<![a-z])(?:tel|telephone|phone|mobile|cell|fax|call|text|whatsapp|ring|telefon|handy)"
    r"|전화|번호|연락처|휴대폰|팩스|문의)"
    r"\W{0,8}(?:\w{1,8}\W{1,4}){0,2}$",
    re.I,
)
_YEARS = re.compile(r"(?:19|20)\d\d[ .-](?:(?:19|20)\d\d|[01]?\d[ .-][0-3]?\d)")
_COUNTED_UP = re.compile(r"(?:version|ver\.?|v|release|section|§|firmware|build|oid)\s*$", re.I)
# Lengths by country, of the registry that SWIFT keeps (ISO 13616).
_IBAN_LENGTHS = {
    entry[:2]: int(entry[2:])
    for entry in (  # noqa: SIM905
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 "
        "FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 "
        "LU20 LV21 MC27 MD24 ME22 MK19 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24 "
        "SM27 TN24 TR26 UA29 VA22 XK20"
    ).split()
}
_REGIONS = ("US", "GB", "DE", "FR", "JP", "IT", "ES", "NL", "AU", "IN")


def find_numbers(text: str) -> Iterator[Span]:
    """Where numbers of people stand, with the word for their kind; boundaries are of ASCII, as in addresses."""
    outline = _outline(text)
    for match in _accounts(text, outline):
        if end := _account_end(text, match):
            yield match.start(), end, "account"
    for region in _DIGITS_APART.finditer(outline):
        at, last = max(region.start() - 1, 0), region.end()
        while number := _NUMBER.search(text, at, last):
            kind = str(number.lastgroup)
            begin, end = number.span()
            if _stands_alone(text, begin, end) and _HOLDS[kind](text, begin, end):
                yield begin, end, kind
                at = end
            else:
                # A number that is none may still begin before one that is: go on behind its first group of digits.
                digits = _FIRST_DIGITS.match(text, begin)
                at = digits.end() if digits else begin + 1
    yield from _long_addresses(text)


_GIVEN_OUT = IPv6Network("2000::/3")
"""All that has been given out of the long addresses (IANA's registry): others in texts are made up."""
_DIGITS_APART = re.compile(rb"0[0-]{6,}")
_FIRST_DIGITS = re.compile(r"[+(]?\d+")


_BEYOND_DIGITS = 0x20000


@lru_cache(maxsize=1)
def _outlines() -> npt.NDArray[np.uint8]:
    """By code point: 0 for a digit of any script, A for a capital of ASCII, - for what stands between digits."""
    table = np.full(_BEYOND_DIGITS + 1, ord(" "), np.uint8)
    table[[point for point in range(_BEYOND_DIGITS) if chr(point).isdecimal()]] = ord("0")
    table[ord("A") : ord("Z") + 1] = ord("A")
    table[[ord(sign) for sign in " .()-"]] = ord("-")
    return table


def _outline(text: str) -> bytes:
    """A byte for each character, in which patterns are found at the speed of literal strings."""
    return np.take(_outlines(), code_points(text), mode="clip").tobytes()


def _accounts(text: str, outline: bytes) -> Iterator[re.Match[str]]:
    """`_ACCOUNT.finditer(text)`."""
    at = outline.find(b"AA00")
    while at >= 0:
        match = _ACCOUNT.match(text, at)
        if match:
            yield match
        at = outline.find(b"AA00", match.end() if match else at + 1)


def _stands_alone(text: str, begin: int, end: int) -> bool:
    """No letter, digit or sign of a longer number on either side."""
    before, after = text[max(begin - 2, 0) : begin], text[end : end + 2]
    if before and (_JOINS.search(before[-1]) or (before[-1] in ".,-" and before[:-1].isdigit())):
        return False
    return not (after and (_JOINS.search(after[0]) or (after[0] in ".,-" and after[1:].isdigit())))


_JOINS = re.compile(r"[A-Za-z0-9_=/$€£#%]")


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1): doubled from the right, summed."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def iban(account: str) -> bool:
    """Whether an account number has its country's length and the remainder 1 by 97 (ISO 13616, ISO 7064)."""
    if _IBAN_LENGTHS.get(account[:2]) != len(account):
        return False
    return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


def _account_end(text: str, match: re.Match[str]) -> int | None:
    """Where it ends: words in capitals may follow, which the country's length leaves out."""
    length, end = _IBAN_LENGTHS.get(match[0][:2], 0), match.start()
    before = text[match.start() - 1 : match.start()]
    if not length or (before and before.isascii() and before.isalnum()):
        return None
    digits = ""
    while end < match.end() and len(digits) < length:
        digits += text[end].strip()
        end += 1
    after = text[end : end + 1]
    return end if iban(digits) and not (after.isascii() and after.isalnum()) else None


def _card(text: str, begin: int, end: int) -> bool:
    digits = _only_digits(text[begin:end])
    return bool(_ISSUERS.match(digits)) and len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


_ISSUERS = re.compile(r"4|5[1-5]|2[2-7]|3[47]|6011|65|35|30|36|38|62")


def _resident(text: str, begin: int, end: int) -> bool:
    """A birth date that was; numbers that were given since October 2020 have no check digit."""
    digits = _only_digits(text[begin:end])
    century = 1900 if digits[6] in "1256" else 2000
    return _is_date(century + int(digits[:2]), int(digits[2:4]), int(digits[4:6]))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        return date(year, month, day).year <= 2040
    except ValueError:
        return False


def _social(text: str, begin: int, end: int) -> bool:
    """Of an area, a group and a serial number that are given out."""
    area, group, serial = text[begin:end].split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _address(text: str, begin: int, end: int) -> bool:
    """One of somebody's: not of a machine to itself, none that is kept for examples (RFC 5737), and no number of a
    version."""
    try:
        address = IPv4Address(text[begin:end])
    except AddressValueError:
        return False
    parts = [int(part) for part in text[begin:end].split(".")]
    if _COUNTED_UP.search(text[max(begin - 12, 0) : begin]) or max(parts[:3]) < 20:
        return False
    return address.is_global and not address.is_multicast


def _phone(text: str, begin: int, end: int) -> bool:
    """A number that a numbering plan has: of any country with its prefix, of Korea as it is written there, of the
    United States in its groups; others only where the text calls it one. Two years and a date are none."""
    number = text[begin:end]
    digits = _only_digits(number)
    if not 8 <= len(digits) <= 15 or len(set(digits)) < 3 or _YEARS.fullmatch(number):
        return False
    if number.startswith("+"):
        return _is_dialled(number, None)
    if re.fullmatch(r"0\d{1,2}[ .-]\d{3,4}[ .-]\d{4}|01[016789]\d{7,8}", number) and _is_dialled(number, "KR"):
        return True
    if re.fullmatch(r"\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}-\d{3}-\d{4}|\d{3}\.\d{3}\.\d{4}", number):
        return _is_dialled(number, "US")
    return bool(_CALLED.search(text[max(begin - 40, 0) : begin])) and any(
        _is_dialled(number, region) for region in ("KR", *_REGIONS)
    )


@lru_cache(maxsize=65536)
def _is_dialled(number: str, region: str | None) -> bool:
    from phonenumbers import NumberParseException, is_valid_number, parse

    try:
        return is_valid_number(parse(number, region))
    except NumberParseException:
        return False


def _only_digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


def _long_addresses(text: str) -> Iterator[Span]:
    for match in _colon_groups(text):
        try:
            address = IPv6Address(match[0])
        except AddressValueError:
            continue
        if address in _GIVEN_OUT and address.is_global and _stands_alone(text, *match.span()):
            yield match.start(), match.end(), "address"


def _colon_groups(text: str) -> Iterator[re.Match[str]]:
    """`_ADDRESS6.finditer(text)`: each begins with one to four signs before its first colon, which is looked for."""
    end = 0
    colons = _COLONS.search(text)
    while colons:
        at = colons.start()
        tried = (_ADDRESS6.match(text, begin) for begin in range(max(at - 4, end), at))
        match = next((each for each in tried if each), None)
        if match:
            yield match
            end = match.end()
        colons = _COLONS.search(text, match.end() if match else at + 1)


_HOLDS: dict[str, Callable[[str, int, int], bool]] = {
    "resident": _resident,
    "social": _social,
    "card": _card,
    "address": _address,
    "phone": _phone,
}
