"""Talk of children who are no part of a scene, taken out before the look: "we have two kids", "the kids are asleep".

Nothing is taken out where such words join children to what is explicit: beside a sexual word in the same sentence
"with", "for", "having", "without" and "want" never are, and the others only where the children stay out of it.
"""

import re
from collections.abc import Callable

from duologue.guard import vocabulary
from duologue.guard.fold import word_set

_AROUND = 80  # characters of the sentence before and after that are read
_SENTENCE_END = re.compile(r"[.!?;\n…]")
# One of these is in every phrase below.
_HINTS = ("kid", "child", "minor", "under", "teen", "toddler", "infant", "baby")
_WORD = re.compile(r"[^\W_]+")
_SEXUAL = vocabulary.EXPLICIT_WORDS | vocabulary.SUGGESTIVE_WORDS | vocabulary.ABUSE_WORDS
_SEXUAL_PIECES = (
    *vocabulary.LOVE_PHRASES,
    *vocabulary.EXPLICIT_WITHOUT_SPACES,
    *vocabulary.SUGGESTIVE_WITHOUT_SPACES,
)

_KIDS = r"(?:\w+ ){0,2}(?:kids|children)"
_TAIL = (
    r"(?: together| of (?:my|your|her|his|our|their) own| one day| someday| soon| eventually| in (?:college|school))?"
    r"(?= ?(?:$|[.!?,;)\]*\"\n]|and\b))"
)
_FAMILY = re.compile(
    rf"\b(?:(?P<parent>(?:mother|mom|mum|father|dad|parent|widow|widower)s? (?:of|to) {_KIDS}\b)|"
    r"(?P<idiom>child's play|inner child|only child)\b|"
    r"(?P<none>(?:no|not|nobody|no one|none|never)(?: is| are| was| here is| here are)?(?: an?| any)? "
    r"(?:minors?|child|children|kids?|under[ -]?aged?|under (?:the age of )?(?:18|eighteen))\b)|"
    r"(?P<away>(?:my|our|your|his|her|their|the|two|three|four|both|all) (?:\w+ )?(?:kids|children|teens|teenagers|"
    r"toddlers?|baby|infants?) (?:are|is|were|was)(?: all| both| already| now| finally| fast| sound| safely| still| "
    r"probably| usually| always| long| away)?"
    r" (?:asleep|sleeping|in bed|away|out|at (?:school|camp|home|grandma's|(?:the|their|my|her|his|our) \w+)|grown up|"
    r"adults?|in college|gone|with (?:their|my|the|her|his|our) \w+)\b)|"
    r"(?P<grown>(?:our|my|your|his|her|their) (?:grown(?:-up| up)?|adult) (?:kids?|children|sons?|daughters?)\b)|"
    rf"(?P<have>(?:has|have|had|raise[sd]?|raising) {_KIDS}{_TAIL})|"
    rf"(?P<joins>(?:having|with|for|without) {_KIDS}{_TAIL})|"
    r"(?P<wants>want(?:s|ed)? (?:to have |more |any |no |some |many |two |three |four |a lot of |a few ){0,2}"
    rf"(?:kids|children){_TAIL}))"
)
# Children who are there after all: "and they join", "with them".
_TAKE_PART = re.compile(
    r"\b(?:they|who|them|both|all)(?: \w+){0,2} (?:join\w*|participat\w*|tak(?:e|es|ing) part|watch\w*|help\w*)\b|"
    r"\b(?:with|on|onto|into|inside|between|of) (?:them|both|all)\b|\b(?:involv|includ)\w+ them\b"
)
_MEANT = re.compile(r"\b(?:them|they|who|whom|whose|both|these|those)\b")
_BUT = re.compile(r" ?(?:but|except|other than|besides|too|is too|is safe|spared|left|escapes?|over|above|older)\b")
_QUESTIONED = re.compile(r"\b(?:why|whether or|or|if)$")
_AWAY = re.compile(
    r"(?:asleep|sleeping|away|out|gone|in college|grown up|at (?:school|camp|home|grandma's|(?:the|their|my|her|his|"
    r"our) (?:grand\w+|gran|nana|aunt\w*|uncle\w*|mother\w*|father\w*|mom\w*|mum\w*|dad\w*|sitter\w*|friend\w*|"
    r"neighbou?r\w*|"
    r"parents?|house|place|camp|lake|beach|park|zoo|movies|cinema|school|playground|museum|library|pool|sleepover|"
    r"desks?|tables?|books?|own|room|rooms))|"
    r"with (?:their|my|the|her|his|our) (?:grand\w+|gran|nana|aunt|uncle|mother|father|mom|mum|dad|parents?|sitter|"
    r"babysitter|nanny|ex|sister|brother|in-laws|neighbou?rs?|friends?|cousins?))$"
)
_IN_BED = re.compile(r"in bed$")
_NOT_ALONE = re.compile(r" ?(?:with|and|together|beside|next to|naked)\b")
_GROWN = re.compile(r"^(?:my|our|your|his|her|their) .*adults?$")
# A scene that holds children, or an order to put some in, is no family.
_SCENE = re.compile(
    r"(?:\b(?:it|this|that|should|must|may|can|could|might|will|would|let|let's|to|scene|story|tale|fic|plot|video|"
    r"movie|film|picture|image|roleplay|rp|one|version|part|ending|sequel)|^\W*)$"
)
_PERSON = re.compile(r"\b(?:i|you|we|they|he|she|who)(?: also| already| both| now)?$")
_MAY_HAVE = re.compile(
    r"\b(?:(?:i|you|we|they|he|she) (?:should|must|may|can|could|might|will|would)(?: never| not)?|(?:wants?|wanted|"
    r"hop(?:es?|"
    r"ed|ing)|plan(?:s|ned|ning)?|lik(?:es?|ed)|lov(?:es?|ed)|tr(?:y|ies|ied|ying)|decided?|able|going|not|never|"
    r"afraid|ready|young|old|wish(?:es|ed)?|pressure|reason|chance) to)$"
)
_IN_A_SCENE = re.compile(
    r"\bin (?:this|the|my|our|your) (?:\w+ )?(?:scene|story|tale|fic|version|au|roleplay|rp|chapter|game)\b"
)
_WANT = re.compile(
    r"\b(?:(?:he|she|they|we|who|both|always|never|not|don't|didn't|doesn't|you)(?: both| all| really| also)?)$"
)
_OWN_WISH = re.compile(r"(?:together|of \w+ own|one day|someday|soon|eventually)$")
# The word before "with children" and its like where families are meant and nobody joins in.
_FAMILY_MEANT = {
    "with": word_set(
        "man men woman women mother mothers mom moms mum mums father fathers dad dads parent parents couple couples "
        "family families widow widows widower widowers wife husband person people model models married divorced "
        "separated live lives lived living stay stays stayed staying home work works worked working good great amazing "
        "patient gentle busy experience volunteer volunteers help helps helped helping time times weekend weekends "
        "evening evenings zoo park beach movie movies game games lake church mall trip vacation full patience way out"
    ),
    "for": word_set(
        "safe unsafe suitable unsuitable appropriate meant intended fit good bad care cares cared caring cook cooks "
        "cooked cooking dinner lunch breakfast pancakes snacks food money provide provides provided providing "
        "responsible nanny pair sitter teacher doctor nurse book books toy toys clothes shoes school hospital program "
        "programs charity gift gifts present presents thing things stuff room time patience old ready model future "
        "world consequences boundaries"
    ),
    "having": word_set(
        "about of before after on against consider considers considered considering imagine imagines imagined "
        "imagining discuss discussed discussing regret regrets regretted love loves despite from postpone postponed "
        "avoid avoided avoiding handle"
    ),
    "without": word_set(
        "life live lives lived living couple couples alone weekend weekends evening evenings night nights vacation "
        "vacations holiday holidays time day days trip trips week weeks dinner home house marriage happy fine better "
        "man woman divorced married"
    ),
}


