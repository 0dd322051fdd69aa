"""Ages below 18 as cards and notes write them: a field, "Mia (14)", "girl, 15", "f/15", "15 yrs", a birth year.

Read in folded text, as all of the policy is, so a name has no capital letter: what counts or numbers something is told
from a name by the word before, and by what comes after.
"""

import re
from functools import cache

from duologue.guard.fold import word_set
from duologue.guard.numbers import (
    AGE,
    AGE_FROM_FIVE,
    BELOW_18,
    DIGITS,
    FIELD_AGE,
    MONTHS,
    NOT_A_QUANTITY,
    NOT_IN_A_FIELD,
    OF_AGE,
    TEENS,
)

# Words before "(14)", ", 14," or "is 14" that are no name.
_NO_NAMES = word_set(
    # small words and verbs
    "a an the and or of in at on by to for from with as is are was were be been than then that this these those it its "
    "i you he she we they me him her us them my your his our their no not yes ok okay so but if when where which who "
    "what "
    "why how there here all any some each every both only just about around over under up down out off see using use "
    "following above below left right top bottom next last first second third one two three four five six seven eight "
    "nine ten eleven twelve minus plus equals exactly approximately since because although though while until unless "
    "like mine yours hers theirs ours ours today tomorrow "
    "yesterday now again also too more most less least total sum average maximum minimum max min "
    # what is numbered
    "chapter chap ch page pages pg pp p part book volume vol issue episode ep season series act scene section sec "
    "table "
    "figure fig image photo picture plate chart graph map appendix annex article paragraph verse psalm line row column "
    "col cell slide step stage phase level lvl lv tier rank grade class unit lesson exercise question problem answer "
    "example case item entry option choice rule law amendment point note footnote ref reference equation eq theorem "
    "lemma definition track song disc side round match game set race lap lane gate door room suite floor apartment apt "
    "flat house building block street route road highway exit bus train line platform seat number num no nr code id "
    "version release build update patch mode type model mark size scale score dose draft week day date month year "
    "january february march april may june july august september october november december jan feb mar apr jun jul aug "
    "sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday spring summer autumn fall winter "
    # what is counted or measured
    "strength str dexterity dex constitution con intelligence int wisdom wis charisma cha luck agility stamina "
    "endurance "
    "perception health mana hp mp xp ac armor armour attack defense defence damage speed power skill stealth athletics "
    "difficulty dc dice roll d20 count quantity price cost value rate ratio result length width height depth weight "
    "radius chest waist hips bust dress shoe shoes temperature time hour noon midnight dinner lunch breakfast distance "
    "percent percentage probability limit budget status bonus virus analysis focus radio channel python windows ios "
    "android area extra company dog cat horse car truck boat ship team wine whisky whiskey rum scotch cheese computer "
    "marriage anniversary answer temperature word words character characters letter letters token index text file "
    "change twenty thirty forty fifty sixty hundred"
)
_NAMES_IN_S = word_set("james charles frances agnes doris hermes inges hans lars jules miles giles yves ines")
_DETERMINERS = word_set(
    "the a an this that these those my your his her our their its no each every another some any per which whose of"
)
_PERSON = (
    r"(?:girl|boy|lad|lass|lassie|maid|maiden|daughter|son|sister|brother|niece|nephew|cousin|student|pupil|girlfriend|"
    r"boyfriend|princess|prince|female|male|virgin|cheerleader|babysitter|youth|youngster|orphan|apprentice|heroine|"
    r"stepsister|stepbrother|stepdaughter|stepson|granddaughter|grandson|neighbou?r)"
)
_HEDGE = r"(?: only| just| barely| about| around| maybe| not even| still| now| really| actually| merely| scarcely)*"
_SEX = r"(?:female|male|girl|boy|woman|nonbinary|non-binary|nb|she/her|he/him|they/them|f|m)"
_FIELD = (
    r"\b(?:ages?|(?:char|character|user|bio|real|apparent|physical|current|her|his|my)age|"
    r"aged)(?:(?: in)? ?\(?(?:years|yrs|physical|apparent|mental|human|actual|real)\)?)?"
)
# Signs between the name of a field and what it holds; a comma or a full stop would begin something new.
_SIGNS = r"[^\w.,!?]{1,12}"
_NEARLY = (
    r"(?:(?:about|around|approx\w*|approximately|only|just|barely|nearly|almost|looks?|appears?|physically|currently|"
    r"now|"
    r"turning|still|the|a|an|young|tender|like|she is|he is|is|was|value|number|int|female|male|f|m)[^\w.!?]{1,6}){0,3}"
)
_ORDINALS = (
    r"(?:[6-9]th|1[0-7]th|(?:six|seven|eigh|nin|ten|eleven|twelf|thirteen|fourteen|fifteen|sixteen|seventeen)th)"
)
_CHILDISH_YEAR = r"20(?:09|[1-3]\d)(?!\d)"
_MONTH = rf"(?:{MONTHS}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
_DATE = rf"(?:(?:\d{{1,2}}(?:st|nd|rd|th)?|{_MONTH}|of|on|in|the|year|around|circa)?[\s.,/:*-]{{1,3}}){{0,6}}"
_NO_SPAN = (
    r"(?! (?:of (?!age|life)|ago|together|later|in|at|with|since|before|after|on|as|to|from|exp\w*|sober|clean|apart|"
    r"married|older|senior|junior|behind|ahead|into|here|there|long|straight|now|service|work|prison|jail|gap|"
    r"difference|warranty|contract|lease|sentence|term|plan|running|strong|and (?:counting|running)))"
)
_SPAN_BEFORE = re.compile(
    r"\b(?:for|since|after|in|over|last|past|about|these|those|of|within|every|than|least|nearly|almost|some|around|"
    r"another|next|first|total|took|takes|spent|through|during|until|some|by|under) (?:\w+ )?$"
)
_STATED = (
    # Age: 15, [Age("15")], "age": 15, **Age:** 15, | Age | 15 |, <age>15</age>, age - 15, ages (12-15)
    (
        ("age",),
        rf"{_FIELD}(?<!ice age)(?<!iron age)(?<!stone age)(?<!space age){_SIGNS}{_NEARLY}[^\w.,!?]{{0,6}}"
        rf"{FIELD_AGE}{NOT_IN_A_FIELD}",
    ),
    (
        ("age", "asl", "a/s/l"),
        r"\b(?:age ?[/&] ?(?:sex|gender|height)|(?:sex|gender) ?[/&] ?age|asl|a/s/l)[^\w.!?]{1,6}"
        rf"(?:{_SEX}[^\w.!?]{{1,3}})?{DIGITS}(?![.,:]?\d)",
    ),
    (("age",), rf"\bname(?: ?[/,&] ?| and )age[^\w.!?]{{1,5}}\w+(?: \w+)?[^\w.!?]{{1,4}}{DIGITS}(?![.,:]?\d)"),
    (("age",), rf"{_FIELD} ?(?:is|of|[:=]) ?(?:x[iv]{{1,4}}|vi{{1,3}}|ix)\b"),
    (
        ("age",),
        rf"\b(?:ages?|aged)[ :]{{1,2}}(?:\d\d(?:, | and | & |/|, and )){{1,3}}{AGE}(?! ?\d)(?! (?:others|more|"
        rf"\w+s)\b)",
    ),
    # 15yr old, 15yearsold, 15y
    (
        ("old",),
        r"(?<![\d.,'])(?:1[0-7]|\d)[ -]?(?:years?|yrs?|y)[ .-]{0,2}old\b(?! (?:whisk|scotch|rum|wine|port|"
        r"cheese))",
    ),
    (("y/o", "y.o", "y o"), r"(?<![\d.,'])(?:1[0-7]|\d)y[ ./]{1,2}o\b"),
    (("teen",), r"(?<![\w.,])(?:[3-7]|1[3-7])teen\b"),
    # a girl, 15; daughter (14); a girl of twelve
    (
        ("(", ",", ":", "|", "-"),
        rf"\b{_PERSON}[\"'*]{{0,2}} ?[(,:|-]{{1,2}} ?(?:only |just |barely |aged? |about )?"
        rf"{AGE_FROM_FIVE}{NOT_A_QUANTITY}(?! (?:\w+s)\b)",
    ),
    (
        (" of ",),
        rf"\b(?:girl|boy|lad|lass|lassie|maid|maiden|youth|virgin|child)s? of (?:about |only |just |barely |some |"
        rf"perhaps |maybe )?(?:{AGE}(?! (?:year|summer|winter|spring))(?<!of one){NOT_A_QUANTITY}(?! (?:minds|worlds|"
        rf"faces|names|"
        rf"lands|kingdoms)\b)|{AGE} (?:year|summer|winter|spring)s\b)",
    ),
    ((" of ",), rf"\b{_PERSON}s? of (?:(?<![\d.,'])1[0-7](?!\w)|(?:{'|'.join(BELOW_18[10:])})(?!\w)){NOT_A_QUANTITY}"),
    # (f, 15), | 15 | female |, she/her/15
    (("(", "[", "|"), rf"[(\[|] ?{_SEX}(?: ?[,/|:; -]{{1,3}} ?{DIGITS}| ?1[0-7]) ?[)\]|,]"),
    (
        ("f", "m", "girl", "boy"),
        rf"{DIGITS} ?[,/|] ?(?:female|male|girl|boy|she/her|he/him|"
        r"they/them|f(?= ?[)\]|/,]))\b",
    ),
    (("/her", "/him", "/them"), rf"\b(?:she/her|he/him|they/them)[ /,|]{{1,3}}{DIGITS}(?![.:]?\d)"),
    (("/her", "/him", "/them", "f", "m"), rf"{DIGITS} (?:she/her|he/him|they/them)\b"),
    (("f1", "m1"), r"(?<![\w-])[fm]1[3-7] (?:here|looking|seeking|for|dm|wants?)\b"),
    # in her twelfth year; fifteen summers
    (
        (" year", " summer", " winter", " spring"),
        rf"\bin (?:his|her|my|their|your) {_ORDINALS} (?:year|summer|winter|"
        r"spring)\b(?! (?:at|in|as|with|on|here|there|under|\w+ing)\b| of (?!(?:his |her |my )?(?:age|life)))",
    ),
    (
        ("summers", "winters", "springs"),
        rf"\b(?:seen|lived|counted|known|only|just|barely|with) (?:only |but |just |barely |"
        rf"a mere )?{AGE} (?:summers|winters|springs)\b(?! (?:ago|of (?!age|life)|in))",
    ),
    (
        ("young",),
        rf"\b(?:i'm|i am|she's|she is|he's|he is|who is|who's|i was|she was|"
        rf"he was){_HEDGE} {AGE} years young\b",
    ),
    # only 14; fifteen going on thirty; at 15 she
    (
        ("only ", "just ", "barely ", "merely ", "scarcely ", "not even "),
        rf"\b(?:only|just|barely|merely|scarcely|not even) "
        rf"(?:1[0-7]|{TEENS}|eleven|twelve)(?= ?(?:$|[.!?,;)*\"\n]))(?![.,]\d)",
    ),
    (("going on",), rf"\b{AGE} going on \w+\b"),
    (("at ",), rf"\bat (?:the age of |just |only )?(?:1[3-7]|{TEENS}),? (?:s?he|i|they|we|you)\b"),
    (
        (" in ",),
        rf"\b(?:i am|i'm|(?:you|we|they|he|she|who)(?:'re|'s| are| is| was| were)){_HEDGE} (?:1[0-7]|{TEENS}|twelve|"
        r"eleven|ten) (?:in canon|in (?:the|this|that|my|our|your|canon) (?:\w+ )?(?:story|scene|book|novel|show|"
        r"series|anime|"
        r"manga|game|movie|film|roleplay|rp|chapter|source|lore|card|flashback|beginning|start))\b",
    ),
    (
        ("older than", "younger than", "under "),
        rf"\b(?:(?:no|not|isn't|not much) older than|younger than|(?:is|are|was|were|"
        rf"'s|'re|'m|girls?|boys?|anyone|someone|still|well) under) {OF_AGE}",
    ),
    # not 18 yet; I'll be 17 in June
    (
        ("18", "eighteen"),
        r"(?<!if )\b(?:i'm|i am|am|she's|she is|he's|he is|they're|they are|who's|who is|isn't|ain't|aren't|"
        r"wasn't|weren't|i was|she was|he was|not)(?: not)?(?: even| quite| yet| actually| really)? (?:not )?(?:18|"
        r"eighteen) "
        r"yet\b",
    ),
    (
        ("18", "eighteen"),
        r"(?<!if )(?<!unless )\b(?:i'm|i am|she's|she is|he's|he is|they're|they are|who's|who is|i was|she "
        r"was|he was) not (?:even |quite |yet |actually |really |turning )?(?:18|eighteen)\b(?! (?:years? (?!old)|"
        r"people|of))",
    ),
    (
        ("18", "eighteen"),
        r"\b(?:(?:isn't|wasn't|aren't|ain't)(?: even| quite)?|(?:has|have|had)n't (?:yet |even )?turned) "
        r"(?:18|eighteen)\b(?! (?:years? (?!old)|people|of|percent|euros?|dollars?))",
    ),
    (
        ("be ",),
        rf"\b(?:i|she|he|you|they|who)(?:'ll| will| shall)(?: soon| only| just)? be {AGE} (?:(?:in|this|next|on) "
        rf"(?:{MONTHS}|spring|summer|autumn|fall|winter|\w+day|week|month|year|(?:a few|\w+) (?:weeks|months|days|"
        rf"years)|\d{{4}})|"
        r"soon|tomorrow)\b",
    ),
    # born in 2014
    (
        ("born", "b. 20", "birth", "dob"),
        rf"\b(?:born|b\.|dob|d\.o\.b\.?|birth ?(?:date|day|year)|date of birth|year of birth)\b"
        rf"[^\w!?]{{0,5}}{_DATE}{_CHILDISH_YEAR}",
    ),
)
_SPANS = (
    # 15 yrs, but not "for 15 yrs"
    (("yr", *(f"{digit}y" for digit in range(8))), rf"(?<![\d.,'])(?:(?:1[0-7]|[1-9]) ?-?yrs?\b|1[0-7]y\b){_NO_SPAN}"),
)
_IN_PARENTHESES = re.compile(
    r"(?: ?\( ?|\()(?:aged? ?:? ?)?(?:1[0-7]|(?<= \()[5-9])(?: ?(?:y/?o|years old|f|m|female|male))?"
    r"(?:[,/; ]{1,2}(?:f|m|female|male|she/her|he/him)\b)? ?\)"
)
_BETWEEN_COMMAS = re.compile(r", (?:only |just |barely |aged? )?(?:1[0-7]|[7-9]),(?! ?\d)(?! (?:and|or) \d)")
_IS = re.compile(
    rf"(?: is| was|'s(?=[^.,;!?\n]{{0,20}}\w ?(?:$|[.!?,;)\n]|and\b|but\b|years?\b|yrs?\b))){_HEDGE} "
    rf"(?:(?<![\d.,'])(?:1[0-7]|[5-9])|{'|'.join(BELOW_18[8:])})(?![\w-]){NOT_A_QUANTITY}"
)
_IS_PERSON = re.compile(rf"\b(?:{_PERSON}|girl|boy|friend|lover|wife|husband|bride|fiancee?|partner)$")
_LAST_WORDS = re.compile(r"(?:^|(?<=[\s(*,;:\"\[]))(?:([^\W\d_]+) +)?([^\W\d_]+)[\"'*]{0,2}$")


