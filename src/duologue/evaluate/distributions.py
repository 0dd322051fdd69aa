"""`distributions`: the numbers behind the plots of lengths and of surprise, short enough to be kept in a result."""

import math
import random
from collections.abc import Sequence
from typing import Any

from duologue.evaluate.evaluators.heard import heard, real
from duologue.evaluate.evaluators.scored import paired_scores
from duologue.evaluate.evaluators.wording import words_of
from duologue.evaluate.observed import Known, Observed

MOST_NUMBERS = 500
"""Of each kind that are kept; of more, so many are drawn by the seed."""


def distributions(known: Known, base: Observed, tuned: Observed) -> dict[str, Any]:
    """Return lengths of replies and bits per byte of held-out conversations, as they stand in `evaluation.json`.

    Args:
        known: Supplies the real replies and the seed.
        base: What was seen of the base model.
        tuned: What was seen of the tuned model.

    Returns:
        `reply_words`: for `base`, `tuned` and `real` the number of words of each reply (`values`) and how many replies
        there were (`num`). `bits_per_byte`: pairs of both models for each held-out conversation, and their number;
        empty where the models were not scored on the same bytes.
    """
    lengths = {
        side: [len(words_of(reply.text)) for reply in replies]
        for side, replies in (("base", heard(base)), ("tuned", heard(tuned)), ("real", real(known)))
    }
    scores = paired_scores(base, tuned, "held_out")
    are_comparable = scores.shares_bytes
    pairs = [
        [round(sums.nats / math.log(2) / sums.num_bytes, 4) for sums in pair]
        for pair in zip(scores.base, scores.tuned, strict=True)
        if are_comparable and all(sums.num_bytes for sums in pair)
    ]
    return {
        "reply_words": {
            side: {"num": len(values), "values": _some(values, seed=f"{known.seed}/words/{side}")}
            for side, values in lengths.items()
        },
        "bits_per_byte": {"num": len(pairs), "pairs": _some(pairs, seed=f"{known.seed}/bits")},
    }


def _some(values: Sequence[Any], *, seed: str) -> list[Any]:
    """Return at most `MOST_NUMBERS` of the values, in their order."""
    if len(values) <= MOST_NUMBERS:
        return list(values)
    places = sorted(random.Random(seed).sample(range(len(values)), MOST_NUMBERS))
    return [values[place] for place in places]
