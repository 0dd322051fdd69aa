"""Ages below 18 that are not plain English: sums, other languages, years of school, an answer to "how old are you"."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from duologue.guard.fold import fold

_ENGLISH = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_TENS = {"thirty": 30, "forty": 40, "fifty": 50}
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii")
# One to seventeen, in folded letters.
_NUMBERS = {
    "de": "ein zwei drei vier funf sechs sieben acht neun zehn elf zwolf dreizehn vierzehn funfzehn sechzehn siebzehn",
    "fr": "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept",
    "es": "uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete",
    "it": "uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici "
    "diciassette",
    "pt": "um dois tres quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis dezessete",
    "nl": "een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien zeventien",
    "pl": "jeden dwa trzy cztery piec szesc siedem osiem dziewiec dziesiec jedenascie dwanascie trzynascie "
    "czternascie pietnascie szesnascie siedemnascie",
    "ru": "один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать тринадцать четырнадцать "
    "пятнадцать шестнадцать семнадцать",
    "tr": "bir iki uc dort bes alti yedi sekiz dokuz on on-bir on-iki on-uc on-dort on-bes on-alti on-yedi",
}
_DIGITS = r"(?<![\d.,'])(?:1[0-7]|[1-9])"
_DIGITS_ANYWHERE = r"(?:1[0-7]|[1-9])"  # also after a quotation mark
_KANJI = r"(?<![\d一二三四五六七八九十百])(?:1[0-7]|[1-9]|十[一二三四五六七]?|[一二三四五六七八九])"
_SINCE = {  # before "15 ans" and after it, where it is a time and no age
    "fr": (r"depuis|pendant|il y a|dans|durant|apres|pour|en|tous les|ces", r"de (?:mariage|carriere|metier|vie)|plus"),
    "es": (
        r"hace|durante|por|en|tras|llevamos|llevo|lleva|cada|los|estos",
        r"de (?:casados|matrimonio|carrera)|atras|j",
    ),
    "it": (r"da|per|in|fra|tra|dopo|ogni|circa|questi", r"fa\b|di (?:matrimonio|carriera|esperienza)|insieme|dopo"),
    "pt": (r"ha|faz|por|durante|em|desde|cada|estes", r"de (?:casados|casamento|carreira|experiencia)|atras|juntos"),
    "pl": (r"od|przez|za|po", r"temu|razem|doswiadczenia"),
    "ru": (r"через|уже|за|последние", r"назад|вместе|опыта"),
}
_NO_GERMAN_UNIT = (
    r"(?! ?(?:jahre? (?!alt)|uhr|minuten?|stunden?|tage?n?|wochen?|monate?n?|euro|meter|kilometer|km|cm|prozent|%|mal|"
    r"[.,:]\d|von|bis))"
)
_NO_UNIT = (
    r"(?! ?-?(?:%|percent|mins?|minutes?|hours?|days?|weeks?|months?|times?|km|miles?|euros?|dollars?|centuries|"
    r"hundred|thousand|million|of|in|to|[.,:]\d|am\b|pm\b|o'clock))"
)
_QUESTIONS = (
    *(r"\bhow old\b", r"\b(?:your|her|his|their) age\b", r"\bage\W*$", r"\bwie alt\b", r"\bquel age\b"),
    *(r"\bque edad\b", r"\bcuantos anos\b", r"\bquanti anni\b", r"\bquantos anos\b", r"\bhoe oud\b"),
    *("几岁", "多大", "何歳", "いくつ"),
)
_ANSWERS = (
    r"(?:i am|i'm|im|she is|she's|he is|he's|they are|just|only|barely|still|almost|nearly|about|turned|just turned|"
    r"ich bin|sie ist|er ist|erst|j'ai|elle a|il a|tengo|tiene|ho|ha|tenho|tem|ik ben)"
)
_OF_A_GIRL = {  # before "de quince": who is of that age
    "es": "chic[ao]|muchach[ao]|nin[ao]|jovencit[ao]|joven|hij[ao]|herman[ao]|colegiala|estudiante",
    "fr": "fille|garcon|gamine?|soeur|frere|eleve|demoiselle|ado|copine",
    "it": "ragazz[ao]|ragazzin[ao]|figli[ao]|sorella|fratello|studentessa",
    "pt": "menin[ao]|garot[ao]|rapariga|rapaz|filh[ao]|irma|aluna",
}
_HAS = {  # "tiene quince", to the end of what is said: what follows would be counted
    "es": r"(?:tengo|tienes|tiene|tenia|cumplio|cumple|cumplira)(?: solo| apenas| recien| ya)?",
    "fr": r"(?:j'ai|tu as|elle a|il a|elle n'a que|il n'a que|elle avait)",
    "it": r"(?:ho|hai|ha|compie|aveva)(?: solo| appena)?",
    "pt": r"(?:tenho|tens|tem|tinha|faz)(?: so| apenas)?",
    "pl": r"(?:mam|masz|ma|miala)(?: tylko| dopiero)?",
}
_END = r"(?= ?(?:$|[^\w\s]|\n|y\b|et\b|e\b|i\b|pero\b|mais\b|zq))"
_AGE_ABROAD = (
    "alter edad idade leeftijd wiek eletkor alder возраст вік yas umur usia tuoi ηλικία 年龄 年齡 年齢 나이 عمر العمر "
    "גיל อายุ उम्र"
)
_RUSSIAN_STEMS = (
    "трех четырех пяти шести семи восьми девяти десяти одиннадцати двенадцати тринадцати четырнадцати пятнадцати "
    "шестнадцати семнадцати"
)
_NO_RUSSIAN_GIRL = "брак срок опыт стаж юбиле истори войн перерыв период договор контракт виски план выдержк служб"
_NO_RUSSIAN_UNIT = (
    "минут час дн ден недел месяц раз рубл евро долл км метр см кг грамм процент книг штук человек балл этаж страниц "
    "тысяч миллион цент сантим градус лет_назад"
)
_RUSSIAN_WHO = "ей ему мне тебе їй йому мені"
_RUSSIAN_HEDGES = "всего только уже лишь исполнилось исполнится было едва еще сейчас лише"
_YEARS = {"fr": "ans", "es": "anos", "it": "anni", "pt": "anos", "pl": "lat", "ru": "лет"}


def find_age(folded: str) -> str:
    """Return a statement of an age below 18 in folded text, or an empty string."""
    patterns = _patterns()
    for hints, stated in patterns.stated:
        if any(hint in folded for hint in hints) and (found := stated.search(folded)):
            return found[0].strip()
    for hint, years, since in patterns.years:
        for found in years.finditer(folded) if hint in folded else ():
            if not since.search(folded[max(0, found.start() - 24) : found.start()]):
                return found[0].strip()
    return _find_sum(folded) or _find_dialogue(folded)


def _find_dialogue(folded: str) -> str:
    """Return the age below 18 that answers a question about it in the same text."""
    for question in _patterns().question.finditer(folded):
        mark = folded.find("?", question.end(), question.end() + 40)
        if mark >= 0 and (found := find_answered_age(folded[mark + 1 : mark + 61])):
            return found
    return ""


def asks_age(folded: str) -> bool:
    """Return whether folded text ends with a question about somebody's age."""
    return bool(_patterns().question.search(folded[-100:]))


