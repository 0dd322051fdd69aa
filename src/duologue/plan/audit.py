"""`audit_file`: claims about models, cards, hours and money, recomputed line by line.

A check holds, is false, or is unsupported: nothing that can be computed decides it. A claim whose checks differ is
partly true. docs/reference/audit.md describes the file, docs/explanation/claims.md is an example of what comes out.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from duologue.errors import DuologueError
from duologue.plan.claim_file import load_claims
from duologue.plan.claims import (
    Calculation,
    Check,
    Claim,
    FitsCheck,
    Looked,
    LossCheck,
    NoCheck,
    NumberCheck,
    Span,
    Stated,
)
from duologue.plan.formula import evaluate, with_values
from duologue.plan.quantities import (
    Quantity,
    Setting,
    compute,
    gpu_facts,
    gpu_quantity,
    model_facts,
    model_quantity,
    setting_quantity,
    setting_words,
)

AuditVerdict = Literal["holds", "partly", "false", "unsupported"]
VERDICTS: tuple[AuditVerdict, ...] = ("holds", "partly", "false", "unsupported")


@dataclass(frozen=True, slots=True)
class AuditedCheck:
    """One check with its arithmetic.

    Attributes:
        kind: As the file says; `beside` for a calculation without a vote.
        verdict: Of this check; empty beside.
        lines: The arithmetic: where each number comes from, the formula, the value, the claim, the difference.
        computed: The value; None where there is none.
        unit: Of `computed`.
        claimed_low: Lowest claimed value, in the same unit.
        claimed_high: Highest claimed value.
    """

    kind: str
    verdict: AuditVerdict | Literal[""]
    lines: tuple[str, ...]
    computed: float | None = None
    unit: str = ""
    claimed_low: float | None = None
    claimed_high: float | None = None


@dataclass(frozen=True, slots=True)
class AuditedClaim:
    """One claim: its number in the file from 1, what it says, the verdict, and the arithmetic."""

    number: int
    says: str
    verdict: AuditVerdict
    checks: tuple[AuditedCheck, ...]
    beside: tuple[AuditedCheck, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """A file of claims, recomputed."""

    title: str
    about: str
    claims: tuple[AuditedClaim, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of claims by verdict."""
        found = Counter(claim.verdict for claim in self.claims)
        return {verdict: found[verdict] for verdict in VERDICTS}

    def as_json(self) -> dict[str, Any]:
        """Return the audit as JSON."""
        return {"counts": self.counts, **asdict(self)}

    def as_markdown(self) -> str:
        """Return the audit as a page."""
        counts = ", ".join(f"{number} {_COUNTED[verdict]}" for verdict, number in self.counts.items() if number)
        lines = [f"# {self.title or 'Claims, recomputed'}", ""]
        lines += [self.about.strip(), ""] if self.about.strip() else []
        lines += [f"Of {len(self.claims)} claims: {counts}.", "", "| # | claim | verdict |", "|---|---|---|"]
        lines += [f"| {claim.number} | {_cell(claim.says)} | **{claim.verdict}** |" for claim in self.claims]
        for claim in self.claims:
            lines += ["", f"## {claim.number}. {claim.says.strip()}", "", f"**{claim.verdict}**"]
            for check in claim.checks:
                label = f"{check.kind}: {check.verdict}" if len(claim.checks) > 1 else check.kind
                lines += ["", f"*{label}*", "", *(f"- {line}" for line in check.lines)]
            for calculation in claim.beside:
                lines += ["", "*beside it*", "", *(f"- {line}" for line in calculation.lines)]
        return "\n".join(lines) + "\n"


def audit_file(path: Path) -> Audit:
    """Return the claims of a file, recomputed.

    Raises:
        ConfigError: The file cannot be read or has faults; all faults are named at once.
    """
    found = load_claims(path)
    return Audit(found.title, found.about, tuple(_audited(claim) for claim in found.claims))


_COUNTED = {"holds": "hold", "partly": "partly", "false": "false", "unsupported": "unsupported"}


def _audited(claim: Claim) -> AuditedClaim:
    checks = tuple(_checked(check) for check in claim.checks)
    beside = tuple(_shown_beside(calculation) for calculation in claim.beside)
    return AuditedClaim(claim.number, claim.says, _together([check.verdict for check in checks]), checks, beside)


def _together(verdicts: Sequence[str]) -> AuditVerdict:
    """All alike: that. Something holds and something does not: partly. Else false, if anything is."""
    kinds = set(verdicts)
    if kinds == {"holds"}:
        return "holds"
    if kinds & {"holds", "partly"}:
        return "partly"
    return "false" if "false" in kinds else "unsupported"


