"""What somebody else needs to measure the same again."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from duologue.evaluate.markup import details, section, table
from duologue.evaluate.words import escape

_DIGEST_CHARACTERS = 16  # of a file of the adapter; all of them stand in evaluation.json


def repeat_section(facts: Mapping[str, Any]) -> str:
    """Return the suite, the models, the seeds, the versions, the machine and the command; nothing without a suite.

    Args:
        facts: Of an evaluation. What an older one does not tell is left out.
    """
    suite = facts.get("suite") or {}
    if not suite:
        return ""
    rows = [("suite", f"{suite.get('name')}, version {suite.get('version')}, sha256 {suite.get('digest', '')}")]
    if facts.get("evaluators"):
        rows.append(("evaluators", ", ".join(f"{name} {number}" for name, number in facts["evaluators"].items())))
    if "seed" in facts:
        rows.append(("seed of every choice", f"{facts['seed']}"))
    if facts.get("seeds"):
        rows.append(("seeds of the dialogues", ", ".join(map(str, facts["seeds"]))))
    for side, model in (facts.get("models") or {}).items():
        rows.append((f"{side} model", model_words(model)))
    if facts.get("versions"):
        rows.append(("packages", ", ".join(f"{name} {number}" for name, number in facts["versions"].items())))
    if facts.get("machine"):
        rows.append(("machine", ", ".join(f"{name} {value}" for name, value in facts["machine"].items())))
    body = ""
    if line := command_of(facts):
        body += f"<pre class='scroll'><code>{escape(line)}</code></pre>"
        body += (
            "<p class='note'>FOLDER is the character's folder, with its duologue.toml and data as they were. "
            "A suite of your own is named by its file. --fresh asks the models again and takes nothing kept.</p>"
        )
    body += table(("what", "which"), rows, numeric_from=None).replace("<table>", "<table class='facts'>", 1)
    if facts.get("generation"):
        settings = [(name, f"{value}") for name, value in facts["generation"].items()]
        body += details("Settings of the replies", table(("[generation]", "value"), settings, numeric_from=None))
    return section("repeat", "How to repeat this", body)


def command_of(facts: Mapping[str, Any]) -> str:
    """Return the command that measures the same again; empty where the evaluation does not name its run."""
    run = facts.get("run")
    if not run:
        return ""
    words = ["duologue", "eval", "FOLDER", "--run", str(run), "--suite", str(facts["suite"]["name"])]
    if (rival := facts.get("compared_with", "base")) != "base":
        words += ["--against", str(rival)]
    model = (facts.get("models") or {}).get("tuned", {})
    if "talks_with" not in model:
        words += ["--engine", str(model.get("engine", "hf"))]
    for line in facts.get("set") or ():
        words += ["--set", str(line)]
    return shlex.join([*words, "--fresh"])


def model_words(model: Mapping[str, Any]) -> str:
    """Return what a model is: each known fact by name, digests of the adapter's files shortened."""
    parts: list[str] = []
    for name, value in model.items():
        if name == "adapter_sha256" and isinstance(value, Mapping):
            parts += [f"{file} sha256 {_short(digest)}" for file, digest in value.items()]
        elif value not in (None, "", (), []):
            parts.append(f"{name.replace('_', ' ')} {_listed(value)}")
    return ", ".join(parts) or "not told"


def _short(digest: object) -> str:
    text = str(digest)
    return text if len(text) <= _DIGEST_CHARACTERS else f"{text[:_DIGEST_CHARACTERS]}\u2026"


def _listed(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(str, value))
    return str(value)