def find_answered_age(folded: str) -> str:
    """Return the age below 18 with which folded text begins, as an answer would; or an empty string."""
    found = _patterns().answer.match(folded[:60])
    return found[0].strip() if found else ""


def _find_sum(folded: str) -> str:
    """Return an age below 18 that has to be worked out: two years younger than 19, half of 30, ten plus five."""
    for hints, find, work_out in _sums():
        for found in find.finditer(folded) if any(hint in folded for hint in hints) else ():
            age = work_out(found)
            if age is not None and 0 < age < 18:
                return found[0].strip()
    return ""


Hints = tuple[str, ...]
"""One of these is in every text that a pattern matches; looking for them is a hundred times faster."""
Sum = tuple[Hints, re.Pattern[str], Callable[[re.Match[str]], float | None]]


@cache
def _sums() -> tuple[Sum, ...]:
    number = rf"(\d{{1,2}}|{'|'.join((*_ENGLISH, *_TENS))})"
    years = r"(?:years?|yrs?)"
    is_aged = r"(?:\b(?:is|am|are|was|were|aged?|turned|turns|being)|'s|'m|'re)"
    signs = (
        "+",
        "plus",
        "minus",
        "less",
        "take away",
        "times",
        "*",
        *(f"{digit} {sign} " for digit in range(10) for sign in "-x"),
    )
    operator = r"(\+|plus|-|minus|less|take away|x|\*|times)"
    return (
        (
            ("younger than", "until", "before", "short of", "away from", "shy of", "from being"),
            re.compile(
                rf"\b(an?|{number})[ -]{years} (?:younger than|until|before|short of|away from|shy of|from being) "
                rf"{number}\b"
            ),
            lambda found: _younger(found[1], found[3]),
        ),
        (
            (" half ",),
            re.compile(
                rf"{is_aged} (?:only |just |about )?half (?:of )?(?:as old as )?{number}\b(?! (?:of|minutes?|hours?))"
            ),
            lambda found: _number(found[1]) / 2,
        ),
        (
            signs,
            re.compile(
                rf"{is_aged} (?:only |just )?{number} ?{operator} ?{number}\b(?! (?:percent|minutes?|hours?|euros?))"
            ),
            lambda found: _worked_out(found[1], found[2], found[3]),
        ),
        (
            signs,
            re.compile(rf"\b{number} ?{operator} ?{number}[ -]{years}[ -](?:old|of age)\b"),
            lambda found: _worked_out(found[1], found[2], found[3]),
        ),
    )


