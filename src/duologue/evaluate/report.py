"""`write_report`: everything about a run on one page that loads nothing from anywhere."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from duologue.characters import Character
from duologue.data import Account, DataStats
from duologue.errors import EngineError
from duologue.evaluate.character_plots import character_section
from duologue.evaluate.distribution_plots import distributions_section
from duologue.evaluate.evaluation import Evaluation
from duologue.evaluate.feedback_section import feedback_section
from duologue.evaluate.headlines import choose_headlines, headline_tiles
from duologue.evaluate.measure_table import measures_section
from duologue.evaluate.portrait import portrait_of
from duologue.evaluate.repeat import repeat_section
from duologue.evaluate.replies import dialogues_section, replies_section
from duologue.evaluate.sections import account_section, loss_section, memory_section, plan_section
from duologue.evaluate.speed_plots import speed_section
from duologue.evaluate.verdict import make_verdict
from duologue.evaluate.words import escape, number
from duologue.files import write_whole
from duologue.plan import Plan
from duologue.train import Lineage, ReplyRecord, StepRecord

_MENU = (  # what a page has no section of is left out
    ("character", "Character"),
    ("replies", "Replies"),
    ("dialogues", "Dialogues"),
    ("measures", "Measures"),
    ("distributions", "Distributions"),
    ("feedback", "Feedback"),
    ("learning", "Learning"),
    ("plan", "Plan"),
    ("memory", "Memory"),
    ("speed", "Speed"),
    ("data", "Data"),
    ("repeat", "Repeat"),
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
    lineage: Lineage | None = None,
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
        lineage: Where a run on feedback comes from and what it learned.

    Raises:
        EngineError: The file cannot be written.
    """
    name = character.display_name
    portrait = portrait_of(picture)
    initial = _initial(name, portrait)
    measured_gib = plan_versus_actual.get("memory_gib", {}).get("actual")
    learning = loss_section(
        history, validation_points, evaluation, sampled=sampled, kept_step=kept_step, is_from_base=lineage is None
    )
    sections = [
        character_section(evaluation.measures),
        replies_section(evaluation, name=name, initial=initial),
        dialogues_section(evaluation, name=name, initial=initial),
        measures_section(evaluation.measures, evaluation.facts.get("faults", ())),
        distributions_section(evaluation.facts),
        feedback_section(lineage, history) if lineage else "",
        learning,
        plan_section(plan, plan_versus_actual, learned=learned),
        memory_section(plan, measured_gib=measured_gib),
        speed_section(evaluation.facts),
        account_section(account, stats, learned_by=lineage.ancestors[-1] if lineage else ""),
        repeat_section(evaluation.facts),
    ]
    hero = _hero(title, name, evaluation, stats, initial=initial)
    _write(path, _page(title, hero, sections, portrait))


def _initial(name: str, portrait: str) -> str:
    return "\u00a0" if portrait else name[:1].upper()


def _hero(title: str, name: str, evaluation: Evaluation, stats: DataStats, *, initial: str) -> str:
    verdict = make_verdict(evaluation, stats, name=name)
    advice = f"<p class='advice'>{escape(verdict.advice)}</p>" if verdict.advice else ""
    return (
        "<header><div class='inside'>"
        f"<div class='who'><span class='avatar large'>{escape(initial)}</span><p>{escape(title)}</p></div>"
        f"<h1>{escape(verdict.headline)}</h1>{_numbers(evaluation)}"
        f"<p class='verdict'>{escape(verdict.detail)} "
        "<span>Perplexity says between how many equally likely words a model hesitates; lower is better.</span></p>"
        f"{advice}</div><div class='train' aria-hidden='true'></div></header>"
    )


def _numbers(evaluation: Evaluation) -> str:
    """Return the headlines with their intervals, and the speed as a line; without a measured one the plain tiles."""
    headlines = choose_headlines(evaluation.measures)
    if not headlines:
        return _tiles(evaluation)
    tuned = evaluation.tuned
    words = []
    if tuned.first_token_seconds is not None:
        words.append(f"first token after {number(tuned.first_token_seconds * 1000)} ms")
    if tuned.tokens_per_second is not None:
        words.append(f"{number(tuned.tokens_per_second)} tokens per second after it")
    line = f"<p class='rule'>The tuned model here: {', '.join(words)}.</p>" if words else ""
    return headline_tiles(headlines) + line


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
    body = "".join(sections)
    links = "".join(f"<a href='#{anchor}'>{words}</a>" for anchor, words in _MENU if f"<section id='{anchor}'" in body)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"{hero}<nav>{links}</nav><main>{body}</main></body></html>\n"
    )


def _write(path: Path, page: str) -> None:
    try:
        write_whole(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise EngineError(f"the report cannot be written ({error.strerror})", where=str(path)) from error
