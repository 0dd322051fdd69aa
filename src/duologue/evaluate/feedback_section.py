"""What a run on feedback learned, for its report: from which run on, which pieces, and what it made of them."""

from collections.abc import Sequence

from duologue.chat.feedback import REASONS
from duologue.evaluate.markup import details, drawing, section, table
from duologue.evaluate.plots import draw_series
from duologue.evaluate.words import escape, number
from duologue.train import Lineage, StepRecord

_METHODS = {
    "dpo": "pairs by DPO (direct preference optimisation)",
    "kto": "single replies, liked or not, by KTO",
    "sft": "corrected replies only, as plain examples",
}
_KINDS = {
    "swipe": "chosen versions",
    "edit": "rewritten replies",
    "like": "single likes and dislikes",
    "likes": "liked over disliked versions",
    "duel": "duels",
}
_LATE = 10  # steps whose mean says where the run came to


def feedback_section(lineage: Lineage, history: Sequence[StepRecord]) -> str:
    """Return what was learned by kind and how, and how surely the model tells the better reply, by step.

    Args:
        lineage: What the run's ledger says.
        history: The steps of the run.
    """
    chain = " from ".join(f"run {name}" for name in lineage.ancestors)
    words = f"This run went on from {chain}. Learned: {_METHODS[lineage.method]}; beta {lineage.beta:g}."
    body = f"<p>{escape(words)}</p>"
    learned = [(words, f"{count:,}") for words, count in _learned(lineage) if count]
    body += table(("learned", "number"), learned, numeric_from=1)
    if lineage.kept_share < 1:
        kept = (
            f"{lineage.kept_share:.0%} of the way from the start to what was learned was kept: all of it would have "
            "cost more on held-out conversations than feedback.max_loss_rise_fraction allows."
        )
        body += f"<p class='note'>{escape(kept)}</p>"
    body += _curves([record for record in history if record.is_comparison])
    collected = [(_KINDS.get(kind, kind), f"{count:,}") for kind, count in lineage.collected.items()]
    if collected:
        note = "<p class='note'>A rewritten reply counts twice: as a corrected reply, and as a pair.</p>"
        body += details("Where it came from", table(("kind", "pieces"), collected, numeric_from=1) + note)
    left_out = [(REASONS.get(reason, reason), f"{count:,}") for reason, count in lineage.dropped.items()]
    left_out += [(words, "") for words in lineage.unused]
    if left_out:
        body += details("What was not learned", table(("reason", "pieces"), left_out, numeric_from=1))
    return section("feedback", "What people said of replies", body)


def _learned(lineage: Lineage) -> tuple[tuple[str, int], ...]:
    return (
        ("corrected replies", lineage.num_corrected_replies),
        ("pairs of a better and a worse reply", lineage.num_pairs),
        ("replies that were liked", lineage.num_liked),
        ("replies that were not liked", lineage.num_disliked),
        ("of the pairs contradict each other", lineage.num_contradictions),
        ("were cut at the front to fit", lineage.num_cut),
    )


def _curves(steps: Sequence[StepRecord]) -> str:
    """Return margin and accuracy by step; nothing where no replies were compared."""
    margins = [(record.step, record.reward_margin) for record in steps if record.reward_margin is not None]
    shares = [(record.step, record.reward_accuracy) for record in steps if record.reward_accuracy is not None]
    if not margins or not shares:
        return ""
    late_margin, late_share = (
        sum(value for _, value in points[-_LATE:]) / len(points[-_LATE:]) for points in (margins, shares)
    )
    words = (
        f"Over its last {min(_LATE, len(margins))} steps of comparing the model favoured the better reply by "
        f"{number(late_margin)} nats more than its start did (times beta), in {late_share:.0%} of the examples. "
        "These examples are learned at the same time, so this says that learning worked, not that the replies are "
        "better: the measures, and duels with the run before, say that."
    )
    drawn = [
        drawing(
            lambda width: draw_series(margins, title="margin, beta times nats", is_share=False, width=width),
            label="Margin between the better and the other reply, by optimizer step",
        ),
        drawing(
            lambda width: draw_series(shares, title="on the right side", is_share=True, width=width),
            label="Share of examples on the right side, by optimizer step",
        ),
    ]
    return f"{''.join(drawn)}<p class='note'>{escape(words)}</p>"
