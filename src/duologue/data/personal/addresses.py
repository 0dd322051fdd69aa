"""What looks like a postal address: a number and a street word, in English, German, French and Spanish."""

import re
from collections.abc import Iterator

_NAME = r"(?:[A-Z\u00c0-\u00de][\w'\u2019.-]{0,30}|\d{1,3}(?:st|nd|rd|th))"
_ENGLISH = re.compile(
    r"(?<![\w.,$\u20ac\u00a3/#-])(?P<number>\d{1,5}[A-Za-z]?(?:[-/]\d{1,4})?),? "
    rf"(?:(?:[NSEW]\.?|North|South|East|West) )?(?:{_NAME} ){{1,4}}"
    r"(?:(?:Street|Avenue|Road|Boulevard|Lane|Drive|Court|Place|Square|Terrace|Way|Parkway|Highway|Circle|Crescent|Close|Row"
    r"|Mews)|(?:St|Ave|Rd|Blvd|Ln|Dr|Ct|Pl|Sq|Pkwy|Hwy|Cir|Cres)\.?)(?![\w-])"
)
_ENGLISH_NAMED = re.compile(
    r"\b(?:liv(?:e|es|ing)|address|house|apartment|flat|located|moved)\b[^\n\d]{0,20}(?<![\w.])"
    r"(?P<address>\d{1,5}[a-z]?,? (?:[\w'\u2019.-]{1,30} ){1,3}"
    r"(?:street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|court|place|square|terrace|way|crescent))\b",
    re.IGNORECASE,
)
_GERMAN = re.compile(
    r"(?<![\w-])(?P<street>[A-Z\u00c4\u00d6\u00dc][\w-]{0,40}?(?:stra(?:\u00dfe|sse)|str\.|gasse|allee|weg|platz)"
    r"|(?P<first>[A-Z\u00c4\u00d6\u00dc][\w-]{1,40})[ -](?:Stra(?:\u00dfe|sse)|Str\.|Gasse|Allee))"
    r" ?\d{1,4} ?[a-z]?(?!\w|[.,:]\d|%)"
)
_FRENCH = re.compile(
    r"(?<![\w.,$\u20ac/-])\d{1,4}(?: ?(?:bis|ter))?,? "
    r"(?:rue|avenue|av\.|boulevard|bd|place|chemin|all\u00e9e|impasse|quai|route|cours|square) "
    r"(?:(?:de la|de l['\u2019]|de|du|des|d['\u2019]|la|le|les) ?)?[A-Z\u00c0-\u00de0-9][\w'\u2019-]{1,30}"
    r"(?:[ -][A-Z\u00c0-\u00de][\w'\u2019-]{0,30}){0,3}"
)
_SPANISH = re.compile(
    r"(?<!\w)(?:[Cc]alle|C/|[Aa]venida|Avda?\.|[Pp]laza|[Pp]aseo|[Cc]amino|[Rr]onda) ?"
    r"(?:(?:de la|de los|de las|de|del|la|el) )?[A-Z\u00c0-\u00de][\w'\u2019-]{1,30}"
    r"(?: (?:(?:de|del|la) )?[A-Z\u00c0-\u00de][\w'\u2019-]{0,30}){0,3},? "
    r"(?:n[.\u00ba\u00b0]{0,2} ?)?\d{1,4}(?!\w|[.,:]\d|%)"
)
_BEFORE_A_YEAR_OR_DAY = re.compile(
    r"\b(?:in|since|until|till|from|of|by|during|around|after|before"
    r"|jan\w*|feb\w*|mar\w*|apr\w*|may|june?|july?|aug\w*|sep\w*|oct\w*|nov\w*|dec\w*)\.?,? ?$",
    re.IGNORECASE,
)
_NO_STREETS = re.compile(  # places without an address, and ways that are no street
    r"(?:arbeits|sitz|steh|park|stell|spiel|camping|sport|bahn|flug|tennis|fu\u00dfball|ehren|start|schlaf|liege"
    r"|um|r\u00fcck|hin|heim|schul|fu\u00df|rad|aus|schleich)(?:platz|weg)$|^(?:die|der|das|eine?|diese|jede|keine)$",
    re.IGNORECASE,
)


def find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of street addresses, house number included."""
    for match in _ENGLISH.finditer(text):
        before = text[max(0, match.start() - 12) : match.start()]
        number = match["number"]
        is_date = number.isdigit() and (int(number) <= 31 or 1900 <= int(number) <= 2099)
        if not (is_date and _BEFORE_A_YEAR_OR_DAY.search(before)):
            yield match.span()
    for match in _ENGLISH_NAMED.finditer(text):
        yield match.span("address")
    for match in _GERMAN.finditer(text):
        if not _NO_STREETS.search(match["first"] or match["street"]):
            yield match.span()
    for pattern in (_FRENCH, _SPANISH):
        for match in pattern.finditer(text):
            yield match.span()