def _younger(less: str, older: str) -> float | None:
    age = _number(older)
    return age - _number(less) if age <= 30 else None


def _worked_out(left: str, sign: str, right: str) -> float:
    first, second = _number(left), _number(right)
    if sign in ("+", "plus"):
        return first + second
    return first * second if sign in ("x", "*", "times") else first - second


def _number(text: str) -> int:
    if text in ("a", "an"):
        return 1
    if text.isdigit():
        return int(text)
    return _TENS[text] if text in _TENS else _ENGLISH.index(text)


@dataclass(frozen=True, slots=True)
class _Patterns:
    stated: tuple[tuple[Hints, re.Pattern[str]], ...]
    years: tuple[tuple[str, re.Pattern[str], re.Pattern[str]], ...]
    question: re.Pattern[str]
    answer: re.Pattern[str]


@cache
def _patterns() -> _Patterns:
    words = {language: _alternation(text.split()) for language, text in _NUMBERS.items()}
    stated = (
        (("jahr",), rf"\b(?:{_DIGITS}|{words['de']})(?:[ -]jahre? (?:alt|jung)\b|[ -]?jahrig\w*)"),
        (
            ("bin ", "ist ", "bist ", "sind ", "wurde ", "wird "),
            rf"\b(?:ich bin|sie ist|er ist|du bist|wir sind|bin erst|ist erst|wurde|wird) (?:erst |gerade |noch |"
            rf"schon )*"
            rf"(?:{_DIGITS}|{words['de']})(?!\w){_NO_GERMAN_UNIT}",
        ),
        (("jaar", "jarig"), rf"\b(?:{_DIGITS}|{words['nl']})(?: jaar oud\b|-?jarige?\b)"),
        (("yasinda",), rf"\b(?:{_DIGITS}|{words['tr']}) yasinda\b"),
        (("歳", "才", "岁", "歲"), rf"{_KANJI} ?(?:歳|才|岁|歲)"),
        ((fold("살"),), fold(rf"{_DIGITS} ?살|열(?:한|두|세|네|다섯|여섯|일곱) ?살")),
        ((fold("साल"),), fold(rf"{_DIGITS} ?साल")),
        (("year",), rf"\b(?:{'|'.join(_ROMAN[2:])})[ -]years?[ -]old\b"),
        (("age ", "aged "), rf"\baged? (?:{'|'.join(_ROMAN[5:])})\b"),
        (
            ("dozen", "decade"),
            r"\b(?:a dozen|one and a half decades|a decade and a half|half a decade) (?:years )?old\b",
        ),
    )
    since: dict[str, str] = {}  # Spanish and Portuguese count in the same word
    for language, (before, _) in _SINCE.items():
        since[_YEARS[language]] = "|".join(filter(None, (since.get(_YEARS[language]), fold(before))))
    years = (
        (
            f" {fold(_YEARS[language])}",
            rf"(?<!\w)(?:{_DIGITS}|{words[language]}) {fold(_YEARS[language])}\b(?! (?:{fold(after)}))",
            rf"\b(?:{since[_YEARS[language]]}) (?:\w+ )?$",
        )
        for language, (_, after) in _SINCE.items()
    )
    numbers = _alternation(sorted({word for text in _NUMBERS.values() for word in text.split()} - {"on", "bir", "un"}))
    return _Patterns(
        stated=tuple((hints, re.compile(pattern)) for hints, pattern in (*stated, *_abroad(words))),
        years=tuple((hint, re.compile(pattern), re.compile(before)) for hint, pattern, before in years),
        question=re.compile("|".join(_QUESTIONS)),
        answer=re.compile(
            rf"\W*(?:{_ANSWERS}[ ,]*){{0,3}}(?:{_DIGITS}|{_alternation(_ENGLISH[1:18])}|{numbers})(?![\w%]){_NO_UNIT}"
        ),
    )


