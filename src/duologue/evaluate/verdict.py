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
        outcome: The same in a word: `better`, `worse`, `same`, `unclear` where the interval of the difference holds
            zero, `not measured`.
    """

    headline: str
    detail: str
    advice: str
    outcome: Literal["better", "worse", "same", "unclear", "not measured"] = "not measured"

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
    doubt = _doubt(evaluation)
    if change >= _NO_CHANGE_FRACTION:
        worked = "It may have worked" if doubt else "It worked"
        return Verdict(
            f"{worked}: what {name} says is {percent(change)} less surprising to the tuned model.",
            _joined(f"{numbers}, {percent(change, digits=1)} lower.", doubt),
            _joined(broken, few),
            "unclear" if doubt else "better",
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
    worsened = "It may have got worse" if doubt else "It got worse"
    return Verdict(
        f"{worsened}: what {name} says surprises the tuned model more than {_rival_words(evaluation)}.",
        _joined(f"{numbers}, {percent(change, digits=1)} higher.", doubt),
        _joined(broken, advice, few),
        "unclear" if doubt else "worse",
    )


def _doubt(evaluation: Evaluation) -> str:
    """Return why the difference of the perplexities may be chance; empty where it is surely not, or has no interval."""
    for measure in evaluation.measures:
        if measure.name == "language.perplexity" and not measure.part and measure.verdict == "unclear":
            if measure.low is None or measure.high is None:
                return "It rests on a single conversation, which says nothing of others."
            ends = f"{measure.low:+.2f} to {measure.high:+.2f}"
            return f"The 95% interval of the difference, {ends}, does not rule out that it is chance."
    return ""


def _rival_words(evaluation: Evaluation) -> str:
    rival = evaluation.facts.get("compared_with", "base")
    return "the base model" if rival == "base" else f"run {rival}"


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