def _checked(check: Check) -> AuditedCheck:
    match check:
        case NumberCheck():
            return _check_number(check)
        case FitsCheck():
            return _check_fits(check)
        case LossCheck():
            return _check_loss(check)
        case NoCheck():
            return AuditedCheck("unsupported", "unsupported", (check.reason, f"needed: {check.needed}"))


def _check_number(check: NumberCheck) -> AuditedCheck:
    calculation = check.calculation
    value, unit, lines = _calculated(calculation)
    if value is None:
        return AuditedCheck(check.kind, "unsupported", tuple(lines + _noted(check.note)), None, unit)
    claimed = [check.claimed, *check.also_claimed]
    held = [_agrees(value, span, check) for span in claimed]
    words = {"is": "", "at-most": "at most ", "at-least": "at least "}[check.relation]
    for at, (span, agrees) in enumerate(zip(claimed, held, strict=True)):
        where = "claimed" if at == 0 else "also claimed"
        difference = _difference(value, span, check, unit)
        outcome = f"{'within' if agrees else 'outside'} the tolerance of {check.tolerance_percent:g} %"
        lines.append(f"{where}: {words}{_span(span, unit)}; {difference}, {outcome}")
    contradicts = [span for span in check.also_claimed if not _overlap(span, check.claimed, check.tolerance_percent)]
    if contradicts and check.relation == "is":
        lines.append("the claims contradict each other: at most one of them can be true")
    verdict: AuditVerdict = "holds" if all(held) else "false"
    low, high = check.claimed
    return AuditedCheck(check.kind, verdict, tuple(lines + _noted(check.note)), value, unit, low, high)


def _agrees(value: float, span: Span, check: NumberCheck) -> bool:
    margin = abs(value) * check.tolerance_percent / 100
    low, high = value - margin, value + margin
    if check.relation == "at-most":
        return low <= span[1]
    if check.relation == "at-least":
        return high >= span[0]
    return low <= span[1] and span[0] <= high


def _overlap(first: Span, second: Span, percent: float) -> bool:
    return first[0] * (1 - percent / 100) <= second[1] and second[0] * (1 - percent / 100) <= first[1]


def _difference(value: float, span: Span, check: NumberCheck, unit: str) -> str:
    """How far the nearest claimed value lies from the computed one."""
    nearest = min(max(value, span[0]), span[1])
    if check.relation != "is":
        nearest = span[1] if check.relation == "at-most" else span[0]
        if (value <= nearest) == (check.relation == "at-most"):
            return "the bound is kept"
    gap = nearest - value
    if abs(gap) < 1e-9 * max(1.0, abs(value)):
        return "no difference"
    share = f" ({gap / abs(value) * 100:+,.1f} %)" if abs(value) > 1e-9 else ""
    return f"difference {'+' if gap > 0 else '-'}{_with_unit(abs(gap), unit)}{share}"


def _check_fits(check: FitsCheck) -> AuditedCheck:
    """Each card by itself, and whether the claims agree with each other: more memory cannot hold less."""
    lines, verdicts = [], []
    for name, claimed in check.claimed.items():
        found = compute(_on(check, name))
        memory, verdict = found.forecast.memory, found.forecast.memory.verdict
        said = "fits" if claimed else "does not fit"
        outcome = "partly" if verdict == "tight" else "holds" if (verdict == "fits") == claimed else "false"
        verdicts.append(outcome)
        computed = {"fits": "it fits", "tight": "it may just fit", "no": "it does not fit"}[verdict]
        lines.append(
            f"{found.machine.name}: claimed that it {said}; needs {memory.device_gib:.1f} GiB "
            f"({memory.low_gib:.1f} to {memory.high_gib:.1f}) of {memory.available_gib:.1f} GiB, so {computed}: "
            f"{outcome}"
        )
    lines.insert(0, setting_words(compute(_on(check, next(iter(check.claimed))))).rpartition(", on ")[0])
    contradiction = _contradiction(check.claimed)
    if contradiction:
        lines.append(contradiction)
    bad = contradiction or "false" in verdicts
    verdict_all: AuditVerdict = "false" if bad else "partly" if "partly" in verdicts else "holds"
    return AuditedCheck("fits", verdict_all, tuple(lines + _noted(check.note)))


def _on(check: FitsCheck, gpu: str) -> Setting:
    return replace(check.setting, gpu=gpu)


