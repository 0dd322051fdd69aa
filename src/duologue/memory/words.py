"""A text to the words that tell: lower case, no accents, no stopwords, each reduced to its stem."""

import re
import unicodedata
from itertools import pairwise

# Runs without spaces, control characters, ASCII or general punctuation, so that scripts whose vowels are combining
# marks stay whole.
_WORD = re.compile(r"[^\s\x00-/:-@\[-`{-\x9f\u2000-\u206f\u3000-\u303f\uff00-\uff0f]+")
_ASCII_WORD = re.compile(r"[0-9a-z]+")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?:s|m|re|ve|ll|d|t)\b")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_STOPWORD_TEXT = """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can could did do does doing don down during each few for from further had has have having he her here
    hers herself him himself his how i if in into is isn it its itself just let me more most my mine myself no nor
    not now of off on once only or other our ours ourselves out over own please remember same say said she should so
    some such tell than that the their theirs them themselves then there these they this those through to too under
    until up us very was wasn we were what when where which while who whom why will with won would you your yours
    yourself yourselves
"""
STOPWORDS = frozenset(_STOPWORD_TEXT.split())


def plain_words(text: str) -> list[str]:
    """Return every word of a text in lower case, without accents and without `'s`, stopwords included."""
    lowered = text.lower()
    if "'" in lowered or "\u2019" in lowered:
        lowered = _APOSTROPHE.sub("", lowered)
    if lowered.isascii():
        return _ASCII_WORD.findall(lowered)
    decomposed = unicodedata.normalize("NFKD", lowered)
    folded = "".join(sign for sign in decomposed if not "\u0300" <= sign <= "\u036f")
    folded = unicodedata.normalize("NFC", folded)
    return [word for run in _WORD.findall(folded) for word in _pairs(run)]


def stems(text: str) -> list[str]:
    """Return the stems of the telling words of a text, in order, repeats included."""
    return [STEMS[word] for word in plain_words(text) if word not in STOPWORDS]


def stem(word: str) -> str:
    """Return the stem of an English word; other words come back as they are.

    M. F. Porter, "An algorithm for suffix stripping" (1980), the algorithm of FTS5's tokenizer `porter`.
    """
    if len(word) <= 2 or not word.isascii() or not word.isalpha():
        return word
    word = _plural(word)
    word = _past(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _replace_longest(word, _STEP_2, least=0)
    word = _replace_longest(word, _STEP_3, least=0)
    word = _without_ending(word)
    if word.endswith("e"):
        measure = _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _ends_short(word[:-1])):
            word = word[:-1]
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word


_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble", "logi": "log",
}  # fmt: skip
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = (
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion",
    "al", "er", "ic", "ou",
)  # fmt: skip
_VOWELS = frozenset("aeiou")


def _is_vowel(word: str, at: int) -> bool:
    letter = word[at]
    return letter in _VOWELS or (letter == "y" and at > 0 and not _is_vowel(word, at - 1))


def _has_vowel(word: str) -> bool:
    return any(_is_vowel(word, at) for at in range(len(word)))


def _measure(word: str) -> int:
    """Return how often a vowel is followed by a consonant."""
    kinds = [_is_vowel(word, at) for at in range(len(word))]
    return sum(first and not second for first, second in pairwise(kinds))


def _ends_double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and not _is_vowel(word, len(word) - 1)


def _ends_short(word: str) -> bool:
    last = len(word) - 1
    return (
        last >= 2
        and not _is_vowel(word, last)
        and _is_vowel(word, last - 1)
        and not _is_vowel(word, last - 2)
        and word[-1] not in "wxy"
    )


def _plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def _past(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        if word.endswith(ending) and _has_vowel(word[: -len(ending)]):
            base = word[: -len(ending)]
            if base.endswith(("at", "bl", "iz")):
                return base + "e"
            if _ends_double(base) and base[-1] not in "lsz":
                return base[:-1]
            if _measure(base) == 1 and _ends_short(base):
                return base + "e"
            return base
    return word


def _replace_longest(word: str, endings: dict[str, str], *, least: int) -> str:
    for size in range(7, 2, -1):
        ending = word[-size:]
        if len(word) > size and ending in endings:
            base = word[:-size]
            return base + endings[ending] if _measure(base) > least else word
    return word


def _without_ending(word: str) -> str:
    for ending in _STEP_4:
        if word.endswith(ending):
            base = word[: -len(ending)]
            if _measure(base) > 1 and (ending != "ion" or base.endswith(("s", "t"))):
                return base
            return word
    return word


class _Stems(dict[str, str]):
    """Stems that were asked for before; quicker than a call for each of millions of words."""

    def __missing__(self, word: str) -> str:
        if len(self) > _MAX_KEPT_STEMS:
            self.clear()
        self[word] = found = stem(word)
        return found


_MAX_KEPT_STEMS = 200_000
STEMS = _Stems()


def _pairs(run: str) -> list[str]:
    """Return a run of letters; where words are written without spaces between them, its pairs of letters."""
    if not _UNSPACED.search(run):
        return [run]
    pieces: list[str] = []
    at = 0
    for match in _UNSPACED.finditer(run):
        if match.start() > at:
            pieces.append(run[at : match.start()])
        letters = match.group()
        pieces.extend(letters[i : i + 2] for i in range(max(1, len(letters) - 1)))
        at = match.end()
    if at < len(run):
        pieces.append(run[at:])
    return pieces
