"""Claims as values: what is said, and what it asks of the planner. docs/reference/audit.md describes the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from duologue.plan.quantities import Setting

Span = tuple[float, float]
Relation = Literal["is", "at-most", "at-least"]


@dataclass(frozen=True, slots=True)
class Stated:
    """A number that the claim's own document or another source gives."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Looked:
    """A fact that the planner computes or has in a table.

    Attributes:
        of: What it is a fact of.
        name: Name of model or card; empty for a setting.
        setting: The setting; None for models and cards.
        fact: Which fact.
    """

    of: Literal["setting", "model", "gpu"]
    name: str
    setting: Setting | None
    fact: str


@dataclass(frozen=True, slots=True)
class Calculation:
    """A formula over numbers.

    Attributes:
        words: What is calculated.
        formula: As `formula.evaluate` reads it.
        numbers: Where each name of the formula comes from.
        unit: Of the value.
    """

    words: str
    formula: str
    numbers: Mapping[str, Stated | Looked]
    unit: str


@dataclass(frozen=True, slots=True)
class NumberCheck:
    """A claimed number against a calculation.

    Attributes:
        kind: As the file says.
        calculation: The value to hold it against.
        claimed: Lowest and highest claimed value.
        also_claimed: What the same document says elsewhere about the same thing.
        relation: Whether the claim names the value or a bound of it.
        tolerance_percent: Of the calculated value.
        note: What to know beside the numbers.
    """

    kind: str
    calculation: Calculation
    claimed: Span
    also_claimed: tuple[Span, ...]
    relation: Relation
    tolerance_percent: float
    note: str


@dataclass(frozen=True, slots=True)
class FitsCheck:
    """Claimed verdicts of one setting on several cards."""

    setting: Setting
    claimed: Mapping[str, bool]
    note: str


@dataclass(frozen=True, slots=True)
class LossCheck:
    """A claimed perplexity against the range that comparable runs report.

    Attributes:
        claimed: The perplexities, in order.
        usual_nats: Lowest and highest loss in nats per token of comparable runs.
        source: Whose runs those are.
        models: Models the perplexities belong to; different vocabularies make them incomparable.
        note: What to know beside the numbers.
    """

    claimed: tuple[Span, ...]
    usual_nats: Span
    source: str
    models: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class NoCheck:
    """A claim that no arithmetic can decide."""

    reason: str
    needed: str


Check = NumberCheck | FitsCheck | LossCheck | NoCheck


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: what is said, what it asks of the planner, and calculations that stand beside it without a vote."""

    number: int
    says: str
    checks: tuple[Check, ...]
    beside: tuple[Calculation, ...]


@dataclass(frozen=True, slots=True)
class ClaimFile:
    """A file of claims."""

    title: str
    about: str
    claims: tuple[Claim, ...]
