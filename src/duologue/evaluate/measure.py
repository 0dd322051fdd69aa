"""A measure: one number of two models with the interval of their difference, and what to make of it."""

from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["lower", "higher", "nearer", "neither"]
MeasureVerdict = Literal["better", "worse", "same", "unclear", "only shown", "not measured"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of the base model and of the tuned one.

    Attributes:
        name: Group and name, such as `language.bits_per_byte` or `character.speaks_for_user`.
        unit: Of all its numbers, such as `bits/byte`, `share`, `tokens/s`.
        better: Which direction is better; `nearer` means nearer to `reference`; `neither` is only shown.
        base: The base model's (or whatever the tuned one is compared with); None when not measured.
        tuned: The tuned model's.
        low: Lower end of the 95% interval of `tuned - base`.
        high: Upper end.
        verdict: What the interval says, see `intervals.verdict_of`.
        num: How many things (replies, dialogues, texts) it is made of.
        reference: The same number of the real data, where there is one.
        definition: How it is computed, in a sentence, with the paper or file it comes from.
        part: What it is about when a measure comes several times, such as a data file or a length; else empty.
        threshold: The bar it was held against, from `[evaluation]`; None without one.
        is_broken: Whether the bar is broken.
        fault: Why it could not be measured; empty when it was.
        details: Further numbers and examples for the report, small and JSON.
    """

    name: str
    unit: str
    better: Better
    base: float | None
    tuned: float | None
    low: float | None
    high: float | None
    verdict: MeasureVerdict
    num: int
    definition: str
    reference: float | None = None
    part: str = ""
    threshold: float | None = None
    is_broken: bool = False
    fault: str = ""
    details: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the measure as it stands in `evaluation.json`."""
        return {name: getattr(self, name) for name in self.__slots__}