def find_written_age(folded: str) -> str:
    """Return an age below 18 in folded text as a card or a note writes it, or an empty string."""
    stated, spans = _patterns()
    for hints, pattern in stated:
        if any(hint in folded for hint in hints) and (found := pattern.search(folded)):
            return found[0].strip()
    for hints, pattern in spans:
        for span in pattern.finditer(folded) if any(hint in folded for hint in hints) else ():
            if not _SPAN_BEFORE.search(folded[max(0, span.start() - 24) : span.start()]):
                return span[0].strip()
    return _find_beside_name(folded)


def _find_beside_name(folded: str) -> str:
    """Return a name and its age: "Mia (14)", "Mia, 14,", "Mia is 14"."""
    for pattern in (_IN_PARENTHESES, _BETWEEN_COMMAS, _IS):
        for age in pattern.finditer(folded):
            words = _LAST_WORDS.search(folded[max(0, age.start() - 40) : age.start()])
            if words and _is_name(words[1] or "", words[2], is_subject=pattern is _IS):
                return f"{words[2]}{age[0]}".strip()
    return ""


def _is_name(before: str, word: str, *, is_subject: bool) -> bool:
    if _IS_PERSON.search(word):
        return True
    is_plural = word.endswith("s") and not word.endswith(("ss", "us", "is")) and word not in _NAMES_IN_S
    if len(word) < 2 or is_plural or word in _NO_NAMES:
        return False
    return not (is_subject and before in _DETERMINERS)


@cache
def _patterns() -> tuple[tuple[tuple[tuple[str, ...], re.Pattern[str]], ...], ...]:
    return tuple(tuple((hints, re.compile(pattern)) for hints, pattern in group) for group in (_STATED, _SPANS))
