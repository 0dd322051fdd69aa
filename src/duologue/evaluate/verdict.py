"""The verdict of an evaluation in plain words."""

from dataclasses import dataclass
from typing import Literal

from duologue.data import DataStats
from duologue.evaluate.evaluation import Evaluation
from duologue.evaluate.words import percent

_NO_CHANGE_FRACTION = 0.02  # less than this is called no change
_FEW_TOKENS = 1000  # below it, one odd conversation moves the perplexity by more than that


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person should know first.

    Attributes:
        headline: One short sentence.
        detail: The numbers behind it, in words.
        advice: What to do next; empty when nothing needs doing.
        outcome: The same in a word: `better`, `worse`, `same`, `not measured`.
    """

    headline: str
    detail: str
    advice: str
    outcome: Literal["better", "worse", "same", "not measured"] = "not measured"

    def as_json(self) -> dict[str, str]:
        """Return the verdict as it stands in `evaluation.json`."""
        return {"outcome": self.outcome, "headline": self.headline, "detail": self.detail, "advice": self.advice}


def make_verdict(evaluation: Evaluation, stats: DataStats, *, name: str) -> Verdict:
    """Return the verdict on a character's training.

    Args:
        evaluation: The measured numbers.
        stats: Tells why nothing could be measured.
        name: The character's name.
    """
    before, after = evaluation.base_perplexity, evaluation.tuned_perplexity
    change = evaluation.improvement_fraction
    if before is None or after is None or change is None:
        return _unknown(stats)
    tokens = evaluation.tuned.num_scored_tokens
    numbers = (
        f"Measured on {tokens:,} tokens of held-out replies, which were never trained on, "
        f"perplexity went from {before:.2f} to {after:.2f}"
    )
    few = "That is a small sample: take it as a hint." if tokens < _FEW_TOKENS else ""
    broken = _broken_words(evaluation)
    if change >= _NO_CHANGE_FRACTION:
        return Verdict(
            f"It worked: what {name} says is {percent(change)} less surprising to the tuned model.",
            f"{numbers}, {percent(change, digits=1)} lower.",
            _joined(broken, few),
            "better",
        )
    if change > -_NO_CHANGE_FRACTION:
        advice = "Train longer (training.num_epochs), or give it more conversations."
        return Verdict(
            f"Little changed: the tuned model knows {name} hardly better.",
            f"{numbers}.",
            _joined(broken, advice, few),
            "same",
        )
    advice = "Train for fewer epochs (training.num_epochs), or with a lower training.learning_rate."
    return Verdict(
        f"It got worse: what {name} says surprises the tuned model more than the base model.",
        f"{numbers}, {percent(change, digits=1)} higher.",
        _joined(broken, advice, few),
        "worse",
    )


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _broken_words(evaluation: Evaluation) -> str:
    broken = [measure.name for measure in evaluation.measures if measure.is_broken]
    return f"Over its limit in [evaluation]: {', '.join(broken)}." if broken else ""


def _unknown(stats: DataStats) -> Verdict:
    headline = "Trained, but not measured: there was nothing to measure it on."
    if stats.num_validation_examples == 0:
        detail = "No conversation was held out from training, so there is no perplexity before and after."
        advice = "Set data.validation_fraction above 0 and have more than one conversation."
    else:
        detail = f"The {stats.num_validation_examples} held-out examples hold no reply that counts."
        advice = "Raise data.max_length_tokens, or hold out more (data.validation_fraction)."
    return Verdict(headline, detail, advice)
