"""The measures as a table: by group, with interval, verdict and bar; what each means unfolds below its name."""

from collections.abc import Sequence
from itertools import groupby

from duologue.evaluate.measure import Measure
from duologue.evaluate.words import amount, change_interval, escape, title_of, unit_words

_GROUPS = {
    "language": "Language",
    "character": "Character",
    "privacy": "Privacy",
    "safety": "Safety",
    "speed": "Speed",
    "judge": "A judge's opinion",
}
_COLUMNS = ("base", "tuned", "difference, 95%", "verdict")
_MARKS = {"better": "\u25b2", "worse": "\u25bc", "same": "=", "unclear": "?"}


def measures_section(measures: Sequence[Measure], faults: Sequence[str] = ()) -> str:
    """Return the section of all measures and of what could not be measured; nothing when there are none.

    Args:
        measures: In any order.
        faults: What could not be seen of the models.
    """
    if not measures and not faults:
        return ""
    ordered = sorted(measures, key=lambda measure: (place_of(measure), measure.name, measure.part))
    tables = "".join(
        f"<h3>{escape(group_title(group))}</h3>{_table(tuple(members))}"
        for group, members in groupby(ordered, key=group_of)
    )
    left = "".join(f"<li>{escape(text)}</li>" for text in faults)
    missing = f"<h3>What was not seen</h3><ul>{left}</ul>" if left else ""
    return (
        "<section id='measures'><h2>Measures</h2><p>Base, tuned, and the 95% interval of the difference. A verdict is "
        f"given only where the interval allows one.</p>{tables}{missing}</section>"
    )


def group_of(measure: Measure) -> str:
    """Return the group that a measure's name begins with."""
    return measure.name.partition(".")[0]


def group_title(group: str) -> str:
    """Return what a group is called."""
    return _GROUPS.get(group, group)


def place_of(measure: Measure) -> int:
    """Return where a measure's group stands among the groups."""
    names = list(_GROUPS)
    return names.index(group_of(measure)) if group_of(measure) in _GROUPS else len(names)


def label_of(measure: Measure) -> str:
    """Return a measure's name, part and unit in words."""
    title = f"{title_of(measure.name)} ({measure.part})" if measure.part else title_of(measure.name)
    return ", ".join(word for word in (title, unit_words(measure.unit)) if word)


def verdict_words(measure: Measure) -> str:
    """Return what to make of a measure; a fault and a broken bar come first."""
    if measure.fault:
        return f"not measured: {measure.fault}"
    words = f"{_MARKS.get(measure.verdict, '')} {measure.verdict}".strip()
    if measure.threshold is None:
        return words
    return f"{words}; over its limit" if measure.is_broken else f"{words}; within its limit"


def _table(measures: Sequence[Measure]) -> str:
    rows = "".join(_row(measure) for measure in measures)
    head = "".join(f"<th scope='col'>{words}</th>" for words in ("", *_COLUMNS))
    return (
        f"<div class='scroll'><table class='measures'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(measure: Measure) -> str:
    real = "" if measure.reference is None else f" In the data: {amount(measure.reference, measure.unit)}."
    limit = "" if measure.threshold is None else f" Limit in [evaluation]: {measure.threshold:g}."
    about = f"{measure.definition}{real}{limit} Made of {measure.num:,}."
    name = f"<details><summary>{escape(label_of(measure))}</summary><p>{escape(about)}</p></details>"
    ends = change_interval(measure.low, measure.high, measure.unit) if measure.tuned is not None else ""
    texts = (amount(measure.base, measure.unit), amount(measure.tuned, measure.unit), ends, verdict_words(measure))
    cells = "".join(
        f"<td data-label='{label}'>{escape(text)}</td>" for label, text in zip(_COLUMNS, texts, strict=True)
    )
    kind = "broken" if measure.is_broken else measure.verdict.replace(" ", "-")
    return f"<tr class='{escape(kind)}'><th scope='row'>{name}</th>{cells}</tr>"
