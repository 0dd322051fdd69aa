"""A text folded for matching: look-alike letters, hidden characters, leet and spacing no longer hide a word."""

import re
import unicodedata
from collections.abc import Sequence

# Lower-case letters of other scripts that look like a Latin one (Unicode confusables, the common ones).
_LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u0501\u04bb\u043a\u043c\u0442\u051b\u051d"  # Cyrillic
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"  # Greek
    "\u0131\u0251\u0261\u0269\u2c9f\u0585"  # dotless i, Latin alpha, script g, iota, Coptic o, Armenian o
    "\u0142\u00f8\u0111\u0127\u0268\u0142"  # letters with a stroke
    "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274\u1d0f\u1d18\u0280\ua731\u1d1b"
    "\u1d1c\u1d20\u1d21\u028f\u1d22"  # small capitals
    "\u2018\u2019\u2010\u2011\u2012\u2013\u2014",  # quotation marks and dashes
    "aeopcyxisjdhkmtqwaeikvoptuxiagioolodhilabcdefghijklmnoprstuvwyz''-----",
)
LEET = str.maketrans("013457@$!|", "oieastasil")
LEET_ONE_AS_L = str.maketrans("1", "l")
SEPARATORS = ".*-/,~+"  # what may stand between the letters of a word that is spelled out, beside a space
_SIGNS_AS_LETTERS = {code: code - 0xE0000 for code in range(0xE0020, 0xE007F)} | {  # invisible copies of ASCII
    first + place: ord("a") + place  # letters in squares and circles, and those of flags
    for first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6)
    for place in range(26)
}
_GAP = rf"[ {re.escape(SEPARATORS)}]{{1,3}}"
_SPELLED_OUT = re.compile(rf"(?<!\w)\w(?:{_GAP}\w(?!\w)){{2,}}")
_GAPS = re.compile(_GAP)
# Is in every spelled-out word, and much quicker to look for.
_SPELLED_OUT_HINT = re.compile(rf"(?<!\w)\w{_GAP}\w(?!\w)")
# What may stand once or more inside a word to break it.
WORD_BREAKS = "-*.~+/|"
_WORD_BREAKS = str.maketrans("", "", WORD_BREAKS)
_BROKEN = re.compile(rf"[^\W\d_][{re.escape(WORD_BREAKS)}]+[^\W\d_]")
_NUMBERED = re.compile(r"\d")  # "a 12-year-old whisky" is whole
_TURNED_AROUND = re.compile("\u202e([^\u202c]*)\u202c?")


def fold(text: str) -> str:
    """Return `text` in lower case, with look-alike letters made Latin and marks and invisible characters removed."""
    if not text.isascii():
        # Marks go first: sorting a long run of them takes quadratic time.
        text = _without_hidden(text.translate(_SIGNS_AS_LETTERS))
        text = _without_hidden(unicodedata.normalize("NFKD", text))
        text = text.casefold().translate(_LOOKALIKES)
    return text.lower().replace("_", " ")


def word_set(*texts: str) -> frozenset[str]:
    """Return the folded words of texts, for lists that are matched on folded text."""
    return frozenset(fold(" ".join(texts)).split())


def views(text: str) -> str:
    """Return every reading of `text`, one per line.

    Folded; leet resolved; spelled-out words joined, also without the single letter before or after, as in "a c h i l d"
    and "I"; words that a sign breaks mended; turned around.
    """
    readings = [reading for each in _directions(text) for reading in _readings(each)]
    return "\n".join(dict.fromkeys(filter(None, readings)))


def spelled_out(text: str) -> str:
    """Return what is spelled out in `text`, without gaps, one per line: a sentence may be, and is one long word."""
    folded = [" ".join(fold(each).split()) for each in _directions(text)]
    runs = [_GAPS.sub("", run[0]) for each in folded for run in _SPELLED_OUT.finditer(each)]
    return "\n".join(dict.fromkeys(each for run in runs for each in (run, run.translate(LEET))))


def _directions(text: str) -> list[str]:
    return [text, _TURNED_AROUND.sub(lambda run: run[1][::-1], text)] if is_turned_around(text) else [text]


def _readings(text: str) -> list[str]:
    folded = " ".join(fold(text).split())
    leet = folded.translate(LEET)
    leet_with_l = folded.translate(LEET_ONE_AS_L).translate(LEET)
    readings = [folded, leet, leet_with_l, _mended(folded)]
    for reading in (folded, leet):
        if _SPELLED_OUT_HINT.search(reading):
            readings.extend(_joined(reading, first, last) for first in (0, 1) for last in (0, 1))
    return readings


def _joined(reading: str, first: int, last: int) -> str:
    """Join spelled-out words; of each, so many letters at its beginning and at its end stay words of their own."""

    def join(run: re.Match[str]) -> str:
        letters = _GAPS.sub("", run[0])
        end = len(letters) - last
        return " ".join(filter(None, (letters[:first], letters[first:end], letters[end:])))

    return _SPELLED_OUT.sub(join, reading)


def _mended(folded: str) -> str:
    """Return the words of folded text that a sign breaks, without it, far enough from each other to be no phrase."""
    if not _BROKEN.search(folded):
        return ""
    broken = (word for word in folded.split() if _BROKEN.search(word) and not _NUMBERED.search(word))
    return " ; ".join(word.translate(_WORD_BREAKS) for word in broken)


def quick_views(texts: Sequence[str]) -> tuple[str, ...]:
    """Return all texts in the readings of `views`, one string per reading; none where a word may be spelled out.

    For a first look at many texts: their words and phrases are those of `views`, apart from phrases that begin in one
    text and end in the next.
    """
    joined = "\n".join(texts)
    if is_turned_around(joined):
        return ()
    folded = " ".join(fold(joined).split())
    readings = [folded, folded.translate(LEET), folded.translate(_WORD_BREAKS)]
    if "1" in folded:
        readings.append(folded.translate(LEET_ONE_AS_L).translate(LEET))
    if any(_SPELLED_OUT_HINT.search(reading) for reading in readings[:2]):
        return ()
    return tuple(dict.fromkeys(readings))


def is_turned_around(text: str) -> bool:
    """Return whether a part of a text is shown from right to left although it is not written so."""
    return not text.isascii() and "\u202e" in text


def _without_hidden(text: str) -> str:
    table: dict[int, str | None] = {}
    for char in set(text):
        if char >= "\x80":
            category = unicodedata.category(char)
            if category in ("Mn", "Me", "Cf"):
                table[ord(char)] = None
            elif category == "Nd":
                table[ord(char)] = str(unicodedata.decimal(char))
    return text.translate(table) if table else text
