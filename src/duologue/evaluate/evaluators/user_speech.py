"""Whether a reply writes the user's next line too."""

import re
from collections.abc import Sequence

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.heard import Yardstick, compare, examples, heard, ratio, real, share_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

_HEADERS = (
    "USER:",
    "User:",
    "Human:",
    "You:",
    "{{user}}:",
    "### Instruction:",
    "### User:",
    "### Human:",
    "<|im_start|>user",
    "<|user|>",
    "<|start_header_id|>user",
    "<start_of_turn>user",
    "<|turn>user",
    "[INST]",
)
_YARDSTICK = Yardstick(
    name="character.speaks_for_user",
    unit="share",
    better="lower",
    same_within=0.02,
    definition=(
        "Share of replies with a line that begins with the user's name and a colon, or with what a chat template puts "
        "before a user's message: the rule that training uses on its samples. What the user does, told in the "
        "character's own lines, is not seen."
    ),
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return the share of replies that speak for the user."""
    marks = user_marks(known)
    is_so = share_of(lambda reply: speaks_for(reply.text, marks))
    sides = (heard(base), heard(tuned))
    shown = examples(sides[1], lambda reply: speaks_for(reply.text, marks))
    return (compare(_YARDSTICK, known, sides, is_so, reference=ratio(real(known), is_so), details={"examples": shown}),)


def user_marks(known: Known) -> tuple[str, ...]:
    """Return what a user's line begins with: the name, common headers, and the template's where it was given."""
    header = known.more.get("user_header", "")
    marks = (f"{known.config.character.user_name}:", *_HEADERS, *([header] if isinstance(header, str) else []))
    return tuple(dict.fromkeys(mark for mark in marks if mark.strip()))


def speaks_for(text: str, marks: Sequence[str]) -> bool:
    """Return whether a line of a text begins with one of the marks."""
    return any(re.search(rf"^[\s*_\"'(\[]*{re.escape(mark)}", text, re.MULTILINE) for mark in marks)


EVALUATOR = Evaluator("user_speech", 1, measure)