def _abroad(words: dict[str, str]) -> Iterator[tuple[Hints, str]]:
    """Yield ages in words of other languages that no unit follows, and in fields of a card."""
    every = f"(?:{'|'.join((_DIGITS_ANYWHERE, *words.values()))})"
    fields = tuple(fold(name) for name in _AGE_ABROAD.split())
    yield fields, rf"(?<!\w)(?:{'|'.join(fields)})[^\w.,!?]{{1,12}}{every}(?![\w%]|[.,:/]\d){_NO_UNIT}"
    for language, has in _HAS.items():
        number = rf"(?:{_DIGITS}|{words[language]})(?!\w)"
        yield tuple(f"{verb} " for verb in _verbs(has)), rf"\b{has} {number}{_END}"
    for language, who in _OF_A_GIRL.items():
        of = "di" if language == "it" else "de"
        number = rf"(?:{_DIGITS}|{words[language]})(?!\w)"
        yield (f" {of} ",), rf"\b(?:{who})s? {of} {number}{_NO_UNIT}(?! (?:{fold('meses|minutos|minutes|ore|horas')}))"
    yield ("jahre",), rf"[,(|:/] ?(?:{_DIGITS}|{words['de']}) jahre(?= ?(?:$|[,.;:|)\n]))"
    yield (
        (" von ",),
        rf"\b(?:madchen|junge|tochter|sohn|schwester|bruder) von (?:{_DIGITS}|{words['de']})(?!\w){_NO_GERMAN_UNIT}",
    )
    yield (" van ",), rf"\b(?:meisje|jongen|dochter|zoon) van (?:{_DIGITS}|{words['nl']})(?!\w){_NO_UNIT}"
    yield (
        (fold("летн"), fold("річн")),
        (
            rf"(?<!\w)(?:(?:{_DIGITS}|{_folded(_RUSSIAN_STEMS)})-?{fold('летн')}|{_DIGITS}-?{fold('річн')})\w+"
            rf"(?! (?:{_folded(_NO_RUSSIAN_GIRL)}))"
        ),
    )
    yield (
        tuple(f"{fold(who)} " for who in _RUSSIAN_WHO.split()),
        rf"(?<!\w){_folded(_RUSSIAN_WHO)} (?:{_folded(_RUSSIAN_HEDGES)} ){{0,3}}(?:{_DIGITS}|{words['ru']})(?!\w)"
        rf"(?! ?(?:{_folded(_NO_RUSSIAN_UNIT)}|%|[.,:]\d))",
    )
    korean, final = fold("세"), "\u11a8-\u11c2"  # a letter more makes another word
    yield (
        (korean,),
        rf"(?:{_DIGITS}|{_folded('십일 십이 십삼 십사 십오 십육 십칠')}) ?{korean}(?![{final}])"
        rf"(?! ?{_folded('기 대 트')})",
    )
    yield (
        ("今年", "才", "年仅", "年僅", "芳龄", "刚满", "剛滿", "只有"),
        r"(?:今年|才|年仅|年僅|芳龄|刚满|剛滿|只有) ?(?:1[0-7]|[3-9]|十[一二三四五六七]?)"
        r"(?=$|[^\w%:.]|\n)(?! ?[\d%])",
    )
    yield (fold("عمر"),), rf"{fold('عمر')}\w* ?(?:{fold('هو')} )?{_DIGITS}(?!\w)"
    yield (fold("בת"), fold("בן")), rf"(?<!\w){_folded('בת בן')} {_DIGITS}(?!\w)"
    yield (
        ("vuotia", "eves", "tuoi", "gamm", "godina", "rokov"),
        (rf"{_DIGITS}[ -]?(?:vuotia\w*|eves\b|tuoi\b|ar gamm[ae]l\w*)"),
    )
    yield (
        ("umur", "usia", " ani", " let", "-let"),
        (
            rf"\b(?:ber)?(?:umur|usia)(?:nya)? {_DIGITS}(?!\w)|\bare {_DIGITS} ani\b|\bje (?:ji|mu) {_DIGITS}\b|"
            rf"{_DIGITS}-?let(?:a|y|ni[a-z]*)\b"
        ),
    )
    yield (fold("χρονών"), fold("ετών")), rf"{_DIGITS} {_folded('χρονών ετών')}"


def _verbs(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.partition(")")[0].removeprefix("(?:").split("|"))


def _folded(text: str) -> str:
    return "(?:" + "|".join(fold(word).replace("_", " ") for word in text.split()) + ")"


def _alternation(words: Sequence[str]) -> str:
    return "(?:" + "|".join(re.escape(fold(word)).replace(r"\-", "[ -]?") for word in words) + ")"
