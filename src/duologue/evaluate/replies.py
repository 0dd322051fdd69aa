"""What both models said, side by side, with the words marked that only one of them has: prompts and dialogues."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from duologue.evaluate.differences import LEAST_SHARED, Stretch, compare_words
from duologue.evaluate.evaluation import Evaluation
from duologue.evaluate.markup import details, section
from duologue.evaluate.words import escape, percent

Row = TypeVar("Row")
MOST_BYTES = 350_000
"""Of markup in a section; from the first item on that does not fit they are counted, and stand in evaluation.json."""

_KINDS = {
    "held_out": "Held-out conversations: what the character really said is known",
    "written": "Written dialogues",
    "long": "Long dialogues",
}
_UNSHOWN = {
    "prefix": "beginnings of training conversations",
    "safety": "lines of the guard's frozen table",
}


def replies_section(evaluation: Evaluation, *, name: str, initial: str) -> str:
    """Return every prompt with the replies of both models side by side.

    Args:
        evaluation: Base and tuned model.
        name: The character's.
        initial: Stands in its picture's place.
    """
    answered = zip(evaluation.prompts, evaluation.base.replies, evaluation.tuned.replies, strict=True)

    def item(row: tuple[str, str, str]) -> str:
        prompt, base, tuned = row
        both = _side_by_side(base, tuned, name=name, initial=initial)
        return f"<li><p class='prompt'>{escape(prompt)}</p>{both}</li>"

    shown, num_left = _fitting(list(answered), item)
    note = "Both models always took the most likely token, so these replies can be repeated exactly."
    body = f"{_legend(name)}<ol class='replies'>{''.join(shown)}</ol><p class='note'>{note}{_left(num_left)}</p>"
    return section("replies", "Before and after", body)


def dialogues_section(evaluation: Evaluation, *, name: str, initial: str) -> str:
    """Return the dialogues over several turns, folded; nothing when there were none.

    Beginnings of training conversations and the guard's lines are material for measures and are not shown.

    Args:
        evaluation: `facts["dialogues"]` holds them.
        name: The character's.
        initial: Stands in its picture's place.
    """
    rows = [row for row in evaluation.facts.get("dialogues", ()) if row.get("turns")]
    wanted = sorted((row for row in rows if row["kind"] in _KINDS), key=lambda row: list(_KINDS).index(row["kind"]))
    if not wanted:
        return ""
    shown, num_left = _fitting(wanted, lambda row: _dialogue(row, name=name, initial=initial))
    groups = "".join(
        f"<h3>{escape(_KINDS[kind])}</h3>{''.join(text for _, text in members)}"
        for kind, members in groupby(zip(wanted, shown, strict=False), key=lambda pair: pair[0]["kind"])
    )
    unshown = [f"{sum(row['kind'] == kind for row in rows)} {words}" for kind, words in _UNSHOWN.items()]
    unshown = [words for words in unshown if not words.startswith("0 ")]
    note = (
        "Each model heard its own earlier answers, so two dialogues drift apart. Tokens were drawn with the seed that "
        "is named, by the settings in [generation]."
    )
    if unshown:
        note += f" Not shown here: {' and '.join(unshown)}."
    body = f"{_legend(name)}{groups}<p class='note'>{escape(note)}{_left(num_left)}</p>"
    return section("dialogues", "Dialogues", body)


def marked_words(stretches: Sequence[Stretch], *, tag: str) -> str:
    """Return a text with what is not shared inside a tag; spaces at the end of a stretch stay outside of it."""
    out = []
    for stretch in stretches:
        words = stretch.text.rstrip()
        spaces = stretch.text[len(words) :]
        is_plain = stretch.is_shared or not words
        out.append(escape(stretch.text) if is_plain else f"<{tag}>{escape(words)}</{tag}>{escape(spaces)}")
    return "".join(out)


def _dialogue(row: Mapping[str, Any], *, name: str, initial: str) -> str:
    turns = row["turns"]
    num = f"{len(turns)} turn{'' if len(turns) == 1 else 's'}"
    items = "".join(
        f"<li><p class='prompt'>{escape(turn['user'])}</p>"
        + _side_by_side(turn["base"], turn["tuned"], name=name, initial=initial, real=turn.get("reference") or "")
        + "</li>"
        for turn in turns
    )
    return details(f"{row['case']} ({num}, seed {row['seed']})", f"<ol class='replies'>{items}</ol>")


def _side_by_side(base: str | None, tuned: str | None, *, name: str, initial: str, real: str = "") -> str:
    """Return two replies, marked where that says something, and a line about what they share where it does not.

    Args:
        base: The base model's; None when it did not get so far.
        tuned: The tuned model's.
        name: The character's.
        initial: Stands in its picture's place.
        real: What the data has; empty without.
    """
    texts = [_words(base), _words(tuned)]
    note = ""
    if base and tuned:
        found = compare_words(base, tuned)
        if found.is_worth_marking:
            texts = [marked_words(found.first, tag="del"), marked_words(found.second, tag="ins")]
        elif base == tuned:
            note = "word for word the same"
        elif found.shared < LEAST_SHARED:
            note = f"two different answers, nothing marked: {percent(found.shared)} of the words in common"
    sides = [_reply("base", "base model", texts[0]), _reply("tuned", name, texts[1], avatar=initial)]
    if real:
        sides.append(_reply("real", "in the data", escape(real)))
    kind = "pair three" if real else "pair"
    said = f"<p class='note shared'>{escape(note)}</p>" if note else ""
    return f"<div class='{kind}'>{''.join(sides)}</div>{said}"


def _words(text: str | None) -> str:
    if text is None:
        return "<em>(was not asked)</em>"
    return escape(text) if text else "<em>(nothing)</em>"


def _reply(kind: str, speaker: str, markup: str, *, avatar: str = "") -> str:
    picture = f"<span class='avatar'>{escape(avatar)}</span>" if avatar else ""
    return f"<div class='reply {kind}'><p class='speaker'>{picture}{escape(speaker)}</p><p>{markup}</p></div>"


def _legend(name: str) -> str:
    return (
        "<p class='note marks'><del>Dashed line</del>: only the base model says it. "
        f"<ins>Solid line</ins>: only {escape(name)} says it. "
        f"Two replies that share less than {percent(LEAST_SHARED)} of their words are different answers and not marked."
        "</p>"
    )


def _fitting(rows: Sequence[Row], show: Callable[[Row], str]) -> tuple[list[str], int]:
    """Return the markup of the first rows that fit into a section, and how many rows do not."""
    shown: list[str] = []
    size = 0
    for row in rows:
        text = show(row)
        size += len(text.encode(errors="replace"))
        if size > MOST_BYTES:
            break
        shown.append(text)
    return shown, len(rows) - len(shown)


def _left(num: int) -> str:
    return f" {num:,} more did not fit on the page; evaluation.json has them." if num else ""
