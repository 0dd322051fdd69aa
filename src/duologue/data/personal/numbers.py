"""Numbers that belong to a person: phones, bank accounts, cards, network addresses.

Dates, years, prices, scores, ISBNs and dice are numbers too, so a phone number needs the shape of one: a country code,
a trunk zero, the groups of North America, or a word before it that says so.
"""

import ipaddress
import re
from collections.abc import Iterator

Span = tuple[int, int]

_DIGIT = re.compile(r"[0-9]")
_SEVERAL_DIGITS = re.compile(r"[0-9][^\n]{0,4}[0-9]")
_SEPARATORS = r"[ .\-/()\u00a0]"

_SEVEN_DIGITS = re.compile(rf"\d(?:{_SEPARATORS}{{0,3}}\d){{6}}")
_INTERNATIONAL = re.compile(
    rf"(?<![\w+.,])(?:\+ ?|\(\+|(?<!\d )00(?=[1-9]))[1-9](?:{_SEPARATORS}{{0,3}}\d){{7,14}}(?!\w|[.,]\d)"
)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w.,$+/-])(?:1[ .-])?(?:\([2-9]\d\d\) ?-?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}(?!\w|[-.,/]\d)"
)
_TRUNK_ZERO = re.compile(r"(?<![\w.,:+$/-])(?<!\d )\(?0[1-9](?:[ /()-]{0,2}\d){7,10}(?!\w|[-.,:/]\d)")
_FRENCH_DOTS = re.compile(r"(?<![\w.,])0[1-9](?:\.\d\d){4}(?![\w.])")
_NAMED = re.compile(
    r"\b(?:tele?(?:phone|fon[oe]?)?|t\u00e9l(?:\u00e9phone)?|tel\u00e9fono|phone|mobile|cell(?:phone)?|handy(?:nummer)?|fax"
    r"|whatsapp|sms|portable|m\u00f3vil|rufnummer|(?:call|text|ring) (?:me|us)(?: at| on)?"
    r"|(?:my|her|his|our|their|phone|mobile|cell) (?:(?:new|phone|cell|mobile|office|home) )?number(?:'s| is| was)?)"
    r"(?: (?:number|nummer|no))?[ .:=]{0,3}(?:is|ist|est|es|at|on)?[ :]{0,2}"
    r"(?P<number>\+?\(?\d(?:[ ./()-]{0,2}\d){6,14})(?!\w|[.,:]\d)",
    re.IGNORECASE,
)
_DATE = re.compile(r"\(?(?:\d{1,2}[/. -]\d{1,2}[/. -](?:19|20)\d\d|(?:19|20)\d\d[/. -]\d{1,2}[/. -]\d{1,2})(?!\d)")
_BOOK = re.compile(r"isbn[-: 0-9]{0,8}$", re.IGNORECASE)

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}")
_IBAN_LENGTHS = {  # the IBAN registry of SWIFT
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "PT ST", 26: "IS TR", 27: "FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU", 31: "MT SC", 32: "LC",
    }.items()
    for country in countries.split()
}  # fmt: skip
_CARD = re.compile(r"(?<![\w.,+-])\d(?:[ -]?\d){12,18}(?!\w|[-.,]\d)")
_CARD_PREFIX = re.compile(r"4|5[1-5]|2[2-7]|3[47]|6(?:011|4[4-9]|5)")  # Visa, Mastercard, American Express, Discover
_CARD_LENGTHS = (13, 15, 16, 19)
_IPV4 = re.compile(r"(?<![\w.,-])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d|,\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_VERSION = re.compile(r"(?:\bv|\bversions?|\brelease|\bsection|\bchapter|\bbuild|\u00a7)[ .:]{0,2}\Z", re.IGNORECASE)


def holds_digit(text: str) -> bool:
    """Whether there is a digit at all."""
    return _DIGIT.search(text) is not None


def holds_number(text: str) -> bool:
    """Whether two digits stand close together: a single one is no number of a person, but may be that of a house."""
    return _SEVERAL_DIGITS.search(text) is not None


def find_phones(text: str) -> Iterator[Span]:
    """Yield the spans of phone numbers, written in the international or in a national way."""
    if not _SEVEN_DIGITS.search(text):
        return
    for pattern in (_INTERNATIONAL, _NORTH_AMERICAN, _TRUNK_ZERO, _FRENCH_DOTS):
        for match in pattern.finditer(text):
            number = match[0]
            if not _is_other_number(number) and not _BOOK.search(text, max(0, match.start() - 12), match.start()):
                yield match.span()
    for match in _NAMED.finditer(text):
        if not _is_other_number(match["number"]):
            yield match.span("number")


def find_ibans(text: str) -> Iterator[Span]:
    """Yield the spans of bank account numbers whose length and check digits (ISO 7064, mod 97) are right."""
    match = _IBAN.search(text)
    while match:
        length = _IBAN_LENGTHS.get(match[0][:2], 0)
        places = [at for at in range(match.start(), match.end()) if text[at] != " "][:length]
        end = places[-1] + 1 if places else 0
        if len(places) == length and length and _is_iban("".join(text[at] for at in places)):
            yield match.start(), end
            match = _IBAN.search(text, end)  # the pattern may have read on into the next one
        else:
            match = _IBAN.search(text, match.start() + 4)


def find_cards(text: str) -> Iterator[Span]:
    """Yield the spans of payment card numbers: a known prefix and length, and the check digit of Luhn."""
    for match in _CARD.finditer(text):
        digits = match[0].replace(" ", "").replace("-", "")
        if len(digits) in _CARD_LENGTHS and _CARD_PREFIX.match(digits) and _is_luhn(digits):
            yield match.span()


def find_ip_addresses(text: str) -> Iterator[Span]:
    """Yield the spans of network addresses; loopback addresses and version numbers are none."""
    for match in _IPV4.finditer(text) if text.count(".") >= 3 else ():
        parts = [int(part) for part in match[0].split(".")]
        is_address = max(parts) <= 255 and parts[0] not in (0, 127, 255) and max(parts) > 9
        if is_address and not _VERSION.search(text, max(0, match.start() - 12), match.start()):
            yield match.span()
    for match in _IPV6.finditer(text) if text.count(":") >= 2 else ():
        groups = [group for group in match[0].split(":") if group]
        if len(groups) >= 3 and _DIGIT.search(match[0]) and _is_ipv6(match[0]):
            yield match.span()


def _is_other_number(number: str) -> bool:
    """Whether a run of digits is a date, a row of equal or counted digits, or a round sum."""
    digits = "".join(char for char in number if char.isdigit())
    return (
        _DATE.match(number) is not None
        or len(set(digits)) <= 2
        or digits.endswith("000000")
        or number in "01234567890123456789"
        or not 7 <= len(digits) <= 17
    )


def _is_iban(number: str) -> bool:
    turned = number[4:] + number[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def _is_luhn(digits: str) -> bool:
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(int(digit) for digit in digits[::-2])) % 10 == 0


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
