"""A file of claims to checked values; every fault of the file is named at once, by claim and line."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from duologue.errors import ConfigError, DuologueError
from duologue.plan.claim_kinds import Settings, read_calculation, read_check, read_setting
from duologue.plan.claims import Calculation, Check, Claim, ClaimFile, FitsCheck, Looked, NumberCheck
from duologue.plan.quantities import Setting, compute
from duologue.plan.reading import Table

_CLAIM_KEYS = ("says", "check", "beside")


def load_claims(path: Path) -> ClaimFile:
    """Return the claims of a file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or has faults; all faults are named at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the file cannot be read ({reason})", where=str(path)) from error
    return parse_claims(text, where=str(path))


def parse_claims(text: str, *, where: str) -> ClaimFile:
    """Return the claims of a TOML text.

    Raises:
        ConfigError: As `load_claims`.
    """
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"this is not TOML: {error}", where=where) from error
    faults: list[str] = []
    top = Table(tree, "the file", faults)
    title, about = top.text("title", default=""), top.text("about", default="")
    settings = _named_settings(top)
    tables = top.tables("claim", label="claim")
    lines = _lines_of(text, count=len(tables))
    claims = []
    for at, table in enumerate(tables):
        table.where = f"claim {at + 1}" + (f" (line {lines[at]})" if lines else "")
        claims.append(_claim(table, at + 1, settings))
    top.end()
    if not tables:
        top.fault("there is no [[claim]]")
    if not faults:
        _note_impossible_settings(claims, tables)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        noun = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        action = "docs/reference/audit.md describes the file."
        raise ConfigError(f"{noun}:\n{listed}", where=where, action=action)
    return ClaimFile(title, about, tuple(claims))


def _named_settings(top: Table) -> Settings:
    found: dict[str, Setting] = {}
    value = top.raw("setting") if top.has("setting") else {}
    if not isinstance(value, dict):
        top.fault("'setting' is not a table; expected [setting.NAME]")
        value = {}
    for name, table in value.items():
        at = Table({}, f"setting {name}", top.faults)
        found[name] = read_setting(table, table=at, settings=found)
    return found


def _claim(table: Table, number: int, settings: Settings) -> Claim:
    """A claim has one check in its own table (`kind`), or several in [[claim.check]]."""
    says = table.text("says")
    beside = []
    for item in table.tables("beside", label="beside"):
        beside.append(read_calculation(item, settings))
        item.end()
    inner = table.tables("check", label="check")
    if table.has("kind") and inner:
        table.fault("has both a 'kind' and [[claim.check]]; expected one of them")
    elif table.has("kind"):
        inner = [_inline(table)]
    elif not inner:
        table.fault("'kind' is missing, and there is no [[claim.check]]")
    checks = [check for item in inner if (check := read_check(item, settings)) is not None]
    if not table.has("kind"):
        table.end()
    return Claim(number, says, tuple(checks), tuple(beside))


def _inline(table: Table) -> Table:
    own: Mapping[str, Any] = {key: value for key, value in table.values.items() if key not in _CLAIM_KEYS}
    return Table(own, table.where, table.faults)


def _note_impossible_settings(claims: list[Claim], tables: list[Table]) -> None:
    """Compute every setting once, so that a wrong recipe, model or card is named with its claim."""
    known: dict[Setting, str] = {}
    for claim, table in zip(claims, tables, strict=True):
        for setting in dict.fromkeys(_settings_of(claim)):
            if setting not in known:
                known[setting] = _fault_of(setting)
            if known[setting]:
                table.fault(known[setting])


def _fault_of(setting: Setting) -> str:
    if not setting.gpu:
        return "a setting names no 'gpu'"
    try:
        compute(setting)
    except DuologueError as error:
        return error.sentence()
    return ""


def _settings_of(claim: Claim) -> Iterator[Setting]:
    for check in claim.checks:
        yield from _settings_of_check(check)
    for calculation in claim.beside:
        yield from _settings_of_calculation(calculation)


def _settings_of_check(check: Check) -> Iterator[Setting]:
    if isinstance(check, NumberCheck):
        yield from _settings_of_calculation(check.calculation)
    elif isinstance(check, FitsCheck):
        yield check.setting


def _settings_of_calculation(calculation: Calculation) -> Iterator[Setting]:
    for source in calculation.numbers.values():
        if isinstance(source, Looked) and source.setting is not None:
            yield source.setting


def _lines_of(text: str, *, count: int) -> list[int]:
    """Lines of the [[claim]] headers; none when some text holds such a line, and they cannot be told apart."""
    found = [at for at, line in enumerate(text.splitlines(), start=1) if re.match(r"\s*\[\[\s*claim\s*\]\]", line)]
    return found if len(found) == count else []
