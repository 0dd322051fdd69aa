"""A text folded for matching: look-alike letters, hidden characters, leet and spacing no longer hide a word."""

import re
import unicodedata
from collections.abc import Sequence

# Lower-case letters of other scripts that look like a Latin one (Unicode confusables, the common ones).
_LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u0501\u04bb\u043a\u043c\u0442\u051b\u051d"  # Cyrillic
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"  # Greek
    "\u0131\u0251\u0261\u0269\u2c9f\u0585"  # dotless i, Latin alpha, script g, iota, Coptic o, Armenian o
    "\u2018\u2019\u2010\u2011\u2012\u2013\u2014",  # quotation marks and dashes
    "aeopcyxisjdhkmtqwaeikvoptuxiagioo''-----",
)
LEET = str.maketrans("013457@$!|", "oieastasil")
LEET_ONE_AS_L = str.maketrans("1", "l")
_TAGS = {code: code - 0xE0000 for code in range(0xE0020, 0xE007F)}  # invisible copies of ASCII
_SPELLED_OUT = re.compile(r"(?<!\w)\w([ .*\-])(?:\w\1)+\w(?!\w)")
_SPACING = re.compile(r"[ .*\-]")
_SPELLED_OUT_HINT = re.compile(r"([ .*\-])\w\1\w(?!\w)")  # is in every spelled-out word, and much quicker to look for


def fold(text: str) -> str:
    """Return `text` in lower case, with look-alike letters made Latin and marks and invisible characters removed."""
    if not text.isascii():
        # Marks go first: sorting a long run of them takes quadratic time.
        text = _without_hidden(text.translate(_TAGS))
        text = _without_hidden(unicodedata.normalize("NFKD", text))
        text = text.casefold().translate(_LOOKALIKES)
    return text.lower().replace("_", " ")


def views(text: str) -> str:
    """Return every reading of `text`, one per line: folded, leet resolved, spelled-out words joined."""
    folded = fold(text)
    leet = folded.translate(LEET)
    leet_with_l = folded.translate(LEET_ONE_AS_L).translate(LEET)
    joined = [_SPELLED_OUT.sub(lambda run: _SPACING.sub("", run[0]), reading) for reading in (folded, leet)]
    readings = [" ".join(reading.split()) for reading in (folded, leet, leet_with_l, *joined)]
    return "\n".join(dict.fromkeys(readings))


def quick_views(texts: Sequence[str]) -> tuple[str, ...]:
    """Return all texts in the readings of `views`, one string per reading; none where a word is spelled out.

    For a first look at many texts: their words and phrases are those of `views`, apart from phrases that begin in one
    text and end in the next.
    """
    folded = fold("\n".join(texts))
    readings = [folded, folded.translate(LEET)]
    if "1" in folded:
        readings.append(folded.translate(LEET_ONE_AS_L).translate(LEET))
    if any(_SPELLED_OUT_HINT.search(reading) for reading in readings[:2]):
        return ()
    return tuple(dict.fromkeys(readings))


def _without_hidden(text: str) -> str:
    hidden = [c for c in set(text) if c >= "\x80" and unicodedata.category(c) in ("Mn", "Me", "Cf")]
    return text.translate(dict.fromkeys(map(ord, hidden))) if hidden else text