def _contradiction(claimed: Mapping[str, bool]) -> str:
    sizes = {name: gpu_facts(name).memory_bytes for name in claimed}
    for small, fits in claimed.items():
        for large, also in claimed.items():
            if fits and not also and sizes[large] >= sizes[small]:
                gib = f"{sizes[large] / 2**30:.0f} and {sizes[small] / 2**30:.0f} GiB"
                return f"contradiction: it cannot fit {small} and not {large} ({gib})"
    return ""


def _check_loss(check: LossCheck) -> AuditedCheck:
    """A perplexity is exp(loss); one far below what comparable runs reach is not a chat model's."""
    low, high = check.usual_nats
    lines = []
    for span in check.claimed:
        nats = (math.log(span[0]), math.log(span[1]))
        lines.append(f"perplexity {_span(span, '')}: log = {_span(nats, 'nats per token')}")
    usual = f"{_span((low, high), 'nats per token')}, perplexity {_span((math.exp(low), math.exp(high)), '')}"
    lines.append(f"comparable runs: {usual} ({check.source})")
    sizes = {name: model_facts(name).vocab_size for name in check.models}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{size:,} for {name}" for name, size in sizes.items())
        lines.append(f"the vocabularies differ ({listed}): loss per token cannot be compared, bits per byte can")
    is_far = any(math.log(span[1]) < low / 2 for span in check.claimed)
    lines.append(
        "less than half of the lowest comparable loss: implausible"
        if is_far
        else "a possible value, but nothing here measures it"
    )
    return AuditedCheck("perplexity", "false" if is_far else "unsupported", tuple(lines + _noted(check.note)))


def _shown_beside(calculation: Calculation) -> AuditedCheck:
    value, unit, lines = _calculated(calculation)
    return AuditedCheck("beside", "", tuple(lines), value, unit)


def _calculated(calculation: Calculation) -> tuple[float | None, str, list[str]]:
    """Return the value, its unit and the arithmetic as lines; no value where a number is not known."""
    settings = {words for source in calculation.numbers.values() if (words := _setting_words(source))}
    shared = settings.pop() if len(settings) == 1 else ""
    lines = [shared] if shared else []
    found: dict[str, Quantity] = {}
    for name, source in calculation.numbers.items():
        quantity = _looked_up(source)
        if isinstance(quantity, str):
            return None, calculation.unit, [*lines, f"{name}: {quantity}"]
        found[name] = quantity
        words = _setting_words(source)
        where = f"; {words}" if words and words != shared else ""
        lines.append(f"{name} = {_with_unit(quantity.value, quantity.unit)} ({quantity.how}{where})")
    unit = calculation.unit or (found[calculation.formula].unit if calculation.formula in found else "")
    try:
        value = evaluate(calculation.formula, {name: item.value for name, item in found.items()})
    except ValueError as error:
        return None, unit, [*lines, f"{calculation.words} = {calculation.formula} has no value: {error}"]
    if calculation.formula in found:
        return value, unit, [*lines, f"computed: {calculation.words} {_with_unit(value, unit)}"]
    filled = with_values(calculation.formula, {name: _number(item.value) for name, item in found.items()})
    text = f"{calculation.words} = {calculation.formula} = {filled} = {_with_unit(value, unit)}"
    return value, unit, [*lines, f"computed: {text}"]


def _setting_words(source: Stated | Looked) -> str:
    return setting_words(compute(source.setting)) if isinstance(source, Looked) and source.setting else ""


def _looked_up(source: Stated | Looked) -> Quantity | str:
    """Return the value of a number, or why there is none."""
    if isinstance(source, Stated):
        return Quantity(source.value, source.unit, source.source)
    try:
        if source.of == "setting":
            assert source.setting is not None
            return setting_quantity(compute(source.setting), source.fact)
        if source.of == "model":
            return model_quantity(source.name, source.fact)
        found = gpu_quantity(source.name, source.fact)
    except DuologueError as error:
        return error.sentence()
    return found or f"the table has no {source.fact} for {source.name}"


def _noted(note: str) -> list[str]:
    return [note.strip()] if note.strip() else []


def _span(span: Span, unit: str) -> str:
    low, high = span
    return _with_unit(low, unit) if low == high else f"{_number(low)} to {_with_unit(high, unit)}"


def _with_unit(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".strip()


def _number(value: float) -> str:
    """Return a number with about four significant digits."""
    size = abs(value)
    if size >= 1000 or value == int(value):
        return f"{value:,.0f}"
    digits = 1 if size >= 100 else 2 if size >= 1 else 4
    return f"{value:.{digits}f}"


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|").replace("\n", " ")
