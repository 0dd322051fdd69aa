"""What an evaluation found: measures of two models, their replies, and everything needed to repeat it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from duologue.evaluate.measure import Measure


@dataclass(frozen=True, slots=True)
class Side:
    """One model's results. What could not be measured is None.

    Attributes:
        loss: Mean negative log-likelihood of the held-out replies in nats per token; None without held-out replies.
        perplexity: exp(loss).
        num_scored_tokens: Held-out tokens that the loss is the mean of.
        tokens_per_second: Decoding speed after the first token, median over the prompts.
        first_token_seconds: Time from the request to the first token, median over the prompts.
        replies: One reply per prompt, always the most likely tokens.
    """

    loss: float | None
    perplexity: float | None
    num_scored_tokens: int
    tokens_per_second: float | None
    first_token_seconds: float | None
    replies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Base and tuned model side by side.

    Attributes:
        base: What the tuned model is compared with, its base or another run.
        tuned: The tuned model.
        prompts: Those of `[evaluation]`.
        measures: All measures.
        facts: What else stands in `evaluation.json`: verdict, gate, suite, models, dialogues, distributions, speeds,
            faults, versions, settings.
    """

    base: Side
    tuned: Side
    prompts: tuple[str, ...]
    measures: tuple[Measure, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def base_perplexity(self) -> float | None:
        """Held-out perplexity before training."""
        return self.base.perplexity

    @property
    def tuned_perplexity(self) -> float | None:
        """Held-out perplexity after training."""
        return self.tuned.perplexity

    @property
    def improvement_fraction(self) -> float | None:
        """Share by which the perplexity fell; negative when it rose."""
        if self.base.perplexity is None or self.tuned.perplexity is None:
            return None
        return 1.0 - self.tuned.perplexity / self.base.perplexity

    def as_json(self) -> dict[str, Any]:
        """Return the evaluation as the document kept in `evaluation.json`."""
        answered = zip(self.prompts, self.base.replies, self.tuned.replies, strict=True)
        return {
            "base_perplexity": self.base_perplexity,
            "tuned_perplexity": self.tuned_perplexity,
            "base_loss": self.base.loss,
            "tuned_loss": self.tuned.loss,
            "improvement_fraction": self.improvement_fraction,
            "num_scored_tokens": self.tuned.num_scored_tokens,
            "tokens_per_second": {"base": self.base.tokens_per_second, "tuned": self.tuned.tokens_per_second},
            "first_token_seconds": {"base": self.base.first_token_seconds, "tuned": self.tuned.first_token_seconds},
            "replies": [{"prompt": prompt, "base": base, "tuned": tuned} for prompt, base, tuned in answered],
            "measures": [measure.as_json() for measure in self.measures],
            **self.facts,
        }
