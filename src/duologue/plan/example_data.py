"""Data statistics: checks, an assumption for planning without data, and what a shorter length limit makes of them."""

from dataclasses import replace

from duologue.config import Config
from duologue.data import DataStats
from duologue.errors import DataError

_NUM_EXAMPLES = 1000
_SHORTEST, _LONGEST = 0.2, 1.0  # of data.max_length_tokens, evenly spread: 60 % on average
_TRAINED_FRACTION = 0.5


def example_stats(config: Config) -> DataStats:
    """Return assumed token counts for a plan without data.

    1,000 conversations, of which `data.validation_fraction` is held out; their lengths are spread evenly from 20 to
    100 % of `data.max_length_tokens`, and half of the tokens are the character's.
    """
    num_validation = round(_NUM_EXAMPLES * config.data.validation_fraction)
    num_train = max(1, _NUM_EXAMPLES - num_validation)
    most = config.data.max_length_tokens
    spread = (_LONGEST - _SHORTEST) / max(1, num_train - 1)
    lengths = tuple(max(1, round(most * (_LONGEST - spread * at))) for at in reversed(range(num_train)))
    total = sum(lengths)
    return DataStats(
        num_train_examples=num_train,
        num_validation_examples=num_validation,
        num_tokens=total,
        num_trained_tokens=round(total * _TRAINED_FRACTION),
        num_validation_tokens=round(total * num_validation / num_train),
        max_tokens=lengths[-1],
        lengths=lengths,
    )


def check_stats(stats: DataStats) -> None:
    """Refuse data that cannot be trained on.

    Raises:
        DataError: There are no examples, no tokens, or no trained tokens.
    """
    if stats.num_train_examples <= 0 or not stats.lengths:
        raise DataError(
            "the training split is empty",
            needed="at least one conversation with a reply of the character",
            action="Run: duologue data check FILE",
        )
    if stats.num_tokens <= 0 or stats.max_tokens <= 0:
        raise DataError("the training examples have no tokens", action="Run: duologue data check FILE")
    if stats.num_trained_tokens <= 0:
        raise DataError(
            "no token of the training split is a target",
            needed="assistant messages after a user message",
            action="Run: duologue data check FILE",
        )


def cut_stats(stats: DataStats, *, max_length_tokens: int) -> DataStats:
    """Return the counts after a lower length limit: longer examples fall into equal parts, no token is lost."""
    lengths: list[int] = []
    for length in stats.lengths:
        parts = -(-length // max_length_tokens)
        lengths += [length // parts + (at < length % parts) for at in range(parts)]
    lengths.sort()
    return replace(stats, num_train_examples=len(lengths), max_tokens=lengths[-1], lengths=tuple(lengths))