def without_family_talk(folded: str) -> str:
    """Return folded text without what people say of their families and of having no children with them."""
    return _FAMILY.sub(_taken_out, folded) if any(hint in folded for hint in _HINTS) else folded


def is_sexual(folded: str) -> bool:
    """Return whether a piece of folded text holds a sexual word or one of sexual violence."""
    return not _SEXUAL.isdisjoint(_WORD.findall(folded)) or any(piece in folded for piece in _SEXUAL_PIECES)


def _taken_out(found: re.Match[str]) -> str:
    text = found.string
    before = _SENTENCE_END.split(text[max(0, found.start() - _AROUND) : found.start()])[-1].rstrip()
    after = _SENTENCE_END.split(text[found.end() : found.end() + _AROUND])[0]
    kind = found.lastgroup or ""
    is_family = not is_sexual(found[0]) and _IS_FAMILY[kind](found[0], before, after)
    return " " if is_family and not (kind in _OF_SOMEBODY and _take_part(before, after)) else found[0]


def _take_part(before: str, after: str) -> bool:
    """Return whether children who were named are in the scene after all."""
    if _TAKE_PART.search(after) or _IN_A_SCENE.search(after):
        return True
    return bool(_MEANT.search(after)) and (is_sexual(before) or is_sexual(after))


def _is_parent(said: str, before: str, after: str) -> bool:
    return " of " in said or not is_sexual(f"{before} {after}")


def _is_idiom(said: str, before: str, after: str) -> bool:
    return said != "only child" or not is_sexual(f"{before} {after}")


def _is_none(_said: str, before: str, after: str) -> bool:
    return not _QUESTIONED.search(before) and not _BUT.match(after)


def _is_away(said: str, _before: str, after: str) -> bool:
    if _IN_BED.search(said):
        return not _NOT_ALONE.match(after)
    return bool(_AWAY.search(said) or _GROWN.search(said))


def _is_grown(_said: str, _before: str, _after: str) -> bool:
    return True


def _has_children(said: str, before: str, _after: str) -> bool:
    if _PERSON.search(before):
        return True
    if is_sexual(before):
        return False
    is_told_of = said.startswith(("has ", "had ", "rais")) and not before.strip(" -*([")
    return is_told_of or bool(_MAY_HAVE.search(before)) or not _SCENE.search(before)


def _joins_nobody(said: str, before: str, after: str) -> bool:
    last_word = _WORD.findall(before)[-1:]
    return not _FAMILY_MEANT[said.partition(" ")[0]].isdisjoint(last_word) and not is_sexual(f"{before} {after}")


def _wants_children(said: str, before: str, after: str) -> bool:
    return bool(_WANT.search(before) or _OWN_WISH.search(said)) and not is_sexual(f"{before} {after}")


_IS_FAMILY: dict[str, Callable[[str, str, str], bool]] = {
    "parent": _is_parent,
    "idiom": _is_idiom,
    "none": _is_none,
    "away": _is_away,
    "grown": _is_grown,
    "have": _has_children,
    "joins": _joins_nobody,
    "wants": _wants_children,
}
_OF_SOMEBODY = frozenset(_IS_FAMILY) - {"idiom", "none"}
