"""`write_report`: everything about a run on one page that loads nothing from anywhere."""

import base64
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from duologue.characters import Character
from duologue.data import Account, DataStats
from duologue.errors import EngineError
from duologue.evaluate.evaluation import Evaluation
from duologue.evaluate.sections import (
    account_section,
    loss_section,
    memory_section,
    plan_section,
    replies_section,
)
from duologue.evaluate.verdict import make_verdict
from duologue.evaluate.words import escape, number
from duologue.plan import Plan
from duologue.train import ReplyRecord, StepRecord

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PICTURE_BYTES = 8 * 2**20  # a larger one would make the page slow to open
_MENU = (
    ("learning", "Learning"),
    ("plan", "Plan"),
    ("memory", "Memory"),
    ("data", "Data"),
    ("replies", "Replies"),
)
# The browser itself refuses to load or run anything, whatever a reply contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def write_report(
    path: Path,
    *,
    title: str,
    character: Character,
    evaluation: Evaluation,
    history: Sequence[StepRecord],
    validation_points: Sequence[tuple[int, float]],
    plan: Plan,
    plan_versus_actual: Mapping[str, Mapping[str, float]],
    account: Account,
    stats: DataStats,
    picture: Path | None,
    learned: str = "",
    sampled: Sequence[ReplyRecord] = (),
    kept_step: int = 0,
) -> None:
    """Write the report of a run as one HTML file, whole or not at all.

    Args:
        path: The file.
        title: Names character and run.
        character: Whose name the verdict uses.
        evaluation: Base and tuned model.
        history: The steps of the run.
        validation_points: Step and held-out loss in nats per token, as measured during training.
        plan: What was predicted, and why.
        plan_versus_actual: Predicted (`plan`) and measured (`actual`) value by name, units in the names; `low` and
            `high` are the plan's interval.
        account: What happened to the data.
        stats: Token counts.
        picture: PNG of the character; None, a missing, foreign or very large file give a letter instead.
        learned: What the next plan on this machine takes from this run, in words.
        sampled: Replies that were drawn while the run went.
        kept_step: Step whose adapter was kept, when evaluations could end the run; 0 when the last was.

    Raises:
        EngineError: The file cannot be written.
    """
    name = character.display_name
    portrait = _portrait(picture)
    measured_gib = plan_versus_actual.get("memory_gib", {}).get("actual")
    sections = [
        loss_section(history, validation_points, evaluation, sampled=sampled, kept_step=kept_step),
        plan_section(plan, plan_versus_actual, learned=learned),
        memory_section(plan, measured_gib=measured_gib),
        account_section(account, stats),
        replies_section(evaluation, name=name, initial=_initial(name, portrait)),
    ]
    hero = _hero(title, name, evaluation, stats, initial=_initial(name, portrait))
    _write(path, _page(title, hero, sections, portrait))


def _portrait(picture: Path | None) -> str:
    """Return the picture as a data address, or an empty string."""
    try:
        if picture is None or picture.stat().st_size > _MAX_PICTURE_BYTES:
            return ""
        raw = picture.read_bytes()
    except OSError:
        return ""  # a report without its picture is still the report
    return f"data:image/png;base64,{base64.b64encode(raw).decode()}" if raw.startswith(_PNG_SIGNATURE) else ""


def _initial(name: str, portrait: str) -> str:
    return "\u00a0" if portrait else name[:1].upper()


def _hero(title: str, name: str, evaluation: Evaluation, stats: DataStats, *, initial: str) -> str:
    verdict = make_verdict(evaluation, stats, name=name)
    advice = f"<p class='advice'>{escape(verdict.advice)}</p>" if verdict.advice else ""
    return (
        "<header><div class='inside'>"
        f"<div class='who'><span class='avatar large'>{escape(initial)}</span><p>{escape(title)}</p></div>"
        f"<h1>{escape(verdict.headline)}</h1>{_tiles(evaluation)}"
        f"<p class='verdict'>{escape(verdict.detail)} "
        "<span>Perplexity says between how many equally likely words a model hesitates; lower is better.</span></p>"
        f"{advice}</div><div class='train' aria-hidden='true'></div></header>"
    )


def _tiles(evaluation: Evaluation) -> str:
    base, tuned = evaluation.base, evaluation.tuned
    tiles = []
    if base.perplexity is not None and tuned.perplexity is not None:
        tiles.append(_tile("perplexity before", base.perplexity))
        tiles.append(_tile("perplexity after", tuned.perplexity, kind=" bright"))
    if tuned.first_token_seconds is not None:
        tiles.append(_tile("milliseconds to the first token", tuned.first_token_seconds * 1000))
    if tuned.tokens_per_second is not None:
        tiles.append(_tile("tokens per second after it", tuned.tokens_per_second))
    return f"<dl class='tiles'>{''.join(tiles)}</dl>"


def _tile(words: str, value: float, *, kind: str = "") -> str:
    return f"<div class='tile{kind}'><dd>{number(value)}</dd><dt>{words}</dt></div>"


def _page(title: str, hero: str, sections: Sequence[str], portrait: str) -> str:
    style = resources.files("duologue.evaluate").joinpath("report.css").read_text(encoding="utf-8")
    if portrait:
        style += f".avatar{{background-image:url({portrait})}}"
    menu = "".join(f"<a href='#{anchor}'>{words}</a>" for anchor, words in _MENU)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"{hero}<nav>{menu}</nav><main>{''.join(sections)}</main></body></html>\n"
    )


def _write(path: Path, page: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(page, encoding="utf-8", errors="replace")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise EngineError(f"the report cannot be written ({error.strerror})", where=str(path)) from error
