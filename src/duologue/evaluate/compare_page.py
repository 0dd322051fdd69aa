"""`compare.html`: any number of runs side by side, each against its base, and their replies to the same words."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from duologue.errors import EngineError
from duologue.evaluate.compare_plots import plots_of
from duologue.evaluate.markup import details
from duologue.evaluate.measure import Measure
from duologue.evaluate.measure_table import group_of, label_of, place_of, verdict_words
from duologue.evaluate.settings import differing_settings
from duologue.evaluate.words import amount, escape
from duologue.files import write_whole

Documents = Sequence[tuple[str, Mapping[str, Any]]]
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_OF_ONE_BASE = ("language.perplexity", "language.loss", "language.general_perplexity")


def write_comparison(path: Path, documents: Documents) -> None:
    """Write the page.

    Args:
        path: Where to.
        documents: Name and evaluation (as in `evaluation.json`) of each run.

    Raises:
        EngineError: The file cannot be written.
    """
    style = resources.files("duologue.evaluate").joinpath("report.css").read_text(encoding="utf-8")
    title = "Side by side: " + ", ".join(name for name, _ in documents)
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        f"<title>{escape(title)}</title><style>{style}</style></head><body><header><div class='inside'>"
        f"<h1>{escape(title)}</h1></div><div class='train' aria-hidden='true'></div></header>"
        f"<main class='comparison'>{_verdicts(documents)}{_settings(documents)}{_measures(documents)}"
        f"{_replies(documents)}</main></body></html>\n"
    )
    try:
        write_whole(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise EngineError(f"the page cannot be written ({error.strerror})", where=str(path)) from error


def _verdicts(documents: Documents) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(_base(document))}</td>"
        f"<td>{escape(_headline(document))}</td></tr>"
        for name, document in documents
    )
    return _section("Verdicts", f"<div class='scroll'><table><tbody>{rows}</tbody></table></div>")


def _settings(documents: Documents) -> str:
    if len(documents) < 2:
        return ""
    rows = differing_settings([document for _, document in documents])
    if not rows:
        return _section("Settings", "<p>No recorded setting differs between the runs.</p>")
    body = "".join(
        f"<tr><th scope='row'>{escape(key)}</th>"
        + "".join(
            f"<td data-label='{escape(name)}:'>{escape(value)}</td>"
            for (name, _), value in zip(documents, values, strict=True)
        )
        + "</tr>"
        for key, values in rows
    )
    heads = "".join(f"<th scope='col'>{escape(name)}</th>" for name, _ in documents)
    table = f"<table class='measures'><thead><tr><th></th>{heads}</tr></thead><tbody>{body}</tbody></table>"
    note = "<p>Only what differs. What a run's evaluation does not tell is not recorded.</p>"
    return _section("Settings that differ", f"{note}<div class='scroll'>{table}</div>")


def _measures(documents: Documents) -> str:
    found = [{(each.name, each.part): each for each in _read(document)} for _, document in documents]
    first: dict[tuple[str, str], Measure] = {}
    for each in found:
        first = {**each, **first}
    keys = sorted(first, key=lambda key: (place_of(first[key]), key))
    if not keys:
        return ""
    differ = len({_base(document) for _, document in documents}) > 1
    heads = "".join(f"<th scope='col'>{escape(name)}</th>" for name, _ in documents)
    names = [name for name, _ in documents]
    runs = {key: [(name, each.get(key)) for name, each in zip(names, found, strict=True)] for key in keys}
    rows = "".join(_row(key, runs[key], differ=differ) for key in keys)
    plots = plots_of([(group_of(first[key]), runs[key]) for key in keys], left_out=_OF_ONE_BASE if differ else ())
    note = "Each run's number, and what its own comparison with its base says."
    if differ:
        note += (
            " The runs have different bases: losses and perplexities (marked *) cannot be compared across columns and "
            "are not drawn."
        )
    table = f"<table class='measures'><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    shown = details("All numbers as a table", f"<div class='scroll'>{table}</div>")
    return _section("Measures", f"<p>{escape(note)}</p>{plots}{shown}")


def _row(key: tuple[str, str], measures: Sequence[tuple[str, Measure | None]], *, differ: bool) -> str:
    first = next(each for _, each in measures if each is not None)
    mark = " *" if differ and key[0] in _OF_ONE_BASE else ""
    label = f"{group_of(first)}: {label_of(first)}{mark}"
    cells = "".join(f"<td data-label='{escape(name)}:'>{escape(_cell(each))}</td>" for name, each in measures)
    return f"<tr><th scope='row'>{escape(label)}</th>{cells}</tr>"


def _cell(measure: Measure | None) -> str:
    if measure is None:
        return "not in this evaluation"
    return f"{amount(measure.tuned, measure.unit)}, {verdict_words(measure)}"


def _replies(documents: Documents) -> str:
    said = [{row["prompt"]: row["tuned"] for row in document.get("replies", ())} for _, document in documents]
    prompts = list(dict.fromkeys(prompt for each in said for prompt in each))
    if not prompts:
        return ""
    heads = "".join(f"<th scope='col'>{escape(name)}</th>" for name, _ in documents)
    rows = "".join(
        f"<tr><th scope='row'>{escape(prompt)}</th>"
        + "".join(
            f"<td data-label='{escape(name)}:'>{escape(each.get(prompt, 'was not asked'))}</td>"
            for (name, _), each in zip(documents, said, strict=True)
        )
        + "</tr>"
        for prompt in prompts
    )
    table = f"<table class='measures said'><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return _section("Replies", f"<div class='scroll'>{table}</div>")


def _read(document: Mapping[str, Any]) -> tuple[Measure, ...]:
    names = {each.name for each in fields(Measure)}
    return tuple(
        Measure(**{name: value for name, value in row.items() if name in names}) for row in document.get("measures", ())
    )


def _base(document: Mapping[str, Any]) -> str:
    return str(document.get("models", {}).get("tuned", {}).get("name", "")) or "unknown base"


def _headline(document: Mapping[str, Any]) -> str:
    verdict = document.get("verdict", {})
    return str(verdict.get("headline", "")) if isinstance(verdict, Mapping) else str(verdict)


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{body}</section>"
